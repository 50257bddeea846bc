"""What the provider tells: stored first, handled later, whatever order it comes in.

`receive_event` checks the signature and stores the event; a delivery waits for no more. An event
says that an object changed, not how it is: the object is read anew, so that duplicates, delay and
disorder do not matter, and all pending events of one object are handled at once. Whoever handles an
object takes a lease on it before reading it, and whoever writes what was read still has the lease:
an older reading never overwrites a newer one. What was lost comes from the provider's own list of
events (`backfill_events`).
"""

from __future__ import annotations

import logging
import secrets as chance
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.conf import settings
from django.db import DataError
from django.db.models import Q

from apps.audit import services as audit
from apps.core import clock, outbox, rls, statements
from apps.core.actor import Actor, require
from apps.core.errors import Invalid
from apps.core.faults import point
from apps.payments import gateway, mirror, signature
from apps.payments.errors import BadSignature, NotConfigured, ProviderError, UnknownThere
from apps.payments.events import ProviderEventGivenUp
from apps.payments.models import EventCursor, ObjectLease, ProviderEvent
from apps.payments.objects import KINDS, Json, followers

log = logging.getLogger(__name__)

State, Source = ProviderEvent.State, ProviderEvent.Source

LARGEST_EVENT = 256 * 1024  # bytes
BATCH = 10
LEASE = timedelta(seconds=120)
# What one object may take, reading it included; with less left of the lease, others may do it.
NEEDED = timedelta(seconds=30)
# Eight tries within a day.
PAUSES = tuple(timedelta(seconds=s) for s in (10, 60, 300, 1200, 3600, 14_400, 66_000))
MAX_TRIES = len(PAUSES) + 1
PROVIDER_PAUSE = 60  # seconds, when it is the provider that fails: not counted as a try
# The provider keeps its list for 30 days.
KEPT = timedelta(days=30)
WINDOW, OVERLAP = timedelta(hours=6), timedelta(minutes=10)
RETENTION = timedelta(days=90)


class _Object(msgspec.Struct):
    object: str
    id: str = ""


class _Content(msgspec.Struct):
    object: _Object


class _Event(msgspec.Struct):
    id: str
    type: str
    created: int
    livemode: bool
    data: _Content = msgspec.field(default_factory=lambda: _Content(_Object("")))
    account: str | None = None
    api_version: str | None = None


_decoder = msgspec.json.Decoder(_Event)


# --- taking in ------------------------------------------------------------------------------------
def receive_event(body: bytes, *, header: str, at: datetime, endpoint: str = "") -> bool:
    """Store an event that the provider signed (`header` is its Stripe-Signature); committed on
    return. Returns whether it is new here.

    `endpoint` is the uuid of an endpoint that dj-stripe made, whose secret counts instead. Raises
    BadSignature, also for events of another account or of the other mode, and Invalid.
    """
    if not gateway.configured():
        raise NotConfigured("No payment provider is configured: nothing is taken in.")
    signature.verify(body, header=header, secrets=_secrets(endpoint), at=at)
    try:
        event = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Invalid("The body is no event.") from None
    if event.account:
        raise BadSignature("The event is of another account.")
    if event.livemode != gateway.livemode():
        log.error("provider_event_of_the_other_mode", extra={"event": event.id})
        raise BadSignature("The event is of the other mode: test and live do not mix.")
    return _store([(event, body.decode())], source=Source.WEBHOOK, at=at) > 0


def _secrets(endpoint: str) -> Sequence[str]:
    if endpoint:
        with rls.ops_scope("webhook: the endpoint's secret"):
            return [mirror.endpoint_secret(endpoint)]
    return [settings.STRIPE_WEBHOOK_SECRET, settings.STRIPE_WEBHOOK_SECRET_PREVIOUS]


