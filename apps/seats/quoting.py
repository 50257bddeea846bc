"""What more seats, or fewer, would cost: by the computation that bills them. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from apps.core.errors import Invalid
from apps.engine.money import Money
from apps.invoicing import quoting
from apps.invoicing.quoting import Quoted
from apps.seats import guarding, selectors
from apps.seats.models import Seat
from apps.seats.selectors import PoolFacts
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions.changes import Behaviour, ChangeQuantity


@dataclass(frozen=True, slots=True)
class Advice:
    """Whose seats have stood empty for 30 days, and what a period costs less without them."""

    seats: Sequence[Seat]
    saves: Money


def quote_seats(
    subscription_id: str,
    *,
    count: int,
    item: str = "",
    behaviour: Behaviour | None = None,
    releasing: Sequence[str] = (),
    at: datetime,
    organization_id: int | None = None,
) -> Quoted:
    """Return what so many more seats (below zero: fewer) would cost at this moment.

    More are bought at once and fewer with the next period, unless `behaviour` says otherwise.
    `releasing` are the seats, by public id, whose people would go. Raises what `buy_seats` and
    `release_seats` do.
    """
    owner = subscriptions.get(subscription_id, organization_id=organization_id).organization_id
    pool = selectors.pool(owner, subscription_id, item=item, at=at)
    guarding.refuse_by_hand(pool)
    if pool.bought + count < 0:
        raise Invalid(f"Only {pool.bought} seats are bought.", param="count")
    usual = Behaviour.NOW if count > 0 else Behaviour.NEXT_PERIOD
    with guarding.without(releasing):
        return quoting.quote_change(
            subscription_id,
            wish=ChangeQuantity(Decimal(pool.bought + count), pool.item),
            behaviour=behaviour or usual,
            at=at,
            organization_id=organization_id,
        )


def coach(organization_id: int, pool: PoolFacts, *, at: datetime) -> Advice:
    """Return whose seats of a pool stand empty, and what the next period would cost less."""
    nothing = Advice((), Money.zero(pool.subscription.currency))
    if pool.id is None:
        return nothing
    empty = selectors.idle(organization_id, at=at, pool_id=pool.id)
    if not empty:
        return nothing
    with guarding.following():  # those who have a seat would be fewer
        quoted = quote_seats(
            pool.subscription.public_id,
            count=-len(empty),
            item=pool.item,
            releasing=[seat.public_id for seat in empty],
            at=at,
            organization_id=organization_id,
        )
    return Advice(empty, -quoted.amount)
