"""Facts on their way up: recorded with the change, delivered after it, to each handler on its own.

A lower room calls `emit(Fact(...))` inside its transaction. A higher room registers a handler with
`@on(Fact)`. The worker hands every fact to every handler, each in a transaction of its own and in
the scope of the fact's organization; a failing one is retried with growing pauses and, after
`MAX_TRIES`, dead-lettered, where the admin shows it with a button to try again. Delivery is at
least once: handlers are safe to repeat.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db import connection, transaction
from django.db.models import Min, Q

from apps.core import bulk, clock, rls
from apps.core.models import OutboxDelivery, OutboxEvent
from apps.core.snapshots import Snapshot

log = logging.getLogger(__name__)

MAX_TRIES = 8
FIRST_PAUSE = timedelta(seconds=10)  # then doubled: the last try comes 21 minutes after the first

Fact = Any
E = TypeVar("E")
Handler = Callable[[Fact], None]

_types: dict[str, type[Fact]] = {}
_handlers: dict[str, dict[str, Handler]] = defaultdict(dict)


def on(fact: type[E]) -> Callable[[Callable[[E], None]], Callable[[E], None]]:
    """Call the decorated function, at least once, for every fact of this type."""

    def register(handler: Callable[[E], None]) -> Callable[[E], None]:
        name = name_of(fact)
        _types[name] = fact
        _handlers[name][f"{handler.__module__}.{handler.__name__}"] = handler
        return handler

    return register


def name_of(fact: type[Fact]) -> str:
    """Return `room.FactName`."""
    return f"{fact.__module__.split('.')[1]}.{fact.__name__}"


def emit(fact: Fact, *, at: datetime, organization_id: int | None = None) -> None:
    """Record a fact (a frozen dataclass of plain values) in the current transaction."""
    emit_all([(fact, organization_id)], at=at)


def emit_all(facts: Sequence[tuple[Fact, int | None]], *, at: datetime) -> None:
    """Record many facts, each with its organization, in two statements.

    Delivery is due at once: what happens at a later time happens by a test clock, and nobody waits.
    """
    due_at = min(at, clock.now())
    events = bulk.add(
        OutboxEvent,
        (
            {
                "name": name_of(type(fact)),
                "payload": asdict(fact),
                "occurred_at": at,
                "organization_id": organization_id,
            }
            for fact, organization_id in facts
        ),
    )
    bulk.add(
        OutboxDelivery,
        (
            {
                "event_id": event,
                "organization_id": organization_id,
                "handler": handler,
                "next_try_at": due_at,
            }
            for event, (fact, organization_id) in zip(events, facts, strict=True)
            for handler in _handlers[name_of(type(fact))]
        ),
    )


def deliver_due(*, limit: int = 500) -> int:
    """Deliver what is due, one transaction each; return how many were tried.

    Several workers may run at once: each takes rows that no other holds. A delivery that fails is
    counted and put off, so it cannot keep this loop busy.
    """
    tried = 0
    while tried < limit and _deliver_next():
        tried += 1
    return tried


def _deliver_next() -> bool:
    with rls.ops_scope("outbox: deliver"):
        delivery = (
            OutboxDelivery.objects.select_for_update(skip_locked=True, of=("self",))
            .select_related("event")
            .filter(status=OutboxDelivery.Status.PENDING, next_try_at__lte=clock.now())
            .order_by("next_try_at", "id")
            .first()
        )
        if delivery is None:
            return False
        _attempt(delivery)
        return True


def _attempt(delivery: OutboxDelivery) -> None:
    delivery.tries += 1
    try:
        with transaction.atomic(), _scope_of(delivery):
            _handlers[delivery.event.name][delivery.handler](_fact(delivery.event))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is kept, retried and shown
        _put_off(delivery, error)
    else:
        delivery.status = OutboxDelivery.Status.DELIVERED
        delivery.delivered_at = clock.now()
    delivery.save(update_fields=["tries", "status", "delivered_at", "next_try_at", "last_error"])


def _put_off(delivery: OutboxDelivery, error: Exception) -> None:
    delivery.last_error = f"{type(error).__name__}: {error}"[:2000]
    dead = delivery.tries >= MAX_TRIES
    delivery.status = OutboxDelivery.Status.DEAD if dead else OutboxDelivery.Status.PENDING
    delivery.next_try_at = clock.now() + FIRST_PAUSE * 2 ** (delivery.tries - 1)
    log.warning(
        "outbox_delivery_failed",
        extra={"handler": delivery.handler, "tries": delivery.tries, "dead": dead},
        exc_info=error,
    )


def _scope_of(delivery: OutboxDelivery) -> AbstractContextManager[None]:
    if delivery.organization_id is None:
        return rls.ops_scope("outbox: platform fact")
    return rls.tenant_scope(delivery.organization_id)


def _fact(event: OutboxEvent) -> Fact:
    return _types[event.name](**event.payload)


def retry(delivery_ids: list[int]) -> int:
    """Put dead deliveries back in the queue; return how many. The staff's button calls this."""
    return OutboxDelivery.objects.filter(
        pk__in=delivery_ids, status=OutboxDelivery.Status.DEAD
    ).update(status=OutboxDelivery.Status.PENDING, tries=0, next_try_at=clock.now())


