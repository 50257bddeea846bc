from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.aggregation import Aggregation, Reading, aggregate
from apps.engine.decimals import NotADecimal
from apps.engine.period import Period

NOON = datetime(2024, 1, 20, 12, tzinfo=UTC)

READINGS = st.lists(
    st.builds(
        Reading,
        at=st.integers(0, 5).map(lambda s: NOON + timedelta(seconds=s)),
        value=st.none() | st.decimals(-1000, 1000, places=3),
        text=st.none() | st.sampled_from(["a", "b", "A", ""]),
        tie=st.integers(0, 1000),
    ),
    unique_by=lambda reading: reading.tie,
    max_size=20,
)


def reading(value: str | None, second: int = 0, tie: int = 0) -> Reading:
    number = None if value is None else Decimal(value)
    return Reading(NOON + timedelta(seconds=second), number, value, tie)


@pytest.mark.parametrize("kind", Aggregation)
def test_an_empty_window_is_zero(kind: Aggregation) -> None:
    assert aggregate(kind, []) == 0


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("count", "4"), ("sum", "12.7"), ("max", "8.2"), ("unique_count", "2"), ("latest", "4.5")],
)
def test_an_event_without_the_value_counts_and_adds_nothing(kind: str, expected: str) -> None:
    readings = [reading("8.2"), reading("4.5", 1), reading(None, 2), reading(None, 3)]
    assert aggregate(Aggregation(kind), readings) == Decimal(expected)


def test_the_latest_goes_by_event_time_and_not_by_arrival() -> None:
    assert aggregate(Aggregation.LATEST, [reading("9", 5), reading("1", 1)]) == 9


def test_of_two_values_at_one_instant_the_larger_tie_is_the_latest() -> None:
    assert aggregate(Aggregation.LATEST, [reading("5", 0, 2), reading("10", 0, 1)]) == 5


def test_the_maximum_of_negative_values_is_negative() -> None:
    assert aggregate(Aggregation.MAX, [reading("-5"), reading("-2")]) == -2


def test_a_sum_does_not_lose_the_small_part_of_a_large_number() -> None:
    big, small = "1" + "0" * 30, "0.000000000001"
    total = aggregate(Aggregation.SUM, [reading(big), reading(small)])
    assert Fraction(total) == Fraction(big) + Fraction(small)


def test_texts_are_compared_as_they_are() -> None:
    readings = [Reading(NOON, None, text) for text in ("1", "1.0", "a", "A", "a", None)]
    assert aggregate(Aggregation.UNIQUE_COUNT, readings) == 4


def test_a_value_that_is_no_number_cannot_be_a_reading() -> None:
    with pytest.raises(NotADecimal):
        Reading(NOON, Decimal("NaN"))


@given(READINGS)
def test_every_aggregation_agrees_with_its_definition(readings: list[Reading]) -> None:
    numbers = [Fraction(r.value) for r in readings if r.value is not None]
    assert aggregate(Aggregation.COUNT, readings) == len(readings)
    assert Fraction(aggregate(Aggregation.SUM, readings)) == sum(numbers)
    assert Fraction(aggregate(Aggregation.MAX, readings)) == max(numbers, default=0)
    assert aggregate(Aggregation.UNIQUE_COUNT, readings) == len({r.text for r in readings} - {None})
    latest: Reading | None = None
    for r in readings:
        if r.value is not None and (latest is None or (r.at, r.tie) > (latest.at, latest.tie)):
            latest = r
    expected = 0 if latest is None else latest.value
    assert aggregate(Aggregation.LATEST, readings) == expected


@given(READINGS, st.randoms())
def test_the_order_of_arrival_never_matters(readings: list[Reading], random: object) -> None:
    shuffled = list(readings)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    window = Period(NOON, NOON + timedelta(seconds=4))
    for kind in Aggregation:
        one, other = (aggregate(kind, some, during=window) for some in (readings, shuffled))
        assert one == other
