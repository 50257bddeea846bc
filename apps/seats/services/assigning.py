"""Who may sit: assigning, claiming, giving to somebody else, taking away.

Whoever assigns locks the pool first and looks then, so refusals are sentences; that no seat is
given twice, and none that is not bought, the database holds by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction

from apps.core import outbox
from apps.core.actor import Actor, require
from apps.seats import selectors
from apps.seats.errors import (
    ClaimInvalid,
    NoSeats,
    SeatLimitReached,
    SeatReleasedBefore,
    UnknownPerson,
)
from apps.seats.events import SeatAssigned, SeatInvited
from apps.seats.models import Pool, Seat
from apps.seats.services.expanding import SERVED, make_room
from apps.seats.services.pools import lock, pool_of
from apps.seats.services.rows import give, let_go, record
from apps.tenants import selectors as tenant_selectors
from apps.tenants import services as tenants

if TYPE_CHECKING:
    from apps.tenants.models import User


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a seat is for: a member, or whoever an address belongs to."""

    user_id: int | None
    email: str = ""


@transaction.atomic
def assign_seat(
    subscription_id: str, *, person: str, item: str = "", actor: Actor, at: datetime
) -> Seat:
    """Give a person a seat: a member, by public id, e-mail or the application's own id of them, or
    whoever an e-mail address belongs to, who is sent a link to claim it.

    Where none is free one more is bought, if the pool grows by itself. Safe to repeat: who has a
    seat keeps it. Emits SeatAssigned, or SeatInvited. Raises SeatLimitReached, UnknownPerson,
    NoSeats, Invalid and NotFound.
    """
    pool = pool_to_fill(subscription_id, item, actor)
    whom = person_of(pool, person)
    if pool.assigned >= pool.bought and not _held(pool, whom):
        make_room(pool, actor=actor, at=at)
    return assign_in(lock(pool.pk), whom, actor=actor, at=at)


def pool_to_fill(subscription_id: str, item: str, actor: Actor) -> Pool:
    """Return the pool of a subscription's item, for somebody who may assign its seats."""
    require("assign_seats", actor=actor)
    pool = pool_of(subscription_id, item=item, actor=actor)
    require("assign_seats", actor=actor, organization_id=pool.organization_id)
    return pool


def assign_in(pool: Pool, whom: Person, *, actor: Actor, at: datetime) -> Seat:
    """Give a seat of a locked pool; one that the person has stays theirs."""
    held = _held(pool, whom)
    if held is not None:
        return held
    _refuse_unserved(pool)
    refuse_full(pool)
    return give(pool, user_id=whom.user_id, email=whom.email, actor=actor, at=at)


@transaction.atomic
def revoke_seat(seat_id: str, *, actor: Actor, at: datetime) -> Seat:
    """Take a seat away; the next answer to the product says no. Safe to repeat.

    Emits SeatReleased. Raises UnknownSeat.
    """
    seat = locked(seat_id, actor=actor)
    if seat.stands:
        let_go(seat, because=Seat.Because.REVOKED, actor=actor, at=at)
    return seat


@transaction.atomic
def reassign_seat(seat_id: str, *, person: str, actor: Actor, at: datetime) -> Seat:
    """Take a seat from one person and give it to another, at one instant.

    Returns the other's seat. Whoever has a seat keeps it and frees this one. Emits SeatReleased and
    SeatAssigned or SeatInvited. Raises UnknownSeat, SeatReleasedBefore, UnknownPerson, NoSeats.
    """
    seat = locked(seat_id, actor=actor)
    if not seat.stands:
        raise SeatReleasedBefore("The seat is nobody's any more; assign another one.")
    pool = seat.pool
    whom = person_of(pool, person)
    if whom == Person(seat.user_id, seat.email):
        return seat
    let_go(seat, because=Seat.Because.REASSIGNED, actor=actor, at=at)
    pool.refresh_from_db(fields=["assigned"])
    return assign_in(pool, whom, actor=actor, at=at)


