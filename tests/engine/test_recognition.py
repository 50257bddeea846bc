from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.calendar import UnknownTimezone
from apps.engine.money import Money
from apps.engine.period import Period
from apps.engine.recognition import Month, Schedule, by_month, recognized
from tests.engine.settlements import amounts, usd

YEAR = Schedule(usd(1_200_00), date(2026, 1, 1), date(2026, 12, 31))
DAYS = st.dates(date(2020, 1, 1), date(2030, 1, 1))


def test_a_year_is_earned_by_its_days_and_its_months_sum_to_it() -> None:
    months = list(YEAR.by_month().values())
    assert months[:3] == [usd(101_92), usd(92_05), usd(101_92)]
    assert Money.sum(months, "USD") == usd(1_200_00)
    assert YEAR.daily == usd(3_29)
    assert YEAR.deferred(date(2026, 1, 31)) == usd(1_098_08)


def test_nothing_is_earned_before_and_everything_after() -> None:
    assert YEAR.through(date(2025, 12, 31)) == usd(0)
    assert YEAR.through(date(2026, 1, 1)) == usd(3_29)
    assert YEAR.through(date(2027, 5, 1)) == usd(1_200_00)


def test_a_credit_lowers_the_month_in_which_it_is_given() -> None:
    january = [
        YEAR,
        Schedule(usd(50_00), date(2026, 1, 1), date(2026, 1, 31)),
        Schedule.on(usd(50_00), date(2026, 1, 31)),
        Schedule.on(usd(-30_00), date(2026, 1, 25)),
    ]
    first, last = date(2026, 1, 1), date(2026, 1, 31)
    assert recognized(january, first=first, last=last, currency="USD") == usd(171_92)
    assert by_month(january)[Month(2026, 1)] == usd(171_92)


def test_months_are_those_of_the_customers_zone() -> None:
    service = Period(datetime(2026, 1, 31, 23, tzinfo=UTC), datetime(2026, 2, 28, 23, tzinfo=UTC))
    paris = Schedule.over(usd(28_00), service, timezone="Europe/Paris")
    assert (paris.first, paris.last) == (date(2026, 2, 1), date(2026, 2, 28))
    assert paris.by_month() == {Month(2026, 2): usd(28_00)}
    utc = Schedule.over(usd(28_00), service, timezone="UTC")
    assert utc.by_month() == {Month(2026, 1): usd(1_00), Month(2026, 2): usd(27_00)}
    with pytest.raises(UnknownTimezone):
        Schedule.over(usd(1), service, timezone="Mars/Base")


def test_a_service_within_one_day_is_earned_on_it() -> None:
    service = Period(datetime(2026, 1, 5, 8, tzinfo=UTC), datetime(2026, 1, 5, 9, tzinfo=UTC))
    assert Schedule.over(usd(5), service, timezone="UTC") == Schedule.on(usd(5), date(2026, 1, 5))


@given(amounts(-50_000), DAYS, st.integers(0, 800))
def test_the_months_always_sum_to_the_whole(amount: Money, first: date, more: int) -> None:
    schedule = Schedule(amount, first, first + timedelta(days=more))
    assert Money.sum(schedule.by_month().values(), "USD") == amount
    assert list(by_month([schedule])) == list(schedule.by_month())


@given(amounts(-50_000), DAYS, st.integers(0, 400), DAYS)
def test_earned_and_deferred_are_the_whole(
    amount: Money, first: date, more: int, day: date
) -> None:
    schedule = Schedule(amount, first, first + timedelta(days=more))
    assert schedule.through(day) + schedule.deferred(day) == amount


def test_service_ends_after_it_starts() -> None:
    with pytest.raises(ValueError, match="before it starts"):
        Schedule(usd(1), date(2026, 1, 2), date(2026, 1, 1))


def test_a_month_knows_its_days_and_the_next() -> None:
    assert Month(2028, 2).last == date(2028, 2, 29)
    assert Month(2026, 12).following == Month(2027, 1)