# One event a statement: arrays of texts cost more to write out than a page of round trips.
INSERT = """INSERT INTO payments_providerevent (event_id, type, object_type, object_id, livemode,
  api_version, happened_at, received_at, source, payload, state, tries, next_try_at, error)
VALUES (%(id)s, %(type)s, %(object_type)s, %(object)s, %(livemode)s, %(version)s,
  to_timestamp(%(created)s::bigint), %(at)s, %(source)s, %(payload)s::text::jsonb, %(state)s, 0,
  %(at)s, '')
ON CONFLICT (event_id) DO NOTHING RETURNING id"""
Told = Sequence[tuple[_Event, str]]


def _store(events: Told, *, source: ProviderEvent.Source, at: datetime) -> int:
    """Store events with their texts, those that are here already aside; return how many are new."""
    try:
        with rls.ops_scope("webhook: store what the provider tells"):
            return sum(
                len(statements.rows(INSERT, _values(event, text, source, at)))
                for event, text in events
            )
    except DataError:
        raise Invalid("The event has texts that no database stores.") from None


def _values(event: _Event, text: str, source: ProviderEvent.Source, at: datetime) -> dict[str, Any]:
    subject = event.data.object
    is_known = bool(subject.id) and subject.object in KINDS
    return {
        "id": event.id,
        "type": event.type,
        "object_type": subject.object,
        "object": subject.id,
        "livemode": event.livemode,
        "version": event.api_version or "",
        "created": event.created,
        "at": at,
        "source": source.value,
        "payload": text,
        "state": (State.PENDING if is_known else State.SKIPPED).value,
    }


# --- handling -------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Leased:
    """An object that is ours to handle until `expires_at`, and its events that we know of."""

    object_type: str
    object_id: str
    event_ids: Sequence[int]
    token: uuid.UUID
    expires_at: datetime


def handle_events(*, limit: int = 500) -> int:
    """Handle what the provider told, object by object; return how many objects were tried.

    Several workers may run at once.
    """
    tried = 0
    while tried < limit:
        leased = _lease(min(BATCH, limit - tried))
        if not leased:
            break
        for one in leased:
            _handle(one)
        tried += len(leased)
    return tried


# Objects that somebody has are passed over; of two who want the same one, the lease decides. Event
# rows are not locked here: whoever is done with an object has its lease and wants its events.
DUE = """SELECT e.object_id FROM payments_providerevent e
WHERE e.state = 'pending' AND e.next_try_at <= %(at)s
  AND NOT EXISTS (SELECT FROM payments_objectlease l
    WHERE l.object_id = e.object_id AND l.expires_at > %(at)s)
ORDER BY e.next_try_at, e.id LIMIT %(many)s"""
TAKE = """INSERT INTO payments_objectlease AS l (object_id, token, expires_at)
SELECT o, %(token)s, %(until)s FROM unnest(%(objects)s::text[]) o
ON CONFLICT (object_id) DO UPDATE SET token = excluded.token, expires_at = excluded.expires_at
WHERE l.expires_at <= %(at)s RETURNING object_id"""
EVENTS = """SELECT min(object_type), object_id, array_agg(id) FROM payments_providerevent
WHERE object_id = ANY (%(objects)s) AND state = 'pending' GROUP BY object_id"""


def _lease(many: int) -> list[_Leased]:
    """Take the leases of objects that have events due, and commit them."""
    at, token = clock.now(), uuid.uuid4()
    with rls.ops_scope("inbox: take leases"):
        due = {object_id for (object_id,) in statements.rows(DUE, {"at": at, "many": many * 8})}
        # Others look at the same time: not all take the oldest. In one order, so nobody deadlocks.
        wanted = sorted(chance.SystemRandom().sample(sorted(due), min(many, len(due))))
        values = {"token": token, "until": at + LEASE, "at": at, "objects": wanted}
        mine = [object_id for (object_id,) in statements.rows(TAKE, values)]
        found = statements.rows(EVENTS, {"objects": mine})  # before any of them is read
        _let_go(set(mine) - {key for _, key, _ in found}, token)
    point("inbox.leased")
    return [_Leased(kind, key, ids, token, at + LEASE) for kind, key, ids in found]


