"""Seats that go, and come back, because of something else: an end, no payment, who left."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from apps.core.actor import Actor
from apps.seats import selectors as seats
from apps.seats.models import STANDS, Pool, Seat
from apps.seats.services.pools import lock, pool_of
from apps.seats.services.rows import give, let_go
from apps.subscriptions import selectors as subscriptions
from apps.tenants import selectors as tenants


@transaction.atomic
def end_seats(subscription_id: str, *, because: str, actor: Actor, at: datetime) -> int:
    """Release all seats of a subscription that ended or is not paid; return how many."""
    mine = Seat.objects.filter(subscription__public_id=subscription_id)
    return _release(mine, because=because, actor=actor, at=at)


@transaction.atomic
def end_member(organization_id: int, *, user_id: int, actor: Actor, at: datetime) -> int:
    """Release the seats of somebody who left the organization; return how many."""
    mine = Seat.objects.filter(organization_id=organization_id, user_id=user_id)
    return _release(mine, because=Seat.Because.MEMBER_REMOVED, actor=actor, at=at)


@transaction.atomic
def restore_seats(subscription_id: str, *, actor: Actor, at: datetime) -> int:
    """Give back the seats that went because a subscription was not paid, or had ended before it was
    taken up again; return how many.

    As many as are free, the oldest first, to those who are still members. Safe to repeat: what was
    given back once is not lost any more.
    """
    facts = subscriptions.get(subscription_id)
    lost = Q(subscription_id=facts.id, because=Seat.Because.UNPAID)
    if facts.follows_id is not None:
        lost |= Q(subscription_id=facts.follows_id, because=Seat.Because.ENDED)
    again = Seat.objects.filter(follows=OuterRef("pk"))
    rows = Seat.objects.filter(lost, ~Exists(again), organization_id=facts.organization_id)
    by_item: dict[str, list[Seat]] = {}
    for seat in rows.select_related("pool", "user").order_by("pk"):
        by_item.setdefault(seat.pool.item, []).append(seat)
    return sum(
        _give_back(pool_of(subscription_id, item=item, actor=actor), seats, actor=actor, at=at)
        for item, seats in by_item.items()
    )


@transaction.atomic
def keep_seats(subscription_id: str, *, leaves_at: datetime) -> int:
    """Let the seats stay that were to go with a change that was called off; return how many."""
    rows = Seat.objects.filter(
        subscription__public_id=subscription_id, leaves_at=leaves_at, status__in=STANDS
    )
    return rows.update(leaves_at=None)


def _release(rows: QuerySet[Seat], *, because: str, actor: Actor, at: datetime) -> int:
    """Release seats pool by pool, each under its lock."""
    count = 0
    standing = rows.filter(status__in=STANDS)
    for pool_id in sorted(set(standing.values_list("pool_id", flat=True))):
        lock(pool_id)
        for seat in standing.filter(pool_id=pool_id).order_by("pk"):
            let_go(seat, because=because, actor=actor, at=at)
            count += 1
    return count


def _give_back(pool: Pool, lost: Iterable[Seat], *, actor: Actor, at: datetime) -> int:
    pool = lock(pool.pk)
    members = {row.user_id for row in tenants.members(pool.organization_id)}
    taken = set(seats.sitting(pool).values_list("user_id", "email"))
    back = [
        seat
        for seat in lost
        if (seat.user_id, seat.email) not in taken
        and (seat.user_id is None or seat.user_id in members)
    ][: pool.free]
    for seat in back:
        give(pool, user_id=seat.user_id, email=seat.email, actor=actor, at=at, follows=seat)
    return len(back)
