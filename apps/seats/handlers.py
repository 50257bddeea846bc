"""What seats do because something else happened. Facts may come twice: each is safe to repeat."""

from __future__ import annotations

from datetime import datetime

from apps.core import clock
from apps.core.actor import system
from apps.core.outbox import on
from apps.seats import guarding, selectors, services
from apps.seats.events import SeatAssigned, SeatReleased
from apps.seats.models import Seat
from apps.seats.services import pools
from apps.subscriptions import guards, states
from apps.subscriptions.events import (
    ChangeCalledOff,
    SubscriptionStarted,
    SubscriptionStatusChanged,
)
from apps.tenants import selectors as tenants
from apps.tenants.events import MemberRemoved

guards.checks(guarding.check)
guards.follows(pools.follow)

LOST = {states.CANCELED: Seat.Because.ENDED, states.UNPAID: Seat.Because.UNPAID}


@on(SubscriptionStatusChanged)
def follow_status(fact: SubscriptionStatusChanged) -> None:
    """Release what an end or a missing payment takes; give it back when it is paid."""
    actor, at = system("seats"), _now(fact.organization_id)
    if fact.after in LOST:
        because = LOST[fact.after]
        services.end_seats(fact.subscription_id, because=because, actor=actor, at=at)
    elif fact.before == states.UNPAID and fact.after == states.ACTIVE:
        services.restore_seats(fact.subscription_id, actor=actor, at=at)


@on(SubscriptionStarted)
def take_up_again(fact: SubscriptionStarted) -> None:
    """Give the people of a subscription that was taken up again their seats back."""
    services.restore_seats(
        fact.subscription_id, actor=system("seats"), at=_now(fact.organization_id)
    )


@on(ChangeCalledOff)
def let_stay(fact: ChangeCalledOff) -> None:
    """Keep the seats that were to go with a change."""
    moment = datetime.fromisoformat(fact.effective_at)
    services.keep_seats(fact.subscription_id, leaves_at=moment)


@on(MemberRemoved)
def leave_with_member(fact: MemberRemoved) -> None:
    """Release the seats of somebody who left."""
    services.end_member(
        fact.organization_id,
        user_id=fact.user,
        actor=system("seats"),
        at=_now(fact.organization_id),
    )


@on(SeatAssigned)
def bill_who_came(fact: SeatAssigned) -> None:
    """Let a quantity that is billed by its people follow who came."""
    _bill_who_is_there(fact.seat_id, fact.organization_id)


@on(SeatReleased)
def bill_who_stayed(fact: SeatReleased) -> None:
    """Let a quantity that is billed by its people follow who left."""
    _bill_who_is_there(fact.seat_id, fact.organization_id)


def _bill_who_is_there(seat_id: str, organization_id: int) -> None:
    seat = selectors.get(seat_id, organization_id=organization_id)
    services.follow_people(seat.pool_id, at=_now(organization_id))


def _now(organization_id: int) -> datetime:
    return tenants.now_for(organization_id, clock.now())
