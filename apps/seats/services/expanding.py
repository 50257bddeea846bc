"""Quantities that follow people: assigning buys what is missing, and who pays for those who have a
seat pays for no others.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from django.db import transaction

from apps.core.actor import Actor, system
from apps.invoicing import services as invoicing
from apps.seats import guarding, selectors
from apps.seats.models import Pool
from apps.seats.services.rows import INSTANT
from apps.subscriptions import selectors as agreements
from apps.subscriptions import services as subscriptions
from apps.subscriptions import states
from apps.subscriptions.changes import Behaviour, ChangeQuantity
from apps.tenants import services as tenants

SERVED = (states.TRIALING, states.ACTIVE, states.PAST_DUE)
"""The states of a subscription whose seats may be given to people."""


def make_room(pool: Pool, *, count: int = 1, actor: Actor, at: datetime) -> None:
    """Buy what a pool that may grow lacks for so many more people, as far as it may grow; the next
    invoice bears their share.

    Who allowed it may manage billing; whoever assigns need not. Takes the locks above the pool's
    first, and looks again under them: of two who come for one seat, the second may find it there.
    """
    if selectors.grows_to(pool) <= pool.bought or pool.assigned + count <= pool.bought:
        return
    _lock_above(pool)
    wanted = min(pool.assigned + count, selectors.grows_to(pool))
    if wanted > pool.bought:
        label = f"auto-expand for {actor.label}"
        _set(pool, wanted, label, at, because="seats were assigned and none was free")


@transaction.atomic
def follow_people(pool_id: int, *, at: datetime) -> None:
    """Let the quantity of a pool that is billed by its people be how many they are. Safe to repeat.

    The next invoice bears the difference. Of a subscription that is not served nothing changes: its
    people are to come back.
    """
    pool = Pool.objects.select_related("subscription").get(pk=pool_id)
    if not pool.by_people:
        return
    _lock_above(pool)
    if pool.subscription.status in SERVED and pool.bought != pool.assigned:
        _set(pool, pool.assigned, "seats", at, because="billed by how many have a seat")


def _lock_above(pool: Pool) -> None:
    tenants.lock(pool.organization_id)
    pool.subscription = subscriptions.lock(pool.subscription_id)
    pool.refresh_from_db(fields=["item", "bought", "assigned", "by_people", "expand_up_to"])


def _set(pool: Pool, quantity: int, label: str, at: datetime, *, because: str) -> None:
    at = _later_than_all(pool, at)
    with guarding.following():
        invoicing.change_subscription(
            pool.subscription.public_id,
            wish=ChangeQuantity(Decimal(quantity), pool.item),
            behaviour=Behaviour.NEXT_INVOICE,
            actor=system(label[:200]),
            at=at,
            reason=because,
        )


def _later_than_all(pool: Pool, at: datetime) -> datetime:
    """Return the moment, or the one after the last change: while a test clock stands still, many
    may be given seats at one instant.
    """
    held = agreements.by_id(pool.subscription_id).licensed(pool.item, at=at).item
    return max([at, *(step.at + INSTANT for step in held.steps)])
