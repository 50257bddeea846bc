from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.aggregation import Aggregation, Reading, aggregate
from apps.engine.calendar import UnknownTimezone
from apps.engine.metering import (
    ByDay,
    EventFilter,
    MeteredEvent,
    Metering,
    WindowSize,
    events_by_day,
    measure,
    measure_groups,
    measure_windows,
    window_of,
    without_duplicates,
)
from apps.engine.period import Period
from apps.engine.price_rules import QuantityRounding

D = Decimal
MARCH = Period(datetime(2023, 3, 1, tzinfo=UTC), datetime(2023, 4, 1, tzinfo=UTC))
TO_FIVE_PLACES = {"rounding": QuantityRounding.UP, "places": 5}


def on(day: int, hour: int = 0, **data: str) -> MeteredEvent:
    return MeteredEvent(MARCH.start + timedelta(days=day - 1, hours=hour), data)


def rule(kind: str, **more: object) -> Metering:
    return Metering(Aggregation(kind), "value", **more)  # type: ignore[arg-type]


def test_only_events_inside_the_window_count_and_its_end_is_outside() -> None:
    events = [on(0), on(1), on(31, 23), on(32)]
    assert measure(rule("count"), events, MARCH).value == 2


def test_what_happened_before_still_stands_where_it_carries_over() -> None:
    events = [on(-40, value="100"), on(3, value="5")]
    assert measure(rule("sum", carries_over=True), events, MARCH).value == 105
    assert measure(rule("sum"), events, MARCH).value == 5


def test_every_included_name_must_match_and_an_exclusion_only_as_a_whole() -> None:
    events = EventFilter(
        {"region": frozenset({"europe"})},
        ({"city": frozenset({"london"}), "country": frozenset({"uk"})}, {"city": frozenset()}),
    )
    assert events.passes({"region": "europe", "city": "london", "country": "ca"})
    assert not events.passes({"region": "europe", "city": "london", "country": "uk"})
    assert not events.passes({"city": "paris"})


def test_a_missing_name_is_a_group_of_its_own() -> None:
    events = [on(1, value="1", agent="frodo"), on(2, value="2"), on(3, value="4", agent="frodo")]
    found = measure_groups(rule("sum"), events, MARCH, ["agent"])
    assert {group: one.value for group, one in found.items()} == {(None,): 2, ("frodo",): 5}


def test_a_group_without_events_keeps_its_level() -> None:
    found = measure_groups(rule("weighted_sum"), [], MARCH, ["agent"], levels={("frodo",): D(7)})
    assert found["frodo",].value == 7


def test_the_later_copy_of_an_event_stands() -> None:
    at = MARCH.start
    events = [MeteredEvent(at, {"value": n}, ("t1",)) for n in ("10", "5")]
    assert [event.data["value"] for event in without_duplicates(events)] == ["5"]
    assert measure(rule("sum"), events, MARCH).value == 5
    assert len(without_duplicates([on(1), on(1)])) == 2


def test_what_is_no_number_adds_nothing_and_is_not_counted() -> None:
    measured = measure(rule("sum"), [on(1, value="1.5"), on(2, value="hello"), on(3)], MARCH)
    assert (measured.value, measured.count) == (Fraction("1.5"), 1)


def test_a_result_below_zero_may_be_clamped() -> None:
    events = [on(1, value="3"), on(2, value="-8")]
    assert measure(rule("latest"), events, MARCH).value == -8
    assert measure(rule("latest", clamp=True), events, MARCH).value == 0


def test_a_mean_and_a_minimum_are_taken_of_the_values_there_are() -> None:
    events = [on(1, value="1"), on(2), on(3, value="2")]
    assert measure(rule("avg"), events, MARCH).value == Fraction(3, 2)
    assert measure(rule("min"), events, MARCH).value == 1


# Levels


def test_a_weighted_sum_is_the_mean_level_over_the_window() -> None:
    events = [on(16, value="20"), on(17, value="10")]
    assert measure(rule("weighted_sum"), events, MARCH).value == Fraction(20 + 15 * 30, 31)


def test_the_level_is_carried_over_into_the_window() -> None:
    events = [on(-9, value="10")]
    assert measure(rule("weighted_sum", carries_over=True), events, MARCH).value == 10
    assert measure(rule("weighted_sum"), [], MARCH, level=D(1000)).value == 1000


def test_a_part_of_a_period_weighs_only_as_much_as_its_days() -> None:
    half = Period(MARCH.start, MARCH.start + timedelta(days=15))
    assert measure(rule("weighted_sum"), [], half, level=D(62), whole_days=31).value == 30


