"""What a meter makes of its events: the reference that the database's sums are held against."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from apps.engine.decimals import EXACT, ZERO, decimal_of


class Aggregation(StrEnum):
    """How a meter turns events into one quantity."""

    COUNT = "count"
    SUM = "sum"
    MAX = "max"
    UNIQUE_COUNT = "unique_count"
    LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one event says to one meter.

    `value` is the number at the meter's path and `text` the same as text (for unique_count); both
    None when the event has none. `tie` orders events of the same instant: the larger came later.
    """

    at: datetime
    value: Decimal | None = None
    text: str | None = None
    tie: int = 0

    def __post_init__(self) -> None:
        if self.value is not None:
            decimal_of(self.value)


def aggregate(kind: Aggregation, readings: Iterable[Reading]) -> Decimal:
    """One quantity from the readings of a window; an empty window gives 0.

    An event without the value counts for `count` and adds nothing to the others. `max` and
    `latest` may be negative, `unique_count` compares texts as they are, and `latest` goes by event
    time, then by `tie`, never by the order of arrival.
    """
    readings = list(readings)
    match kind:
        case Aggregation.COUNT:
            return Decimal(len(readings))
        case Aggregation.UNIQUE_COUNT:
            return Decimal(len({r.text for r in readings if r.text is not None}))
        case Aggregation.SUM:
            return _sum(_values(readings))
        case Aggregation.MAX:
            return max(_values(readings), default=ZERO)
        case Aggregation.LATEST:
            return _latest(readings)


def _values(readings: list[Reading]) -> list[Decimal]:
    return [r.value for r in readings if r.value is not None]


def _sum(values: list[Decimal]) -> Decimal:
    total = ZERO
    for value in values:
        total = EXACT.add(total, value)
    return total


def _latest(readings: list[Reading]) -> Decimal:
    ordered = sorted(readings, key=lambda r: (r.at, r.tie))
    return next((r.value for r in reversed(ordered) if r.value is not None), ZERO)
