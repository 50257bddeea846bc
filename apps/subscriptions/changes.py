"""What can be wished of a subscription, worked out in memory.

`consider` answers how the subscription would be. A preview shows that; carrying the wish out stores
the difference between before and after. There is no second computation that could differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar

from apps.core.errors import Invalid
from apps.engine.agreement import ItemKind, QuantityStep
from apps.engine.daycount import Proration
from apps.engine.decimals import plain
from apps.engine.prices import Flat, InvalidTerms, PerUnit, Terms, parse_terms
from apps.plans import selectors as plans
from apps.plans.selectors import PriceTerms, VersionTerms
from apps.subscriptions import states
from apps.subscriptions.errors import (
    AlreadyBilled,
    PriceNotAgreed,
    WrongCurrency,
    WrongState,
)
from apps.subscriptions.facts import ItemFacts, PhaseFacts, SubscriptionFacts, engine_item

MAX_QUANTITY = 1_000_000
NOW, PERIOD_END = "now", "period_end"
When = str | datetime
"""When something ends: one of the two words, or an instant to come."""
Quantities = Mapping[str, Decimal]
Agreed = Mapping[str, Terms]


class Behaviour(StrEnum):
    """How a change is billed.

    Now: the proration at once. Next invoice: with the next invoice. Next period: the change waits
    for it. None: now, without proration. Reset: now, and a new cycle at full price begins.
    """

    NOW = "now"
    NEXT_INVOICE = "next_invoice"
    NEXT_PERIOD = "next_period"
    NONE = "none"
    RESET = "reset"

    @property
    def edge(self) -> Proration | None:
        """Return what replaces the price's own proration where something starts or ends."""
        return Proration.NONE if self is Behaviour.NONE else None


@dataclass(frozen=True, slots=True)
class ChangePlan:
    """Leave the plan for a version of one; add-ons stay.

    Quantities stay by key, and where both plans have one licensed item; `quantities` says others.
    `agreed` are the terms of a custom plan by price key. With `keep_agreed` prices agreed with the
    customer stay agreed where the version has the same key.
    """

    action: ClassVar[str] = "plan"
    version: str
    quantities: Quantities = field(default_factory=dict, hash=False)
    agreed: Agreed = field(default_factory=dict, hash=False)
    keep_agreed: bool = False

    def arguments(self) -> dict[str, Any]:
        """Return what to keep of it, as plain JSON."""
        return {
            "version": self.version,
            "quantities": {key: plain(value) for key, value in self.quantities.items()},
            "agreed": {key: terms.as_dict() for key, terms in self.agreed.items()},
            "keep_agreed": self.keep_agreed,
        }

    def apply(
        self, facts: SubscriptionFacts, *, at: datetime, behaviour: Behaviour
    ) -> SubscriptionFacts:
        """Return the facts with the plan changed at `at`."""
        version = _sellable(plans.find_version(self.version), facts)
        phase = facts.phase(at)
        if version.version_id == phase.version.version_id:
            return facts
        _check_a_plan(version, phase.version)
        restart = behaviour is Behaviour.RESET or version.interval != phase.interval
        restart = restart and at >= facts.begins
        leaving = [i for i in facts.items_at(at) if _is_base(i, phase)]
        staying = [i for i in facts.items_at(at) if not _is_base(i, phase)]
        if staying and version.interval != phase.interval:
            raise WrongState(
                f"Remove '{staying[0].version.plan_name}' first: it is billed by another interval "
                f"than {version.plan_name}.",
            )
        agreed = dict(self.agreed)
        if self.keep_agreed:
            mine = {i.item.key: i.item.terms for i in leaving if i.agreed}
            kept = {p.key: mine[p.key] for p in version.prices if p.key in mine}
            agreed = kept | agreed
        check_agreed(version, agreed)
        changed = _ended(facts, leaving, at=at, edge=behaviour.edge)
        quantities = _carried(leaving, version, at) | dict(self.quantities)
        changed = with_prices(
            changed, version, at=at, quantities=quantities, agreed=agreed, edge=behaviour.edge
        )
        if restart:
            changed = _reopened(changed, staying, at=at, edge=behaviour.edge)
        return _with_phase(changed, version, at=at, restart=restart)