def retry_dead() -> int:
    """Put every dead delivery back in the queue; return how many."""
    with rls.ops_scope("outbox: retry dead deliveries"):
        dead = OutboxDelivery.objects.filter(status=OutboxDelivery.Status.DEAD)
        return retry(list(dead.values_list("pk", flat=True)))


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many deliveries wait, since when the oldest one has been due, and how many are dead."""

    pending: int
    oldest_due_at: datetime | None
    dead: int


def backlog() -> Backlog:
    """Return what is not delivered, of all organizations."""
    status = OutboxDelivery.Status
    with rls.ops_scope("outbox: backlog"):
        pending = OutboxDelivery.objects.filter(status=status.PENDING)
        oldest = pending.aggregate(oldest=Min("next_try_at"))["oldest"]
        dead = OutboxDelivery.objects.filter(status=status.DEAD).count()
        return Backlog(pending.count(), oldest, dead)


# --- what was told, for those who look on --------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Told:
    """A fact as it was recorded, and the transaction that recorded it."""

    id: int
    public_id: str
    name: str
    payload: Mapping[str, Any]
    occurred_at: datetime
    xid: int


def told(
    organization_id: int,
    *,
    seen: Snapshot,
    upto: Snapshot,
    names: Collection[str],
    since: datetime,
    limit: int,
) -> list[Told]:
    """Return the facts with these names that `upto` sees and `seen` did not, as they were recorded.

    `since` leaves out what was recorded before the cluster's epoch began: its transaction numbers
    are another cluster's. At most `limit` facts.
    """
    rows = (
        OutboxEvent.objects.filter(Q(xid__gte=seen.xmax) | Q(xid__in=seen.running))
        .filter(organization_id=organization_id, name__in=names, created_at__gte=since)
        .filter(xid__lt=upto.xmax)
        .exclude(xid__in=upto.running)
        .order_by("id")
    )
    fields = ("id", "public_id", "name", "payload", "occurred_at", "xid")
    return [Told(*row) for row in rows.values_list(*fields)[:limit]]


# By index alone, one probe an organization and a running transaction.
TOLD_TO = """SELECT o.id
FROM unnest(%(organizations)s::bigint[], %(snapshots)s::pg_snapshot[]) AS o (id, seen)
WHERE EXISTS (SELECT FROM core_outboxevent e WHERE e.organization_id = o.id
    AND e.xid >= pg_snapshot_xmax(o.seen) AND e.xid < pg_snapshot_xmax(%(upto)s::pg_snapshot))
  OR EXISTS (SELECT FROM core_outboxevent e WHERE e.organization_id = o.id
    AND e.xid = ANY (ARRAY(SELECT pg_snapshot_xip(o.seen))))"""


def told_to(seen: Mapping[int, Snapshot], *, upto: Snapshot) -> set[int]:
    """Return the organizations of which facts came since each one's snapshot; may name too many."""
    with connection.cursor() as cursor:
        cursor.execute(
            TOLD_TO,
            {
                "organizations": list(seen),
                "snapshots": [str(one) for one in seen.values()],
                "upto": str(upto),
            },
        )
        return {organization_id for (organization_id,) in cursor.fetchall()}
