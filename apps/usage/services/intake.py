"""Taking events in: each counted once, refused ones kept with the reason."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from django.db import connection, transaction

from apps.core import statements
from apps.core.actor import Actor, require
from apps.core.ids import new_id
from apps.usage import cloudevents, counting, retention, selectors
from apps.usage.checking import PUBLIC_ID, Door, NewEvent, Refusal, Target, Unread, dedupe_key
from apps.usage.errors import UsageNotReady
from apps.usage.services.restoring import bring_back
from apps.usage.services.waiting import THIN

SEPARATOR = "\x1f"  # stands in no stored text: names refuse it and JSON writes it as \u001f

PROPOSED = """unnest(%(dedupe_keys)s::uuid[], %(sources)s::text[], %(keys)s::text[],
    %(types)s::text[], %(times)s::timestamptz[], %(data)s::jsonb[])
  WITH ORDINALITY AS p (dedupe_key, source, key, type, occurred_at, data, position)"""

PROPOSED_VOIDS = """unnest(%(dedupe_keys)s::uuid[], %(sources)s::text[], %(keys)s::text[],
    %(types)s::text[], %(times)s::timestamptz[], %(data)s::jsonb[], %(voids)s::bigint[])
  WITH ORDINALITY AS p (dedupe_key, source, key, type, occurred_at, data, voids, position)"""

# What was sealed or thinned may be gone, and is known by the keys that were kept of it. Asked key
# by key, and only in organizations that have such keys.
CLOSED = """closed AS MATERIALIZED (
  SELECT (SELECT max(closed_until) FROM usage_seal
      WHERE organization_id = %(organization)s) AS until,
    EXISTS (SELECT FROM usage_pruned_event
      WHERE organization_id = %(organization)s) AS has_keys
)"""
OPEN = """EXISTS (SELECT FROM epoch)
    AND ((SELECT until FROM closed) IS NULL OR p.occurred_at >= (SELECT until FROM closed))
    AND CASE WHEN (SELECT has_keys FROM closed) THEN NOT EXISTS (
      SELECT FROM usage_pruned_event g
      WHERE g.organization_id = %(organization)s AND g.dedupe_key = p.dedupe_key)
      ELSE true END"""
TARGET_OPEN = """((SELECT until FROM closed) IS NULL OR EXISTS (
      SELECT FROM usage_event t WHERE t.organization_id = %(organization)s AND t.id = p.voids
        AND t.occurred_at >= (SELECT until FROM closed)))"""

# Numbered in the order they came, so that of two readings at one instant the later one is `latest`;
# stored in the order of their keys, so that two batches with the same events cannot deadlock.
# Without an epoch nothing is stored: a transaction number of this cluster among those of another
# would make old evidence count what it never saw.
STORE = f"""WITH {counting.EPOCH}, {CLOSED}, proposed AS MATERIALIZED (
  SELECT nextval('usage_event_id_seq') AS id, p.* FROM {PROPOSED}
  WHERE {OPEN}
), stored AS (
  INSERT INTO usage_event
    (id, organization_id, dedupe_key, source, key, type, occurred_at, received_at, data, digest)
  SELECT id, %(organization)s, dedupe_key, source, key, type, occurred_at, statement_timestamp(),
    data, usage_event_digest(
      %(organization)s, source, key, type, occurred_at, statement_timestamp(), data)
  FROM proposed ORDER BY dedupe_key, id
  ON CONFLICT (organization_id, dedupe_key) DO NOTHING
  RETURNING id
)
SELECT position - 1, id FROM stored JOIN proposed USING (id)"""  # noqa: S608 - constants

# As STORE, for events that take another one back, under VOIDING: the first that came wins. No
# constraint is named: where the other is voided already, the row is left out too, and COMPARE does
# not find it then.
STORE_VOIDING = f"""WITH {counting.EPOCH}, {CLOSED}, proposed AS MATERIALIZED (
  SELECT nextval('usage_event_id_seq') AS id, p.* FROM {PROPOSED_VOIDS}
  WHERE {OPEN} AND {TARGET_OPEN}
), stored AS (
  INSERT INTO usage_event
    (id, organization_id, dedupe_key, source, key, type, occurred_at, received_at, data, digest,
     voids_id)
  SELECT id, %(organization)s, dedupe_key, source, key, type, occurred_at, statement_timestamp(),
    data, usage_event_digest(
      %(organization)s, source, key, type, occurred_at, statement_timestamp(), data, voids),
    voids
  FROM proposed ORDER BY id
  ON CONFLICT DO NOTHING
  RETURNING id
)
SELECT position - 1, id FROM stored JOIN proposed USING (id)"""  # noqa: S608 - constants

# One after the other, for an organization: each also waits for whoever voids the same event. And
# none while events go from here: one that is to be voided stays, or is brought back.
VOIDING = f"""SELECT pg_advisory_xact_lock_shared({THIN}),
  pg_advisory_xact_lock(hashtextextended('usage.void', %(organization)s))"""

TARGETS = """SELECT dedupe_key, id, type, occurred_at FROM usage_event
WHERE organization_id = %(organization)s AND dedupe_key = ANY (%(dedupe_keys)s::uuid[])"""

# A statement of its own: the event that was there first may have been committed a moment ago. When
# it came is no part of what is compared, so both digests are made with the stored one's.
COMPARE = f"""SELECT p.position - 1, e.id,
  e.digest = usage_event_digest(
    %(organization)s, p.source, p.key, p.type, p.occurred_at, e.received_at, p.data, p.voids)
