"""What the invoice run does to many subscriptions at once: hold them, move their cursors on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from apps.core import bulk, statements
from apps.core.actor import Actor
from apps.subscriptions import states
from apps.subscriptions.facts import SubscriptionFacts
from apps.subscriptions.models import Change, Subscription
from apps.subscriptions.services.changing import apply_due
from apps.subscriptions.services.ending import reach

MOVE = """
UPDATE subscriptions_subscription s
SET next_boundary = given.boundary, next_boundary_at = given.moment
FROM unnest(%s::bigint[], %s::integer[], %s::timestamptz[]) AS given (id, boundary, moment)
WHERE s.id = given.id
"""


def lock_many(subscription_ids: Collection[int]) -> list[Subscription]:
    """Lock the subscriptions, whose organizations are locked, and return them, oldest due first."""
    rows = Subscription.objects.select_for_update(no_key=True).filter(pk__among=subscription_ids)
    return sorted(rows.order_by("pk"), key=lambda row: (row.next_boundary_at, row.pk))


def apply_all_due(
    rows: Sequence[Subscription], *, as_of: datetime, actor: Actor, at: datetime
) -> int:
    """Carry out what was scheduled on locked subscriptions before their next boundaries."""
    waiting = Change.objects.filter(
        subscription_id__among=[row.pk for row in rows],
        status=Change.Status.SCHEDULED,
        effective_at__lte=as_of,
    )
    changed = set(waiting.values_list("subscription_id", flat=True))
    return sum(apply_due(row, as_of=as_of, actor=actor, at=at) for row in rows if row.pk in changed)


def pass_boundaries(
    rows: Sequence[Subscription],
    *,
    facts: Mapping[int, SubscriptionFacts],
    actor: Actor,
    at: datetime,
) -> None:
    """Move the cursors past the boundaries just billed; end or pause what was to at them.

    `facts` are those that were billed. Billing calls this on locked rows, in the transaction that
    writes the invoices.
    """
    reached = {row.pk: row.next_boundary_at for row in rows}
    for row in rows:
        row.next_boundary += 1
        row.next_boundary_at = facts[row.pk].agreement.cycle.boundary(row.next_boundary)
    statements.bound(
        MOVE,
        [
            bulk.array(row.pk for row in rows),
            bulk.array(row.next_boundary for row in rows),
            bulk.array(row.next_boundary_at for row in rows),
        ],
    )
    for row in rows:
        if row.status in states.BILLED:
            reach(row, reached[row.pk], actor=actor, at=at)
