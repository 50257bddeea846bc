"""`/verify-seat`: the question that products ask on every login; served by the lean path."""

from __future__ import annotations

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers
from rest_framework.request import Request

from apps.api.door import ApiView
from apps.api.lean import VERIFY_SEAT, VERIFY_SEAT_FORMERLY, serve
from apps.api.reading import JSON
from apps.api.schema import Raw, operation
from apps.api.shapes import Choice, Kind, Open, Shape, public_id
from apps.seats.verifying import SENTENCES
from apps.subscriptions.models import Subscription

TAG = "Seats"
USER = "the person: `usr_…`, or the application's own id"
ORGANIZATION = "the organization: the application's own id, or `org_…`"
QUESTION = {
    "type": "object",
    "required": ["user_id", "application_slug", "external_org_id"],
    "properties": {
        "user_id": {"type": "string", "description": USER},
        "application_slug": {"type": "string"},
        "external_org_id": {"type": "string", "description": ORGANIZATION},
        "include": {
            "type": "array",
            "items": {"type": "string", "enum": ["entitlements"]},
            "description": "what to answer besides",
        },
    },
    "additionalProperties": False,
}
FORMER_QUESTION = {
    "type": "object",
    "required": ["userId", "applicationSlug", "externalOrgId"],
    "properties": {
        "userId": {"type": "string", "description": USER},
        "applicationSlug": {"type": "string"},
        "externalOrgId": {"type": "string", "description": ORGANIZATION},
    },
    "additionalProperties": True,
}
EXAMPLE = OpenApiExample(
    "A nurse signs in",
    value={"user_id": "user_123", "application_slug": "healos", "external_org_id": "hospital_456"},
    request_only=True,
)
FORMER_EXAMPLE = OpenApiExample(
    "A nurse signs in",
    value={"userId": "user_123", "applicationSlug": "healos", "externalOrgId": "hospital_456"},
    request_only=True,
)


class SeatAccessShape(Shape):
    """Whether the person may use the application now, and why."""

    object = Kind("seat_access")
    has_access = serializers.BooleanField()
    seat_id = public_id("seat", allow_null=True)
    subscription_status = Choice(choices=Subscription.Status.choices, allow_null=True)
    expires_at = serializers.DateTimeField(
        allow_null=True,
        help_text="until when it holds if nothing happens; null without access, and while a "
        "renewal is about to be billed",
    )
    reason = Choice(choices=[(one.value, said) for one, said in SENTENCES.items()])
    detail = serializers.CharField(help_text="the reason, for people")
    entitlements = Open(required=False, help_text="the value granted of each feature, by key")


class FormerSeatAccessShape(Shape):
    """The four fields that products of before know."""

    hasAccess = serializers.BooleanField()  # noqa: N815 - their spelling
    seatId = public_id("seat", allow_null=True)  # noqa: N815 - their spelling
    subscriptionStatus = Choice(  # noqa: N815 - their spelling
        choices=[(word.upper(), meaning) for word, meaning in Subscription.Status.choices],
        allow_null=True,
    )
    expiresAt = serializers.DateTimeField(allow_null=True)  # noqa: N815 - their spelling


class VerifySeat(ApiView):
    """The question."""

    @operation(
        "verify_seat",
        tag=TAG,
        scope="seats:verify",
        body=Raw({JSON: QUESTION}),
        answers={200: SeatAccessShape},
        examples=[EXAMPLE],
    )
    def post(self, request: Request) -> HttpResponse:
        """Ask whether a person may use an application now.

        Always current: a seat that was taken away is gone with the next answer. What is unknown is
        answered too: no access, and why. A key of an organization is answered about its own people
        only. Changes nothing; that the person was seen is noted some minutes later at most.
        """
        return serve(request._request, VERIFY_SEAT)


class FormerVerifySeat(ApiView):
    """The question as products of before ask it."""

    @operation(
        "former_verify_seat",
        tag=TAG,
        scope="seats:verify",
        body=Raw({JSON: FORMER_QUESTION}),
        answers={200: FormerSeatAccessShape},
        examples=[FORMER_EXAMPLE],
    )
    def post(self, request: Request) -> HttpResponse:
        """Ask whether a person may use an application now, as products of before do.

        The same answer as of `/api/v1/verify-seat` in four fields; the status is in capitals.
        """
        return serve(request._request, VERIFY_SEAT_FORMERLY)