FROM {PROPOSED_VOIDS}
JOIN usage_event e ON e.organization_id = %(organization)s AND e.dedupe_key = p.dedupe_key
UNION ALL
SELECT p.position - 1, g.id,
  g.content = usage_event_content(
    %(organization)s, p.source, p.key, p.type, p.occurred_at, p.data, p.voids)
FROM {PROPOSED_VOIDS}
JOIN usage_pruned_event g ON g.organization_id = %(organization)s AND g.dedupe_key = p.dedupe_key"""  # noqa: S608

KEEP = """INSERT INTO usage_rejected_event AS r
  (organization_id, public_id, code, detail, pointer, payload, fingerprint, origin, line,
   application, first_seen_at, last_seen_at, times_seen)
SELECT %(organization)s::bigint, p.public_id, p.code, p.detail, p.pointer, p.payload, p.fingerprint,
  %(origin)s, p.line, %(application)s, %(at)s, %(at)s, p.times
FROM unnest(%(public_ids)s::text[], %(codes)s::text[], %(details)s::text[], %(pointers)s::text[],
  %(payloads)s::text[], %(fingerprints)s::bytea[], %(lines)s::bigint[], %(times)s::integer[])
  AS p (public_id, code, detail, pointer, payload, fingerprint, line, times)
ORDER BY p.fingerprint
ON CONFLICT (organization_id, fingerprint) DO UPDATE SET
  times_seen = r.times_seen + excluded.times_seen,
  last_seen_at = greatest(r.last_seen_at, excluded.last_seen_at)"""


class Status(StrEnum):
    """What became of an event. A conflict is a rejection of its own kind."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REJECTED = "rejected"


class EventResult(msgspec.Struct, frozen=True):
    """What became of one event; `event_id` is the stored one (in a conflict, the first)."""

    status: Status
    code: str = ""
    reason: str = ""
    pointer: str = ""
    event_id: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch, in its order. It holds once the caller's transaction is committed."""

    results: tuple[EventResult, ...]

    @property
    def accepted(self) -> int:
        """How many are new."""
        return self._count(Status.ACCEPTED)

    @property
    def duplicate(self) -> int:
        """How many were there already, with the same content."""
        return self._count(Status.DUPLICATE)

    @property
    def rejected(self) -> int:
        """How many were not taken, conflicts included."""
        return len(self.results) - self.accepted - self.duplicate

    def _count(self, status: Status) -> int:
        return sum(result.status is status for result in self.results)


class _Judged(msgspec.Struct):
    """An event that passed the door: its place in the batch and its data as stored."""

    position: int
    event: NewEvent
    data: str
    dedupe_key: str
    voids: int | None = None


@transaction.atomic(savepoint=False)  # all or nothing, with whatever it is part of
def ingest(
    organization_id: int,
    *,
    events: Sequence[NewEvent | Unread],
    actor: Actor,
    at: datetime,
    max_age: timedelta | None = None,
    origin: str = "",
    application: str = "",
) -> Outcome:
    """Store a batch of events, each counted once, and keep the refused ones.

    Safe to repeat: an event is known by (organization, source, key). The same event again is a
    duplicate, another content under its key a conflict. Do not answer before the commit. `max_age`
    refuses what is older than `at` by more; `origin` and `application` are kept with the refused.
    Raises UsageNotReady, storing nothing, after a restore until the buckets are rebuilt.
    """
    require("write_usage", actor=actor, organization_id=organization_id)
    results = take(organization_id, events, at=at, max_age=max_age)
    refused = [
        _refused(event, result)
        for event, result in zip(events, results, strict=True)
        if result.status in {Status.REJECTED, Status.CONFLICT}
    ]
    _keep(organization_id, refused, at=at, origin=origin, application=application)
    return Outcome(tuple(results))


