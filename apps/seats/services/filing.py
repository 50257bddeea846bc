"""Many seats at once, from a file: looked at row by row, then all of it or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from apps.core.actor import Actor
from apps.core.errors import DomainError
from apps.seats import selectors
from apps.seats.bulk import ASSIGN, REVOKE, Outlook, Outlooks, Row
from apps.seats.errors import BulkRefused
from apps.seats.models import Pool, Seat
from apps.seats.services.assigning import Person, assign_in, person_of, pool_to_fill
from apps.seats.services.expanding import make_room
from apps.seats.services.pools import lock
from apps.seats.services.rows import let_go


@transaction.atomic
def apply_bulk(
    subscription_id: str, *, rows: Sequence[Row], item: str = "", actor: Actor, at: datetime
) -> Outlooks:
    """Carry out every row of a file: seats are taken away first and given then.

    Safe to repeat: who has a seat keeps it. Emits what single rows do. Raises BulkRefused, with the
    rows at fault, when there is anything wrong with one; then nothing is done.
    """
    pool = pool_to_fill(subscription_id, item, actor)
    if selectors.grows_to(pool) > pool.bought:
        foreseen = _looked_at(pool, rows)
        make_room(pool, count=foreseen.after - foreseen.before, actor=actor, at=at)
    pool = lock(pool.pk)
    found = _looked_at(pool, rows)
    if found.wrong:
        raise BulkRefused(
            f"{len(found.wrong)} of {len(rows)} rows cannot be carried out; nothing was changed.",
            rows=[{"row": one.row.number, "problem": one.problem} for one in found.wrong],
        )
    held = _held(pool)
    for one in found.rows:
        if one.outcome == REVOKE:
            seat = held[person_of(pool, one.row.person)]
            let_go(seat, because=Seat.Because.REVOKED, actor=actor, at=at)
    pool.refresh_from_db(fields=["assigned"])
    for one in found.rows:
        if one.row.action == ASSIGN:
            assign_in(pool, person_of(pool, one.row.person), actor=actor, at=at)
    return found


def preview_bulk(
    subscription_id: str, *, rows: Sequence[Row], item: str = "", actor: Actor
) -> Outlooks:
    """Return what would come of every row of a file; changes nothing but that the pool is there."""
    return _looked_at(pool_to_fill(subscription_id, item, actor), rows)


def _looked_at(pool: Pool, rows: Sequence[Row]) -> Outlooks:
    """Look at every row as if those before it were done, and all that revoke before all others."""
    sitting, seen = set(_held(pool)), set[Person]()
    ahead = selectors.least_ahead(pool)
    most = max(pool.bought, selectors.grows_to(pool))
    room = most if ahead is None else min(most, pool.assigned + ahead[0])
    found: dict[int, Outlook] = {}
    for row in sorted(rows, key=lambda row: row.action != REVOKE):
        try:
            whom = person_of(pool, row.person)
        except DomainError as refusal:
            found[row.number] = Outlook(row, "", refusal.message)
            continue
        found[row.number] = _outlook(row, whom, sitting, seen, room)
        seen.add(whom)
    return Outlooks([found[row.number] for row in rows], pool.bought, pool.assigned, len(sitting))


def _outlook(row: Row, whom: Person, sitting: set[Person], seen: set[Person], room: int) -> Outlook:
    """Return what comes of a row, and note in `sitting` who sits then."""
    if problem := _problem(row, whom, sitting, seen, room):
        return Outlook(row, "", problem)
    if row.action == REVOKE:
        sitting.remove(whom)
        return Outlook(row, REVOKE)
    if whom in sitting:
        return Outlook(row, "keep")
    sitting.add(whom)
    return Outlook(row, ASSIGN if whom.user_id else "invite")


def _problem(row: Row, whom: Person, sitting: set[Person], seen: set[Person], room: int) -> str:
    if whom in seen:
        return "The person stands in the file twice."
    if row.action not in {ASSIGN, REVOKE}:
        return f"'{row.action[:40]}' is no action; say assign or revoke."
    if row.action == REVOKE and whom not in sitting:
        return "The person has no seat."
    full = row.action == ASSIGN and whom not in sitting and len(sitting) >= room
    return "No seat is left for this row." if full else ""


def _held(pool: Pool) -> dict[Person, Seat]:
    return {Person(row.user_id, row.email): row for row in selectors.sitting(pool)}
