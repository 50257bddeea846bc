"""Forecasts: made of past hours only, exact, and honest about how they were made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.engine.aggregation import Aggregation
from apps.engine.forecast import Forecast, Hours, Method, forecast
from apps.engine.period import Period

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
FORTNIGHT = Period(START, START + timedelta(days=14))
HOUR, WEEK = timedelta(hours=1), timedelta(weeks=1)
COUNT = Aggregation.COUNT


def hours(since: datetime, until: datetime, told: Callable[[datetime], int]) -> Hours:
    found = {}
    while since < until:
        found[since] = Decimal(told(since))
        since += HOUR
    return found


def ask(
    so_far: str, now: datetime, past: Hours, *, kind: Aggregation = COUNT, zone: str = "UTC"
) -> Forecast:
    return forecast(Decimal(so_far), kind, during=FORTNIGHT, now=now, hours=past, timezone=zone)


def office(hour: datetime) -> int:
    return 10 if hour.weekday() < 5 and 9 <= hour.hour < 17 else 0


def test_weeks_that_repeat_are_foretold_exactly() -> None:
    """400 a week; by Wednesday noon of the second one 590 of 800 are in."""
    now = START + WEEK + timedelta(days=2, hours=12)
    found = ask("590", now, hours(START - 4 * WEEK, now, office))
    assert found == Forecast(Method.SEASONAL, Decimal(800), Decimal(800), Decimal(800))


def test_the_interval_is_the_lowest_and_the_highest_week() -> None:
    past = hours(START - 4 * WEEK, START, lambda hour: 1 + (START - hour - HOUR) // WEEK)
    found = ask("5", START + HOUR, {**past, START: Decimal(0)})
    hours_left = 14 * 24 - 1
    assert found.method is Method.SEASONAL
    assert (found.low, found.high) == (Decimal(5 + 334), Decimal(5 + 4 * hours_left - 1))
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.quantity < found.high


def test_seasons_are_those_of_the_local_clock() -> None:
    """Berlin's working day begins at 8:00 UTC; from there eight hours are to come each day."""
    now = datetime(2026, 3, 13, 8, tzinfo=UTC)  # the last Friday

    def berlin(hour: datetime) -> int:
        return office(hour + HOUR)

    found = ask("0", now, hours(now - 3 * WEEK, now, berlin), zone="Europe/Berlin")
    assert found.quantity == 80


def test_part_of_an_hour_is_part_of_its_count() -> None:
    now = FORTNIGHT.end - timedelta(minutes=15)
    past = hours(now.replace(minute=0) - 2 * WEEK, now.replace(minute=0), lambda _: 10)
    assert ask("100.0", now, past).quantity == Decimal(103)  # 2.5 rounds away from zero
    assert ask("100.25", now, past).quantity == Decimal("102.75")


def test_without_two_weeks_it_goes_on_as_fast_as_so_far() -> None:
    now = START + timedelta(days=4)
    past = hours(START, now, lambda hour: 1 + hour.day % 2)
    found = ask("144", now, past)
    assert found == Forecast(Method.RUN_RATE, Decimal(504), Decimal(384), Decimal(624))


def test_hours_that_are_not_rolled_up_yet_give_no_interval() -> None:
    assert ask("17", START + timedelta(days=7), {}) == Forecast(Method.RUN_RATE, Decimal(34))


def test_the_first_day_has_no_interval() -> None:
    now = START + timedelta(days=1)
    found = ask("24", now, hours(START, now, lambda _: 1))
    assert found == Forecast(Method.RUN_RATE, Decimal(336))


@pytest.mark.parametrize(
    "kind", [one for one in Aggregation if one not in {COUNT, Aggregation.SUM}]
)
def test_what_does_not_add_up_over_time_stays(kind: Aggregation) -> None:
    now = START + timedelta(days=3)
    past = hours(START - 4 * WEEK, now, lambda _: 1)
    assert ask("7", now, past, kind=kind) == Forecast(Method.STANDING, Decimal(7))


def test_a_period_that_is_over_is_known() -> None:
    found = ask("7", FORTNIGHT.end, {})
    assert found == Forecast(Method.COMPLETE, Decimal(7), Decimal(7), Decimal(7))


def test_a_period_that_has_not_begun_tells_nothing() -> None:
    assert ask("0", START - HOUR, {}) == Forecast(Method.STANDING, Decimal(0))


def test_nothing_so_far_stays_nothing() -> None:
    found = ask("0", START + timedelta(days=5), {})
    assert found == Forecast(Method.RUN_RATE, Decimal(0), Decimal(0), Decimal(0))