@transaction.atomic
def reject(
    organization_id: int | None,
    *,
    refused: Sequence[Unread],
    actor: Actor,
    at: datetime,
    origin: str = "",
    application: str = "",
) -> None:
    """Keep what could not be taken; None for an unknown subject, which needs the ops scope.

    Safe to repeat: the same text adds no row, it is seen once more.
    """
    require("write_usage", actor=actor, organization_id=organization_id)
    _keep(organization_id, refused, at=at, origin=origin, application=application)


def take(
    organization_id: int,
    events: Sequence[NewEvent | Unread],
    *,
    at: datetime,
    max_age: timedelta | None = None,
) -> list[EventResult]:
    """Judge and store a batch and keep nothing of what is refused; for this room's services."""
    door = Door(selectors.meter_rules(), at, max_age)
    results: list[EventResult | None] = [None] * len(events)
    judged: list[_Judged] = []
    for position, event in enumerate(events):
        verdict = event.refusal if isinstance(event, Unread) else door.judge(event)
        if isinstance(event, Unread) or isinstance(verdict, Refusal):
            results[position] = _rejection(verdict)
        else:
            key = dedupe_key(event.source, event.key)
            judged.append(_Judged(position, event, verdict, key))
    voiding = [one for one in judged if one.event.voids]
    plain = [one for one in judged if not one.event.voids] if voiding else judged
    for position, result in _store(organization_id, plain, STORE):
        results[position] = result
    if voiding:
        for position, result in _void(organization_id, voiding, door):
            results[position] = result
    return [result for result in results if result is not None]


def _void(
    organization_id: int, voiding: Sequence[_Judged], door: Door
) -> Iterable[tuple[int, EventResult]]:
    """Store what takes others back, after those others where they came in the same batch."""
    with connection.cursor() as cursor:
        cursor.execute(VOIDING, {"organization": organization_id})
    closed = retention.closed_until(organization_id)
    while voiding:
        waiting, ready = [], []
        targets, away = _targets(organization_id, voiding)
        coming = {one.dedupe_key for one in voiding}
        for one in voiding:
            names = _names(one.event)
            target = next((targets[name] for name in names if name in targets), None)
            if target is None and coming.intersection(names) - {one.dedupe_key}:
                waiting.append(one)
                continue
            refusal = door.judge_voided(one.event.voids, target)
            if target is not None and target.occurred_at < closed:
                refusal = _sealed(closed, "/voids")
            if refusal is not None or target is None:
                yield one.position, _rejection(refusal)
                continue
            one.voids = target.id
            ready.append(one)
        if gone := away.intersection(one.voids for one in ready if one.voids is not None):
            bring_back(organization_id, sorted(gone))
        yield from _store(organization_id, ready, STORE_VOIDING)
        if len(waiting) == len(voiding):  # in a circle: nothing of it is there
            for one in waiting:
                yield one.position, _rejection(door.judge_voided(one.event.voids, None))
            return
        voiding = waiting


def _rejection(refusal: Any) -> EventResult:
    return EventResult(Status.REJECTED, refusal.code, refusal.reason, refusal.pointer)


def _names(event: NewEvent) -> list[str]:
    """Return the dedupe keys that `voids` may mean: an id first, then a public id."""
    found = [dedupe_key(event.voids_source or event.source, event.voids)]
    public = PUBLIC_ID.fullmatch(event.voids)
    return [*found, public["key"]] if public and not event.voids_source else found


def _targets(
    organization_id: int, voiding: Sequence[_Judged]
) -> tuple[dict[str, Target], set[int]]:
    """Return what the voids mean by dedupe key, and which of it is not in PostgreSQL."""
    names = {name for one in voiding for name in _names(one.event)}
    with connection.cursor() as cursor:
        cursor.execute(TARGETS, {"organization": organization_id, "dedupe_keys": sorted(names)})
        here = {key.hex: Target(*target) for key, *target in cursor.fetchall()}
    gone = selectors.gone_events(organization_id, sorted(names - here.keys()))
    there = {row.dedupe_key.hex: Target(row.pk, row.type, row.occurred_at) for row in gone}
    return {**there, **here}, {target.id for target in there.values()}


