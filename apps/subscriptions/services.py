"""Everything that changes an agreement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db import transaction
from psycopg.types.range import TimestamptzRange

from apps.audit import services as audit
from apps.core import outbox
from apps.core.actor import Actor, require
from apps.core.errors import Invalid, NotFound
from apps.engine.decimals import plain
from apps.engine.prices import Flat, InvalidTerms, PerUnit, Terms
from apps.plans import selectors as plans
from apps.plans.selectors import PriceTerms, VersionTerms
from apps.subscriptions import selectors, states
from apps.subscriptions.errors import (
    AlreadyBilled,
    AlreadySubscribed,
    NoWayToPay,
    PriceNotAgreed,
    WrongCurrency,
    WrongState,
)
from apps.subscriptions.events import (
    QuantityChanged,
    SubscriptionStarted,
    SubscriptionStatusChanged,
)
from apps.subscriptions.models import QuantityStep, Subscription, SubscriptionItem
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants import services as tenants

if TYPE_CHECKING:
    from apps.tenants.models import Organization

MAX_QUANTITY = 1_000_000
Agreed = Mapping[str, Decimal]


def lock(subscription_id: int) -> Subscription:
    """Lock the subscription's row: after the organization's, before an invoice's."""
    return Subscription.objects.select_for_update().get(pk=subscription_id)


@transaction.atomic
def subscribe(
    organization_id: int,
    *,
    plan: str,
    start: datetime,
    actor: Actor,
    at: datetime,
    seats: int | None = None,
    collection: str = Subscription.Collection.MANUAL,
    agreed: Agreed | None = None,
) -> SubscriptionFacts:
    """Subscribe the organization to the plan's published version from `start`; cuts no invoice.

    `seats` is the total quantity of the plan's licensed item, included ones too (default: the
    included number). `agreed` replaces amounts of a plan whose prices are agreed per customer, by
    price key, in major units. A trial moves the anchor to its end; an organization has one per
    application. Emits SubscriptionStarted.
    Raises AlreadySubscribed, WrongCurrency, NoWayToPay, PriceNotAgreed, Invalid, UnknownPlan.
    """
    require("manage_billing", actor=actor, organization_id=organization_id)
    organization = tenants.lock(organization_id)
    version = plans.current_version(plan)
    _check_start(organization, version, start=start, at=at)
    days = selectors.trial_days(organization_id, version)
    trial_end = selectors.trial_end(start, days, organization.timezone)
    _check_collection(collection, trial_end)
    _check_free(organization, version)
    row = Subscription.objects.create(
        organization_id=organization_id,
        application_id=version.application_id,
        plan_version_id=version.version_id,
        status=states.ACTIVE if trial_end is None else states.TRIALING,
        collection=collection,
        currency=version.currency,
        timezone=organization.timezone,
        started_at=start,
        trial_end=trial_end,
        anchor=trial_end or start,
        next_boundary_at=trial_end or start,
        recorded_at=at,
    )
    _add_items(row, version, seats=seats, agreed=agreed or {}, at=at)
    _record(row, "subscription.started", actor, at, after={"plan": version.public_id})
    fact = SubscriptionStarted(row.public_id, organization_id, version.plan_code)
    outbox.emit(fact, at=at, organization_id=organization_id)
    return selectors.by_id(row.pk)


def _check_start(
    organization: Organization, version: VersionTerms, *, start: datetime, at: datetime
) -> None:
    if start > at + timedelta(days=366):
        raise Invalid("A subscription starts within a year from now.", param="start")
    if version.currency != organization.currency:
        raise WrongCurrency(
            f"{version.plan_name} is sold in {version.currency}, and {organization.name} pays in "
            f"{organization.currency}; offer the plan in that currency.",
            param="plan",
        )


def _check_collection(collection: str, trial_end: datetime | None) -> None:
    if collection not in Subscription.Collection.values:
        known = ", ".join(Subscription.Collection.values)
        raise Invalid(f"'{collection}' is no collection mode; use {known}.", param="collection")
    # A card can be added until the trial ends; without one the subscription then pauses.
    if collection != Subscription.Collection.MANUAL and trial_end is None:
        raise NoWayToPay(
            "There is no saved payment method to collect from; use manual collection.",
            param="collection",
        )


def _check_free(organization: Organization, version: VersionTerms) -> None:
    taken = Subscription.objects.filter(
        organization=organization,
        application_id=version.application_id,
        status__in=states.LIVE,
    ).first()
    if taken is not None:
        raise AlreadySubscribed(
            f"{organization.name} is subscribed to {version.application_slug} already "
            f"({taken.public_id}); cancel that first.",
            subscription=taken.public_id,
        )