def _handle(leased: _Leased) -> None:
    """Read the object, then take over what it says, or put its events off; never raises."""
    if clock.now() > leased.expires_at - NEEDED:
        with rls.ops_scope("inbox: leave it to others"):
            _let_go({leased.object_id}, leased.token)
        return
    try:
        found = _fetch(leased)
        point("inbox.fetched")
        _take_over(leased, found)
    except ProviderError as error:
        _put_off(leased, error, counts=False)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is kept, retried and shown
        _put_off(leased, error, counts=True)
    point("inbox.handled")


def _fetch(leased: _Leased) -> Json | None:
    """Return the object as it is now; of what was deleted, what was last said of it; or None."""
    if leased.object_type not in KINDS or not leased.object_id:
        return None
    try:
        found = gateway.retrieve(leased.object_type, leased.object_id)
    except UnknownThere:
        last = _last_words(leased)
        return {**last, "deleted": True} if last else None
    return {**_last_words(leased), **found} if found.get("deleted") else found


def _last_words(leased: _Leased) -> Json:
    """Return the object as the event of its deletion has it, if there is one."""
    with rls.ops_scope("inbox: what was deleted"):
        rows = ProviderEvent.objects.filter(
            object_id=leased.object_id, object_type=leased.object_type, type__endswith=".deleted"
        )
        payload = rows.order_by("-happened_at").values_list("payload", flat=True).first()
    return {} if payload is None else payload["data"]["object"]


def _take_over(leased: _Leased, found: Json | None) -> None:
    """Write what was read, if the lease is still ours, and be done with its events."""
    related: mirror.Shelf = {}
    while True:
        try:
            with rls.ops_scope("inbox: take over an object"):
                if _still_ours(leased):
                    _write(leased, found, related)
            return
        except mirror.Missing as wanted:
            related[wanted.path] = wanted.fetch()  # outside the transaction, and then once more


def _write(leased: _Leased, found: Json | None, related: mirror.Shelf) -> None:
    at, note = clock.now(), ""
    if found is not None:
        note = _project(found, related, at)
    point("inbox.projected")
    rows = ProviderEvent.objects.filter(pk__in=leased.event_ids, state=State.PENDING)
    state = State.SKIPPED if found is None else State.DONE
    rows.update(state=state, handled_at=at, error=note)
    _let_go({leased.object_id}, leased.token)


def _still_ours(leased: _Leased) -> bool:
    rows = ObjectLease.objects.select_for_update().filter(object_id=leased.object_id)
    return rows.filter(token=leased.token).exists()


def _project(found: Json, related: mirror.Shelf, at: datetime) -> str:
    """Copy the object and tell those who follow it; return what the mirror could not take.

    Money depends on the followers, and nothing on the mirror: what it fails at is noted.
    """
    note = mirror.keep(found, related=related)
    for follower in followers(found["object"]):
        follower(found, at=at)
    return note


def _let_go(object_ids: Collection[str], token: uuid.UUID) -> None:
    """Give leases back, for instance of objects whose events somebody else has handled by now."""
    if object_ids:
        ObjectLease.objects.filter(object_id__in=object_ids, token=token).delete()


def _put_off(leased: _Leased, error: Exception, *, counts: bool) -> None:
    """Try the object's events again later; give up those that failed too often, and say so."""
    at, said = clock.now(), f"{type(error).__name__}: {error}"[:2000]
    log.warning(
        "provider_event_put_off", extra={"object": leased.object_id}, exc_info=counts and error
    )
    with rls.ops_scope("inbox: put off"):
        if not _still_ours(leased):
            return
        rows = ProviderEvent.objects.filter(pk__in=leased.event_ids, state=State.PENDING)
        for row in rows:
            _try_later(row, said, at, counts=counts)
        _let_go({leased.object_id}, leased.token)


