from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.calendar import Cycle, Interval, Unit
from apps.engine.grid import Grid, Lap, Stretch, join
from apps.engine.period import Period

MONTH, YEAR = Interval(Unit.MONTH), Interval(Unit.YEAR)


def on(month: int, day: int, *, year: int = 2026) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


def cycle(anchor: datetime, interval: Interval = MONTH) -> Cycle:
    return Cycle(anchor, interval, "UTC")


MONTHLY = cycle(on(1, 1))


def test_one_cycle_is_its_own_grid() -> None:
    grid = Grid.of(MONTHLY)
    assert [grid.boundary(k) for k in (-1, 0, 1)] == [on(12, 1, year=2025), on(1, 1), on(2, 1)]
    assert grid.lap(1) == Lap(on(2, 1), on(3, 1), Period(on(2, 1), on(3, 1)))
    assert grid.index_at(on(2, 28)) == 1


def test_a_new_cycle_is_counted_on() -> None:
    grid = Grid((Stretch(MONTHLY, on(1, 1), on(2, 15)), Stretch(cycle(on(2, 15)), on(2, 15))))
    assert [grid.boundary(k) for k in range(4)] == [on(1, 1), on(2, 1), on(2, 15), on(3, 15)]
    # The lap that the new cycle cut short was billed for all of February.
    assert grid.lap(1) == Lap(on(2, 1), on(2, 15), Period(on(2, 1), on(3, 1)))


def test_an_interval_that_changes_at_a_boundary_leaves_no_boundary_twice() -> None:
    yearly = Stretch(cycle(on(3, 1), YEAR), on(3, 1))
    grid = Grid((Stretch(MONTHLY, on(1, 1), on(3, 1)), yearly))
    assert [grid.boundary(k) for k in range(4)] == [
        on(1, 1), on(2, 1), on(3, 1), on(3, 1, year=2027),
    ]  # fmt: skip


def test_a_pause_closes_and_opens() -> None:
    grid = Grid((Stretch(MONTHLY, on(1, 1), on(2, 10)), Stretch(MONTHLY, on(4, 20))))
    marks = [grid.boundary(k) for k in range(5)]
    assert marks == [on(1, 1), on(2, 1), on(2, 10), on(4, 20), on(5, 1)]
    assert grid.lap(2) is None
    assert grid.lap(3) == Lap(on(4, 20), on(5, 1), Period(on(4, 1), on(5, 1)))
    assert [grid.index_at(moment) for moment in (on(3, 1), on(4, 20))] == [2, 3]


def test_after_the_end_instants_go_on_and_nothing_opens() -> None:
    grid = Grid((Stretch(MONTHLY, on(1, 1), on(2, 10)),))
    assert [grid.boundary(k) for k in (2, 3, 4)] == [on(2, 10), on(4, 1), on(5, 1)]
    assert (grid.lap(2), grid.lap(3)) == (None, None)
    assert grid.index_at(on(4, 10)) == 3


def test_neighbours_of_one_cycle_are_one_stretch() -> None:
    halves = (Stretch(MONTHLY, on(1, 1), on(1, 20)), Stretch(MONTHLY, on(1, 20)))
    assert join(halves) == (Stretch(MONTHLY, on(1, 1)),)
    apart = (Stretch(MONTHLY, on(1, 1), on(1, 20)), Stretch(MONTHLY, on(1, 21)))
    assert join(apart) == apart


def test_stretches_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a stretch"):
        Grid(())
    with pytest.raises(ValueError, match="has ended"):
        Grid((Stretch(MONTHLY, on(1, 1)), Stretch(MONTHLY, on(2, 1))))
    with pytest.raises(ValueError, match="after it starts"):
        Stretch(MONTHLY, on(2, 1), on(2, 1))


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Cycles one after another, some after a pause, some joined on their way."""
    days = sorted(draw(st.sets(st.integers(0, 500), min_size=1, max_size=6)))
    starts = [on(1, 1) + timedelta(days=day) for day in days]
    stretches = []
    for n, start in enumerate(starts):
        anchor = start - timedelta(days=draw(st.integers(0, 40)))
        end = None if n == len(starts) - 1 else starts[n + 1]
        if end is not None and draw(st.booleans()):
            end = start + (end - start) / 2
        interval = draw(st.sampled_from([MONTH, Interval(Unit.WEEK), YEAR]))
        stretches.append(Stretch(cycle(anchor, interval), start, end))
    return Grid(join(stretches))


@given(grids())
def test_boundaries_rise_and_hold_the_moments_between_them(grid: Grid) -> None:
    marks = [grid.boundary(k) for k in range(40)]
    assert marks == sorted(set(marks))
    for k, mark in enumerate(marks[:-1]):
        assert grid.index_at(mark) == k
        lap = grid.lap(k)
        if lap is not None:
            assert lap.start == mark
            assert lap.whole.start <= mark < lap.end <= lap.whole.end
            assert lap.end == marks[k + 1]
