"""What a meter makes of its events: the reference that the database's sums are held against."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from apps.engine.decimals import decimal_of
from apps.engine.period import Period, micros_between

NOTHING = Fraction(0)


class Aggregation(StrEnum):
    """How a meter turns events into one quantity."""

    COUNT = "count"
    SUM = "sum"
    MAX = "max"
    MIN = "min"
    AVG = "avg"
    UNIQUE_COUNT = "unique_count"
    LATEST = "latest"
    WEIGHTED_SUM = "weighted_sum"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one event says to one meter.

    `value` is the number at the meter's path and `text` the same as text (for unique_count); both
    None when the event has none. `tie` orders events of the same instant: the larger came later.
    `removes` takes the text out of what unique_count counts, from that instant on.
    """

    at: datetime
    value: Decimal | None = None
    text: str | None = None
    tie: int = 0
    removes: bool = False

    def __post_init__(self) -> None:
        if self.value is not None:
            decimal_of(self.value)


def aggregate(
    kind: Aggregation,
    readings: Iterable[Reading],
    *,
    during: Period | None = None,
    level: Decimal | Fraction = NOTHING,
) -> Fraction:
    """One exact quantity from the readings of a window; an empty window gives 0.

    An event without the value counts for `count` and adds nothing to the others. `max`, `min`,
    `avg` and `latest` may be negative; `unique_count` compares texts as they are and counts those
    not removed at the end; `latest` goes by event time, then by `tie`, never by the order of
    arrival. `weighted_sum` needs the window: each value changes the `level` carried over into it,
    and the answer is the mean level over its time. Raises ValueError without it.
    """
    readings = list(readings)
    if kind is Aggregation.WEIGHTED_SUM:
        return _mean_level(readings, during, Fraction(level))
    if kind is Aggregation.UNIQUE_COUNT:
        return Fraction(len(active_texts(readings)))
    if kind is Aggregation.COUNT:
        return Fraction(len(readings))
    if kind is Aggregation.LATEST:
        return _latest(readings)
    return _of_values(kind, [Fraction(r.value) for r in readings if r.value is not None])


def in_order(readings: Iterable[Reading]) -> list[Reading]:
    """Readings by event time, then by `tie`."""
    return sorted(readings, key=lambda reading: (reading.at, reading.tie))


def active_texts(readings: Iterable[Reading]) -> frozenset[str]:
    """The texts that were added and not removed since."""
    active: set[str] = set()
    for reading in in_order(readings):
        if reading.text is not None:
            (active.discard if reading.removes else active.add)(reading.text)
    return frozenset(active)


def level_time(
    readings: Iterable[Reading], during: Period, level: Decimal | Fraction = NOTHING
) -> Fraction:
    """The level, summed over the window's time: units × microseconds.

    Every value changes the level by itself, from its instant on; what lies outside is ignored.
    """
    inside = [r for r in readings if r.value is not None and during.contains(r.at)]
    area = Fraction(level) * during.duration_micros
    for reading in inside:
        area += Fraction(reading.value or 0) * micros_between(reading.at, during.end)
    return area


def _mean_level(readings: list[Reading], during: Period | None, level: Fraction) -> Fraction:
    if during is not None:
        return level_time(readings, during, level) / during.duration_micros
    if readings:
        raise ValueError("a weighted sum is taken over a window")
    return level


def _of_values(kind: Aggregation, values: list[Fraction]) -> Fraction:
    if not values:
        return NOTHING
    match kind:
        case Aggregation.SUM:
            return sum(values, NOTHING)
        case Aggregation.MAX:
            return max(values)
        case Aggregation.MIN:
            return min(values)
        case Aggregation.AVG:
            return sum(values, NOTHING) / len(values)
        case _:
            raise ValueError(f"{kind} is not taken of values alone")


def _latest(readings: list[Reading]) -> Fraction:
    valued = (r.value for r in reversed(in_order(readings)) if r.value is not None)
    return Fraction(next(valued, NOTHING))