@dataclass(frozen=True, slots=True)
class ChangeQuantity:
    """Set the total quantity of a licensed item; `key` is needed only where there are several."""

    action: ClassVar[str] = "quantity"
    quantity: Decimal
    key: str = ""

    def arguments(self) -> dict[str, Any]:
        """Return what to keep of it, as plain JSON."""
        return {"quantity": plain(self.quantity), "key": self.key}

    def apply(
        self, facts: SubscriptionFacts, *, at: datetime, behaviour: Behaviour
    ) -> SubscriptionFacts:
        """Return the facts with the quantity changed at `at`."""
        check_quantity(self.quantity)
        chosen = facts.licensed(self.key, at=at)
        if chosen.item.quantity_at(at) == self.quantity:
            return facts
        if behaviour is Behaviour.RESET and at >= facts.begins:
            restarted = _restarted(facts, at=at)
            return _with_first_quantity(restarted, chosen.item.key, self.quantity, at=at)
        if any(step.at == at for step in chosen.item.steps):
            raise WrongState("The quantity has changed at this very moment; try again.")
        return facts.with_quantity(
            self.quantity, at=at, key=chosen.item.key, proration=behaviour.edge
        )


@dataclass(frozen=True, slots=True)
class AddItem:
    """Add an add-on: a plan version whose prices join the agreement."""

    action: ClassVar[str] = "add_item"
    version: str
    quantities: Quantities = field(default_factory=dict, hash=False)
    agreed: Agreed = field(default_factory=dict, hash=False)

    def arguments(self) -> dict[str, Any]:
        """Return what to keep of it, as plain JSON."""
        return {
            "version": self.version,
            "quantities": {key: plain(value) for key, value in self.quantities.items()},
            "agreed": {key: terms.as_dict() for key, terms in self.agreed.items()},
        }

    def apply(
        self, facts: SubscriptionFacts, *, at: datetime, behaviour: Behaviour
    ) -> SubscriptionFacts:
        """Return the facts with the add-on in force from `at` on; one it has changes nothing."""
        version = _sellable(plans.find_version(self.version), facts)
        if plans.find_plan(version.plan_code).kind != "add_on":
            raise Invalid(f"{version.plan_name} is a plan and no add-on.", param="plan")
        present = facts.items_at(at)
        if any(i.version.version_id == version.version_id for i in present):
            return facts
        if version.interval != facts.phase(at).interval and _recurs(version):
            raise Invalid(
                f"{version.plan_name} is billed by another interval than the subscription.",
                param="plan",
            )
        taken = {i.item.key for i in present} & {price.key for price in version.prices}
        if taken:
            raise Invalid(f"The subscription has an item '{min(taken)}' already.", param="plan")
        check_agreed(version, self.agreed)
        if behaviour is Behaviour.RESET and at >= facts.begins:
            facts = _restarted(facts, at=at)
        return with_prices(
            facts,
            version,
            at=at,
            quantities=self.quantities,
            agreed=self.agreed,
            edge=behaviour.edge,
        )


@dataclass(frozen=True, slots=True)
class RemoveItem:
    """End an add-on, named by its plan's code or by the key of one of its items."""

    action: ClassVar[str] = "remove_item"
    key: str

    def arguments(self) -> dict[str, Any]:
        """Return what to keep of it, as plain JSON."""
        return {"key": self.key}

    def apply(
        self, facts: SubscriptionFacts, *, at: datetime, behaviour: Behaviour
    ) -> SubscriptionFacts:
        """Return the facts with the add-on ended at `at`."""
        phase = facts.phase(at)
        named = [i for i in facts.items_at(at) if self.key in {i.item.key, i.version.plan_code}]
        if not named:
            raise Invalid(f"The subscription has no add-on '{self.key}'.", param="item")
        version = named[0].version
        if version.version_id == phase.version.version_id:
            raise Invalid(
                f"'{self.key}' belongs to {version.plan_name}; change the plan instead.",
                param="item",
            )
        leaving = [i for i in facts.items_at(at) if i.version.version_id == version.version_id]
        changed = _ended(facts, leaving, at=at, edge=behaviour.edge)
        if behaviour is Behaviour.RESET and at >= facts.begins:
            return _restarted(changed, at=at)
        return changed