def _try_later(row: ProviderEvent, said: str, at: datetime, *, counts: bool) -> None:
    row.error = said
    if counts:
        row.tries += 1
        if row.tries >= MAX_TRIES:
            _give_up(row, at)
        else:
            row.next_try_at = at + PAUSES[row.tries - 1]
    else:
        row.next_try_at = at + timedelta(seconds=PROVIDER_PAUSE // 2 + chance.randbelow(30))
    row.save(update_fields=["state", "tries", "next_try_at", "handled_at", "error"])


def _give_up(row: ProviderEvent, at: datetime) -> None:
    row.state, row.handled_at = State.DEAD, at
    told = ProviderEventGivenUp(row.event_id, row.type, row.object_id, row.error[:500])
    outbox.emit(told, at=at)


# --- what was lost --------------------------------------------------------------------------------
def backfill_events(*, since: datetime | None = None) -> int:
    """Read the provider's list of events since the last time into the inbox; return how many were
    new. Never inside a transaction.

    Window by window, oldest first, and each is remembered when it is done: a crash costs one. The
    first time, and with `since`, from there on; at most the 30 days that the provider keeps.
    """
    at = clock.now()
    start = max(since or _through(), at - KEPT)
    found = 0
    while start < at:
        end = min(start + WINDOW, at)
        found += _read_window(start - OVERLAP, end)
        _note_through(end)
        start = end
    return found


def _read_window(start: datetime, end: datetime) -> int:
    span = {"gte": int(start.timestamp()), "lte": int(end.timestamp()) + 1}
    told = gateway.listing("/v1/events", created=span)
    return sum(_store_page(page) for page in _pages(told))


def _pages(told: Iterable[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    page: list[dict[str, Any]] = []
    for event in told:
        page.append(event)
        if len(page) == gateway.PAGE:
            yield page
            page = []
    if page:
        yield page


def _store_page(page: Sequence[dict[str, Any]]) -> int:
    texts = [msgspec.json.encode(event) for event in page]
    events = [(_decoder.decode(text), text.decode()) for text in texts]
    return _store(events, source=Source.BACKFILL, at=clock.now())


def _through() -> datetime:
    with rls.ops_scope("backfill: how far"):
        row = EventCursor.objects.filter(name="events").first()
        return row.through if row else clock.now() - KEPT


def _note_through(end: datetime) -> None:
    with rls.ops_scope("backfill: remember how far"):
        EventCursor.objects.update_or_create(name="events", defaults={"through": end})


def replay_events(
    event_ids: Sequence[str] = (),
    *,
    since: datetime | None = None,
    type_prefix: str = "",
    object_id: str = "",
    only_failed: bool = False,
    actor: Actor,
) -> int:
    """Put events back to be handled again, all that match; return how many. Needs the ops scope.

    Harmless as often as you like: the object is read as it is now. With `only_failed` those that
    were given up or whose object the mirror could not take.
    """
    require("manage_outbox", actor=actor)
    rows = ProviderEvent.objects.exclude(state=State.PENDING)
    if event_ids:
        rows = rows.filter(event_id__in=event_ids)
    if since is not None:
        rows = rows.filter(happened_at__gte=since)
    if type_prefix:
        rows = rows.filter(type__startswith=type_prefix)
    if object_id:
        rows = rows.filter(object_id=object_id)
    if only_failed:
        rows = rows.filter(Q(state=State.DEAD) | ~Q(error=""))
    at = clock.now()
    found = rows.update(state=State.PENDING, tries=0, next_try_at=at, error="")
    if found:
        audit.record(
            action="provider_event.replayed",
            target="inbox",
            actor=actor,
            at=at,
            after={"events": found},
        )
    return found


def forget_events(*, at: datetime) -> int:
    """Delete events that were done with 90 days ago: their objects are kept, and they name people.

    Those given up stay until somebody has decided about them.
    """
    done = ProviderEvent.objects.filter(state__in=(State.DONE, State.SKIPPED))
    return done.filter(received_at__lt=at - RETENTION).delete()[0]
