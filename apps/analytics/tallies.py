"""What one price counts in one period of somebody's events, by the engine's own aggregation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from apps.analytics.offered import Gauge
from apps.engine.aggregation import Aggregation, Reading, aggregate
from apps.engine.consumption import Consumed, total_of
from apps.engine.decimals import ZERO, plain
from apps.engine.invoice import Measured
from apps.engine.period import Period
from apps.engine.price_rules import QuantityRounding, finite, round_quantity
from apps.usage.checking import PLACES, number_of, value_at

FOLDED_AT = 4096
QUOTIENTS = (Aggregation.AVG, Aggregation.WEIGHTED_SUM)


@dataclass(slots=True)
class Tally:
    """The readings of a meter in one period; where a few say the same as many, it keeps a few.

    `by_event` keeps every value, for a price that charges event by event.
    """

    gauge: Gauge
    by_event: bool = False
    events: int = 0
    _readings: list[Reading] = field(default_factory=list)
    _texts: set[str] = field(default_factory=set)

    def take(self, at: datetime, data: Mapping[str, object]) -> None:
        """Count an event that the meter and the price let pass."""
        self.events += 1
        found, value = value_at(data, self.gauge.path) if self.gauge.path else (False, None)
        if self.gauge.aggregation is Aggregation.UNIQUE_COUNT:
            text = text_of(value)
            if found and text is not None:
                self._texts.add(text)
            return
        number = number_of(value) if found else None
        if number is not None:
            self._readings.append(Reading(at, number, tie=self.events))
            self._fold()

    def sum(self) -> Decimal:
        """Return the exact sum of the values: what a level goes up by."""
        return total_of(one.value for one in self._readings if one.value is not None)

    def measured(self, during: Period, level: Decimal = ZERO) -> Measured:
        """Return the quantity of the period; a weighted sum starts from `level`."""
        quantity = self._quantity(during, level)
        consumed = None
        if self.by_event:
            ordered = sorted(self._readings, key=lambda one: (one.at, one.tie))
            values = tuple(one.value for one in ordered if one.value is not None)
            consumed = Consumed(quantity, events=values)
        return Measured(quantity, self.events, {}, consumed)

    def _quantity(self, during: Period, level: Decimal) -> Decimal:
        kind = self.gauge.aggregation
        if kind is Aggregation.COUNT:
            return Decimal(self.events)
        if kind is Aggregation.UNIQUE_COUNT:
            return Decimal(len(self._texts))
        exact = aggregate(kind, self._readings, during=during, level=level)
        if kind in QUOTIENTS:
            exact = round_quantity(exact, QuantityRounding.HALF_UP, PLACES)
        return Decimal(plain(finite(exact)))

    def _fold(self) -> None:
        """Put one reading in the place of many that come to it."""
        if self.by_event or len(self._readings) < FOLDED_AT:
            return
        kind, last = self.gauge.aggregation, self._readings[-1]
        if kind is Aggregation.LATEST:
            self._readings = [max(self._readings, key=lambda one: (one.at, one.tie))]
        elif kind is Aggregation.SUM:
            self._readings = [Reading(last.at, self.sum(), tie=last.tie)]
        elif kind in (Aggregation.MAX, Aggregation.MIN):
            value = finite(aggregate(kind, self._readings))
            self._readings = [Reading(last.at, value, tie=last.tie)]


def text_of(value: object) -> str | None:
    """Return a value of an event's data as filters and unique counts compare it: as JSON prints it.

    What is no text, number or truth value has none.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, str | int):
        return str(value)
    return None
