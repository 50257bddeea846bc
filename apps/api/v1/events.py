"""`/events`: usage comes in, as CloudEvents 1.0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec
from django.conf import settings
from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import LONGEST_REFERENCE, ApiView
from apps.api.errors import (
    MEDIA_TYPE,
    BatchTooLarge,
    EventsRejected,
    MalformedBody,
    printable,
    problem,
)
from apps.api.reading import JSON
from apps.api.schema import Raw, operation
from apps.api.shapes import Choice, Kind, Problem, Shape
from apps.tenants import selectors as tenants
from apps.usage import cloudevents, services
from apps.usage.checking import NewEvent, Refusal, Unread
from apps.usage.services import EventResult, Status

TAG = "Usage"
ORIGIN = "api"
NOBODY = "\n"  # a subject that nobody has
ONE, MANY = "application/cloudevents+json", "application/cloudevents-batch+json"

EVENT_SCHEMA = {
    "type": "object",
    "required": ["specversion", "id", "source", "type", "time"],
    "properties": {
        "specversion": {"type": "string", "const": "1.0"},
        "id": {
            "type": "string",
            "pattern": "^[A-Za-z0-9._:@/+=-]{1,128}$",
            "description": "unique within `source`: the same event again counts once",
        },
        "source": {"type": "string", "minLength": 1, "maxLength": 255},
        "type": {"type": "string", "description": "what a meter counts"},
        "subject": {
            "type": "string",
            "description": "slug, id or external id of the organization; needed with platform keys",
        },
        "time": {"type": "string", "format": "date-time"},
        "data": {"type": "object", "additionalProperties": True},
        "voids": {
            "type": "string",
            "description": "id of an event to take back: this one counts in its place, or, with "
            "the type `usage.void`, nothing does",
        },
        "voidssource": {
            "type": "string",
            "description": "source of the event that `voids` names, where it is another one",
        },
    },
    "additionalProperties": True,
}
BATCH_SCHEMA = {"type": "array", "minItems": 1, "items": EVENT_SCHEMA}
EXAMPLE = OpenApiExample(
    "A request that was served",
    description="`time` is when it happened. As served, this document says now.",
    value={
        "specversion": "1.0",
        "id": "req-8842",
        "source": "gateway-eu-1",
        "type": "ai.request",
        "time": "2026-01-15T09:30:00Z",
        "data": {"context_tokens": 812, "generated_tokens": 64},
    },
    request_only=True,
)


class EventResultShape(Shape):
    """What became of one event."""

    index = serializers.IntegerField(help_text="its place in the request, from 0")
    id = serializers.CharField(allow_null=True, help_text="the event's own id, where it was read")
    status = Choice(choices=[(status.value, status.name.title()) for status in Status])
    code = serializers.CharField(allow_null=True, help_text="why it was not taken")
    detail = serializers.CharField(allow_null=True)
    pointer = serializers.CharField(allow_null=True, help_text="JSON pointer into the event")


class EventBatchShape(Shape):
    """What became of the events of a request, in its order."""

    object = Kind("event_batch")
    accepted = serializers.IntegerField(help_text="new ones")
    duplicate = serializers.IntegerField(help_text="ones that were counted before")
    rejected = serializers.IntegerField(help_text="not taken, conflicts included; kept for replay")
    events = EventResultShape(many=True)


class RejectedBatch(Problem):
    """The refusal of a request of which no event was taken; no counts when none could be read."""

    accepted = serializers.IntegerField(required=False)
    duplicate = serializers.IntegerField(required=False)
    rejected = serializers.IntegerField(required=False)
    events = EventResultShape(many=True, required=False)


class Judged(NamedTuple):
    """An event that came, and what became of it."""

    event: NewEvent | Unread
    result: EventResult


class Events(ApiView):
    """Where usage comes in."""

    @operation(
        "send_events",
        tag=TAG,
        scope="usage:write",
        body=Raw(
            {JSON: {"oneOf": [EVENT_SCHEMA, BATCH_SCHEMA]}, ONE: EVENT_SCHEMA, MANY: BATCH_SCHEMA}
        ),
        answers={
            200: EventBatchShape,
            207: EventBatchShape,
            (400, MEDIA_TYPE): RejectedBatch,
        },
        examples=[EXAMPLE],
    )
    def post(self, request: Request) -> Response:
        """Send usage events.

        One CloudEvent or a list of them. An event is known by `source` and `id`: sending it again
        counts once and is no error, so send again whatever was not answered. 200: all are stored;
        207: some were refused; 400: all were. The answer comes after the commit. Refused events are
        kept with the reason and can be replayed by the operator. A wrong event is corrected by one
        that `voids` it. An Idempotency-Key has no effect
        here, for the events carry their own.
        """
        events = read_events(self.raw, self.media_type)
        judged = self._take(events)
        counts = Counter(one.result.status for one in judged)
        rejected = counts[Status.REJECTED] + counts[Status.CONFLICT]
        outcome = {
            "accepted": counts[Status.ACCEPTED],
            "duplicate": counts[Status.DUPLICATE],
            "rejected": rejected,
            "events": [_shown(index, one) for index, one in enumerate(judged)],
        }
        if rejected < len(judged):
            return Response({"object": "event_batch", **outcome}, status=207 if rejected else 200)
        # Answered, not raised: what was refused is kept, so the transaction must commit.
        refusal = EventsRejected(f"None of the {len(judged)} events was taken: {_why(judged)}")
        body = {**problem(refusal, request), **outcome}
        return Response(body, status=400, content_type=MEDIA_TYPE)

    def _take(self, events: Sequence[NewEvent | Unread]) -> list[Judged]:
        """Store the events of every organization that they are about, each in one batch."""
        owners = self._owners(events)
        results: dict[int, EventResult] = {}
        # In one order for everybody: two batches about the same organizations cannot deadlock.
        for organization_id in sorted(set(owners), key=lambda owner: owner or 0):
            places = [place for place, owner in enumerate(owners) if owner == organization_id]
            chosen = [events[place] for place in places]
            results.update(zip(places, self._store(organization_id, chosen), strict=True))
        return [Judged(event, results[place]) for place, event in enumerate(events)]

    def _owners(self, events: Sequence[NewEvent | Unread]) -> list[int | None]:
        known: dict[str, int | None] = {}
        for event in events:
            subject = _subject(event)
            if subject not in known:
                known[subject] = self._owner(subject)
        return [known[_subject(event)] for event in events]

    def _owner(self, subject: str) -> int | None:
        """Return whom a subject names; None for nobody the caller may write for."""
        if not subject:
            return self.actor.organization_id
        found = tenants.find_organization(subject)
        own = self.actor.organization_id
        return None if found is None or own not in {None, found.pk} else found.pk

    def _store(
        self, organization_id: int | None, events: Sequence[NewEvent | Unread]
    ) -> Sequence[EventResult]:
        if organization_id is not None:
            oldest = timedelta(days=settings.USAGE_MAX_AGE_DAYS)
            return services.ingest(
                organization_id,
                events=events,
                actor=self.actor,
                at=self.at,
                max_age=oldest,
                origin=ORIGIN,
            ).results
        refused = [_of_nobody(event) for event in events]
        # Kept under the caller's own organization: there is nobody else to keep them for.
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


def read_events(raw: bytes, media_type: str) -> list[NewEvent | Unread]:
    """Return the events of a body; those that cannot be read come with the reason.

    Raises MalformedBody when it is no event and no list of events at all, and BatchTooLarge before
    any of them is read.
    """
    text = raw.lstrip(b" \t\r\n")
    many = text.startswith(b"[")
    if media_type == MANY and not many:
        raise MalformedBody("A batch is a JSON array of events.")
    if media_type == ONE and many:
        raise MalformedBody(f"This is an array; send it as {MANY}.")
    if not many and not text.startswith(b"{"):
        raise MalformedBody("Send one event as a JSON object, or several in an array.")
    pieces = _split(raw) if many else [raw]
    if not pieces:
        raise MalformedBody("The batch is empty; send one event or more.")
    if len(pieces) > settings.USAGE_MAX_BATCH:
        raise BatchTooLarge(f"A batch holds at most {settings.USAGE_MAX_BATCH} events.")
    found = [cloudevents.read(piece) for piece in pieces]
    if not many and isinstance(found[0], Unread) and found[0].refusal.code == "malformed":
        raise MalformedBody(printable(found[0].refusal.reason))
    return found


def _split(raw: bytes) -> list[bytes]:
    try:
        return [bytes(piece) for piece in msgspec.json.decode(raw, type=list[msgspec.Raw])]
    except RecursionError:
        raise MalformedBody("The JSON nests too deep to be read.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedBody(printable(f"This is not JSON: {error}.")) from None


def _subject(event: NewEvent | Unread) -> str:
    if isinstance(event, Unread):
        return ""
    storable = "\x00" not in event.subject and event.subject == printable(event.subject)
    return event.subject if storable and len(event.subject) <= LONGEST_REFERENCE else NOBODY


def _of_nobody(event: NewEvent | Unread) -> Unread:
    if isinstance(event, Unread):
        return event
    said = "The subject names no organization that this key may send events for."
    if not event.subject:
        said = "Name the organization as `subject`, with a key of the platform."
    return Unread(Refusal("unknown_subject", said, "/subject"), event.payload)


def _shown(index: int, one: Judged) -> dict[str, Any]:
    refused = one.result.status in {Status.REJECTED, Status.CONFLICT}
    return {
        "index": index,
        "id": printable(one.event.key) if isinstance(one.event, NewEvent) else None,
        "status": one.result.status.value,
        "code": one.result.code if refused else None,
        "detail": printable(one.result.reason) if refused else None,
        "pointer": printable(one.result.pointer) if refused else None,
    }


def _why(judged: Sequence[Judged]) -> str:
    first = judged[0].result
    return f"{first.reason} ({first.code})"
