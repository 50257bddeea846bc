from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given

from apps.engine.period import Period, iso
from tests.engine import oracle
from tests.engine.strategies import MOMENTS, periods

JUNE = Period(datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))
HALF_TIME = datetime(2025, 6, 16, tzinfo=UTC)


def test_a_period_holds_its_start_and_not_its_end() -> None:
    assert JUNE.contains(JUNE.start)
    assert not JUNE.contains(JUNE.end)
    assert JUNE.contains(JUNE.end - timedelta(microseconds=1))


def test_a_period_needs_zones_and_a_length() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        Period(datetime(2025, 6, 1), JUNE.end)  # noqa: DTZ001
    with pytest.raises(ValueError, match="end after"):
        Period(JUNE.start, JUNE.start)
    with pytest.raises(ValueError, match="no time zone"):
        JUNE.contains(datetime(2025, 6, 1))  # noqa: DTZ001


def test_the_share_after_half_time_is_a_half() -> None:
    assert JUNE.share_after(HALF_TIME) == Fraction(1, 2)
    assert JUNE.share_after(JUNE.start - timedelta(days=1)) == 1
    assert JUNE.share_after(JUNE.end + timedelta(days=1)) == 0


def test_a_period_across_a_clock_change_measures_the_time_that_passed() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    day = Period(datetime(2025, 3, 30, tzinfo=berlin), datetime(2025, 3, 31, tzinfo=berlin))
    assert day.duration_micros == 23 * 3600 * 1_000_000
    assert day.start.tzinfo is UTC


def test_periods_overlap_only_where_both_are() -> None:
    rest = Period(HALF_TIME, JUNE.end + timedelta(days=5))
    assert JUNE.overlap(rest) == Period(HALF_TIME, JUNE.end)
    assert JUNE.share(rest) == Fraction(1, 2)
    touching = Period(JUNE.end, JUNE.end + timedelta(days=1))
    assert JUNE.overlap(touching) is None
    assert JUNE.share(touching) == 0


def test_an_instant_is_spelled_in_utc() -> None:
    assert iso(datetime(2025, 1, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))) == "2025-01-01T00:00:00Z"


@given(periods(), MOMENTS)
def test_shares_are_ratios_of_elapsed_seconds(period: Period, moment: datetime) -> None:
    inside = min(max(moment, period.start), period.end)
    expected = oracle.seconds(inside, period.end) / oracle.seconds(period.start, period.end)
    assert period.share_after(moment) == expected


@given(periods(), periods())
def test_overlap_is_the_same_from_both_sides(one: Period, other: Period) -> None:
    common = one.overlap(other)
    assert common == other.overlap(one)
    if common:
        assert one.share(common) == one.share(other)
        assert one.share(other) * one.duration_micros == common.duration_micros


def test_the_last_second_is_the_one_before_the_end() -> None:
    june = Period(datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))
    assert iso(june.last_second) == "2025-06-30T23:59:59Z"