def _add_items(
    row: Subscription, version: VersionTerms, *, seats: int | None, agreed: Agreed, at: datetime
) -> None:
    licensed = [price for price in version.prices if price.type == "licensed"]
    if seats is not None and not licensed:
        raise Invalid(f"{version.plan_name} has no seats to buy.", param="seats")
    _check_agreed(version, agreed)
    for position, price in enumerate(version.prices):
        terms = agreed_terms(price, amount=agreed[price.key]) if price.key in agreed else None
        item = SubscriptionItem.objects.create(
            organization_id=row.organization_id,
            subscription=row,
            price_id=price.id,
            key=price.key,
            terms=None if terms is None else terms.as_dict(),
            during=TimestamptzRange(row.started_at, None, "[)"),
            position=position,
        )
        if price.type == "licensed":
            wanted = price.included if seats is None else Decimal(seats)
            _step(item, quantity=wanted, effective_at=row.started_at, at=at)


def _check_agreed(version: VersionTerms, agreed: Agreed) -> None:
    keys = {price.key for price in version.prices}
    if unknown := sorted(set(agreed) - keys):
        raise Invalid(f"{version.plan_name} has no price '{unknown[0]}'.", param="agreed")
    if agreed and not version.custom:
        raise Invalid(
            f"The prices of {version.plan_name} are fixed; only custom plans take agreed ones.",
            param="agreed",
        )
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


def _step(
    item: SubscriptionItem, *, quantity: Decimal, effective_at: datetime, at: datetime
) -> None:
    if quantity != quantity.to_integral_value() or not 0 <= quantity <= MAX_QUANTITY:
        raise Invalid(
            f"A quantity is a whole number from 0 to {MAX_QUANTITY}, not {quantity}.",
            param="quantity",
        )
    QuantityStep.objects.create(
        organization_id=item.organization_id,
        item=item,
        effective_at=effective_at,
        quantity=quantity,
        recorded_at=at,
    )


@transaction.atomic
def change_quantity(
    subscription_id: str, *, quantity: int, actor: Actor, at: datetime, key: str = ""
) -> SubscriptionFacts:
    """Set the total quantity of a licensed item from now on; the next invoice carries the
    proration, by the second. `key` is needed only when the plan has several. Emits QuantityChanged.

    Safe to repeat: the quantity in force already changes nothing.
    """
    row = _mine(subscription_id, actor=actor)
    facts = selectors.by_id(row.pk)
    if not facts.is_live:
        raise WrongState("The subscription has ended; subscribe again.")
    if at <= facts.started_at:
        raise WrongState("The subscription has not started yet.")
    chosen = facts.licensed(key)
    if chosen.item.quantity_at(at) == quantity:
        return facts
    if facts.next_boundary and at <= facts.agreement.cycle.boundary(facts.next_boundary - 1):
        raise AlreadyBilled("That moment lies in a period that has been billed.")
    item = SubscriptionItem.objects.get(pk=chosen.id)
    before = chosen.item.quantity_at(at)
    _step(item, quantity=Decimal(quantity), effective_at=at, at=at)
    _record(
        row,
        "subscription.quantity_changed",
        actor,
        at,
        before={"item": item.key, "quantity": plain(before)},
        after={"item": item.key, "quantity": str(quantity)},
    )
    fact = QuantityChanged(row.public_id, row.organization_id, item.key, str(quantity))
    outbox.emit(fact, at=at, organization_id=row.organization_id)
    return selectors.by_id(row.pk)


@transaction.atomic
def cancel(
    subscription_id: str, *, actor: Actor, at: datetime, reason: str = ""
) -> SubscriptionFacts:
    """End the subscription when the current period (or trial) does; safe to repeat.

    The boundary that ends it bills the usage behind it and nothing ahead. One that has not started
    yet, or that is paused, ends at once.
    """
    row = _mine(subscription_id, actor=actor)
    facts = selectors.by_id(row.pk)
    if not facts.is_live:
        raise WrongState("The subscription has ended already.")
    if row.cancel_at is not None:
        return facts
    if row.status == states.PAUSED or at < facts.started_at:  # nothing is or will be owed
        return _end(row, actor=actor, at=at, reason=reason)
    ends = max(facts.current_period(at).end, _billed_until(facts))  # not before what is billed
    _set_end(row, ends)
    row.cancel_at, row.cancel_reason = ends, reason[:200]
    row.save(update_fields=["cancel_at", "cancel_reason"])
    _record(row, "subscription.cancel_scheduled", actor, at, after={"cancel_at": ends.isoformat()})
    return selectors.by_id(row.pk)


