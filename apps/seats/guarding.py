"""Nobody sells the seat that somebody sits on: what subscriptions asks before quantities change."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from datetime import datetime

from apps.seats import selectors
from apps.seats.errors import SeatsInUse
from apps.seats.models import Pool
from apps.subscriptions.facts import SubscriptionFacts

_going: ContextVar[Sequence[str]] = ContextVar("seats_that_would_go", default=())


@contextlib.contextmanager
def without(seat_ids: Sequence[str]) -> Iterator[None]:
    """Consider these seats gone, by public id, in whatever is previewed in this context."""
    token = _going.set(seat_ids)
    try:
        yield
    finally:
        _going.reset(token)


def check(before: SubscriptionFacts, after: SubscriptionFacts, moment: datetime) -> None:
    """Raise SeatsInUse when a change would leave fewer seats than will be somebody's by then."""
    rows = Pool.objects.filter(organization_id=before.organization_id, subscription_id=before.id)
    for pool in rows:
        refuse_fewer(pool, quantity_in(pool, before, after, moment), moment)


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
