"""A subscription as values: what pages show, what invoices come from, what changes start at.

Everything here is read from rows or considered in memory; nothing is stored. Ids below zero belong
to rows that only a considered change would make.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

from apps.core.errors import Invalid
from apps.engine.agreement import Agreement, Item, ItemKind, QuantityStep
from apps.engine.calendar import Cycle, Interval
from apps.engine.daycount import Proration, ProrationRule
from apps.engine.grid import Grid, Stretch, join
from apps.engine.period import Period
from apps.engine.price_rules import PLAIN, Rules
from apps.engine.values import value_class
from apps.plans.offers import CouponRules
from apps.plans.selectors import PriceTerms, VersionTerms
from apps.subscriptions import states

During = tuple[datetime, datetime | None]


@value_class(frozen=True, slots=True)
class ItemFacts:
    """An item with the price it stands for; `agreed` when its terms are this customer's own.

    `version` is the plan version, or the add-on's, that the price belongs to.
    """

    id: int
    public_id: str
    price: PriceTerms
    item: Item
    agreed: bool
    version: VersionTerms
    position: int = 0

    @property
    def open(self) -> bool:
        """Whether it has no end yet."""
        return self.item.end is None


@value_class(frozen=True, slots=True)
class PhaseFacts:
    """A plan version and a cycle during a range of time."""

    id: int
    version: VersionTerms
    anchor: datetime
    interval: Interval
    during: During

    @property
    def start(self) -> datetime:
        """When it begins."""
        return self.during[0]

    @property
    def end(self) -> datetime | None:
        """When it ends; None while open."""
        return self.during[1]

    def holds(self, moment: datetime) -> bool:
        """Whether start ≤ moment < end."""
        return self.start <= moment and (self.end is None or moment < self.end)


@dataclass(frozen=True, slots=True)
class ChangeFacts:
    """A change that was asked for: `arguments` are those of the wish that `action` names."""

    id: int
    public_id: str
    action: str
    behaviour: str
    arguments: Mapping[str, Any] = field(hash=False)
    effective_at: datetime
    status: str
    reason: str
    requested_by: str
    requested_at: datetime
    quoted_amount: int | None


@dataclass(frozen=True, slots=True)
class DiscountFacts:
    """A redeemed coupon; without a subscription it counts on all of the organization's."""

    id: int
    public_id: str
    subscription_id: int | None
    coupon: CouponRules
    promotion_code: str
    during: During
    position: int
    spent_at: datetime | None
    removed_at: datetime | None

    @property
    def starts(self) -> datetime:
        """When it was redeemed."""
        return self.during[0]

    @property
    def ends(self) -> datetime | None:
        """When a repeating one stops; None: it does not, or it is taken off once."""
        return self.during[1]

    def counts_at(self, boundary: datetime) -> bool:
        """Whether it comes off an invoice of that boundary."""
        start, end = self.during
        if self.spent_at is not None or boundary < start:
            return False
        ends = [moment for moment in (end, self.removed_at) if moment is not None]
        return all(boundary < moment for moment in ends)


