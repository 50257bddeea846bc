"""The web server that is measured, with more addresses: the limits, and the typical doors.

`/bench/copy` is the same request up to the store, which is COPY into a table like the real one, as
superuser: no row-level security, no duplicates looked for, no digests. `/bench/alone` stores single
events as they come, one transaction each. `/bench/typical` is what a team writes first: the default
middleware, a serializer, the ORM. `/bench/nothing` is a view of the default stack that reads the
JSON and does nothing; `/bench/typical-verify` asks about a seat as a team writes it first.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

import psycopg
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_project.settings")
application = get_wsgi_application()

from apps.api import intake, lean  # noqa: E402 - the settings come first
from apps.api.admission import Admission  # noqa: E402
from apps.api.authentication import caller_of  # noqa: E402
from apps.api.door import ApiView  # noqa: E402
from apps.api.forms import MEDIA_TYPES, read_events  # noqa: E402
from apps.api.reading import streamed_body  # noqa: E402
from apps.core import clock  # noqa: E402
from apps.seats.models import Seat  # noqa: E402
from apps.subscriptions.models import Subscription  # noqa: E402
from apps.tenants.models import Application, ExternalId  # noqa: E402
from apps.usage import selectors  # noqa: E402
from apps.usage.checking import Door, NewEvent, dedupe_key  # noqa: E402
from apps.usage.models import Event  # noqa: E402
from apps.usage.services import EventResult, Status  # noqa: E402
from billing_project import urls  # noqa: E402

COLUMNS = "organization_id, dedupe_key, source, key, type, occurred_at, data, digest"
DIGEST = "\\\\x" + "78" * 32
_mine = threading.local()


def copy_events(request: HttpRequest, admission: Admission) -> intake.Answer:
    """Copy the events of a request, after the same reading and judging."""
    caller = admission.caller()
    events = _events(request)
    door = Door(selectors.meter_rules(), clock.now(), timedelta(days=settings.USAGE_MAX_AGE_DAYS))
    owner = cast("int", caller.actor.organization_id)
    text = "".join(_row(owner, event, str(door.judge(event))) for event in events)
    connection = _superuser()
    with (
        connection.transaction(),
        connection.cursor().copy(f"COPY copied ({COLUMNS}) FROM STDIN") as copy,
    ):
        copy.write(text)
    return intake._answer(request, events, [EventResult(Status.ACCEPTED)] * len(events))


def store_alone(request: HttpRequest, admission: Admission) -> intake.Answer:
    """Store the events of a request as the real door does, without waiting for company."""
    caller = admission.caller()
    events = _events(request)
    return intake._answer(request, events, intake._take(caller, events))


def _events(request: HttpRequest) -> Sequence[NewEvent]:
    raw, media_type = streamed_body(request, media_types=MEDIA_TYPES)
    return cast("Sequence[NewEvent]", read_events(raw, media_type, request.META))


def _row(owner: int, event: NewEvent, data: str) -> str:
    """Return the event as COPY reads it; nothing in these texts needs escaping."""
    key = dedupe_key(event.source, event.key)
    fields = (owner, key, event.source, event.key, event.type, event.occurred_at, data, DIGEST)
    return "\t".join(map(str, fields)) + "\n"


def _superuser() -> psycopg.Connection[tuple[Any, ...]]:
    if not hasattr(_mine, "connection"):
        _mine.connection = psycopg.connect(os.environ["BENCH_SUPERUSER"], autocommit=True)
    return cast("psycopg.Connection[tuple[Any, ...]]", _mine.connection)


class EventSerializer(serializers.Serializer[Any]):
    """The typical door's rules for an event."""

    id = serializers.CharField(max_length=128)
    source = serializers.CharField(max_length=255)  # type: ignore[assignment]
    type = serializers.CharField(max_length=200)
    time = serializers.DateTimeField()
    data = serializers.JSONField()  # type: ignore[assignment]


class Typical(ApiView):
    """The typical door: a serializer and the ORM, in one transaction."""

    def _serve(self) -> Response:
        with self.caller.scope():
            return self.post(self.request)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Look at the key only."""
        self.perform_authentication(request)

    def post(self, request: Request) -> Response:
        """Store the events with as few statements as the ORM offers."""
        said = request.data if isinstance(request.data, list) else [request.data]
        door = EventSerializer(data=said, many=True)
        door.is_valid(raise_exception=True)
        owner = caller_of(request).actor.organization_id
        rows = [_typical_row(cast("int", owner), one) for one in door.validated_data]
        if len(rows) == 1:
            rows[0].save(force_insert=True)
        else:
            Event.objects.bulk_create(rows, ignore_conflicts=True)
        return Response({"accepted": len(rows)})


def _typical_row(owner: int, said: dict[str, Any]) -> Event:
    return Event(
        organization_id=owner,
        dedupe_key=dedupe_key(said["source"], said["id"]),
        source=said["source"],
        key=said["id"],
        type=said["type"],
        occurred_at=said["time"],
        data=said["data"],
        digest=b"x" * 32,
    )


@csrf_exempt
def nothing(request: HttpRequest) -> JsonResponse:
    """Read the JSON, and answer."""
    asked = json.loads(request.body)
    return JsonResponse({"has_access": False, "user_id": asked["user_id"]})


class QuestionSerializer(serializers.Serializer[Any]):
    """The typical door's rules for the question about a seat."""

    user_id = serializers.CharField(max_length=200)
    application_slug = serializers.CharField(max_length=100)
    external_org_id = serializers.CharField(max_length=200)


class TypicalVerify(Typical):
    """The typical door to the question: a serializer and a query a step, in one transaction."""

    def post(self, request: Request) -> Response:
        """Look up the application, the organization, the person, the seat, the subscription."""
        door = QuestionSerializer(data=request.data)
        door.is_valid(raise_exception=True)
        asked = door.validated_data
        application = Application.objects.get(slug=asked["application_slug"])
        organization = ExternalId.objects.select_related("organization").get(
            application=application, kind="organization", external_id=asked["external_org_id"]
        )
        person = ExternalId.objects.get(
            organization=organization.organization,
            application=application,
            kind="user",
            external_id=asked["user_id"],
        )
        seat = Seat.objects.get(
            organization=organization.organization,
            application=application,
            user_id=cast("int", person.user_id),
            status="active",
        )
        subscription = Subscription.objects.get(pk=seat.subscription_id)
        return Response(
            {
                "has_access": subscription.status in ("trialing", "active", "past_due"),
                "seat_id": seat.public_id,
                "subscription_status": subscription.status,
                "expires_at": subscription.next_boundary_at,
            }
        )


lean.HOT_PATHS = {
    **lean.HOT_PATHS,
    ("POST", "/bench/copy"): lean.Operation("usage:write", copy_events),
    ("POST", "/bench/alone"): lean.Operation("usage:write", store_alone),
}
urls.urlpatterns.insert(0, path("bench/nothing", nothing))
urls.urlpatterns.insert(0, path("bench/typical-verify", TypicalVerify.as_view()))
urls.urlpatterns.insert(0, path("bench/typical", Typical.as_view()))