@dataclass(frozen=True, slots=True)
class OverridePrice:
    """Give an item terms agreed with this customer; None returns it to the price list."""

    action: ClassVar[str] = "price"
    key: str
    terms: Terms | None

    def arguments(self) -> dict[str, Any]:
        """Return what to keep of it, as plain JSON."""
        return {"key": self.key, "terms": None if self.terms is None else self.terms.as_dict()}

    def apply(
        self, facts: SubscriptionFacts, *, at: datetime, behaviour: Behaviour
    ) -> SubscriptionFacts:
        """Return the facts with the item's terms replaced from `at` on."""
        chosen = next((i for i in facts.items_at(at) if i.item.key == self.key), None)
        if chosen is None:
            raise Invalid(f"The subscription has no item '{self.key}'.", param="item")
        if chosen.item.kind is ItemKind.ONE_TIME:
            raise Invalid(f"'{self.key}' is billed once and has been agreed.", param="item")
        listed = chosen.version.price(self.key).terms
        wanted = listed if self.terms is None else self.terms
        if wanted == chosen.item.terms and chosen.agreed == (self.terms is not None):
            return facts
        if behaviour is Behaviour.RESET and at >= facts.begins:
            facts = _restarted(facts, at=at)
            fresh = next(i for i in facts.items_at(at) if i.item.key == self.key)
            return _agreed_as(facts, fresh, wanted, self.terms is not None)
        changed = _reopened(facts, [chosen], at=at, edge=behaviour.edge)
        fresh = min(changed.items, key=lambda one: one.id)
        return _agreed_as(changed, fresh, wanted, self.terms is not None)


@dataclass(frozen=True, slots=True)
class Resume:
    """Take up a paused subscription: in the old cycle, or with a new one."""

    action: ClassVar[str] = "resume"
    restart: bool = True

    def arguments(self) -> dict[str, Any]:
        """Return what to keep of it, as plain JSON."""
        return {"restart": self.restart}

    def apply(
        self, facts: SubscriptionFacts, *, at: datetime, behaviour: Behaviour
    ) -> SubscriptionFacts:
        """Return the facts with a phase that begins at `at`; paused time is not billed."""
        if facts.status != states.PAUSED:
            raise WrongState("Only a paused subscription can be resumed.")
        paused_at = facts.pause_at or facts.begins
        if at <= paused_at:
            raise WrongState("The subscription pauses at this very moment; try again.")
        last = facts.phases[-1]
        closed = [
            replace(p, during=(p.start, paused_at)) if p is last and p.end is None else p
            for p in facts.phases
        ]
        fresh = PhaseFacts(
            _spare(facts.phases),
            last.version,
            at if self.restart else last.anchor,
            last.interval,
            (at, None),
        )
        stopped = [i for i in facts.items if i.item.end == paused_at]
        changed = facts.rebuilt(phases=[*closed, fresh], pause_at=None)
        return _copied(changed, stopped, at=at, edge=None)


IMPOSSIBLE = (Invalid, WrongState, WrongCurrency, PriceNotAgreed)
"""What a scheduled wish is refused with where the agreement it was for is no more."""
Wish = ChangePlan | ChangeQuantity | AddItem | RemoveItem | OverridePrice | Resume


@dataclass(frozen=True, slots=True)
class Considered:
    """What a wish would make of a subscription.

    `after` are the facts with everything carried out, from which a quote is computed: at once where
    `bills_now`, else at the next boundary. `effective_at` later than now means that it waits.
    """

    before: SubscriptionFacts
    after: SubscriptionFacts
    wish: Wish
    behaviour: Behaviour
    at: datetime
    effective_at: datetime

    @property
    def changes(self) -> bool:
        """Whether anything would be other than it is."""
        return self.after != self.before

    @property
    def waits(self) -> bool:
        """Whether it is to be carried out later."""
        return self.effective_at > self.at

    @property
    def bills_now(self) -> bool:
        """Whether something is owed at once: pending lines, or a boundary that has been reached."""
        reached = self.after.next_boundary_at <= self.at
        return not self.waits and (reached or self.behaviour is Behaviour.NOW)


