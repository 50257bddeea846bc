from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.agreement import Timing
from apps.engine.billing_day import BillingDay, next_on_grid, on_billing_day
from apps.engine.calendar import Interval, Unit

MONTH, QUARTER, YEAR = (Interval(unit) for unit in (Unit.MONTH, Unit.QUARTER, Unit.YEAR))
INTERVALS = st.builds(Interval, st.sampled_from(Unit), st.integers(1, 4))
DAYS = st.dates(date(2010, 1, 1), date(2030, 1, 1))


def spans(
    day: int, start: str, by: str, end: str | None = None, billed: Timing = Timing.ADVANCE
) -> list[str]:
    parts = BillingDay(day, MONTH).due(
        date.fromisoformat(start),
        end=date.fromisoformat(end) if end else None,
        by=date.fromisoformat(by),
        billed=billed,
    )
    return [f"{part.start:%m-%d} {part.end:%m-%d}" for part in parts]


def test_the_first_boundary_is_the_billing_day_on_or_after_the_start() -> None:
    assert BillingDay(17, MONTH).first(date(2012, 1, 16)) == date(2012, 1, 17)
    assert BillingDay(16, MONTH).first(date(2012, 1, 16)) == date(2012, 1, 16)
    assert BillingDay(30, MONTH).first(date(2012, 2, 16)) == date(2012, 2, 29)
    assert BillingDay(30, MONTH).first(date(2012, 1, 31)) == date(2012, 2, 29)
    assert BillingDay(30, YEAR).first(date(2012, 1, 31)) == date(2013, 1, 30)
    assert BillingDay(14, Interval(Unit.DAY, 30)).first(date(2012, 2, 16)) == date(2012, 2, 16)


def test_a_clamped_billing_day_comes_back() -> None:
    assert spans(31, "2025-01-31", "2025-03-31") == [
        "01-31 02-28",
        "02-28 03-31",
        "03-31 04-30",
    ]


def test_in_advance_bills_a_period_once_its_start_is_reached() -> None:
    assert spans(15, "2012-07-16", "2012-07-16") == ["07-16 08-15"]
    assert spans(15, "2012-07-16", "2012-08-15") == ["07-16 08-15", "08-15 09-15"]
    assert spans(15, "2012-07-16", "2012-08-15", end="2012-08-16") == ["07-16 08-15", "08-15 08-16"]


def test_in_arrears_bills_a_period_once_its_end_is_reached() -> None:
    arrears = Timing.ARREARS
    assert spans(15, "2012-07-16", "2012-08-14", billed=arrears) == []
    assert spans(15, "2012-07-16", "2012-08-15", billed=arrears) == ["07-16 08-15"]
    assert spans(31, "2025-03-31", "2025-05-30", billed=arrears) == ["03-31 04-30"]


def test_an_end_inside_a_period_is_billed_on_its_day_or_with_the_period() -> None:
    arrears = Timing.ARREARS
    assert spans(25, "2012-01-16", "2012-01-19", "2012-01-19", arrears) == ["01-16 01-19"]
    assert spans(25, "2012-01-16", "2012-01-22", "2012-01-19", arrears) == []
    assert spans(25, "2012-01-16", "2012-01-25", "2012-01-19", arrears) == ["01-16 01-19"]


def test_a_last_part_never_costs_more_than_a_period() -> None:
    # From 28 February one interval leads to 28 March, but the period runs on to the 31st.
    parts = BillingDay(31, MONTH).due(
        date(2025, 2, 28), end=date(2025, 3, 30), by=date(2025, 4, 1), billed=Timing.ADVANCE
    )
    assert [part.share for part in parts] == [1]


def test_dates_out_of_order_are_refused() -> None:
    for start, end, by in (
        ("2011-01-30", "2011-03-15", "2011-01-15"),
        ("2011-03-30", "2011-01-15", "2011-04-15"),
        ("2011-04-30", None, "2011-02-15"),
    ):
        with pytest.raises(ValueError, match="not in order"):
            spans(15, start, by, end)


def test_a_billing_day_is_a_day_of_the_month() -> None:
    assert on_billing_day(date(2022, 2, 19), 31) == date(2022, 2, 28)
    for day in (0, 32):
        with pytest.raises(ValueError, match="between 1 and 31"):
            on_billing_day(date(2022, 2, 19), day)


def test_weeks_run_on_from_where_they_were() -> None:
    previous = date(2022, 2, 2)
    fortnight = Interval(Unit.WEEK, 2)
    assert next_on_grid(previous, date(2022, 2, 25), fortnight) == date(2022, 3, 2)
    assert next_on_grid(previous, date(2022, 3, 2), fortnight) == date(2022, 3, 2)
    assert next_on_grid(previous, previous, fortnight) == date(2022, 2, 16)


@given(
    st.integers(1, 31),
    INTERVALS,
    DAYS,
    st.integers(0, 900),
    st.none() | st.integers(0, 900),
    st.sampled_from(Timing),
)
def test_the_parts_tile_what_is_due(
    day: int, every: Interval, start: date, later: int, lasts: int | None, billed: Timing
) -> None:
    by = start + timedelta(days=later)
    end = None if lasts is None else start + timedelta(days=lasts)
    parts = BillingDay(day, every).due(start, end=end, by=by, billed=billed)
    assert all(0 < part.share <= 1 and part.start < part.end for part in parts)
    assert all(one.end == other.start for one, other in pairwise(parts))
    assert all(part.share == 1 for part in parts[1:-1])
    if parts:
        assert parts[0].start == start
        assert end is None or parts[-1].end <= end
        assert parts[-1].end > by or billed is Timing.ARREARS or parts[-1].end == end


@given(st.integers(1, 31), INTERVALS, DAYS, st.integers(0, 900), st.integers(0, 900))
def test_more_time_is_never_due_for_less(
    day: int, every: Interval, start: date, one: int, more: int
) -> None:
    def total(days: int) -> Fraction:
        rule = BillingDay(day, every, places=9)
        by = start + timedelta(days=days)
        parts = rule.due(start, end=None, by=by, billed=Timing.ADVANCE)
        return sum((part.share for part in parts), Fraction(0))

    assert total(one) <= total(one + more)
