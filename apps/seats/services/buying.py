"""Buying more seats and releasing some: changes of quantity, quoted and billed as all others."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from apps.core.actor import Actor, require
from apps.core.errors import Invalid
from apps.invoicing import services as invoicing
from apps.invoicing.services import Changed, Confirmed
from apps.seats import guarding, selectors
from apps.seats.models import Pool, Seat
from apps.seats.services.pools import lock, mark_leaving, pool_of
from apps.seats.services.rows import let_go
from apps.subscriptions import changes
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions import services as subscriptions
from apps.subscriptions.changes import Behaviour, ChangeQuantity
from apps.tenants import services as tenants


@transaction.atomic
def buy_seats(
    subscription_id: str,
    *,
    count: int,
    item: str = "",
    behaviour: Behaviour = Behaviour.NOW,
    confirmed: Confirmed | None = None,
    actor: Actor,
    at: datetime,
) -> Changed:
    """Buy so many seats more, billed at once for the rest of the period unless said otherwise.

    What was `confirmed` is bought at that sum or not at all (see `quoting.quote_seats`).
    Raises QuoteMoved, QuoteExpired, Invalid, NoSeats, BilledByPeople, and what a change of quantity
    does.
    """
    _check_count(count)
    pool = _held(subscription_id, item, actor)
    return invoicing.change_subscription(
        subscription_id,
        wish=more(pool, count),
        behaviour=behaviour,
        actor=actor,
        at=at,
        confirmed=confirmed,
    )


@transaction.atomic
def release_seats(
    subscription_id: str,
    *,
    count: int,
    seats: Sequence[str] = (),
    item: str = "",
    behaviour: Behaviour = Behaviour.NEXT_PERIOD,
    confirmed: Confirmed | None = None,
    actor: Actor,
    at: datetime,
) -> Changed:
    """Buy so many seats fewer, by default from the next period on.

    `seats` are those whose people go then, by public id; until then they stay. Fewer than are
    assigned is refused otherwise, with SeatsInUse. Raises what `buy_seats` does.
    """
    _check_count(count)
    pool = _held(subscription_id, item, actor)
    _let_go(pool, seats, behaviour=behaviour, actor=actor, at=at)
    return invoicing.change_subscription(
        subscription_id,
        wish=more(pool, -count),
        behaviour=behaviour,
        actor=actor,
        at=at,
        confirmed=confirmed,
    )


def more(pool: Pool, count: int) -> ChangeQuantity:
    """Return the wish for so many more (or fewer) than are bought; no less than none."""
    if pool.bought + count < 0:
        raise Invalid(f"Only {pool.bought} seats are bought.", param="count")
    return ChangeQuantity(Decimal(pool.bought + count), pool.item)


def _check_count(count: int) -> None:
    if not 0 < count <= changes.MAX_QUANTITY:
        raise Invalid(f"Say a number of seats from 1 to {changes.MAX_QUANTITY}.", param="count")


def _held(subscription_id: str, item: str, actor: Actor) -> Pool:
    """Return the pool under the locks of organization, subscription and itself, in that order."""
    pool = pool_of(subscription_id, item=item, actor=actor)
    require("manage_billing", actor=actor, organization_id=pool.organization_id)
    guarding.refuse_by_hand(pool)
    tenants.lock(pool.organization_id)
    subscriptions.lock(pool.subscription_id)
    return lock(pool.pk)


def _let_go(
    pool: Pool, seat_ids: Sequence[str], *, behaviour: Behaviour, actor: Actor, at: datetime
) -> None:
    """Release the chosen seats: at once, or when the change that waits is carried out."""
    if not seat_ids:
        return
    if behaviour is Behaviour.NEXT_PERIOD:
        facts = subscription_selectors.by_id(pool.subscription_id)
        mark_leaving(pool, seat_ids, changes.next_period(facts, at))
        return
    mark_leaving(pool, seat_ids, at)
    for seat in selectors.seats(pool.organization_id).filter(pool=pool, leaves_at=at):
        let_go(seat, because=Seat.Because.FEWER, actor=actor, at=at)