def consider(
    facts: SubscriptionFacts,
    wish: Wish,
    *,
    behaviour: Behaviour,
    at: datetime,
    effective_at: datetime | None = None,
) -> Considered:
    """Return what the wish would change, billed in that way; stores nothing.

    It counts from `at`, with NEXT_PERIOD from the next boundary, or from a later `effective_at`.
    Nothing goes in before what has happened already; only a scheduled change, whose `at` is its
    `effective_at`, may be carried out late.
    Raises WrongState, AlreadyBilled, Invalid, WrongCurrency, PriceNotAgreed.
    """
    moment = effective_at or (next_period(facts, at) if _waits(behaviour) else at)
    if moment < at:
        raise Invalid("A change cannot be scheduled for the past.", param="effective_at")
    before = foreseen(facts, moment) if moment > at else facts
    _check_open(before, wish, moment)
    if effective_at != at:
        _check_newest(facts, moment)
    after = wish.apply(before, at=moment, behaviour=behaviour)
    return Considered(before, after, wish, behaviour, at, moment)


def foreseen(facts: SubscriptionFacts, until: datetime) -> SubscriptionFacts:
    """Return the facts as they will be at `until`, with the changes scheduled up to then.

    One that what happened since has made impossible is left out: it will be called off.
    """
    reached = [change for change in facts.scheduled if change.effective_at <= until]
    for change in reached:
        wish = wish_of(change.action, change.arguments)
        if wish.action == Resume.action and facts.status != states.PAUSED:
            continue  # the pause that it ends has not begun
        behaviour = Behaviour(change.behaviour)
        with suppress(*IMPOSSIBLE):
            facts = wish.apply(facts, at=change.effective_at, behaviour=behaviour)
    return replace(facts, scheduled=tuple(c for c in facts.scheduled if c not in reached))


def next_period(facts: SubscriptionFacts, at: datetime) -> datetime:
    """Return when the period under way (or the trial) ends, not before what is billed."""
    if facts.next_boundary_at > at:
        return facts.next_boundary_at
    return facts.current_period(at).end


def wish_of(action: str, arguments: Mapping[str, Any]) -> Wish:
    """Return the wish that was kept as plain JSON."""
    return _READ[action](arguments)


def check_quantity(quantity: Decimal) -> None:
    """Raise Invalid unless that many can be bought."""
    if quantity != quantity.to_integral_value() or not 0 <= quantity <= MAX_QUANTITY:
        raise Invalid(
            f"A quantity is a whole number from 0 to {MAX_QUANTITY}, not {quantity}.",
            param="quantity",
        )


def check_agreed(version: VersionTerms, agreed: Mapping[str, object]) -> None:
    """Raise unless every flat price of a custom plan is agreed, and nothing else it has not."""
    keys = {price.key for price in version.prices}
    if unknown := sorted(set(agreed) - keys):
        raise Invalid(f"{version.plan_name} has no price '{unknown[0]}'.", param="agreed")
    fixed = [p.key for p in version.prices if version.custom and isinstance(p.terms, Flat)]
    missing = [key for key in fixed if key not in agreed]
    if missing:
        raise PriceNotAgreed(
            f"{version.plan_name} is priced per customer: say the agreed amount of '{missing[0]}'.",
            param="agreed",
        )


def agreed_terms(price: PriceTerms, *, amount: Decimal) -> Terms:
    """Return the price's terms with the amount agreed with a customer, in major units."""
    try:
        match price.terms:
            case Flat():
                return Flat(amount)
            case PerUnit() as terms:
                return replace(terms, unit_amount=amount)
    except InvalidTerms as error:
        raise Invalid(f"{price.key}: {error.message}", param="agreed") from error
    raise Invalid(f"Only flat and per-unit prices are agreed, not '{price.key}'.", param="agreed")


def canceled(
    facts: SubscriptionFacts, *, when: When, at: datetime, reason: str = "", prorate: bool = True
) -> SubscriptionFacts:
    """Return the facts with an end; stores nothing. Raises AlreadyBilled and Invalid."""
    facts = withdrawn(facts)
    ends = _when(facts, when, at)
    edge = None if prorate else Proration.NONE
    return _closed(facts, at=ends, edge=edge, cancel_at=ends, cancel_reason=reason[:200])


