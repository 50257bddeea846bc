"""Changing what was agreed: at once, or when the time has come.

Every verb here carries out a wish of `changes`: what it makes of the subscription is computed
there, as for a preview, and stored here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from apps.core import outbox, rls
from apps.core.actor import Actor
from apps.core.errors import NotFound
from apps.engine.decimals import plain
from apps.engine.prices import Terms
from apps.plans import selectors as plans
from apps.subscriptions import guards, selectors, states
from apps.subscriptions.changes import (
    IMPOSSIBLE,
    AddItem,
    Agreed,
    Behaviour,
    ChangePlan,
    ChangeQuantity,
    Considered,
    OverridePrice,
    Quantities,
    RemoveItem,
    Resume,
    Wish,
    consider,
    wish_of,
)
from apps.subscriptions.errors import WrongState
from apps.subscriptions.events import ChangeCalledOff, QuantityChanged, SubscriptionChanged
from apps.subscriptions.facts import SubscriptionFacts
from apps.subscriptions.models import Change, Subscription
from apps.subscriptions.services.rows import go, lock, mine, record, store
from apps.tenants import services as tenants

TOLD = {
    ChangePlan.action: "subscription.plan_changed",
    ChangeQuantity.action: "subscription.quantity_changed",
    AddItem.action: "subscription.item_added",
    RemoveItem.action: "subscription.item_removed",
    OverridePrice.action: "subscription.price_agreed",
    Resume.action: "subscription.resumed",
}


@dataclass(frozen=True, slots=True)
class Quote:
    """What was shown before somebody confirmed: minor units, and the hash of the document."""

    amount: int
    hash: str


@dataclass(frozen=True, slots=True)
class Planned:
    """One of several changes to come: what, billed how, from when."""

    wish: Wish
    behaviour: Behaviour
    effective_at: datetime


@transaction.atomic
def change(
    subscription_id: str,
    *,
    wish: Wish,
    behaviour: Behaviour,
    actor: Actor,
    at: datetime,
    effective_at: datetime | None = None,
    quote: Quote | None = None,
    reason: str = "",
) -> SubscriptionFacts:
    """Carry out a wish, or schedule it when it is for later; cuts no invoice.

    Safe to repeat: what is so already, and what is scheduled already, changes nothing. Emits
    SubscriptionChanged (and QuantityChanged) when it is carried out.
    Raises what `changes.consider` does.
    """
    row = mine(subscription_id, actor=actor)
    apply_due(row, as_of=at, actor=actor, at=at)  # what was to happen before happens before
    facts = selectors.by_id(row.pk)
    considered = consider(facts, wish, behaviour=behaviour, at=at, effective_at=effective_at)
    if not considered.changes or _is_scheduled(facts, considered):
        return facts
    guards.check(considered.before, considered.after, considered.effective_at)
    kept = _keep(row, considered, actor=actor, at=at, quote=quote, reason=reason)
    if considered.waits:
        told = {"action": wish.action, "effective_at": considered.effective_at.isoformat()}
        record(row, "subscription.change_scheduled", actor, at, after={**told, "id": kept})
        return selectors.by_id(row.pk)
    return _carry_out(row, considered, actor=actor, at=at)


def change_plan(  # noqa: PLR0913 - a confirmed change has this many facts
    subscription_id: str,
    *,
    plan: str,
    actor: Actor,
    at: datetime,
    behaviour: Behaviour = Behaviour.NEXT_INVOICE,
    quantities: Quantities | None = None,
    agreed: Agreed | None = None,
    effective_at: datetime | None = None,
    quote: Quote | None = None,
    reason: str = "",
) -> SubscriptionFacts:
    """Change to the published version of another plan (code or public id) of the application.

    By default prorated, with the next invoice; see `change`. Another interval begins a new cycle at
    full price.
    """
    version = plans.current_version(plan)
    return change(
        subscription_id,
        wish=ChangePlan(version.public_id, quantities or {}, agreed or {}),
        behaviour=behaviour,
        actor=actor,
        at=at,
        effective_at=effective_at,
        quote=quote,
        reason=reason,
    )


def migrate_to_version(
    subscription_id: str,
    *,
    version: str,
    actor: Actor,
    at: datetime,
    behaviour: Behaviour = Behaviour.NEXT_PERIOD,
    reason: str = "",
) -> SubscriptionFacts:
    """Move to another version of the subscription's plan, by default with the next period.

    Quantities stay, and so do prices that were agreed with the customer; see `change`.
    """
    wish = ChangePlan(version, keep_agreed=True)
    return change(
        subscription_id, wish=wish, behaviour=behaviour, actor=actor, at=at, reason=reason
    )


def change_quantity(
    subscription_id: str,
    *,
    quantity: int,
    actor: Actor,
    at: datetime,
    key: str = "",
    behaviour: Behaviour = Behaviour.NEXT_INVOICE,
    quote: Quote | None = None,
    reason: str = "",
) -> SubscriptionFacts:
    """Set the total quantity of a licensed item from now on; the next invoice carries the
    proration. `key` is needed only when the plan has several. Emits QuantityChanged.

    Safe to repeat: the quantity in force already changes nothing.
    """
    return change(
        subscription_id,
        wish=ChangeQuantity(Decimal(quantity), key),
        behaviour=behaviour,
        actor=actor,
        at=at,
        quote=quote,
        reason=reason,
    )


def add_item(
    subscription_id: str,
    *,
    plan: str,
    actor: Actor,
    at: datetime,
    behaviour: Behaviour = Behaviour.NEXT_INVOICE,
    quantities: Quantities | None = None,
    quote: Quote | None = None,
    reason: str = "",
) -> SubscriptionFacts:
    """Add the published version of an add-on (its code or public id); see `change`."""
    wish = AddItem(plans.current_version(plan).public_id, quantities or {})
    return change(
        subscription_id,
        wish=wish,
        behaviour=behaviour,
        actor=actor,
        at=at,
        quote=quote,
        reason=reason,
    )


def remove_item(
    subscription_id: str,
    *,
    key: str,
    actor: Actor,
    at: datetime,
    behaviour: Behaviour = Behaviour.NEXT_INVOICE,
    quote: Quote | None = None,
    reason: str = "",
) -> SubscriptionFacts:
    """End an add-on, by its plan's code or the key of one of its items; see `change`."""
    return change(
        subscription_id,
        wish=RemoveItem(key),
        behaviour=behaviour,
        actor=actor,
        at=at,
        quote=quote,
        reason=reason,
    )