def _billed_until(facts: SubscriptionFacts) -> datetime:
    return facts.next_boundary_at if facts.next_boundary else facts.agreement.cycle.anchor


@transaction.atomic
def uncancel(subscription_id: str, *, actor: Actor, at: datetime) -> SubscriptionFacts:
    """Take back a cancellation that has not come into force; safe to repeat."""
    row = _mine(subscription_id, actor=actor)
    if not row.is_live:
        raise WrongState("The subscription has ended; subscribe again.")
    if row.cancel_at is not None:
        _set_end(row, None)
        row.cancel_at, row.cancel_reason = None, ""
        row.save(update_fields=["cancel_at", "cancel_reason"])
        _record(row, "subscription.cancel_withdrawn", actor, at)
    return selectors.by_id(row.pk)


@transaction.atomic
def resume(subscription_id: str, *, actor: Actor, at: datetime) -> SubscriptionFacts:
    """Take up a paused subscription, paid by manual collection; a new cycle starts now."""
    row = _mine(subscription_id, actor=actor)
    if row.status != states.PAUSED:
        raise WrongState("Only a paused subscription can be resumed.")
    row.collection = Subscription.Collection.MANUAL
    row.anchor = row.next_boundary_at = at
    row.next_boundary = 0
    row.save(update_fields=["collection", "anchor", "next_boundary_at", "next_boundary"])
    _go(row, states.ACTIVE, actor=actor, at=at)
    return selectors.by_id(row.pk)


def end_trial(row: Subscription, *, actor: Actor, at: datetime) -> None:
    """Turn a trial that is over into a paid subscription, pause it when nobody can be charged, or
    end it when it was canceled or its plan is a trial and nothing else: one without prices.
    Billing calls this at the trial's boundary, on the locked row.
    """
    if row.cancel_at is not None and row.cancel_at <= row.next_boundary_at:
        _end(row, actor=actor, at=at, reason=row.cancel_reason)
    elif not row.items.exists():
        row.cancel_at = row.next_boundary_at
        _end(row, actor=actor, at=at, reason="The trial is over.", extra=["cancel_at"])
    elif row.collection == Subscription.Collection.MANUAL:
        _go(row, states.ACTIVE, actor=actor, at=at)
    else:
        _go(row, states.PAUSED, actor=actor, at=at)


def pass_boundary(row: Subscription, *, actor: Actor, at: datetime) -> None:
    """Move the cursor past the boundary just billed; end what was canceled for it.

    Billing calls this on the locked row, in the transaction that writes the invoice.
    """
    reached = row.next_boundary_at
    version = plans.version_terms(row.plan_version_id)
    row.next_boundary += 1
    row.next_boundary_at = selectors.cycle_of(row, version).boundary(row.next_boundary)
    row.save(update_fields=["next_boundary", "next_boundary_at"])
    if row.cancel_at is not None and row.cancel_at <= reached:
        _end(row, actor=actor, at=at, reason=row.cancel_reason)


def _end(
    row: Subscription,
    *,
    actor: Actor,
    at: datetime,
    reason: str,
    extra: Sequence[str] = (),
) -> SubscriptionFacts:
    row.ended_at = row.cancel_at or at
    row.cancel_reason = reason[:200]
    _go(row, states.CANCELED, actor=actor, at=at, extra=["ended_at", "cancel_reason", *extra])
    return selectors.by_id(row.pk)


def _go(
    row: Subscription, status: str, *, actor: Actor, at: datetime, extra: list[str] | None = None
) -> None:
    before, row.status = row.status, status
    row.save(update_fields=["status", *(extra or [])])
    _record(
        row,
        "subscription.status_changed",
        actor,
        at,
        before={"status": before},
        after={"status": status},
    )
    fact = SubscriptionStatusChanged(row.public_id, row.organization_id, before, status)
    outbox.emit(fact, at=at, organization_id=row.organization_id)


def _set_end(row: Subscription, ends: datetime | None) -> None:
    for item in row.items.all():
        item.during = TimestamptzRange(item.during.lower, ends, "[)")
        item.save(update_fields=["during"])


def _mine(subscription_id: str, *, actor: Actor) -> Subscription:
    rows = Subscription.objects.filter(public_id=subscription_id)
    if actor.organization_id is not None:  # row-level security says the same
        rows = rows.filter(organization_id=actor.organization_id)
    row = rows.first()
    if row is None:
        raise NotFound(f"There is no subscription '{subscription_id}'.")
    require("manage_billing", actor=actor, organization_id=row.organization_id)
    tenants.lock(row.organization_id)
    return lock(row.pk)


def _record(row: Subscription, action: str, actor: Actor, at: datetime, **facts: Any) -> None:
    audit.record(
        action=action,
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        **facts,
    )