def paused(
    facts: SubscriptionFacts, *, when: When, at: datetime, prorate: bool = True
) -> SubscriptionFacts:
    """Return the facts with a pause; stores nothing. Raises AlreadyBilled and Invalid."""
    pauses = _when(facts, when, at)
    return _closed(facts, at=pauses, edge=None if prorate else Proration.NONE, pause_at=pauses)


def withdrawn(facts: SubscriptionFacts) -> SubscriptionFacts:
    """Return the facts without the cancellation that they may have."""
    if facts.cancel_at is None:
        return facts
    return reopened(facts, ended_at=facts.cancel_at, cancel_at=None, cancel_reason="")


def reopened(facts: SubscriptionFacts, *, ended_at: datetime, **fields: Any) -> SubscriptionFacts:
    """Return the facts without an end that was set for `ended_at` and has not come into force."""
    items = [_with_end(i, None, None) if i.item.end == ended_at else i for i in facts.items]
    phases = [
        replace(p, during=(p.start, None)) if p.end == ended_at and p is facts.phases[-1] else p
        for p in facts.phases
    ]
    return facts.rebuilt(items=items, phases=phases, **fields)


def _when(facts: SubscriptionFacts, when: When, at: datetime) -> datetime:
    """Return the instant meant, which no bill has gone beyond."""
    if isinstance(when, str):
        if when not in {NOW, PERIOD_END}:
            raise Invalid(f"It happens {NOW}, at the {PERIOD_END} or at an instant.", param="when")
        # Not before what is billed: a boundary may have been billed ahead of its time.
        moment = at if when == NOW else max(next_period(facts, at), facts.billed_until)
    else:
        moment = when
        if moment <= at:
            raise Invalid("An instant to come is meant; or say now.", param="when")
    if moment <= facts.begins and facts.status != states.TRIALING:
        raise WrongState("The subscription has not started yet.")
    if facts.next_boundary and moment <= facts.billed_until:
        raise AlreadyBilled("That moment lies in a period that has been billed.")
    return moment


def _closed(
    facts: SubscriptionFacts, *, at: datetime, edge: Proration | None, **fields: Any
) -> SubscriptionFacts:
    """Return the facts with everything ended at `at`: the phase and all items in force."""
    open_items = [i for i in facts.items if i.item.end is None or i.item.end > at]
    changed = _ended(facts, open_items, at=at, edge=edge)
    phases = [
        replace(p, during=(p.start, at)) if p.start < at and (p.end is None or p.end > at) else p
        for p in changed.phases
    ]
    return changed.rebuilt(phases=phases, **fields)


def _waits(behaviour: Behaviour) -> bool:
    return behaviour is Behaviour.NEXT_PERIOD


def _check_open(facts: SubscriptionFacts, wish: Wish, at: datetime) -> None:
    if not facts.is_live:
        raise WrongState("The subscription has ended; subscribe again.")
    if at <= facts.started_at:
        raise WrongState("The subscription has not started yet.")
    if isinstance(wish, Resume):
        return
    if facts.status == states.PAUSED:
        raise WrongState("The subscription is paused; resume it first.")
    ends = [moment for moment in (facts.cancel_at, facts.pause_at) if moment is not None]
    if ends and (min(ends) <= at or not isinstance(wish, ChangeQuantity)):
        raise WrongState("The subscription is to end or to pause; take that back first.")
    if facts.next_boundary and at <= facts.billed_until:
        raise AlreadyBilled("That moment lies in a period that has been billed.")


def _check_newest(facts: SubscriptionFacts, at: datetime) -> None:
    """Raise WrongState when a quantity, an item or a phase has begun later than `at`.

    What began later may be billed: a change before it would be prorated against what is no more.
    """
    if any(moment > at for moment in facts.beginnings()):
        raise WrongState("Something has changed after that moment; change what holds now.")


def is_only_a_trial(version: VersionTerms) -> bool:
    """Whether the plan is for trying and nothing else: it ends with its trial, as it has no prices.

    A free plan has no trial either, and a negotiated one gets its prices from an agreement.
    """
    return bool(version.trial_days) and not version.prices and not version.custom


