"""What pages show of a subscription: its period, its gauges, what it comes to so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from apps.engine.period import Period
from apps.invoicing.document import Document
from apps.invoicing.gauges import Gauge, gauge_of_line, gauges
from apps.plans.selectors import VersionTerms
from apps.subscriptions import states
from apps.subscriptions.selectors import ItemFacts, SubscriptionFacts

if TYPE_CHECKING:
    pass

STARTING = "starting"
PAUSING = "pausing"


@dataclass(frozen=True, slots=True)
class Standing:
    """A subscription now: the period under way, its gauges, and the invoice to come."""

    facts: SubscriptionFacts
    period: Period
    gauges: tuple[Gauge, ...]
    upcoming: Document | None
    seats: tuple[tuple[ItemFacts, Decimal], ...]
    trial_days_left: int | None
    status: str

    @property
    def cost_so_far(self) -> int:
        """What the usage of the period comes to, in minor units."""
        return sum(gauge.amount or 0 for gauge in self.gauges)

    @property
    def has_cost(self) -> bool:
        """Whether usage costs anything in this period: not in a trial, not before the start."""
        charged = any(gauge.amount is not None for gauge in self.gauges)
        return charged and self.status != STARTING


def standings(
    every: Sequence[SubscriptionFacts], upcoming: Mapping[int, Document], *, at: datetime
) -> list[Standing]:
    """Return subscriptions as they stand at `at`, with their next invoices by integer id."""
    return [_standing(facts, upcoming.get(facts.id), at) for facts in every]


def _standing(facts: SubscriptionFacts, upcoming: Document | None, at: datetime) -> Standing:
    period = facts.current_period(at)
    return Standing(
        facts=facts,
        period=period,
        gauges=tuple(_gauges_now(facts, period, upcoming)),
        upcoming=upcoming,
        seats=tuple(quantities(facts, at)),
        trial_days_left=_days_left(facts, at),
        status=status_of(facts, at),
    )


def licensed(facts: SubscriptionFacts) -> list[ItemFacts]:
    """Return the items whose quantity is bought."""
    return [item for item in facts.standing if item.price.type == "licensed"]


def quantities(facts: SubscriptionFacts, at: datetime) -> Iterator[tuple[ItemFacts, Decimal]]:
    """Yield what is bought of each licensed item, or will be when the subscription starts."""
    moment = max(at, facts.started_at)
    for item in licensed(facts):
        yield item, item.item.quantity_at(moment)


def add_ons(facts: SubscriptionFacts, at: datetime) -> list[VersionTerms]:
    """Return the add-ons in force, each once."""
    base = facts.phase(at).version.version_id
    held = {one.version.version_id: one.version for one in facts.items_at(at)}
    return [version for version_id, version in held.items() if version_id != base]


def status_of(facts: SubscriptionFacts, at: datetime) -> str:
    """Return the status as a customer sees it: that it is to end, or to start, comes first."""
    if facts.cancel_at is not None and facts.is_live:
        return "canceling"
    if facts.is_live and starts_later(facts, at):
        return STARTING
    if facts.pause_at is not None and facts.status in states.BILLED:
        return PAUSING
    return facts.status


def starts_later(facts: SubscriptionFacts, at: datetime) -> bool:
    """Tell whether the subscription has not begun: nothing can be changed but to call it off."""
    return at < facts.started_at


def _days_left(facts: SubscriptionFacts, at: datetime) -> int | None:
    if facts.status != "trialing" or facts.trial_end is None or starts_later(facts, at):
        return None
    return max(0, -((at - facts.trial_end).days))


def _gauges_now(
    facts: SubscriptionFacts, period: Period, upcoming: Document | None
) -> Sequence[Gauge]:
    """Read the invoice to come where it covers the period: then nothing is measured twice."""
    found = [line for line in upcoming.lines if line.reason == "usage"] if upcoming else []
    if found and all(line.period == period for line in found):
        return [gauge_of_line(line) for line in found]
    return gauges(facts, period)
