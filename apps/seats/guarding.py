"""Nobody sells the seat that somebody sits on: what subscriptions asks before quantities change."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from datetime import datetime

from apps.seats import selectors
from apps.seats.errors import BilledByPeople, SeatsInUse
from apps.seats.models import Pool
from apps.seats.selectors import PoolFacts
from apps.subscriptions.facts import SubscriptionFacts

_going: ContextVar[Sequence[str]] = ContextVar("seats_that_would_go", default=())
_following: ContextVar[bool] = ContextVar("quantity_follows_people", default=False)


@contextlib.contextmanager
def following() -> Iterator[None]:
    """Let a quantity change in this context that follows the people who have a seat."""
    token = _following.set(True)
    try:
        yield
    finally:
        _following.reset(token)


@contextlib.contextmanager
def without(seat_ids: Sequence[str]) -> Iterator[None]:
    """Consider these seats gone, by public id, in whatever is previewed in this context."""
    token = _going.set(seat_ids)
    try:
        yield
    finally:
        _going.reset(token)


def check(before: SubscriptionFacts, after: SubscriptionFacts, moment: datetime) -> None:
    """Raise SeatsInUse when a change would leave fewer seats than will be somebody's by then, and
    BilledByPeople when it changes a quantity by hand that follows those who have a seat.
    """
    rows = Pool.objects.filter(organization_id=before.organization_id, subscription_id=before.id)
    for pool in rows:
        quantity = quantity_in(pool, before, after, moment)
        if quantity != pool.bought and pool.item in selectors.by_people(after):
            refuse_by_hand(pool)
        refuse_fewer(pool, quantity, moment)


def refuse_by_hand(pool: Pool | PoolFacts) -> None:
    """Raise BilledByPeople for a pool whose quantity follows who has a seat, unless it does so."""
    if pool.by_people and not _following.get():
        raise BilledByPeople(
            f"'{pool.item}' is billed by who has a seat: assign seats, or revoke them.",
            param="quantity",
        )


def quantity_in(
    pool: Pool, before: SubscriptionFacts, after: SubscriptionFacts, moment: datetime
) -> int:
    """Return how many seats of the pool are bought after a change."""
    item = selectors.item_in(pool, before, after)
    return selectors.bought(after, moment).get(item, 0)


def refuse_fewer(pool: Pool, quantity: int, moment: datetime) -> None:
    """Raise SeatsInUse when so many seats are too few for those who will still sit then."""
    if quantity >= pool.assigned:
        return
    staying = pool.assigned - selectors.leaving(pool, moment, besides=_going.get())
    if quantity < staying:
        raise SeatsInUse(
            f"{staying} seats of '{pool.item}' are assigned, and {quantity} would be left: revoke "
            f"{staying - quantity} first, or say which ones to release.",
            param="quantity",
            item=pool.item,
            assigned=staying,
            release=staying - quantity,
        )