def _check_a_plan(version: VersionTerms, present: VersionTerms) -> None:
    """Raise Invalid for what a subscription cannot come to stand on: an add-on, a bare trial."""
    if plans.find_plan(version.plan_code).kind == "add_on":
        raise Invalid(f"{version.plan_name} is an add-on of another plan.", param="plan")
    if is_only_a_trial(version) and not is_only_a_trial(present):
        raise Invalid(f"{version.plan_name} is only a trial; choose another plan.", param="plan")


def _sellable(version: VersionTerms, facts: SubscriptionFacts) -> VersionTerms:
    if version.application_id != facts.version.application_id:
        raise Invalid(f"{version.plan_name} belongs to another application.", param="plan")
    if version.status == "draft":
        raise Invalid(f"{version.plan_name} v{version.number} is a draft.", param="plan")
    sold = version.currencies or (version.currency,)
    if facts.currency not in sold:
        raise WrongCurrency(
            f"{version.plan_name} is sold in {', '.join(sold)}; this subscription is billed in "
            f"{facts.currency}.",
            param="plan",
        )
    return version.in_currency(facts.currency)


def _is_base(item: ItemFacts, phase: PhaseFacts) -> bool:
    return item.version.version_id == phase.version.version_id


def _recurs(version: VersionTerms) -> bool:
    return any(price.type != "one_time" for price in version.prices)


def _spare(rows: tuple[ItemFacts, ...] | tuple[PhaseFacts, ...]) -> int:
    """Return an id below zero that no row and no considered row has."""
    return min([0, *(row.id for row in rows)]) - 1


def _carried(leaving: list[ItemFacts], version: VersionTerms, at: datetime) -> dict[str, Decimal]:
    """Return the quantities that stay: by key, or from the one licensed item to the other."""
    have = {i.item.key: i.item.quantity_at(at) for i in leaving if i.item.kind is ItemKind.LICENSED}
    wanted = [price.key for price in version.prices if price.type == "licensed"]
    if len(have) == 1 and len(wanted) == 1:
        return {wanted[0]: next(iter(have.values()))}
    return {key: have[key] for key in wanted if key in have}


def with_prices(
    facts: SubscriptionFacts,
    version: VersionTerms,
    *,
    at: datetime,
    quantities: Quantities,
    agreed: Agreed,
    edge: Proration | None,
) -> SubscriptionFacts:
    """Add an item for every price of the version, from `at` on.

    A one-time price that the subscription has had is not charged again.
    """
    unknown = sorted(set(quantities) - {p.key for p in version.prices if _is_counted(p)})
    if unknown:
        raise Invalid(f"{version.plan_name} has no quantity '{unknown[0]}'.", param="quantities")
    had = {i.item.key for i in facts.items if i.item.kind is ItemKind.ONE_TIME}
    first = _spare(facts.items)
    fresh = []
    for n, price in enumerate(p for p in version.prices if p.key not in had):
        said = replace(price, terms=agreed.get(price.key, price.terms))
        item = engine_item(
            first - n,
            said,
            group=version.version_id,
            during=(at, None),
            timezone=facts.timezone,
            steps=_first_step(first - n, price, quantities, at=at),
            starts=edge or "",
        )
        fresh.append(ItemFacts(first - n, "", said, item, price.key in agreed, version, n))
    return facts.rebuilt(items=[*facts.items, *fresh])


def _first_step(
    item_id: int, price: PriceTerms, quantities: Quantities, *, at: datetime
) -> tuple[QuantityStep, ...]:
    """Return the quantity at the start: what is said, of a licensed price at least the included."""
    if price.type != "licensed" and price.key not in quantities:
        return ()
    quantity = quantities.get(price.key, price.included)
    check_quantity(quantity)
    return (QuantityStep(item_id, at, quantity),)


def _is_counted(price: PriceTerms) -> bool:
    return price.type in {"licensed", "one_time"}


def _with_end(facts: ItemFacts, end: datetime | None, edge: Proration | None) -> ItemFacts:
    item = replace(facts.item, during=(facts.item.start, end), ends=edge)
    return replace(facts, item=item)


def _agreed_as(
    facts: SubscriptionFacts, chosen: ItemFacts, terms: Terms, agreed: bool
) -> SubscriptionFacts:
    """Give one item, which is only considered yet, other terms."""
    price, item = replace(chosen.price, terms=terms), replace(chosen.item, terms=terms)
    other = replace(chosen, price=price, item=item, agreed=agreed)
    return facts.rebuilt(items=[other if i is chosen else i for i in facts.items])