def override_price(
    subscription_id: str,
    *,
    key: str,
    terms: Terms | None,
    actor: Actor,
    at: datetime,
    behaviour: Behaviour = Behaviour.NEXT_PERIOD,
    effective_at: datetime | None = None,
    reason: str = "",
) -> SubscriptionFacts:
    """Give an item terms agreed with this customer, or with None those of the list again."""
    return change(
        subscription_id,
        wish=OverridePrice(key, terms),
        behaviour=behaviour,
        actor=actor,
        at=at,
        effective_at=effective_at,
        reason=reason,
    )


@transaction.atomic
def schedule_changes(
    subscription_id: str,
    *,
    planned: Sequence[Planned],
    actor: Actor,
    at: datetime,
    reason: str = "",
) -> SubscriptionFacts:
    """Schedule several changes in the order of their time; either all of them or none.

    Each is checked against what those before it will have made of the subscription.
    """
    for one in sorted(planned, key=lambda one: one.effective_at):
        if one.effective_at <= at:
            raise WrongState("Only what lies ahead can be scheduled.")
        change(
            subscription_id,
            wish=one.wish,
            behaviour=one.behaviour,
            actor=actor,
            at=at,
            effective_at=one.effective_at,
            reason=reason,
        )
    return selectors.get(subscription_id)


@transaction.atomic
def cancel_scheduled_change(
    subscription_id: str, *, change_id: str, actor: Actor, at: datetime
) -> SubscriptionFacts:
    """Call off a change that has not been carried out; safe to repeat.

    Raises NotFound, and WrongState for one that has.
    """
    row = mine(subscription_id, actor=actor)
    found = Change.objects.filter(subscription=row, public_id=change_id).first()
    if found is None:
        raise NotFound(f"There is no change '{change_id}'.")
    if found.status == Change.Status.APPLIED:
        raise WrongState("The change has been carried out; change it back instead.")
    if found.status == Change.Status.SCHEDULED:
        call_off(row, found, actor=actor, at=at)
    return selectors.by_id(row.pk)


def call_off(row: Subscription, found: Change, *, actor: Actor, at: datetime) -> None:
    """Settle a scheduled change as canceled."""
    found.status, found.settled_at = Change.Status.CANCELED, at
    found.save(update_fields=["status", "settled_at"])
    told = {"id": found.public_id, "action": found.action}
    record(row, "subscription.change_called_off", actor, at, after=told)
    moment = found.effective_at.isoformat()
    fact = ChangeCalledOff(row.public_id, row.organization_id, found.public_id, moment)
    outbox.emit(fact, at=at, organization_id=row.organization_id)


def apply_due(row: Subscription, *, as_of: datetime, actor: Actor, at: datetime) -> int:
    """Carry out the scheduled changes of a locked subscription that are due; return how many.

    Those after its next boundary wait until that has been billed, so that changes and boundaries
    take their turns in the order of time. Billing calls this before it bills a boundary.
    """
    count = 0
    while True:
        paused = row.status == states.PAUSED
        until = as_of if paused else min(as_of, row.next_boundary_at)
        due = Change.objects.filter(subscription=row, status="scheduled", effective_at__lte=until)
        found = due.order_by("effective_at", "id").first()
        if found is None or not row.is_live:
            return count
        _apply(row, found, actor=actor, at=at)
        count += 1


