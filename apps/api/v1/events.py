"""`/events`: usage comes in, as CloudEvents 1.0."""

from __future__ import annotations

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers
from rest_framework.request import Request

from apps.api.door import ApiView
from apps.api.errors import MEDIA_TYPE
from apps.api.forms import LINES, MANY, ONE, ROWS
from apps.api.lean import SEND_EVENTS, serve
from apps.api.reading import JSON
from apps.api.schema import Raw, operation
from apps.api.shapes import Choice, Kind, Problem, Shape
from apps.usage.services import Status

TAG = "Usage"

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
LINES_SCHEMA = {"type": "string", "description": "one CloudEvent a line"}
ROWS_SCHEMA = {
    "type": "object",
    "required": ["source", "type", "events"],
    "properties": {
        "source": {"type": "string", "minLength": 1, "maxLength": 255},
        "type": {"type": "string", "description": "what a meter counts"},
        "subject": {"type": "string", "description": "as in a CloudEvent"},
        "events": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "array",
                "description": "id, time and data of an event",
                "prefixItems": [
                    {"type": "string"},
                    {"type": "string", "format": "date-time"},
                    {"type": "object", "additionalProperties": True},
                ],
                "minItems": 2,
                "maxItems": 3,
            },
        },
    },
    "additionalProperties": False,
}
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


class Events(ApiView):
    """Where usage comes in."""

    @operation(
        "send_events",
        tag=TAG,
        scope="usage:write",
        body=Raw(
            {
                JSON: {"oneOf": [EVENT_SCHEMA, BATCH_SCHEMA]},
                ONE: EVENT_SCHEMA,
                MANY: BATCH_SCHEMA,
                LINES: LINES_SCHEMA,
                ROWS: ROWS_SCHEMA,
            }
        ),
        answers={
            200: EventBatchShape,
            207: EventBatchShape,
            (400, MEDIA_TYPE): RejectedBatch,
        },
        examples=[EXAMPLE],
    )
    def post(self, request: Request) -> HttpResponse:
        """Send usage events.

        One CloudEvent (its attributes in the body, or in `ce-` headers beside the data), a
        list of them, one a line, or rows of `[id, time, data]` that share source and type; as they
        are or with `Content-Encoding: gzip`. An event is known by `source` and `id`: sending it
        again counts once and is no error, so send again whatever was not answered. 200: all are
        stored; 207: some were refused; 400: all were. The answer comes after the commit. Refused
        events are kept with the reason and can be replayed by the operator. A wrong event is
        corrected by one that `voids` it. An Idempotency-Key has no effect here: the events carry
        their own.
        """
        return serve(request._request, SEND_EVENTS)