def _ended(
    facts: SubscriptionFacts, leaving: list[ItemFacts], *, at: datetime, edge: Proration | None
) -> SubscriptionFacts:
    if any(i.item.start >= at for i in leaving):
        raise WrongState("Something has changed at this very moment; try again.")
    gone = {i.id for i in leaving}
    items = [_with_end(i, at, edge) if i.id in gone else i for i in facts.items]
    return facts.rebuilt(items=items)


def _copied(
    facts: SubscriptionFacts, originals: list[ItemFacts], *, at: datetime, edge: Proration | None
) -> SubscriptionFacts:
    """Add items like these from `at` on, with the quantities they had last; one-time ones not."""
    items = list(facts.items)
    first = _spare(facts.items)
    again = [i for i in originals if i.item.kind is not ItemKind.ONE_TIME]
    for n, old in enumerate(again):
        steps: tuple[QuantityStep, ...] = ()
        if old.item.kind is ItemKind.LICENSED:
            steps = (QuantityStep(first - n, at, old.item.quantity_at(at)),)
        item = replace(
            old.item, id=first - n, during=(at, None), steps=steps, starts=edge, ends=None
        )
        items.append(replace(old, id=first - n, public_id="", item=item))
    return facts.rebuilt(items=items)


def _reopened(
    facts: SubscriptionFacts, originals: list[ItemFacts], *, at: datetime, edge: Proration | None
) -> SubscriptionFacts:
    """End these items at `at` and begin them again there, as rows of their own."""
    recurring = [i for i in originals if i.item.kind is not ItemKind.ONE_TIME]
    return _copied(_ended(facts, recurring, at=at, edge=edge), recurring, at=at, edge=edge)


def _restarted(facts: SubscriptionFacts, *, at: datetime) -> SubscriptionFacts:
    """Begin a new cycle at `at`: what is left of the old one is given back."""
    changed = _reopened(facts, list(facts.items_at(at)), at=at, edge=None)
    return _with_phase(changed, facts.phase(at).version, at=at, restart=True)


def _with_first_quantity(
    facts: SubscriptionFacts, key: str, quantity: Decimal, *, at: datetime
) -> SubscriptionFacts:
    def changed(one: ItemFacts) -> ItemFacts:
        if one.item.key != key or one.item.start != at:
            return one
        return replace(one, item=replace(one.item, steps=(QuantityStep(one.id, at, quantity),)))

    return facts.rebuilt(items=[changed(one) for one in facts.items])


def _with_phase(
    facts: SubscriptionFacts, version: VersionTerms, *, at: datetime, restart: bool
) -> SubscriptionFacts:
    now = facts.phase(at)
    if now.start >= at:
        raise WrongState("Something has changed at this very moment; try again.")
    anchor = at if restart else now.anchor
    fresh = PhaseFacts(_spare(facts.phases), version, anchor, version.interval, (at, now.end))
    phases = [replace(p, during=(p.start, at)) if p is now else p for p in facts.phases]
    return facts.rebuilt(phases=[*phases, fresh], version=version)


def _decimals(said: Mapping[str, str]) -> dict[str, Decimal]:
    return {key: Decimal(value) for key, value in said.items()}


def _terms(said: Mapping[str, Any]) -> dict[str, Terms]:
    return {key: parse_terms(value) for key, value in said.items()}


_READ: Mapping[str, Callable[[Mapping[str, Any]], Wish]] = {
    ChangePlan.action: lambda said: ChangePlan(
        said["version"],
        _decimals(said["quantities"]),
        _terms(said["agreed"]),
        said["keep_agreed"],
    ),
    ChangeQuantity.action: lambda said: ChangeQuantity(Decimal(said["quantity"]), said["key"]),
    AddItem.action: lambda said: AddItem(
        said["version"], _decimals(said["quantities"]), _terms(said["agreed"])
    ),
    RemoveItem.action: lambda said: RemoveItem(said["key"]),
    OverridePrice.action: lambda said: OverridePrice(
        said["key"], None if said["terms"] is None else parse_terms(said["terms"])
    ),
    Resume.action: lambda said: Resume(said["restart"]),
}