@transaction.atomic
def claim_seat(token: str, *, user: User | None, password: str, name: str, at: datetime) -> Seat:
    """Take up a seat that waits: as the signed-in user, or with a new account for the address.

    Needs the ops scope. Whoever claims becomes a member, if they are none. A signed-in user must
    own the address. Emits SeatAssigned. Raises ClaimInvalid.
    """
    found = selectors.find_claim(token)
    lock(found.pool_id)
    seat = selectors.find_claim(token)
    if user is not None and user.email.lower() != seat.email:
        raise ClaimInvalid(f"This seat is for {seat.email}; sign in as that user.")
    member = tenants.admit(
        seat.organization_id, email=seat.email, user=user, password=password, name=name, at=at
    )
    actor = Actor("user", member.public_id, str(member), seat.organization_id)
    held = selectors.sitting(seat.pool).filter(user=member).first()
    if held is not None:
        let_go(seat, because=Seat.Because.REASSIGNED, actor=actor, at=at)
        return held
    seat.user, seat.email, seat.status = member, "", Seat.Status.ACTIVE
    seat.save(update_fields=["user", "email", "status"])
    record(seat, "seat.claimed", actor, at)
    told = SeatAssigned(seat.public_id, seat.organization_id)
    outbox.emit(told, at=at, organization_id=seat.organization_id)
    return seat


@transaction.atomic
def resend_claim(seat_id: str, *, actor: Actor, at: datetime) -> Seat:
    """Mail the link to claim a seat once more. Emits SeatInvited. Raises SeatReleasedBefore."""
    seat = locked(seat_id, actor=actor)
    if seat.status != Seat.Status.INVITED:
        raise SeatReleasedBefore("Nobody is waited for: the seat is claimed, or released.")
    record(seat, "seat.offered_again", actor, at)
    told = SeatInvited(seat.public_id, seat.organization_id)
    outbox.emit(told, at=at, organization_id=seat.organization_id)
    return seat


def locked(seat_id: str, *, actor: Actor) -> Seat:
    """Return a seat with its pool locked, for somebody who may assign it; or raise UnknownSeat."""
    found = selectors.get(seat_id, organization_id=actor.organization_id)
    require("assign_seats", actor=actor, organization_id=found.organization_id)
    pool = lock(found.pool_id)
    seat = selectors.get(seat_id)
    seat.pool = pool
    return seat


def person_of(pool: Pool, reference: str) -> Person:
    """Return whom a public id, an address or the application's own id means; or UnknownPerson."""
    reference = reference.strip()
    found = tenant_selectors.find_member(
        pool.organization_id, reference, application_id=pool.application_id
    )
    if found is not None:
        return Person(found.pk)
    if "@" not in reference:
        raise UnknownPerson(
            f"The organization has no member '{reference[:200]}'; say an e-mail address to invite "
            "somebody.",
            param="person",
        )
    tenants.check_email(reference)
    return Person(None, reference.lower())


def _held(pool: Pool, whom: Person) -> Seat | None:
    rows = selectors.sitting(pool)
    mine = rows.filter(user_id=whom.user_id) if whom.user_id else rows.filter(email=whom.email)
    return mine.first()


def _refuse_unserved(pool: Pool) -> None:
    status = pool.subscription.status
    if status not in SERVED:
        raise NoSeats(f"The subscription is {status}: its seats cannot be given to anybody now.")


def refuse_full(pool: Pool) -> None:
    """Raise SeatLimitReached when no seat of a locked pool is left, now or by what is scheduled."""
    if pool.assigned >= pool.bought:
        raise SeatLimitReached(
            f"All {pool.bought} seats of '{pool.item}' are assigned: buy more, or revoke one.",
            bought=pool.bought,
            assigned=pool.assigned,
        )
    ahead = selectors.least_ahead(pool)
    if ahead is not None and ahead[0] <= 0:
        raise SeatLimitReached(
            f"Fewer seats of '{pool.item}' are bought from {ahead[1]:%-d %B %Y} on, and those are "
            "assigned: call that change off, or revoke one.",
            bought=pool.bought,
            assigned=pool.assigned,
        )
