from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.calendar import (
    Cycle,
    Interval,
    Unit,
    UnknownTimezone,
    anniversary_cycle,
    calendar_cycle,
    calendar_start,
    local_date,
    usage_reset,
    whole_intervals,
)
from tests.engine import oracle
from tests.engine.strategies import MOMENTS

MONTH = Interval(Unit.MONTH)
DAY = Interval(Unit.DAY)
ZONES = sorted(available_timezones())
ODD_ZONES = [
    "Africa/Cairo", "America/Asuncion", "America/Havana", "America/Nuuk", "America/Sao_Paulo",
    "Antarctica/Troll", "Asia/Beirut", "Asia/Kathmandu", "Australia/Lord_Howe", "Europe/Dublin",
    "Pacific/Apia", "Pacific/Chatham", "Pacific/Kwajalein", "Africa/Monrovia", "UTC",
]  # fmt: skip


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def dates(cycle: Cycle, ks: range) -> list[str]:
    return [f"{cycle.boundary(k):%Y-%m-%d}" for k in ks]


def test_the_thirty_first_comes_back_after_february() -> None:
    cycle = Cycle(at("2023-01-31T00:00:00Z"), MONTH, "UTC")
    assert dates(cycle, range(5)) == [
        "2023-01-31", "2023-02-28", "2023-03-31", "2023-04-30", "2023-05-31",
    ]  # fmt: skip


def test_a_leap_day_comes_back_every_four_years() -> None:
    cycle = Cycle(at("2024-02-29T00:00:00Z"), Interval(Unit.YEAR), "UTC")
    assert dates(cycle, range(5)) == [
        "2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29",
    ]  # fmt: skip


def test_boundaries_before_the_anchor_lie_on_the_same_grid() -> None:
    cycle = Cycle(at("2023-03-31T00:00:00Z"), Interval(Unit.QUARTER), "UTC")
    assert dates(cycle, range(-2, 2)) == ["2022-09-30", "2022-12-31", "2023-03-31", "2023-06-30"]


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (Interval(Unit.DAY, 10), "2024-03-20"),
        (Interval(Unit.WEEK, 2), "2024-03-24"),
        (Interval(Unit.MONTH, 6), "2024-09-10"),
        (Interval(Unit.QUARTER), "2024-06-10"),
        (Interval(Unit.YEAR, 2), "2026-03-10"),
    ],
)
def test_every_unit_counts(interval: Interval, expected: str) -> None:
    assert f"{Cycle(at('2024-03-10T00:00:00Z'), interval, 'UTC').boundary(1):%Y-%m-%d}" == expected


def test_local_midnight_stays_midnight_across_clock_changes() -> None:
    cycle = Cycle(at("2023-11-01T00:00:00-04:00"), MONTH, "America/New_York")
    assert cycle.boundary(1) == at("2023-12-01T00:00:00-05:00")
    assert cycle.boundary(5) == at("2024-04-01T00:00:00-04:00")


def test_a_skipped_clock_time_moves_forward_by_the_gap() -> None:
    cycle = Cycle(at("2025-02-28T02:30:00+01:00"), Interval(Unit.DAY, 30), "Europe/Berlin")
    assert cycle.boundary(1) == at("2025-03-30T03:30:00+02:00")


def test_a_doubled_clock_time_means_the_first() -> None:
    cycle = Cycle(at("2025-09-26T02:30:00+02:00"), MONTH, "Europe/Berlin")
    assert cycle.boundary(1) == at("2025-10-26T02:30:00+02:00")


def test_an_anchor_at_the_second_of_two_equal_clock_times_stays_there() -> None:
    anchor = at("2025-10-26T02:30:00+01:00")
    cycle = Cycle(anchor, MONTH, "Europe/Berlin")
    assert cycle.boundary(0) == anchor
    assert cycle.index_at(anchor) == 0
    assert cycle.index_at(anchor - timedelta(microseconds=1)) == -1


def test_a_day_that_a_zone_skipped_shares_the_day_after() -> None:
    cycle = Cycle(at("2011-12-28T00:00:00-10:00"), DAY, "Pacific/Apia")
    midnight = [cycle.boundary(k) for k in range(1, 5)]
    assert midnight == [
        at("2011-12-29T00:00:00-10:00"),
        at("2011-12-29T12:00:00-10:00"),
        at("2011-12-31T00:00:00+14:00"),
        at("2012-01-01T00:00:00+14:00"),
    ]


