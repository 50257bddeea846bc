"""Locks, the record, and the one writer that stores the difference between two sets of facts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg.types.range import TimestamptzRange

from apps.audit import services as audit
from apps.core import outbox, statements
from apps.core.actor import Actor, require
from apps.core.errors import NotFound
from apps.engine.agreement import QuantityStep as Step
from apps.subscriptions import guards, selectors
from apps.subscriptions.events import SubscriptionStatusChanged
from apps.subscriptions.facts import During, ItemFacts, PhaseFacts, SubscriptionFacts
from apps.subscriptions.models import Phase, QuantityStep, Subscription, SubscriptionItem
from apps.tenants import services as tenants


def lock(subscription_id: int) -> Subscription:
    """Lock the subscription's row: after the organization's, before an invoice's."""
    return Subscription.objects.select_for_update().get(pk=subscription_id)


def hold(subscription_id: int) -> None:
    """Keep anybody from locking the subscription's row until the transaction ends; many may at
    once. After the organization's, before any lock of a room above: see `tenants.hold`.
    """
    statements.hold(Subscription, subscription_id)


def mine(subscription_id: str, *, actor: Actor) -> Subscription:
    """Return the subscription with this public id, locked, for somebody who may change it."""
    rows = Subscription.objects.filter(public_id=subscription_id)
    if actor.organization_id is not None:  # row-level security says the same
        rows = rows.filter(organization_id=actor.organization_id)
    row = rows.first()
    if row is None:
        raise NotFound(f"There is no subscription '{subscription_id}'.")
    require("manage_billing", actor=actor, organization_id=row.organization_id)
    tenants.lock(row.organization_id)
    return lock(row.pk)


def store(
    row: Subscription,
    before: SubscriptionFacts,
    after: SubscriptionFacts,
    *,
    at: datetime,
    moment: datetime | None = None,
) -> SubscriptionFacts:
    """Write what is other after than before, and return the facts as they are stored now.

    What ends is written before what begins, so that no two rows overlap at any time. Rooms above
    follow in the same transaction; `moment` is from when it counts, where that is not `at`.
    """
    _store_phases(row, before, after)
    _store_items(row, before, after, at=at)
    row.plan_version_id = after.version.version_id
    row.anchor = after.phases[-1].anchor
    row.next_boundary_at = after.next_boundary_at
    row.trial_end = after.trial_end
    row.cancel_at, row.cancel_reason = after.cancel_at, after.cancel_reason
    row.pause_at = after.pause_at
    row.save(
        update_fields=[
            "plan_version",
            "anchor",
            "next_boundary_at",
            "trial_end",
            "cancel_at",
            "cancel_reason",
            "pause_at",
        ]
    )
    stored = selectors.by_id(row.pk)
    guards.follow(before, stored, moment or at)
    return stored


def write_phase(row: Subscription, phase: PhaseFacts) -> None:
    """Write a phase."""
    Phase.objects.create(
        organization_id=row.organization_id,
        subscription=row,
        plan_version_id=phase.version.version_id,
        anchor=phase.anchor,
        interval_unit=phase.interval.unit.value,
        interval_count=phase.interval.count,
        during=_range(phase.during),
    )


def write_item(row: Subscription, facts: ItemFacts, *, at: datetime) -> None:
    """Write an item and its quantities."""
    listed = facts.version.price(facts.price.key)
    item = SubscriptionItem.objects.create(
        organization_id=row.organization_id,
        subscription=row,
        price_id=facts.price.id,
        key=facts.item.key,
        terms=facts.item.terms.as_dict() if facts.agreed else None,
        included=None if facts.item.included == listed.included else facts.item.included,
        during=_range(facts.item.during),
        starts=facts.item.starts or "",
        ends=facts.item.ends or "",
        position=facts.position,
    )
    for step in facts.item.steps:
        _add_step(item, step, at=at)


def go(
    row: Subscription, status: str, *, actor: Actor, at: datetime, extra: list[str] | None = None
) -> None:
    """Give the subscription another status, with the record and the fact."""
    before, row.status = row.status, status
    row.save(update_fields=["status", *(extra or [])])
    record(
        row,
        "subscription.status_changed",
        actor,
        at,
        before={"status": before},
        after={"status": status},
    )
    fact = SubscriptionStatusChanged(row.public_id, row.organization_id, before, status)
    outbox.emit(fact, at=at, organization_id=row.organization_id)


def record(row: Subscription, action: str, actor: Actor, at: datetime, **facts: Any) -> None:
    """Record an act on the subscription."""
    audit.record(
        action=action,
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        **facts,
    )


def _store_phases(row: Subscription, before: SubscriptionFacts, after: SubscriptionFacts) -> None:
    known = {phase.id: phase for phase in before.phases}
    for phase in after.phases:
        if phase.id in known and phase != known[phase.id]:
            Phase.objects.filter(pk=phase.id, organization_id=row.organization_id).update(
                during=_range(phase.during), anchor=phase.anchor
            )
    for phase in after.phases:
        if phase.id not in known:
            write_phase(row, phase)


def _store_items(
    row: Subscription, before: SubscriptionFacts, after: SubscriptionFacts, *, at: datetime
) -> None:
    known = {item.id: item for item in before.items}
    for facts in after.items:
        if facts.id in known and facts.item != known[facts.id].item:
            _store_item(row, known[facts.id], facts, at=at)
    for facts in after.items:
        if facts.id not in known:
            write_item(row, facts, at=at)


def _store_item(row: Subscription, before: ItemFacts, after: ItemFacts, *, at: datetime) -> None:
    item = SubscriptionItem.objects.get(pk=after.id, organization_id=row.organization_id)
    if (before.item.during, before.item.ends) != (after.item.during, after.item.ends):
        item.during, item.ends = _range(after.item.during), after.item.ends or ""
        item.save(update_fields=["during", "ends"])
    known = {step.id for step in before.item.steps}
    for step in after.item.steps:
        if step.id not in known:
            _add_step(item, step, at=at)


def _add_step(item: SubscriptionItem, step: Step, *, at: datetime) -> None:
    QuantityStep.objects.create(
        organization_id=item.organization_id,
        item=item,
        effective_at=step.at,
        quantity=step.quantity,
        proration=step.proration or "",
        recorded_at=at,
    )


def _range(during: During) -> TimestamptzRange:
    return TimestamptzRange(*during, "[)")