def _store(
    organization_id: int, judged: Sequence[_Judged], statement: str
) -> Iterable[tuple[int, EventResult]]:
    if not judged:
        return
    stored = set()
    for index, event_id in _run(statement, organization_id, judged):
        stored.add(index)
        yield judged[index].position, EventResult(Status.ACCEPTED, event_id=event_id)
    if len(stored) == len(judged):
        return
    left = [one for index, one in enumerate(judged) if index not in stored]
    known = {index: found for index, *found in _run(COMPARE, organization_id, left)}
    if len(known) != len(left) and not selectors.is_ready():
        raise UsageNotReady(selectors.NOT_READY)
    closed = retention.closed_until(organization_id) if len(known) != len(left) else None
    for index, one in enumerate(left):
        yield one.position, _known(*known[index]) if index in known else _too_late(one, closed)


def _too_late(one: _Judged, closed: datetime | None) -> EventResult:
    occurred_at = one.event.occurred_at
    if closed is not None and occurred_at is not None and occurred_at < closed:
        return _rejection(_sealed(closed, "/time"))
    reason = f"The event '{one.event.voids}' is voided already, by another event."
    return EventResult(Status.REJECTED, "already_voided", reason, "/voids")


def _sealed(closed: datetime, pointer: str) -> Refusal:
    reason = f"The usage before {closed:%Y-%m-%dT%H:%MZ} is sealed; nothing is added or voided."
    return Refusal("usage_sealed", reason, pointer)


def _known(event_id: int, same: bool) -> EventResult:
    if same:
        return EventResult(Status.DUPLICATE, event_id=event_id)
    reason = "An event with this source and id is stored with other content; the first one counts."
    return EventResult(Status.CONFLICT, "conflict", reason, "/id", event_id)


def _run(sql: str, organization_id: int, judged: Sequence[_Judged]) -> list[tuple[Any, ...]]:
    # Array literals: adapting Python lists costs five times as much.
    parameters: dict[str, int | str] = {
        "organization": organization_id,
        "dedupe_keys": "{" + ",".join(one.dedupe_key for one in judged) + "}",
        "sources": _array([one.event.source for one in judged]),
        "keys": _array([one.event.key for one in judged]),
        "types": _array([one.event.type for one in judged]),
        "times": _array([str(one.event.occurred_at) for one in judged]),
        "data": _array([one.data for one in judged]),
        "voids": "{" + ",".join(str(one.voids or "NULL") for one in judged) + "}",
    }
    return statements.rows(sql, parameters)


def _array(texts: list[str]) -> str:
    """Return a PostgreSQL array literal of quoted texts."""
    escaped = SEPARATOR.join(texts).replace("\\", "\\\\").replace('"', '\\"')
    return '{"' + escaped.replace(SEPARATOR, '","') + '"}'


def _refused(event: NewEvent | Unread, result: EventResult) -> Unread:
    if isinstance(event, Unread):
        return event
    refusal = Refusal(result.code, result.reason, result.pointer)
    return Unread(refusal, cloudevents.payload_of(event), event.line)


def _keep(
    organization_id: int | None,
    refused: Sequence[Unread],
    *,
    at: datetime,
    origin: str,
    application: str,
) -> None:
    seen: dict[bytes, list[Unread]] = {}
    for one in refused:
        text = f"{application}\n{one.payload}".encode()
        seen.setdefault(hashlib.sha256(text).digest(), []).append(one)
    if not seen:
        return
    common = {
        "organization": organization_id,
        "origin": clean(origin, 300),
        "application": application,
        "at": at,
    }
    with connection.cursor() as cursor:
        cursor.execute(KEEP, {**common, **_columns(seen)})


def _columns(seen: Mapping[bytes, Sequence[Unread]]) -> dict[str, list[Any]]:
    first = [group[0] for group in seen.values()]
    return {
        "public_ids": [new_id("rej") for _ in first],
        "codes": [one.refusal.code for one in first],
        "details": [clean(one.refusal.reason, 1000) for one in first],
        "pointers": [clean(one.refusal.pointer, 300) for one in first],
        "payloads": [one.payload for one in first],
        "fingerprints": list(seen),
        "lines": [one.line for one in first],
        "times": [len(group) for group in seen.values()],
    }


def clean(text: str, limit: int) -> str:
    """Return a text that PostgreSQL stores: without NUL and half surrogate pairs, not too long."""
    whole = text.encode("utf-8", "backslashreplace").decode()
    return whole.replace("\x00", "\\x00")[:limit]
