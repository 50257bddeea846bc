"""What the usage of the time under way comes to: measured once, priced as often as is asked.

The amounts are those of the lines that the engine proposes for the boundary ahead, so what is said
of a unit that is not used yet is what it will be billed at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from django.db.models import Sum

from apps.engine.agreement import Item
from apps.engine.decimals import EXACT
from apps.engine.invoice import Measured, Proposal, Reason, Window, propose
from apps.invoicing.composition import (
    Boundary,
    Counts,
    as_usage,
    billed_progressively,
    measure,
)
from apps.invoicing.models import Invoice
from apps.subscriptions.selectors import SubscriptionFacts

Extra = Mapping[str, Decimal]
"""Units beyond those that were counted, by the key of their meter."""
NONE: Extra = {}


@dataclass(frozen=True, slots=True)
class Cost:
    """What usage comes to, in minor units: `amount` as its lines say, `exact` before they round."""

    amount: int
    exact: Fraction


class UsageSoFar:
    """A subscription's usage as it stood when it was measured, up to an instant."""

    def __init__(
        self, facts: SubscriptionFacts, at: datetime, counts: Mapping[int, Counts]
    ) -> None:
        self._facts, self._at, self._counts = facts, at, counts
        self._usage = {k: as_usage(facts, counted) for k, counted in counts.items()}

    @property
    def subscription_id(self) -> int:
        """The subscription's integer id."""
        return self._facts.id

    def cost(self, extra: Extra = NONE) -> Cost:
        """Return what the billing period comes to that holds the instant; a trial to nothing."""
        return _cost(self._lines(max(self._counts), extra)) if self._counts else _cost(())

    def unbilled(self, extra: Extra = NONE) -> int:
        """Return what no invoice says yet, periods that wait to be billed included; minor units."""
        last = max(self._counts, default=0)
        found = 0
        for k, counted in self._counts.items():
            lines = self._lines(k, extra if k == last else NONE)
            billed = billed_progressively((self._facts, k), lines, counted)
            found += _cost(lines).amount - billed
        return found

    def _lines(self, k: int, extra: Extra) -> list[Proposal]:
        usage = dict(self._usage[k])
        for window, measured in self._usage[k].items():
            more = extra.get(window.meter)
            if more and self._takes(window):
                usage[window] = _with(measured, more)
        proposals = propose(self._facts.agreement, k, usage)
        return [line for line in proposals if line.reason is Reason.USAGE]

    def _takes(self, window: Window) -> bool:
        """Whether the item prices one more unit of which nothing but the meter is known."""
        among = priced_by(self._facts, window.meter, self._at)
        return among is not None and among.id == window.item_id


def usage_so_far(
    subscriptions: Sequence[SubscriptionFacts],
    *,
    at: datetime,
    meters: Collection[str] | None = None,
) -> list[UsageSoFar]:
    """Measure the periods under way, and those that wait to be billed, in one statement.

    Only what is priced by one of the `meters`, where they are named.
    """
    metered = [_metered(facts, meters) for facts in subscriptions]
    open_ones = [list(_open(facts, at)) for facts in metered]
    counts = iter(measure([boundary for found in open_ones for boundary in found]))
    return [
        UsageSoFar(facts, at, {k: next(counts) for _, k in found})
        for facts, found in zip(metered, open_ones, strict=True)
    ]


def priced_by(facts: SubscriptionFacts, meter: str, at: datetime) -> Item | None:
    """Return the item in force that prices a unit of the meter of which no more is known.

    Of several prices on a meter that is the one without filters; None when all of them have some.
    """
    among = [one.item for one in facts.items_at(at) if one.price.meter_key == meter]
    plain = [item for item in among if not item.filters]
    chosen = plain or (among if len(among) == 1 else [])
    return chosen[0] if chosen else None


def credit_promised(organization_id: int, currency: str) -> int:
    """Return the credit, in minor units, that drafts will use up once they are issued."""
    drafts = Invoice.objects.filter(
        organization_id=organization_id, currency=currency, status=Invoice.Status.DRAFT
    )
    return int(drafts.filter(credits__gt=0).aggregate(sum=Sum("credits"))["sum"] or 0)


def _metered(facts: SubscriptionFacts, meters: Collection[str] | None) -> SubscriptionFacts:
    keys = {item.price.meter_key for item in facts.items} - {None}
    wanted = keys if meters is None else keys & set(meters)
    return facts.rebuilt(items=[item for item in facts.items if item.price.meter_key in wanted])


def _open(facts: SubscriptionFacts, at: datetime) -> Iterable[Boundary]:
    """Yield the boundaries whose usage no invoice says yet, the one under way last."""
    if at < facts.begins:
        return
    ahead = facts.agreement.cycle.index_at(at) + 1
    for k in range(min(max(facts.next_boundary, 1), ahead), ahead + 1):
        yield facts, k


def _with(measured: Measured, more: Decimal) -> Measured:
    consumed = measured.consumed
    if consumed is not None:
        events = (*(consumed.events or ()), more)
        consumed = replace(consumed, quantity=EXACT.add(consumed.quantity, more), events=events)
    return Measured(
        EXACT.add(measured.quantity, more), measured.event_count + 1, measured.evidence, consumed
    )


def _cost(lines: Iterable[Proposal]) -> Cost:
    lines = list(lines)
    exact = sum((line.rated.exact for line in lines), Fraction(0))
    return Cost(sum(line.amount.minor for line in lines), exact)
