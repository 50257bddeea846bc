"""A pool that grows by itself: assigning buys one more seat where none is free."""

from __future__ import annotations

from datetime import datetime

from apps.core.actor import Actor, system
from apps.invoicing import services as invoicing
from apps.seats.models import Pool
from apps.seats.services.buying import more
from apps.subscriptions import services as subscriptions
from apps.subscriptions.changes import Behaviour
from apps.tenants import services as tenants


def expand(pool: Pool, *, actor: Actor, at: datetime) -> None:
    """Buy one seat more for a pool that is full and may grow; the next invoice bears its share.

    Who allowed it may manage billing; whoever assigns need not. Takes the locks above the pool's
    first, and looks again under them: of two who come for one seat, the second may find it there.
    """
    tenants.lock(pool.organization_id)
    subscriptions.lock(pool.subscription_id)
    pool.refresh_from_db()
    full = pool.assigned >= pool.bought
    if full and pool.expand_up_to is not None and pool.bought < pool.expand_up_to:
        invoicing.change_subscription(
            pool.subscription.public_id,
            wish=more(pool, 1),
            behaviour=Behaviour.NEXT_INVOICE,
            actor=system(f"auto-expand for {actor.label}"[:200]),
            at=at,
            reason="a seat was assigned and none was free",
        )
