"""Ending, pausing and what billing does at a boundary."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from apps.core.actor import Actor
from apps.core.errors import Invalid
from apps.subscriptions import selectors, states
from apps.subscriptions.changes import (
    NOW,
    PERIOD_END,
    Behaviour,
    Resume,
    When,
    canceled,
    paused,
    reopened,
    withdrawn,
)
from apps.subscriptions.errors import AlreadyBilled, WrongState
from apps.subscriptions.facts import SubscriptionFacts
from apps.subscriptions.models import Change, Subscription
from apps.subscriptions.services.changing import apply_due, call_off, change
from apps.subscriptions.services.rows import go, mine, record, store


@transaction.atomic
def cancel(
    subscription_id: str,
    *,
    actor: Actor,
    at: datetime,
    reason: str = "",
    when: When = PERIOD_END,
    prorate: bool = True,
) -> SubscriptionFacts:
    """End the subscription when the current period (or trial) does, now, or at an instant.

    The boundary that ends it bills what is behind it and nothing ahead, and gives back what was
    paid for later than the end unless `prorate` is false. One that is to end now has that boundary
    at once, due to be billed. One that has not started yet, that is paused, or a trial that is to
    end now, ends without one. Changes scheduled for later are called off. Safe to repeat.
    Raises WrongState, AlreadyBilled, Invalid.
    """
    row = mine(subscription_id, actor=actor)
    apply_due(row, as_of=at, actor=actor, at=at)
    facts = selectors.by_id(row.pk)
    if not facts.is_live:
        raise WrongState("The subscription has ended already.")
    if row.cancel_at is not None and when == PERIOD_END:
        return facts
    if row.status == states.PAUSED or at < facts.started_at:  # nothing is or will be owed
        return _end_at_once(row, actor=actor, at=at, reason=reason)
    if when == NOW and at < facts.begins:
        return _end_at_once(row, actor=actor, at=at, reason=reason)
    after = canceled(facts, when=when, at=at, reason=reason, prorate=prorate)
    stored = store(row, facts, after, at=at)
    _call_off_later(row, after.cancel_at, actor=actor, at=at)
    told = {"cancel_at": "" if after.cancel_at is None else after.cancel_at.isoformat()}
    record(row, "subscription.cancel_scheduled", actor, at, after=told)
    return selectors.by_id(stored.id)


@transaction.atomic
def uncancel(subscription_id: str, *, actor: Actor, at: datetime) -> SubscriptionFacts:
    """Take back a cancellation that has not come into force; safe to repeat."""
    row = mine(subscription_id, actor=actor)
    facts = selectors.by_id(row.pk)
    if not facts.is_live:
        raise WrongState("The subscription has ended; subscribe again.")
    if facts.cancel_at is None:
        return facts
    _check_not_reached(facts, facts.cancel_at, at)
    stored = store(row, facts, withdrawn(facts), at=at)
    record(row, "subscription.cancel_withdrawn", actor, at)
    return stored


@transaction.atomic
def pause(
    subscription_id: str,
    *,
    actor: Actor,
    at: datetime,
    when: When = PERIOD_END,
    until: datetime | None = None,
    prorate: bool = True,
    reason: str = "",
) -> SubscriptionFacts:
    """Stop billing when the current period ends, now, or at an instant; `until` takes it up again.

    The boundary at which it pauses bills what is behind it, and gives back what was paid for later
    unless `prorate` is false; then the subscription is paused. Safe to repeat.
    Raises WrongState, AlreadyBilled, Invalid.
    """
    row = mine(subscription_id, actor=actor)
    apply_due(row, as_of=at, actor=actor, at=at)
    facts = selectors.by_id(row.pk)
    if facts.status == states.PAUSED or facts.pause_at is not None:
        return facts
    if facts.status not in states.BILLED or facts.status == states.TRIALING:
        raise WrongState("Only a subscription that is billed can be paused.")
    if at <= facts.started_at:
        raise WrongState("The subscription has not started yet.")
    if facts.cancel_at is not None:
        raise WrongState("The subscription is to end; take that back first.")
    after = paused(facts, when=when, at=at, prorate=prorate)
    if until is not None and (after.pause_at is None or until <= after.pause_at):
        raise Invalid("A pause ends after it begins.", param="until")
    store(row, facts, after, at=at)
    _call_off_later(row, after.pause_at, actor=actor, at=at)
    told = {"pause_at": "" if after.pause_at is None else after.pause_at.isoformat()}
    if until is not None:
        _schedule_resume(row, until=until, actor=actor, at=at, reason=reason)
        told["until"] = until.isoformat()
    record(row, "subscription.pause_scheduled", actor, at, after=told)
    return selectors.by_id(row.pk)


@transaction.atomic
def resume(
    subscription_id: str, *, actor: Actor, at: datetime, restart: bool = True
) -> SubscriptionFacts:
    """Take up a paused subscription, in a new cycle that starts now or in the one it had.

    One that paused when its trial ended with nobody to charge is paid by manual collection from now
    on. A pause that has not begun is taken back.
    """
    row = mine(subscription_id, actor=actor)
    facts = selectors.by_id(row.pk)
    if facts.status != states.PAUSED and facts.pause_at is not None:
        _check_not_reached(facts, facts.pause_at, at)
        stored = store(row, facts, reopened(facts, ended_at=facts.pause_at, pause_at=None), at=at)
        _call_off_resume(row, actor=actor, at=at)
        record(row, "subscription.pause_withdrawn", actor, at)
        return selectors.by_id(stored.id)
    if facts.status != states.PAUSED:
        raise WrongState("Only a paused subscription can be resumed.")
    if not facts.next_boundary:
        row.collection = Subscription.Collection.MANUAL
        row.save(update_fields=["collection"])
    _call_off_resume(row, actor=actor, at=at)
    return change(
        subscription_id, wish=Resume(restart), behaviour=Behaviour.NOW, actor=actor, at=at
    )


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
        go(row, states.ACTIVE, actor=actor, at=at)
    else:
        go(row, states.PAUSED, actor=actor, at=at)


def reach(row: Subscription, reached: datetime, *, actor: Actor, at: datetime) -> None:
    """End or pause a subscription that was to at the boundary just billed."""
    if row.cancel_at is not None and row.cancel_at <= reached:
        _end(row, actor=actor, at=at, reason=row.cancel_reason)
    elif row.pause_at is not None and row.pause_at <= reached:
        go(row, states.PAUSED, actor=actor, at=at)


def _check_not_reached(facts: SubscriptionFacts, moment: datetime, at: datetime) -> None:
    if moment <= at and facts.billed_until >= moment:
        raise AlreadyBilled("It has come into force and was billed.")


def _end_at_once(
    row: Subscription, *, actor: Actor, at: datetime, reason: str
) -> SubscriptionFacts:
    _call_off_later(row, None, actor=actor, at=at)
    row.cancel_at = None
    return _end(row, actor=actor, at=at, reason=reason, extra=["cancel_at"])


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
    go(row, states.CANCELED, actor=actor, at=at, extra=["ended_at", "cancel_reason", *extra])
    return selectors.by_id(row.pk)


def _call_off_later(
    row: Subscription, after: datetime | None, *, actor: Actor, at: datetime
) -> None:
    later = Change.objects.filter(subscription=row, status="scheduled")
    if after is not None:
        later = later.filter(effective_at__gte=after)
    for found in later.order_by("id"):
        call_off(row, found, actor=actor, at=at)


def _call_off_resume(row: Subscription, *, actor: Actor, at: datetime) -> None:
    waiting = Change.objects.filter(subscription=row, status="scheduled", action=Resume.action)
    for found in waiting:
        call_off(row, found, actor=actor, at=at)


def _schedule_resume(
    row: Subscription, *, until: datetime, actor: Actor, at: datetime, reason: str
) -> None:
    Change.objects.create(
        organization_id=row.organization_id,
        subscription=row,
        action=Resume.action,
        behaviour=Behaviour.RESET.value,
        arguments=Resume().arguments(),
        effective_at=until,
        status=Change.Status.SCHEDULED,
        reason=reason[:200],
        requested_by=actor.label[:200],
        requested_at=at,
    )
