"""How a seat begins and ends: the row, the record, the fact."""

from __future__ import annotations

from datetime import datetime, timedelta

from psycopg.types.range import TimestamptzRange

from apps.audit import services as audit
from apps.core import outbox
from apps.core.actor import Actor
from apps.seats.events import SeatAssigned, SeatInvited, SeatReleased
from apps.seats.models import Pool, Seat

INSTANT = timedelta(microseconds=1)


def give(
    pool: Pool,
    *,
    user_id: int | None,
    email: str = "",
    actor: Actor,
    at: datetime,
    follows: Seat | None = None,
) -> Seat:
    """Write a seat of a locked pool: a user's, or one that waits for whom an address belongs to."""
    seat = Seat.objects.create(
        organization_id=pool.organization_id,
        pool=pool,
        subscription_id=pool.subscription_id,
        application_id=pool.application_id,
        user_id=user_id,
        email="" if user_id else email,
        status=Seat.Status.ACTIVE if user_id else Seat.Status.INVITED,
        during=TimestamptzRange(at, None, "[)"),
        assigned_by=actor.label[:200],
        follows=follows,
    )
    pool.assigned += 1  # in memory; the row is counted by its trigger
    record(seat, "seat.assigned" if user_id else "seat.offered", actor, at, item=pool.item)
    fact = SeatAssigned if user_id else SeatInvited
    told = fact(seat.public_id, seat.organization_id)
    outbox.emit(told, at=at, organization_id=seat.organization_id)
    return seat


def let_go(seat: Seat, *, because: str, actor: Actor, at: datetime) -> None:
    """End a seat of a locked pool: from then on it is nobody's."""
    since = seat.during.lower
    seat.during = TimestamptzRange(since, max(at, since + INSTANT), "[)")
    seat.status, seat.because = Seat.Status.RELEASED, because
    seat.released_by = actor.label[:200]
    seat.save(update_fields=["status", "because", "during", "released_by"])
    record(seat, "seat.released", actor, at, because=because)
    told = SeatReleased(seat.public_id, seat.organization_id, because)
    outbox.emit(told, at=at, organization_id=seat.organization_id)


def record(seat: Seat, action: str, actor: Actor, at: datetime, **after: str) -> None:
    """Record an act on a seat. Whose it is stands in the row: people are not in the record."""
    audit.record(
        action=action,
        target=seat.public_id,
        actor=actor,
        at=at,
        organization_id=seat.organization_id,
        after=after,
    )