def test_an_unknown_zone_is_refused() -> None:
    for name in ("Mars/Olympus", "", "../etc/passwd", "America", "europe/berlin"):
        with pytest.raises(UnknownTimezone):
            Cycle(at("2023-11-01T00:00:00Z"), MONTH, name)


def test_an_interval_counts_at_least_one() -> None:
    for count in (0, -1, True):
        with pytest.raises(ValueError, match="at least one"):
            Interval(Unit.MONTH, count)
    with pytest.raises(ValueError, match="fortnight"):
        Interval("fortnight")  # type: ignore[arg-type]


def test_a_naive_anchor_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        Cycle(datetime(2023, 11, 1), MONTH, "UTC")  # noqa: DTZ001


def test_boundaries_between_include_the_start_and_not_the_end() -> None:
    cycle = Cycle(at("2023-11-01T00:00:00Z"), MONTH, "UTC")
    found = cycle.boundaries_between(at("2023-12-01T00:00:00Z"), at("2024-03-01T00:00:00Z"))
    assert [f"{b:%m-%d}" for b in found] == ["12-01", "01-01", "02-01"]
    assert cycle.boundaries_between(at("2023-12-02T00:00:00Z"), at("2023-12-31T00:00:00Z")) == []


def test_a_half_year_is_six_months() -> None:
    assert Interval.of("half_year", 2) == Interval(Unit.MONTH, 12)
    assert Interval.of("week") == Interval(Unit.WEEK)
    for name, count in (("half_year", 0), ("fortnight", 1)):
        with pytest.raises(ValueError, match=r"at least one|fortnight"):
            Interval.of(name, count)


def test_the_boundaries_either_side_of_a_moment() -> None:
    cycle = Cycle(at("2024-01-01T00:00:00Z"), DAY, "UTC")
    on, noon = at("2024-01-05T00:00:00Z"), at("2024-01-05T12:00:00Z")
    assert cycle.next_after(on) == at("2024-01-06T00:00:00Z")
    assert cycle.next_after(on, inclusive=True) == on
    assert cycle.last_before(on) == at("2024-01-04T00:00:00Z")
    assert cycle.last_before(on, inclusive=True) == on
    for inclusive in (True, False):
        assert cycle.next_after(noon, inclusive=inclusive) == at("2024-01-06T00:00:00Z")
        assert cycle.last_before(noon, inclusive=inclusive) == on


def test_a_start_off_the_grid_has_a_stub_first() -> None:
    cycle, start = Cycle(at("2024-03-01T00:00:00Z"), MONTH, "UTC"), at("2024-02-16T00:00:00Z")
    stub = cycle.period_at(at("2024-02-20T00:00:00Z"), since=start)
    assert (stub.start, stub.end) == (start, at("2024-03-01T00:00:00Z"))
    later = at("2024-03-20T00:00:00Z")
    assert cycle.period_at(later, since=start) == cycle.period_at(later) == cycle.period(0)
    with pytest.raises(ValueError, match="before the first period"):
        cycle.period_at(start - timedelta(seconds=1), since=start)


@pytest.mark.parametrize("zone", ODD_ZONES)
def test_calendar_days_start_at_the_first_instant_of_a_local_day(zone: str) -> None:
    day = calendar_start(at("2019-07-17T13:37:00Z"), DAY, zone)
    assert local_date(day, ZoneInfo(zone)) == local_date(at("2019-07-17T13:37:00Z"), ZoneInfo(zone))
    before = day - timedelta(microseconds=1)
    assert local_date(before, ZoneInfo(zone)) != local_date(day, ZoneInfo(zone))


def test_the_calendar_starts_weeks_on_mondays_and_quarters_in_january() -> None:
    found = calendar_cycle(Interval(Unit.WEEK), "UTC").boundaries_between(
        at("1999-12-20T00:00:00Z"), at("2000-02-01T00:00:00Z")
    )
    assert all(moment.weekday() == 0 for moment in found)
    half_years = calendar_cycle(Interval.of("half_year"), "UTC")
    assert dates(half_years, range(-2, 2)) == [
        "2000-01-01", "2000-07-01", "2001-01-01", "2001-07-01",
    ]  # fmt: skip


def test_an_anniversary_in_whole_days_starts_at_local_midnight() -> None:
    start = at("2021-02-02T00:00:00Z")
    cycle = anniversary_cycle(start, Interval(Unit.YEAR), "America/New_York")
    assert cycle.anchor == at("2021-02-01T05:00:00Z")
    assert cycle.boundary(1) == at("2022-02-01T05:00:00Z")


