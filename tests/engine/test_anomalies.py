"""Expectations and scores: what must hold whatever the numbers are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine import anomalies as engine
from apps.engine.anomalies import HOUR, ONE, USUAL, Baseline, Basis, Direction, Lookback, Severity

BERLIN = ZoneInfo("Europe/Berlin")
AT = datetime(2026, 6, 3, 12, tzinfo=UTC)  # a Wednesday
LONG_AGO = AT - timedelta(days=365)
COUNTS = st.integers(0, 10**12)
ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe"]
).map(ZoneInfo)
HOURS = st.integers(0, 24 * 730).map(lambda n: datetime(2025, 1, 1, tzinfo=UTC) + n * HOUR)


def whole(count: int) -> int:
    return count * ONE


def weekly(values: Sequence[int], around: Sequence[int] = ()) -> Baseline:
    """What these values of the same hour of earlier weeks make, with those of one hour beside."""
    slot = tuple(AT - week * engine.WEEK for week in range(1, len(values) + 1))
    beside = tuple(hour - HOUR for hour in slot[: len(around)])
    seen = dict(zip(slot, values, strict=True)) | dict(zip(beside, around, strict=True))
    return engine.baseline(
        seen, Lookback(Basis.HOUR_OF_WEEK, (slot, beside) if beside else (slot,))
    )


def judged(value: int, found: Baseline, events: int = 1000) -> engine.Judgement:
    return engine.judge(value, found, events=events, usual_events=1000)


# --- what an hour is compared with ----------------------------------------------------------------
@given(HOURS, ZONES)
def test_the_hours_looked_back_on_are_the_same_hour_of_the_week_on_the_wall(
    at: datetime, timezone: ZoneInfo
) -> None:
    look = engine.lookback(at, timezone, at - timedelta(days=365))
    assert look is not None
    assert look.basis is Basis.HOUR_OF_WEEK
    wall = at.astimezone(timezone)
    for hour in look.slots[0]:
        then = hour.astimezone(timezone)
        assert hour.minute == 0
        assert hour < at - timedelta(days=6)
        # A clock that was moved over the hour leaves the one beside it.
        apart = abs((then.hour * 60 + then.minute) - (wall.hour * 60 + wall.minute))
        assert min(apart, 24 * 60 - apart) <= 60


def test_summer_time_keeps_the_hour_of_the_wall_clock() -> None:
    noon = datetime(2026, 3, 30, 10, tzinfo=UTC)  # 12:00 in Berlin, the day after the change
    week_before = engine.back(noon, BERLIN, 7)
    assert week_before == datetime(2026, 3, 23, 11, tzinfo=UTC)
    assert week_before.astimezone(BERLIN).hour == noon.astimezone(BERLIN).hour == 12


@pytest.mark.parametrize(
    ("days", "basis"),
    [
        (365, Basis.HOUR_OF_WEEK),
        (29, Basis.HOUR_OF_WEEK),
        (27, Basis.HOUR_OF_DAY),
        (8, Basis.HOUR_OF_DAY),
        (6, Basis.OVERALL),
        (2, Basis.OVERALL),
        (1, None),
    ],
)
def test_less_to_look_back_on_is_compared_more_coarsely(days: int, basis: Basis | None) -> None:
    look = engine.lookback(AT, BERLIN, AT - timedelta(days=days))
    assert (look and look.basis) == basis


@given(st.integers(0, 24 * 60), ZONES)
def test_nothing_before_the_first_usage_nor_the_hour_itself_is_looked_back_on(
    hours: int, timezone: ZoneInfo
) -> None:
    since = AT - hours * HOUR
    look = engine.lookback(AT, timezone, since)
    assert look is None or all(since <= hour < AT for hour in look.hours)


# --- what is expected -----------------------------------------------------------------------------
@given(st.lists(COUNTS, min_size=1, max_size=28))
def test_the_median_has_as_many_values_below_as_above(values: list[int]) -> None:
    middle = engine.median(values)
    assert 2 * sum(value < middle for value in values) <= len(values)
    assert 2 * sum(value > middle + 1 for value in values) <= len(values)


@given(st.lists(COUNTS, min_size=5, max_size=12), st.integers(0, 10**15))
def test_one_wild_week_moves_the_expectation_no_further_than_its_neighbours(
    values: list[int], wild: int
) -> None:
    ordered = sorted(values)
    found = weekly([wild, *values])
    middle = len(ordered) // 2
    assert (
        ordered[max(0, middle - 1)] <= found.expected <= ordered[min(middle + 1, len(ordered) - 1)]
    )


@given(st.lists(COUNTS, min_size=4, max_size=28), st.lists(COUNTS, max_size=4))
def test_the_spread_is_never_less_than_a_random_counts_nor_a_tenth(
    values: list[int], around: list[int]
) -> None:
    found = weekly(values, around)
    assert found.spread >= ONE
    assert found.spread**2 >= (found.expected - 1) * ONE - 2 * found.spread
    assert found.spread >= found.expected // 10
    low, high = found.band()
    assert 0 <= low <= found.expected <= high


def test_the_order_of_the_past_does_not_matter() -> None:
    assert weekly([1, 5, 9, 7]) == weekly([9, 7, 5, 1])


# --- how far it is off ----------------------------------------------------------------------------
@given(st.lists(COUNTS, min_size=4, max_size=10), COUNTS, st.integers(0, 10**12))
def test_further_away_is_never_scored_less(values: list[int], value: int, more: int) -> None:
    found = weekly(values)
    above = found.expected + value
    assert judged(above + more, found).score >= judged(above, found).score
    below = max(0, found.expected - value)
    assert judged(max(0, below - more), found).score >= judged(below, found).score


@given(st.lists(COUNTS, min_size=4, max_size=10))
def test_what_was_seen_before_begins_nothing(values: list[int]) -> None:
    found = weekly(values)
    assert not any(judged(value, found).begins for value in [*values, found.expected])


@given(st.lists(COUNTS, min_size=4, max_size=10), COUNTS)
def test_what_begins_also_lasts_and_is_out_of_the_band(values: list[int], value: int) -> None:
    found = weekly(values)
    one = judged(value, found)
    low, high = found.band()
    assert not one.begins or one.lasts
    assert not one.begins or value <= low or value >= high


def test_a_steady_meter_that_falls_silent_is_a_critical_drop() -> None:
    one = judged(0, weekly([whole(1000)] * 6))
    assert (one.direction, one.severity, one.begins) == (Direction.DROP, Severity.CRITICAL, True)


@pytest.mark.parametrize(
    ("seen", "severity", "begins"),
    [
        (1_500, Severity.WARNING, False),
        (2_000, Severity.WARNING, True),
        (2_500, Severity.SERIOUS, True),
        (5_000, Severity.CRITICAL, True),
        (600, Severity.WARNING, False),
        (500, Severity.WARNING, True),
        (400, Severity.WARNING, True),
        (200, Severity.SERIOUS, True),
    ],
)
def test_a_meter_that_is_steady_to_a_tenth(seen: int, severity: Severity, begins: bool) -> None:
    one = judged(whole(seen), weekly([whole(n) for n in (950, 980, 1000, 1000, 1020, 1050)]))
    assert (one.severity, one.begins) == (severity, begins)


def test_few_events_are_not_judged() -> None:
    found = weekly([whole(1)] * 6)
    assert judged(whole(500), found, events=500).begins
    assert not judged(whole(500), found, events=USUAL.minimum - 1).begins
    quiet = engine.judge(0, weekly([whole(500)] * 6), events=0, usual_events=USUAL.minimum - 1)
    assert not quiet.begins


def test_an_hour_far_off_begins_at_once_and_a_lesser_one_with_the_second() -> None:
    found = weekly([whole(1000)] * 6)
    far, near, usual = (judged(whole(n), found) for n in (3_000, 2_000, 1_000))
    assert engine.begins(far, None)
    assert not engine.begins(near, None)
    assert not engine.begins(near, usual)
    assert engine.begins(near, near)
    assert not engine.begins(near, judged(0, found))


# --- what caused it -------------------------------------------------------------------------------
def test_the_value_that_most_of_the_deviation_is_of_is_named() -> None:
    found = engine.cause(
        Direction.SPIKE,
        {"region": {"eu": 900, "us": 210}, "model": {"small": 610, "large": 500}},
        {
            "region": {"eu": [100, 100, 120], "us": [200, 200, 190]},
            "model": {"small": [150, 150, 150], "large": [150, 150, 150]},
        },
    )
    assert found == engine.Cause("region", "eu", Fraction(800, 810))


def test_a_drop_is_of_what_is_missing_also_where_there_is_no_value() -> None:
    found = engine.cause(
        Direction.DROP, {"key": {"a": 100}}, {"key": {"a": [100, 100], None: [50, 50]}}
    )
    assert found == engine.Cause("key", None, Fraction(1))


def test_a_dimension_with_one_value_says_nothing() -> None:
    assert engine.cause(Direction.SPIKE, {"region": {"eu": 9}}, {"region": {"eu": [1]}}) is None


@given(
    st.dictionaries(st.sampled_from("abcde"), COUNTS),
    st.dictionaries(st.sampled_from("abcde"), st.lists(COUNTS, min_size=1, max_size=5)),
    st.sampled_from(Direction),
)
def test_a_share_is_of_one_and_at_least_an_equal_one(
    seen: dict[str | None, int], usual: dict[str | None, list[int]], direction: Direction
) -> None:
    found = engine.cause(direction, {"d": seen}, {"d": usual})
    if found is not None:
        assert Fraction(1, len(seen.keys() | usual.keys())) <= found.share <= 1