@value_class(frozen=True, slots=True)
class SubscriptionFacts:
    """All that a page, a client or an invoice needs to know of a subscription.

    `version` is the plan version in force. `scheduled` are the changes still to come, in the order
    of their time, and `discounts` those that may still count, in the order they come off.
    """

    id: int
    public_id: str
    organization_id: int
    status: str
    collection: str
    version: VersionTerms
    started_at: datetime
    trial_end: datetime | None
    next_boundary: int
    next_boundary_at: datetime
    recorded_at: datetime
    cancel_at: datetime | None
    cancel_reason: str
    ended_at: datetime | None
    agreement: Agreement
    items: tuple[ItemFacts, ...]
    phases: tuple[PhaseFacts, ...]
    pause_at: datetime | None = None
    follows_id: int | None = None
    scheduled: tuple[ChangeFacts, ...] = ()
    discounts: tuple[DiscountFacts, ...] = ()

    @property
    def is_live(self) -> bool:
        """Whether it still stands."""
        return self.status in states.LIVE

    @property
    def currency(self) -> str:
        """What it is billed in."""
        return self.agreement.currency

    @property
    def timezone(self) -> str:
        """Whose wall clock its boundaries keep."""
        return self.agreement.cycle.timezone

    @property
    def begins(self) -> datetime:
        """When billing begins: after the trial, if there is one."""
        return self.trial_end or self.started_at

    @property
    def billed_until(self) -> datetime:
        """The last boundary that was billed, or where billing begins."""
        if not self.next_boundary:
            return self.agreement.cycle.anchor
        return self.agreement.cycle.boundary(self.next_boundary - 1)

    def phase(self, moment: datetime) -> PhaseFacts:
        """Return the phase that holds the moment, or the one nearest before it, or the first."""
        reached = [phase for phase in self.phases if phase.start <= moment]
        return reached[-1] if reached else self.phases[0]

    def item(self, item_id: int) -> ItemFacts:
        """Return the item with this integer id."""
        return next(facts for facts in self.items if facts.id == item_id)

    def items_at(self, moment: datetime) -> tuple[ItemFacts, ...]:
        """Return the items in force at the moment."""
        return tuple(facts for facts in self.items if facts.item.lives_at(moment))

    def beginnings(self) -> Iterator[datetime]:
        """Return when each phase, item and quantity begins, in no order."""
        yield from (phase.start for phase in self.phases)
        for one in self.items:
            yield one.item.start
            yield from (step.at for step in one.item.steps)

    @property
    def standing(self) -> tuple[ItemFacts, ...]:
        """The items in force to the last: those that nothing has taken the place of."""
        ends = {None, self.phases[-1].end, self.cancel_at, self.pause_at, self.ended_at}
        return tuple(facts for facts in self.items if facts.item.end in ends)

    def current_period(self, at: datetime) -> Period:
        """Return the trial, the billing period that holds `at`, or the last one of an ended one."""
        cycle = self.agreement.cycle
        at = max(at, self.started_at)
        if at < cycle.anchor:
            return Period(self.started_at, cycle.anchor)
        if self.ended_at is not None and at >= self.ended_at:
            at = max(cycle.anchor, self.ended_at - timedelta(microseconds=1))
        return cycle.period(cycle.index_at(at))

    def licensed(self, key: str = "", *, at: datetime | None = None) -> ItemFacts:
        """Return the licensed item (of that key, where there are several), or raise Invalid.

        Of the items in force at `at`; without it of the latest by key.
        """
        among = self.items if at is None else self.items_at(max(at, self.started_at))
        latest = {
            i.item.key: i for i in among if i.price.type == "licensed" and key in {"", i.item.key}
        }
        if len(latest) != 1:
            raise Invalid("Say which item's quantity to change, by its key.", param="item")
        return next(iter(latest.values()))

    def with_quantity(
        self, quantity: Decimal, *, at: datetime, key: str = "", proration: Proration | None = None
    ) -> SubscriptionFacts:
        """Return these facts as they would be with another quantity from `at` on."""
        chosen = self.licensed(key, at=at)
        latest = max((step.id for step in chosen.item.steps), default=0)
        step = QuantityStep(latest + 1, at, quantity, proration)
        changed = replace(chosen.item, steps=(*chosen.item.steps, step))
        return self.rebuilt(
            items=[replace(i, item=changed) if i is chosen else i for i in self.items]
        )

    def quantities(self, at: datetime) -> dict[str, Decimal]:
        """Return the quantity of every licensed item in force at `at`, by key."""
        return {
            facts.item.key: facts.item.quantity_at(at)
            for facts in self.items
            if facts.price.type == "licensed" and not _over(facts.item, at)
        }

    def rebuilt(
        self,
        *,
        items: Iterable[ItemFacts] | None = None,
        phases: Iterable[PhaseFacts] | None = None,
        **fields: Any,
    ) -> SubscriptionFacts:
        """Return these facts with others in their place; agreement and next boundary follow."""
        mine = self.items if items is None else tuple(sorted(items, key=_place))
        known = self.phases if phases is None else tuple(phases)
        begins = fields.get("trial_end", self.trial_end) or self.started_at
        grid = grid_of(known, begins=begins, timezone=self.timezone)
        return replace(
            self,
            items=mine,
            phases=known,
            agreement=Agreement(grid, self.currency, tuple(facts.item for facts in mine)),
            next_boundary_at=grid.boundary(self.next_boundary),
            **fields,
        )


def grid_of(phases: Iterable[PhaseFacts], *, begins: datetime, timezone: str) -> Grid:
    """Return the boundaries of these phases from where billing begins."""
    known = tuple(phases)
    stretches = [
        Stretch(Cycle(phase.anchor, phase.interval, timezone), max(phase.start, begins), phase.end)
        for phase in known
        if phase.end is None or phase.end > begins
    ]
    if stretches:
        return Grid(join(stretches))
    last = known[-1]  # over before anything was billed: its grid is only looked at
    return Grid.of(Cycle(max(last.anchor, begins), last.interval, timezone))


def engine_item(
    item_id: int,
    price: PriceTerms,
    *,
    group: int,
    during: During,
    timezone: str,
    steps: tuple[QuantityStep, ...] = (),
    starts: str = "",
    ends: str = "",
) -> Item:
    """Return the price as the engine bills it; `group` is the integer id of its plan version."""
    return Item(
        id=item_id,
        key=price.key,
        kind=ItemKind(price.type),
        timing=price.timing,  # type: ignore[arg-type] # the engine reads the word
        terms=price.terms,
        included=price.included,
        during=during,
        steps=steps,
        meter=price.meter_key,
        meter_id=price.meter_id,
        rules=_rules(price),
        proration=_proration(price.proration, timezone),
        starts=Proration(starts) if starts else None,
        ends=Proration(ends) if ends else None,
        policy=price.quantity_policy,  # type: ignore[arg-type] # the engine reads the word
        filters=price.filters,
        group=group,
    )


@lru_cache(maxsize=1024)
def _proration(rule: str, timezone: str) -> ProrationRule:
    return ProrationRule(Proration(rule), timezone)


def _rules(price: PriceTerms) -> Rules:
    said = (price.conversion, price.maximum_amount, price.minimum_amount)
    if said == (None, None, None):
        return PLAIN
    return Rules(
        conversion=price.conversion,
        maximum_amount=price.maximum_amount,
        minimum_amount=price.minimum_amount,
    )


def _place(facts: ItemFacts) -> tuple[int, bool, int]:
    """Return where an item stands: by its position, then by age; considered ones are youngest."""
    return facts.position, facts.id < 0, abs(facts.id)


def _over(item: Item, at: datetime) -> bool:
    return item.end is not None and item.end <= at