def test_whole_intervals_are_counted_from_the_start() -> None:
    start = date(2012, 7, 16)
    assert whole_intervals(start, date(2012, 9, 15), MONTH) == 1
    assert whole_intervals(start, date(2012, 9, 16), MONTH) == 2
    assert whole_intervals(start, date(2012, 9, 13), Interval(Unit.DAY, 30)) == 1
    assert whole_intervals(start, date(2012, 7, 30), Interval(Unit.WEEK)) == 2
    assert whole_intervals(start, date(2012, 7, 1), MONTH) == 0
    assert whole_intervals(date(2017, 1, 31), date(2017, 4, 30), MONTH) == 3


def test_an_allowance_starts_anew_no_later_than_the_subscription_ends() -> None:
    start = at("2024-01-05T00:00:00Z")
    cycle, used = Cycle(start, MONTH, "UTC"), at("2024-02-20T08:00:00Z")
    assert usage_reset(cycle, used, since=start) == at("2024-03-05T00:00:00Z")
    end = at("2024-02-29T12:00:00Z")
    assert usage_reset(cycle, used, since=start, until=end) == end
    with pytest.raises(ValueError, match="before the subscription starts"):
        usage_reset(cycle, start - timedelta(seconds=1), since=start)


WALLS = [
    "2023-01-31T00:00", "2015-10-30T00:00", "2010-08-29T00:00", "2019-03-29T02:30",
    "2017-08-15T02:30", "2022-10-31T23:59:59.999999", "2011-11-30T00:00", "1993-07-21T00:00",
    "1994-11-30T12:00",
]  # fmt: skip


def anchors(zone: str) -> list[Cycle]:
    """The awkward starts: month ends, midnights, 02:30, and the dates that whole zones skipped."""
    local = ZoneInfo(zone)
    return [
        Cycle(datetime.fromisoformat(wall).replace(tzinfo=local), MONTH, zone) for wall in WALLS
    ]


def test_the_months_of_every_zone_tile_time() -> None:
    """Three years from each awkward start, in every zone that there is."""
    for zone in ZONES:
        for cycle in anchors(zone):
            found = [cycle.boundary(k) for k in range(-1, 36)]
            assert found == sorted(set(found)), (zone, cycle)
            for k in (0, 8, 33):
                assert cycle.period(k).end == cycle.period(k + 1).start
                assert cycle.index_at(found[k + 1]) == k
                assert cycle.index_at(found[k + 2] - timedelta(microseconds=1)) == k


@pytest.mark.parametrize("zone", ODD_ZONES)
@pytest.mark.parametrize(
    "start", ["2011-12-20T00:00:00Z", "2011-12-20T10:00:00Z", "1993-08-15T12:00:00Z",
              "2018-10-20T03:00:00Z", "2019-03-28T02:30:00Z", "1994-12-25T15:30:00Z"],
)  # fmt: skip
def test_days_tile_time_where_clocks_are_at_their_oddest(zone: str, start: str) -> None:
    cycle = Cycle(at(start), DAY, zone)
    found = [cycle.boundary(k) for k in range(-5, 60)]
    assert found == sorted(set(found))
    assert [cycle.index_at(moment) for moment in found] == list(range(-5, 60))


def test_days_tile_time_in_every_zone_across_the_date_line_jumps() -> None:
    for zone in ZONES:
        for start in ("2011-12-27T10:00:00Z", "1993-08-19T12:00:00Z", "1994-12-29T10:00:00Z"):
            found = [Cycle(at(start), DAY, zone).boundary(k) for k in range(8)]
            assert found == sorted(set(found)), zone


@given(
    MOMENTS,
    st.sampled_from(ZONES),
    st.integers(1, 40),
)
def test_a_month_boundary_agrees_with_walking_there(
    anchor: datetime, zone: str, months: int
) -> None:
    cycle = Cycle(anchor, MONTH, zone)
    wall = oracle.months_later(oracle.wall_clock(anchor, zone), months)
    assert cycle.boundary(months) == oracle.first_instant(wall, zone)


@given(
    MOMENTS,
    MOMENTS,
    st.builds(Interval, st.sampled_from(Unit), st.integers(1, 5)),
    st.sampled_from(ZONES),
)
def test_every_moment_lies_in_exactly_the_period_it_is_told(
    anchor: datetime, moment: datetime, interval: Interval, zone: str
) -> None:
    cycle = Cycle(anchor, interval, zone)
    k = cycle.index_at(moment)
    assert cycle.period(k).contains(moment)
    assert not cycle.period(k - 1).contains(moment)
    assert not cycle.period(k + 1).contains(moment)
