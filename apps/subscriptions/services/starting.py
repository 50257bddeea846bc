"""Beginning: subscribing, trials, and coming back after an end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from django.db import transaction

from apps.core import outbox
from apps.core.actor import Actor, require
from apps.core.errors import Invalid
from apps.engine.prices import Terms
from apps.plans import selectors as plans
from apps.plans.errors import UnknownPlan
from apps.plans.selectors import VersionTerms
from apps.subscriptions import selectors, states
from apps.subscriptions.changes import (
    Quantities,
    agreed_terms,
    check_agreed,
    is_only_a_trial,
    with_prices,
)
from apps.subscriptions.errors import AlreadySubscribed, NoWayToPay, WrongCurrency, WrongState
from apps.subscriptions.events import SubscriptionStarted
from apps.subscriptions.facts import PhaseFacts, SubscriptionFacts
from apps.subscriptions.models import Subscription
from apps.subscriptions.services.rows import lock, mine, record, store, write_item, write_phase
from apps.tenants import services as tenants

if TYPE_CHECKING:
    from apps.tenants.models import Organization

MOST_AHEAD = timedelta(days=366)
Agreed = Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Begin:
    """How a subscription begins, where it matters.

    `anchor` puts the cycle on another day, such as the first of the month: the part up to it is
    billed first, by its share. `card`: a payment method is saved, as some plans want for a trial.
    `currency`: one of the plan's; without it the organization's.
    """

    anchor: datetime | None = None
    card: bool = False
    currency: str = ""


PLAINLY = Begin()


@transaction.atomic
def subscribe(  # noqa: PLR0913 - a subscription begins with this many facts
    organization_id: int,
    *,
    plan: str,
    start: datetime,
    actor: Actor,
    at: datetime,
    seats: int | None = None,
    collection: str = Subscription.Collection.MANUAL,
    agreed: Agreed | None = None,
    begin: Begin = PLAINLY,
) -> SubscriptionFacts:
    """Subscribe the organization to the plan's published version from `start`; cuts no invoice.

    `seats` is the total quantity of the plan's licensed item, included ones too (default: the
    included number). `agreed` replaces amounts of a plan whose prices are agreed per customer, by
    price key, in major units. A trial moves the anchor to its end; an organization has one per
    application. `begin` says the rest that doors know. Emits SubscriptionStarted.
    Raises AlreadySubscribed, WrongCurrency, NoWayToPay, PriceNotAgreed, Invalid, UnknownPlan.
    """
    require("manage_billing", actor=actor, organization_id=organization_id)
    organization = tenants.lock(organization_id)
    currency = begin.currency or organization.currency
    version = _in_currency(plans.current_version(plan), currency, organization)
    if plans.find_plan(version.plan_code).kind == "add_on":
        raise Invalid(f"{version.plan_name} is an add-on of another plan.", param="plan")
    _check_start(start=start, at=at)
    days = selectors.trial_days(organization_id, version)
    _check_more_than_tried(version, days)
    trial_end = selectors.trial_end(start, days, organization.timezone)
    _check_collection(version, collection, trial_end, card=begin.card)
    _check_free(organization, version)
    terms = _agreed(version, agreed or {})
    quantities = _seats(version, seats)
    row = _create(
        organization,
        version,
        collection=collection,
        start=start,
        trial_end=trial_end,
        anchor=trial_end or begin.anchor or start,
        at=at,
    )
    _add_prices(row, version, quantities=quantities, agreed=terms, at=at)
    return _started(row, version, actor=actor, at=at)


@transaction.atomic
def reactivate(subscription_id: str, *, actor: Actor, at: datetime) -> SubscriptionFacts:
    """Begin a canceled subscription anew, as a new one that follows it: a canceled one stays so.

    It has the quantities and the agreed prices of the old one's end, the version published now,
    no trial, and a cycle that begins now. Emits SubscriptionStarted. Raises WrongState,
    AlreadySubscribed, UnknownPlan.
    """
    old_row = mine(subscription_id, actor=actor)
    old = selectors.by_id(old_row.pk)
    if old.status != states.CANCELED:
        raise WrongState("Only a canceled subscription can be taken up again.")
    organization = tenants.lock(old.organization_id)
    version = plans.published_version(old.version.plan_id)
    if version is None:
        raise UnknownPlan(f"{old.version.plan_name} is not sold any more.", param="plan")
    version = _in_currency(version, old.currency, organization)
    _check_more_than_tried(version, 0)
    _check_free(organization, version)
    quantities, agreed = _as_it_ended(old, version)
    check_agreed(version, agreed)
    row = _create(
        organization,
        version,
        collection=old.collection,
        start=at,
        trial_end=None,
        anchor=at,
        at=at,
        follows=old_row,
    )
    _add_prices(row, version, quantities=quantities, agreed=agreed, at=at)
    return _started(row, version, actor=actor, at=at)


@transaction.atomic
def extend_trial(
    subscription_id: str, *, until: datetime, actor: Actor, at: datetime
) -> SubscriptionFacts:
    """Let a trial last until another instant, its cycle begins then; safe to repeat.

    Raises WrongState when it is no trial (any more), Invalid for an instant that is past, not
    later than the trial's end now, or more than a year away.
    """
    row = mine(subscription_id, actor=actor)
    facts = selectors.by_id(row.pk)
    if facts.status != states.TRIALING or facts.trial_end is None:
        raise WrongState("Only a trial can be extended.")
    if facts.cancel_at is not None:
        raise WrongState("The trial is canceled; take that back first.")
    if until == facts.trial_end:
        return facts
    if not max(at, facts.trial_end) < until <= at + MOST_AHEAD:
        raise Invalid("A trial is extended to a later day within a year.", param="until")
    before = facts.trial_end
    phases = [
        replace(phase, anchor=until) if phase.anchor == before else phase for phase in facts.phases
    ]
    after = store(row, facts, facts.rebuilt(phases=phases, trial_end=until), at=at)
    told = {"trial_end": until.isoformat()}
    was = {"trial_end": before.isoformat()}
    record(row, "subscription.trial_extended", actor, at, before=was, after=told)
    return after


def _create(
    organization: Organization,
    version: VersionTerms,
    *,
    collection: str,
    start: datetime,
    trial_end: datetime | None,
    anchor: datetime,
    at: datetime,
    follows: Subscription | None = None,
) -> Subscription:
    row = Subscription.objects.create(
        organization_id=organization.pk,
        application_id=version.application_id,
        plan_version_id=version.version_id,
        status=states.ACTIVE if trial_end is None else states.TRIALING,
        collection=collection,
        currency=version.currency,
        timezone=organization.timezone,
        started_at=start,
        trial_end=trial_end,
        anchor=anchor,
        next_boundary_at=trial_end or start,
        recorded_at=at,
        follows=follows,
    )
    write_phase(row, PhaseFacts(-1, version, anchor, version.interval, (start, None)))
    return row


def _add_prices(
    row: Subscription,
    version: VersionTerms,
    *,
    quantities: Quantities,
    agreed: Mapping[str, Terms],
    at: datetime,
) -> None:
    facts = selectors.by_id(row.pk)
    begun = with_prices(
        facts, version, at=row.started_at, quantities=quantities, agreed=agreed, edge=None
    )
    for item in begun.items:
        write_item(row, item, at=at)


def _started(
    row: Subscription, version: VersionTerms, *, actor: Actor, at: datetime
) -> SubscriptionFacts:
    record(row, "subscription.started", actor, at, after={"plan": version.public_id})
    fact = SubscriptionStarted(row.public_id, row.organization_id, version.plan_code)
    outbox.emit(fact, at=at, organization_id=row.organization_id)
    return selectors.by_id(lock(row.pk).pk)


def _in_currency(version: VersionTerms, currency: str, organization: Organization) -> VersionTerms:
    sold = version.currencies or (version.currency,)
    if currency not in sold:
        raise WrongCurrency(
            f"{version.plan_name} is sold in {', '.join(sold)}, and {organization.name} pays in "
            f"{currency}; offer the plan in that currency.",
            param="plan",
        )
    return version.in_currency(currency)


def _check_start(*, start: datetime, at: datetime) -> None:
    if start > at + MOST_AHEAD:
        raise Invalid("A subscription starts within a year from now.", param="start")


def _check_more_than_tried(version: VersionTerms, days: int) -> None:
    """Raise Invalid for a plan that is only a trial, when no days of it are left."""
    if is_only_a_trial(version) and not days:
        raise Invalid(
            f"{version.plan_name} is only a trial, and it was used already; choose another plan.",
            param="plan",
        )


def _check_collection(
    version: VersionTerms, collection: str, trial_end: datetime | None, *, card: bool
) -> None:
    if collection not in Subscription.Collection.values:
        known = ", ".join(Subscription.Collection.values)
        raise Invalid(f"'{collection}' is no collection mode; use {known}.", param="collection")
    if trial_end is not None and version.trial_requires_card and not card:
        raise NoWayToPay(
            f"{version.plan_name} wants a saved payment method before its trial begins.",
            param="plan",
        )
    # A card can be added until the trial ends; without one the subscription then pauses.
    if collection != Subscription.Collection.MANUAL and trial_end is None and not card:
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


def _agreed(version: VersionTerms, amounts: Agreed) -> dict[str, Terms]:
    check_agreed(version, amounts)
    if amounts and not version.custom:
        raise Invalid(
            f"The prices of {version.plan_name} are fixed; only custom plans take agreed ones.",
            param="agreed",
        )
    return {key: agreed_terms(version.price(key), amount=amounts[key]) for key in amounts}


def _seats(version: VersionTerms, seats: int | None) -> dict[str, Decimal]:
    licensed = [price.key for price in version.prices if price.type == "licensed"]
    if seats is None:
        return {}
    if not licensed:
        raise Invalid(f"{version.plan_name} has no seats to buy.", param="seats")
    return dict.fromkeys(licensed, Decimal(seats))


def _as_it_ended(
    old: SubscriptionFacts, version: VersionTerms
) -> tuple[dict[str, Decimal], dict[str, Terms]]:
    """Return the quantities and agreed terms of its end, as far as they fit the version."""
    keys = {price.key: price for price in version.prices}
    last = [i for i in old.items if i.item.end == old.ended_at and i.item.key in keys]
    quantities = {
        i.item.key: i.item.steps[-1].quantity
        for i in last
        if i.item.steps and keys[i.item.key].type == "licensed"
    }
    return quantities, {i.item.key: i.item.terms for i in last if i.agreed}
