"""Usage comes in: what `POST /api/v1/events` does with the events that a body holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import msgspec
from django.conf import settings
from django.http import HttpRequest

from apps.api.admission import Admission
from apps.api.authentication import LONGEST_REFERENCE, Caller
from apps.api.errors import EventsRejected, printable, problem
from apps.api.forms import MEDIA_TYPES, read_events
from apps.api.gathering import Gathering
from apps.api.reading import streamed_body
from apps.core import clock
from apps.core.errors import DomainError
from apps.tenants import selectors as tenants
from apps.usage import cloudevents, services
from apps.usage.checking import NewEvent, Refusal, Unread
from apps.usage.services import EventResult, Status

ORIGIN = "api"
NOBODY = "\n"  # a subject that nobody has
REFUSED = {Status.REJECTED, Status.CONFLICT}

SMALL = 8192  # bytes of a body that may be read before it is known who sends it

Events = Sequence[NewEvent | Unread]
Admitted = tuple[Caller, EventResult]
# Longer than the database takes to say that it is busy, so that its answer is the one that counts.
SINGLES: Gathering[NewEvent | Unread, Admitted] = Gathering(patience=30.0)


class Answer(NamedTuple):
    """What is sent back, once all is committed."""

    status: int
    body: Mapping[str, Any]


class Shown(msgspec.Struct, frozen=True):
    """What became of one event, as the answer says it."""

    index: int
    id: str | None
    status: str
    code: str | None = None
    detail: str | None = None
    pointer: str | None = None


def send_events(request: HttpRequest, admission: Admission) -> Answer:
    """Store the events of a request; raises what refuses the request as a whole.

    200: all are stored; 207: some were refused; 400: all were. Refused ones are kept.
    """
    if not _is_small(request):
        admission.caller()
    try:
        events = _read(request)
    except DomainError:
        admission.caller()  # who may not send is told that, and nothing of what was sent
        raise
    return _answer(request, events, _stored(admission, events))


def _is_small(request: HttpRequest) -> bool:
    length = str(request.META.get("CONTENT_LENGTH") or "")
    if "HTTP_CONTENT_ENCODING" in request.META or not (length.isascii() and length.isdigit()):
        return False
    return len(length) <= len(str(SMALL)) and int(length) <= SMALL


def _read(request: HttpRequest) -> Events:
    raw, media_type = streamed_body(request, media_types=MEDIA_TYPES)
    return read_events(raw, media_type, request.META)


def _stored(admission: Admission, events: Events) -> Sequence[EventResult]:
    """Store events, committed on return; single ones of a key that come at once, together.

    Their key is looked up once for all of them, after the last of them came.
    """
    if len(events) != 1:
        return _take(admission.caller(), events)
    caller, result = SINGLES.serve(
        admission.credential, events[0], partial(_take_single, admission)
    )
    admission.share(caller)
    return [result]


def _take_single(admission: Admission, events: Events) -> Sequence[Admitted]:
    caller = admission.caller()
    return [(caller, result) for result in _take(caller, events)]


def _take(caller: Caller, events: Events) -> Sequence[EventResult]:
    with caller.scope():
        return _Intake(caller, clock.now()).take(events)


def _answer(request: HttpRequest, events: Events, results: Sequence[EventResult]) -> Answer:
    counts = Counter(one.status for one in results)
    rejected = counts[Status.REJECTED] + counts[Status.CONFLICT]
    outcome = {
        "accepted": counts[Status.ACCEPTED],
        "duplicate": counts[Status.DUPLICATE],
        "rejected": rejected,
        "events": list(map(_shown, range(len(events)), events, results)),
    }
    if rejected < len(results):
        return Answer(207 if rejected else 200, {"object": "event_batch", **outcome})
    # Answered, not raised: what was refused is kept, so the transaction must commit.
    why = f"{results[0].reason} ({results[0].code})"
    refusal = EventsRejected(f"None of the {len(results)} events was taken: {why}")
    return Answer(refusal.status, {**problem(refusal, request), **outcome})


def _shown(index: int, event: NewEvent | Unread, result: EventResult) -> Shown:
    if result.status not in REFUSED and isinstance(event, NewEvent):
        return Shown(index, event.key, result.status)
    return Shown(
        index,
        printable(event.key) if isinstance(event, NewEvent) else None,
        result.status,
        result.code,
        printable(result.reason),
        printable(result.pointer),
    )


class _Intake:
    """The events of one request, on their way to the organizations that they are about."""

    def __init__(self, caller: Caller, at: datetime) -> None:
        self.actor, self.at = caller.actor, at

    def take(self, events: Events) -> Sequence[EventResult]:
        """Store the events of every organization, each in one batch; in the caller's scope."""
        own = self.actor.organization_id
        if own is not None and not any(map(_subject, events)):
            return self._store(own, events)
        owners = self._owners(events)
        results: dict[int, EventResult] = {}
        # In one order for everybody: two batches about the same organizations cannot deadlock.
        for owner in sorted(set(owners), key=lambda owner: owner or 0):
            places = [place for place, other in enumerate(owners) if other == owner]
            chosen = [events[place] for place in places]
            results.update(zip(places, self._store(owner, chosen), strict=True))
        return [results[place] for place in range(len(events))]

    def _owners(self, events: Events) -> list[int | None]:
        subjects = list(map(_subject, events))
        known = {subject: self._owner(subject) for subject in dict.fromkeys(subjects)}
        return [known[subject] for subject in subjects]

    def _owner(self, subject: str) -> int | None:
        """Return whom a subject names; None for nobody the caller may write for."""
        own = self.actor.organization_id
        if not subject:
            return own
        found = tenants.find_organization(subject)
        return None if found is None or own not in {None, found.pk} else found.pk

    def _store(self, organization_id: int | None, events: Events) -> Sequence[EventResult]:
        if organization_id is None:
            return self._refuse(events)
        return services.ingest(
            organization_id,
            events=events,
            actor=self.actor,
            at=self.at,
            max_age=timedelta(days=settings.USAGE_MAX_AGE_DAYS),
            origin=ORIGIN,
        ).results

    def _refuse(self, events: Events) -> Sequence[EventResult]:
        """Keep events of nobody under the caller's own organization: there is nobody else."""
        refused = [_of_nobody(event) for event in events]
        services.reject(
            self.actor.organization_id,
            refused=refused,
            actor=self.actor,
            at=self.at,
            origin=ORIGIN,
        )
        return [
            EventResult(Status.REJECTED, one.refusal.code, one.refusal.reason, one.refusal.pointer)
            for one in refused
        ]


def _subject(event: NewEvent | Unread) -> str:
    if isinstance(event, Unread) or not event.subject:
        return ""
    storable = "\x00" not in event.subject and event.subject == printable(event.subject)
    return event.subject if storable and len(event.subject) <= LONGEST_REFERENCE else NOBODY


def _of_nobody(event: NewEvent | Unread) -> Unread:
    if isinstance(event, Unread):
        return event
    said = "The subject names no organization that this key may send events for."
    if not event.subject:
        said = "Name the organization as `subject`, with a key of the platform."
    refusal = Refusal("unknown_subject", said, "/subject")
    return Unread(refusal, cloudevents.payload_of(event), event.line)
