"""Trying rejected events again: after a meter was defined, a customer created, a limit lifted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction

from apps.core.actor import Actor, require
from apps.tenants import selectors as tenants
from apps.usage import cloudevents
from apps.usage.checking import NewEvent, Unread
from apps.usage.models import Event, RejectedEvent
from apps.usage.services.intake import EventResult, Status, clean, take
from apps.usage.services.waiting import THIN

BATCH = 1000


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of a batch; `last_id` continues with the next, `tried` 0 means the end."""

    tried: int
    accepted: int
    duplicate: int
    rejected: int
    last_id: int


@transaction.atomic
def replay_rejected(
    *,
    actor: Actor,
    at: datetime,
    organization_id: int | None = None,
    after_id: int = 0,
    limit: int = BATCH,
) -> Replayed:
    """Try a batch of rejected events again, by id from `after_id`; needs the ops scope.

    Whatever age they have. What is taken now (or was there already) is marked and linked to its
    event; what is refused again keeps the newest reason. Safe to repeat and to run twice at once.
    """
    require("replay_usage", actor=actor, organization_id=organization_id)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_xact_lock_shared({THIN})")  # what is linked to stays
    rows = _open(organization_id, after_id, limit)
    results: dict[int, EventResult] = {}
    for owner, group in _by_owner(rows).items():
        answers = take(owner, [event for _, event in group], at=at)
        for (row, _), result in zip(group, answers, strict=True):
            _note(row, result, at)
            results[row.pk] = result
    statuses = [result.status for result in results.values()]
    accepted, duplicate = statuses.count(Status.ACCEPTED), statuses.count(Status.DUPLICATE)
    return Replayed(
        tried=len(rows),
        accepted=accepted,
        duplicate=duplicate,
        rejected=len(rows) - accepted - duplicate,
        last_id=rows[-1].pk if rows else after_id,
    )


def _open(organization_id: int | None, after_id: int, limit: int) -> list[RejectedEvent]:
    rows = RejectedEvent.objects.filter(replayed_at__isnull=True, id__gt=after_id)
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    return list(rows.select_for_update(skip_locked=True, of=("self",)).order_by("id")[:limit])


def _by_owner(
    rows: Sequence[RejectedEvent],
) -> dict[int, list[tuple[RejectedEvent, NewEvent | Unread]]]:
    """Return the rows with their events by organization, unknown subjects left out."""
    found: dict[int, list[tuple[RejectedEvent, NewEvent | Unread]]] = defaultdict(list)
    owners: dict[tuple[str, str], int | None] = {}
    for row in rows:
        event = cloudevents.read(row.payload.encode(), line=row.line)
        owner = _owner(row, event, owners)
        if owner is not None:
            found[owner].append((row, event))
    return dict(sorted(found.items()))


def _owner(
    row: RejectedEvent, event: NewEvent | Unread, known: dict[tuple[str, str], int | None]
) -> int | None:
    """Return whose event it is: the row's organization, unless the event names another one.

    A customer's key may send an event with somebody else's subject: it is kept under the customer,
    and must not be counted for them.
    """
    if row.organization_id is not None and (isinstance(event, Unread) or not event.subject):
        return row.organization_id
    named = _subject(row, event, known)
    return named if row.organization_id in {None, named} else None


def _subject(
    row: RejectedEvent, event: NewEvent | Unread, known: dict[tuple[str, str], int | None]
) -> int | None:
    if isinstance(event, Unread):
        return None
    name = (event.subject, row.application)
    if name not in known:
        found = tenants.find_organization(event.subject, application=row.application or None)
        known[name] = None if found is None else found.pk
    return known[name]


def _note(row: RejectedEvent, result: EventResult, at: datetime) -> None:
    if result.status in {Status.ACCEPTED, Status.DUPLICATE}:
        row.replayed_at = at
        # One that it repeats may have gone already.
        row.event = Event.objects.filter(pk=result.event_id or 0).first()
        row.save(update_fields=["replayed_at", "event"])
    elif (row.code, row.pointer) != (result.code, result.pointer):
        row.code, row.detail, row.pointer = result.code, result.reason, clean(result.pointer, 300)
        row.save(update_fields=["code", "detail", "pointer"])