def test_a_weighted_sum_needs_its_window() -> None:
    with pytest.raises(ValueError, match="over a window"):
        aggregate(Aggregation.WEIGHTED_SUM, [Reading(MARCH.start, D(1))])


@given(
    st.lists(st.tuples(st.integers(0, 30), st.decimals(-9, 9, places=1)), max_size=8),
    st.integers(1, 30),
)
def test_the_level_of_two_windows_is_that_of_the_whole(
    changes: list[tuple[int, Decimal]], cut: int
) -> None:
    events = [on(day + 1, value=str(value)) for day, value in changes]
    middle = MARCH.start + timedelta(days=cut)
    first, second = Period(MARCH.start, middle), Period(middle, MARCH.end)
    meter = rule("weighted_sum", carries_over=True)
    parts = [measure(meter, events, part, whole_days=31).value for part in (first, second)]
    assert sum(parts) == measure(meter, events, MARCH).value


# Days


def by_day(kind: str, **more: object) -> Metering:
    return rule(kind, by_day=ByDay(), **more)


def test_an_amount_counts_from_its_day_to_the_end() -> None:
    events = [on(16, value="31")]
    assert measure(by_day("sum"), events, MARCH).value == 16
    assert measure(by_day("sum", **TO_FIVE_PLACES), [on(2, value="1")], MARCH).value == Fraction(
        "0.96775"
    )


def test_the_day_something_comes_and_the_day_it_goes_both_count() -> None:
    events = [on(2, value="a"), on(4, 23, value="a", operation_type="remove")]
    assert measure(by_day("unique_count"), events, MARCH).value == Fraction(3, 31)


def test_coming_and_going_within_a_day_counts_the_day_once() -> None:
    back_and_forth = [
        on(2, hour, value="a", operation_type="remove" if hour % 2 else "add") for hour in range(6)
    ]
    assert measure(by_day("unique_count"), back_and_forth, MARCH).value == Fraction(1, 31)
    assert events_by_day(by_day("unique_count"), back_and_forth, MARCH) == [Fraction(1, 31), 0, 0]


def test_what_was_gone_before_the_period_does_not_count() -> None:
    events = [on(-9, value="a"), on(-5, value="a", operation_type="remove"), on(-3, value="b")]
    assert measure(by_day("unique_count", carries_over=True), events, MARCH).value == 1


def test_a_removed_text_is_not_counted_at_the_end() -> None:
    events = [on(1, value="a"), on(2, value="b"), on(3, value="a", operation_type="remove")]
    assert measure(rule("unique_count"), events, MARCH).value == 1


def test_a_day_is_the_customers_day() -> None:
    late = [on(2, 23, value="31")]
    tokyo = rule("sum", by_day=ByDay(31, "Asia/Tokyo"))
    assert measure(by_day("sum"), late, MARCH).value == 30
    # In Tokyo the event is of the third and the window ends on the first of April.
    assert measure(tokyo, late, MARCH).value == 30
    with pytest.raises(UnknownTimezone):
        ByDay(31, "Mars/Olympus")


def test_a_maximum_does_not_add_up_over_days() -> None:
    with pytest.raises(ValueError, match="does not add up"):
        measure(by_day("max"), [on(1, value="1")], MARCH)


# Windows


def test_windows_have_the_events_of_their_time_and_empty_ones_are_left_out() -> None:
    events = [on(1, value="1"), on(1, 23, value="2"), on(3, value="4")]
    found = measure_windows(rule("sum"), events, MARCH, WindowSize.DAY)
    assert {window.start.day: one.value for window, one in found} == {1: 3, 3: 4}


def test_a_local_day_of_a_clock_change_is_an_hour_shorter_or_longer() -> None:
    spring = window_of(
        datetime(2023, 3, 26, 12, tzinfo=UTC), WindowSize.DAY, zone_name="Europe/Berlin"
    )
    assert spring.end - spring.start == timedelta(hours=23)


@pytest.mark.parametrize(
    ("size", "start", "end"),
    [
        ("minute", "2023-03-15T10:44:00", "2023-03-15T10:45:00"),
        ("hour", "2023-03-15T10:30:00", "2023-03-15T11:30:00"),
        ("day", "2023-03-14T18:30:00", "2023-03-15T18:30:00"),
        ("week", "2023-03-12T18:30:00", "2023-03-19T18:30:00"),
        ("month", "2023-02-28T18:30:00", "2023-03-31T18:30:00"),
    ],
)
def test_windows_begin_on_the_local_clock(size: str, start: str, end: str) -> None:
    moment = datetime(2023, 3, 15, 10, 44, 5, tzinfo=UTC)
    window = window_of(moment, WindowSize(size), zone_name="Asia/Kolkata")
    expected = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, end)]
    assert [window.start, window.end] == expected
