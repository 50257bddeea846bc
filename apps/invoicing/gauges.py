"""What the meters of a subscription counted so far, against what is included, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from apps.engine.invoice import Window
from apps.engine.period import Period
from apps.invoicing.composition import usage_lines, wants_of
from apps.invoicing.document import Line
from apps.subscriptions.selectors import SubscriptionFacts
from apps.usage import selectors as usage
from apps.usage.filtering import Document
from apps.usage.selectors import Want


@dataclass(frozen=True, slots=True)
class Gauge:
    """A meter against what is included. `amount` is in minor units; None where usage is free.

    `filter` tells which of the meter's events the price takes; {} all of them.
    """

    key: str
    meter: str
    name: str
    unit: str
    quantity: Decimal
    included: Decimal
    amount: int | None
    event_count: int
    filter: Document = field(default_factory=dict, hash=False)

    def want(self, period: Period) -> Want:
        """Return what counts this gauge's part of the meter in a period."""
        return Want.filtered(self.meter, period.start, period.end, self.filter)

    @property
    def over(self) -> Decimal:
        """What lies above the included quantity."""
        return max(Decimal(0), self.quantity - self.included)

    @property
    def left(self) -> Decimal:
        """What is left of the included quantity."""
        return max(Decimal(0), self.included - self.quantity)


def gauges(facts: SubscriptionFacts, period: Period) -> list[Gauge]:
    """Return what the meters counted in a billing period or in the trial."""
    cycle = facts.agreement.cycle
    if period.start >= cycle.anchor:
        lines = usage_lines(facts, cycle.index_at(period.start) + 1)
        return [gauge_of_line(line) for line in lines]
    return _free(facts, period)


def gauge_of_line(line: Line) -> Gauge:
    """Return the gauge of a metered line."""
    told = line.explanation
    return Gauge(
        key=line.key,
        meter=str(told["meter"]),
        name=line.name,
        unit=str(told["unit"]),
        quantity=line.quantity,
        included=Decimal(str(told["included"])),
        amount=line.amount,
        event_count=int(told["usage"]["event_count"]),
        filter=told["usage"].get("filter", {}),
    )


def _free(facts: SubscriptionFacts, period: Period) -> list[Gauge]:
    """Return the gauges of a trial: its usage is counted and costs nothing."""
    metered = [item for item in facts.standing if item.item.meter is not None]
    wants = wants_of(facts, [Window(i.id, str(i.item.meter), period) for i in metered])
    measured = usage.measure(facts.organization_id, wants)
    return [
        Gauge(
            key=item.item.key,
            meter=str(item.item.meter),
            name=item.price.name,
            unit=item.price.unit,
            quantity=one.quantity,
            included=item.item.included,
            amount=None,
            event_count=one.event_count,
            filter=one.filter,
        )
        for item, one in zip(metered, measured, strict=True)
    ]