def apply_changes_due(
    *,
    as_of: datetime,
    actor: Actor,
    at: datetime,
    organization_ids: Collection[int] | None = None,
) -> int:
    """Carry out every scheduled change that is due; return how many. Opens its own scopes.

    One transaction a subscription. A change that lies after a boundary which is not billed yet
    waits for the billing. Who lives by a test clock is left alone, unless `organization_ids` names
    who is meant.
    """
    with rls.ops_scope("subscriptions: changes that are due"):
        waiting = selectors.changes_due(as_of, organization_ids=organization_ids)
    count = 0
    for due in waiting:
        with rls.tenant_scope(due.organization_id):
            tenants.lock(due.organization_id)
            row = lock(due.subscription_id)
            count += apply_due(row, as_of=as_of, actor=actor, at=at)
    return count


def _apply(row: Subscription, found: Change, *, actor: Actor, at: datetime) -> None:
    facts = selectors.by_id(row.pk)
    wish = wish_of(found.action, found.arguments)
    if isinstance(wish, Resume) and facts.status != states.PAUSED:
        call_off(row, found, actor=actor, at=at)  # somebody was faster
        return
    try:
        considered = consider(
            _without(facts, found),
            wish,
            behaviour=Behaviour(found.behaviour),
            at=found.effective_at,
            effective_at=found.effective_at,
        )
        guards.check(considered.before, considered.after, considered.effective_at)
    except IMPOSSIBLE:  # another change came first, and nothing is left of what this one was for
        call_off(row, found, actor=actor, at=at)
        return
    found.status, found.settled_at = Change.Status.APPLIED, at
    found.save(update_fields=["status", "settled_at"])
    if considered.changes:
        _carry_out(row, considered, actor=actor, at=at)


def _without(facts: SubscriptionFacts, found: Change) -> SubscriptionFacts:
    return facts.rebuilt(scheduled=tuple(c for c in facts.scheduled if c.id != found.pk))


def _carry_out(
    row: Subscription, considered: Considered, *, actor: Actor, at: datetime
) -> SubscriptionFacts:
    wish = considered.wish
    moment = considered.effective_at
    facts = store(row, considered.before, considered.after, at=at, moment=moment)
    before, after = _told(considered)
    record(row, TOLD[wish.action], actor, at, before=before, after=after)
    if isinstance(wish, Resume):
        go(row, states.ACTIVE, actor=actor, at=at)
        facts = selectors.by_id(row.pk)
    if isinstance(wish, ChangeQuantity):
        key = considered.before.licensed(wish.key, at=considered.effective_at).item.key
        quantity = QuantityChanged(row.public_id, row.organization_id, key, plain(wish.quantity))
        outbox.emit(quantity, at=at, organization_id=row.organization_id)
    since = moment.isoformat()
    fact = SubscriptionChanged(row.public_id, row.organization_id, wish.action, since)
    outbox.emit(fact, at=at, organization_id=row.organization_id)
    return facts


def _told(considered: Considered) -> tuple[dict[str, str], dict[str, str]]:
    """Return what the record says of it: quantities and plans in their own words."""
    before, after, wish = considered.before, considered.after, considered.wish
    match wish:
        case ChangeQuantity():
            item = before.licensed(wish.key, at=considered.effective_at).item
            was = plain(item.quantity_at(considered.effective_at))
            return (
                {"item": item.key, "quantity": was},
                {"item": item.key, "quantity": plain(wish.quantity)},
            )
        case ChangePlan():
            return {"plan": before.version.public_id}, {"plan": after.version.public_id}
        case AddItem():
            return {}, {"plan": wish.version}
        case RemoveItem() | OverridePrice():
            return {}, {"item": wish.key}
        case Resume():
            return {}, {"next_invoice_at": after.next_boundary_at.isoformat()}


def _is_scheduled(facts: SubscriptionFacts, considered: Considered) -> bool:
    return considered.waits and any(
        (one.action, one.effective_at, one.arguments)
        == (considered.wish.action, considered.effective_at, considered.wish.arguments())
        for one in facts.scheduled
    )


def _keep(
    row: Subscription,
    considered: Considered,
    *,
    actor: Actor,
    at: datetime,
    quote: Quote | None,
    reason: str,
) -> str:
    waits = considered.waits
    kept = Change.objects.create(
        organization_id=row.organization_id,
        subscription=row,
        action=considered.wish.action,
        behaviour=considered.behaviour.value,
        arguments=considered.wish.arguments(),
        effective_at=considered.effective_at,
        status=Change.Status.SCHEDULED if waits else Change.Status.APPLIED,
        reason=reason[:200],
        requested_by=actor.label[:200],
        requested_at=at,
        quoted_amount=None if quote is None else quote.amount,
        quote_hash="" if quote is None else quote.hash,
        settled_at=None if waits else at,
    )
    return kept.public_id
