from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from apps.engine.calendar import UnknownTimezone
from apps.engine.daycount import (
    BY_THE_SECOND,
    Proration,
    ProrationRule,
    fixed_days_between,
    inclusive_days,
    ratio_of_days,
    share_of_days,
    unused_days,
)
from apps.engine.period import Period
from tests.engine.strategies import MOMENTS, periods

BERLIN = ZoneInfo("Europe/Berlin")
JUNE = Period(datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))
MID_JUNE = datetime(2025, 6, 16, 15, tzinfo=UTC)
RULES = st.builds(
    ProrationRule,
    st.sampled_from(Proration),
    st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Apia", "America/New_York", "Asia/Kolkata"]),
)
ADDING_UP = st.sampled_from(
    [Proration.SECOND, Proration.DAY, Proration.DAY_INCLUSIVE, Proration.FULL, Proration.NONE]
)


def counted(proration: Proration, timezone: str = "UTC") -> ProrationRule:
    return ProrationRule(proration, timezone)


def test_the_zone_decides_the_day() -> None:
    whole = Period(datetime(2025, 6, 1, tzinfo=BERLIN), datetime(2025, 7, 1, tzinfo=BERLIN))
    late = datetime(2025, 6, 15, 22, 30, tzinfo=UTC)
    assert counted(Proration.DAY, "Europe/Berlin").share_after(late, whole) == Fraction(15, 30)
    assert counted(Proration.DAY, "UTC").share_after(late, JUNE) == Fraction(16, 30)


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(UnknownTimezone):
        ProrationRule(Proration.DAY, "")
    with pytest.raises(ValueError, match="hourly"):
        ProrationRule("hourly")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one day"):
        ProrationRule(Proration.FIXED_30, fixed_days=0)


def test_the_day_of_a_termination_is_used_and_that_of_a_plan_change_is_not() -> None:
    rule = counted(Proration.DAY_INCLUSIVE)
    assert rule.unused_after(MID_JUNE, JUNE, day_used=True) == Fraction(14, 30)
    assert rule.unused_after(MID_JUNE, JUNE) == Fraction(15, 30)
    assert rule.share_after(MID_JUNE, JUNE) == Fraction(15, 30)


def test_where_a_part_costs_everything_nothing_is_given_back() -> None:
    full, none = counted(Proration.FULL), counted(Proration.NONE)
    assert full.share_after(MID_JUNE, JUNE) == 1
    assert full.unused_after(MID_JUNE, JUNE) == 0
    assert none.share_after(MID_JUNE, JUNE) == none.unused_after(MID_JUNE, JUNE) == 0
    for rule in (full, none):
        assert rule.unused_after(JUNE.start, JUNE) == 1
        assert rule.share_after(JUNE.end, JUNE) == 0


def test_months_of_thirty_days_ignore_the_thirty_first_and_fill_february_up() -> None:
    assert fixed_days_between(date(2023, 5, 23), date(2023, 6, 15)) == 22
    assert fixed_days_between(date(2023, 2, 23), date(2023, 3, 15)) == 22
    assert fixed_days_between(date(2024, 2, 23), date(2024, 3, 15)) == 22
    assert fixed_days_between(date(2024, 2, 23), date(2024, 3, 15), 28) == 20


def test_a_week_is_not_stretched_to_a_month() -> None:
    week = Period(datetime(2025, 6, 2, tzinfo=UTC), datetime(2025, 6, 9, tzinfo=UTC))
    part = Period(datetime(2025, 6, 6, tzinfo=UTC), week.end)
    assert counted(Proration.FIXED_30).share(part, week) == Fraction(3, 7)


def test_a_ratio_is_rounded_where_a_rule_says_so() -> None:
    part = Period(MID_JUNE.replace(hour=0), JUNE.end + timedelta(days=1))
    july = Period(JUNE.start, JUNE.end + timedelta(days=1))
    rule = ProrationRule(Proration.DAY, places=9)
    assert rule.share(part, july) == Fraction(516_129_032, 10**9)
    assert ratio_of_days(92, 31, places=9) == Fraction(2_967_741_935, 10**9)
    assert share_of_days(92, 31) == 1


def test_days_are_counted_with_both_ends_less_a_trial() -> None:
    first, last = date(2022, 3, 15), date(2022, 3, 31)
    assert inclusive_days(first, last) == 17
    assert inclusive_days(first, last, trial_days=3) == 14
    assert inclusive_days(first, last, trial_days=45) == 0
    assert inclusive_days(first, last, last_day_used=False) == 16
    assert unused_days(date(2023, 9, 28), date(2023, 9, 28)) == 0
    assert unused_days(date(2023, 9, 28), date(2023, 9, 28), day_used=False) == 1
    assert unused_days(date(2023, 10, 2), date(2023, 9, 28)) == 0


def test_a_share_of_no_days_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one day"):
        share_of_days(1, 0)


@given(RULES, periods(), periods())
def test_a_share_lies_between_nothing_and_everything(
    rule: ProrationRule, part: Period, whole: Period
) -> None:
    assert 0 <= rule.share(part, whole) <= 1
    assert rule.share(whole, whole) == 1


@given(RULES, periods(), MOMENTS)
def test_giving_back_and_charging_stay_within_the_price(
    rule: ProrationRule, whole: Period, at: datetime
) -> None:
    for share in (rule.share_after(at, whole), rule.unused_after(at, whole)):
        assert 0 <= share <= 1
    assert rule.unused_after(at, whole, day_used=True) <= rule.unused_after(at, whole)


@given(periods(), MOMENTS)
def test_the_default_counts_time(whole: Period, at: datetime) -> None:
    assert BY_THE_SECOND.share_after(at, whole) == whole.share_after(at)
    assert BY_THE_SECOND.unused_after(at, whole) == whole.share_after(at)


@given(ADDING_UP, periods(), st.lists(MOMENTS, max_size=3))
def test_consecutive_stretches_of_a_whole_period_add_up_to_it(
    proration: Proration, whole: Period, cuts: list[datetime]
) -> None:
    inside = sorted({cut for cut in cuts if whole.start < cut < whole.end})
    stretches = [Period(a, b) for a, b in pairwise([whole.start, *inside, whole.end])]
    days = (whole.end.date() - whole.start.date()).days
    # A period that ends on the day it starts has no day to share out.
    assume(days > 0 or proration is not Proration.DAY)
    assert sum(counted(proration).split(stretches, whole)) == 1
