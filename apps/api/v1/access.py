"""`/access`: may it be used now, how much is left, and setting some of it aside."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.authentication import LONGEST_REFERENCE
from apps.api.door import ApiView
from apps.api.errors import Fault, InvalidRequest
from apps.api.schema import operation
from apps.api.shapes import (
    AnyField,
    Body,
    Choice,
    Exact,
    Kind,
    LiveMode,
    NoBody,
    Shape,
    Text,
    Whole,
    public_id,
)
from apps.entitlements import selectors, services
from apps.entitlements.decisions import SENTENCES
from apps.entitlements.models import BEHAVIOURS, Reservation
from apps.entitlements.selectors import Caution, Decision, Reason, ReservationFacts, refused
from apps.plans.models import Feature
from apps.tenants.errors import UnknownOrganization
from apps.tenants.models import Organization

TAG = "Access"
LONGEST_FEATURE = 200
LARGEST = Decimal(10**18)
LONGEST_KEY = 128
HOUR = int(services.LONGEST_EXPIRY.total_seconds())
FIVE_MINUTES = int(services.DEFAULT_EXPIRY.total_seconds())
CAUTIONS = [
    (Caution.LIMIT_PASSED.value, "More than the limit, which only warns"),
    (Caution.SPEND_CAP_PASSED.value, "More than a spend cap, which only warns"),
]


@extend_schema_field({"oneOf": [{"type": "boolean"}, {"type": "integer"}, {"type": "string"}]})
class Granted(AnyField):
    """What is granted: a flag, a number, a text; null: unlimited, or nothing."""

    def to_representation(self, value: Any) -> Any:
        """Return it."""
        return value


class Units(Exact):
    """A number of units, none or more and below 10^18."""

    def to_internal_value(self, data: Any) -> Decimal:
        """Read it; refuse what no meter could count."""
        found = super().to_internal_value(data)
        if not 0 <= found < LARGEST:
            raise serializers.ValidationError("From 0 to below 10^18.", code="out_of_range")
        return found


class NextUnitsShape(Shape):
    """What the amount asked for will be billed at, beyond what is billed already."""

    currency = serializers.CharField()
    amount = serializers.IntegerField(help_text="minor units, as the line rounds now")
    exact = serializers.CharField(help_text="major units, before rounding; `a/b` without an end")


class DecisionShape(Shape):
    """Whether it may be used now."""

    object = Kind("access_check")
    livemode = LiveMode()
    organization = public_id("org", allow_null=True)
    subscription = public_id(
        "sub", source="decision.subscription", allow_null=True, help_text="the one that grants it"
    )
    feature = serializers.CharField(source="decision.feature")
    amount = Exact(source="decision.amount")
    allowed = serializers.BooleanField(source="decision.allowed")
    reason = Choice(
        source="decision.reason", choices=[(one.value, said) for one, said in SENTENCES.items()]
    )
    detail = serializers.CharField(source="decision.sentence", help_text="the reason, for people")
    kind = Choice(source="decision.kind", choices=Feature.Kind.choices, allow_null=True)
    value = Granted(source="decision.value", allow_null=True)
    behaviour = Choice(source="decision.behaviour", choices=BEHAVIOURS, allow_null=True)
    limit = Exact(source="decision.limit", allow_null=True, help_text="null: none")
    used = Exact(source="decision.used", allow_null=True, help_text="null: nothing counts it")
    reserved = Exact(source="decision.reserved", allow_null=True)
    remaining = Exact(source="decision.remaining", allow_null=True)
    resets_at = serializers.DateTimeField(source="decision.resets_at", allow_null=True)
    warnings = serializers.ListField(
        source="decision.warnings", child=Choice(choices=CAUTIONS), help_text="passed, and allowed"
    )
    price = NextUnitsShape(
        source="decision.price", allow_null=True, help_text="of the amount; null: nothing prices it"
    )


class DecisionView(NamedTuple):
    """An answer and about whom."""

    organization: str | None
    decision: Decision


class Question(Body):
    """What is to be used, by whom, and how much of it."""

    feature = Text(max_length=LONGEST_FEATURE, help_text="its key")
    amount = Units(default=Decimal(1), help_text="of a limit: how much more; usual: 1")
    organization = Text(
        max_length=LONGEST_REFERENCE,
        required=False,
        help_text="whose: id, slug or `ext:` id; needed with a key of the platform",
    )


class ReservationShape(Shape):
    """An amount set aside."""

    object = Kind("reservation")
    id = public_id("rsv", source="public_id")
    created_at = serializers.DateTimeField(source="reserved_at")
    livemode = LiveMode()
    feature = serializers.CharField()
    key = serializers.CharField(help_text="your own id of what it is for; empty: none")
    amount = Exact()
    status = Choice(choices=Reservation.Status.choices)
    committed = Exact(allow_null=True, help_text="what was used of it")
    expires_at = serializers.DateTimeField()
    settled_at = serializers.DateTimeField(allow_null=True)


class NewReservation(Question):
    """What is to be set aside, and for how long."""

    expires_in = Whole(
        min_value=1, max_value=HOUR, default=FIVE_MINUTES, help_text="seconds; usual: 300"
    )
    key = Text(
        max_length=LONGEST_KEY,
        default="",
        allow_blank=True,
        help_text="your own id of what it is for: the same again is the same reservation",
    )


class Used(Body):
    """What was really used."""

    amount = Units(required=False, help_text="usual: all of it")
    data = serializers.DictField(  # type: ignore[assignment] # a field, not DRF's own
        child=serializers.JSONField(allow_null=True),
        required=False,
        help_text="further facts of the event",
    )


class Check(ApiView):
    """The question."""

    @operation(
        "check_access", tag=TAG, scope="usage:read", body=Question, answers={200: DecisionShape}
    )
    def post(self, request: Request) -> Response:
        """Ask whether an organization may use so much of a feature now.

        Changes nothing. What is unknown is answered too: not allowed, and why. `amount` comes on
        top of what was used and is set aside; where the application counts by itself it is what
        there would be in all.
        """
        asked = self.body()
        feature, amount = asked["feature"], asked["amount"]
        try:
            organization = _whose(self, asked)
        except UnknownOrganization:
            nobody = refused(feature, Reason.UNKNOWN_ORGANIZATION, amount)
            return self.answer(DecisionShape, DecisionView(None, nobody))
        at = organization.time(self.at)
        found = selectors.decide(organization.pk, feature, amount, at=at)
        return self.answer(DecisionShape, DecisionView(organization.public_id, found))


class Reservations(ApiView):
    """Setting aside."""

    @operation(
        "create_reservation",
        tag=TAG,
        scope="usage:write",
        body=NewReservation,
        answers={201: ReservationShape},
    )
    def post(self, request: Request) -> Response:
        """Set an amount of a feature aside, so that nobody else uses it.

        Of many who ask at once no more get some than there is. It is free again when it is
        released, or when its time is over.
        """
        asked = self.body()
        organization = _whose(self, asked)
        made = services.reserve(
            organization.pk,
            feature=asked["feature"],
            amount=asked["amount"],
            expires_in=timedelta(seconds=asked["expires_in"]),
            key=asked["key"],
            actor=self.actor,
            at=organization.time(self.at),
        )
        return self.answer(ReservationShape, made, status=201)


class _ReservationView(ApiView):
    """What is about one reservation."""

    def reserved(self, reservation: str) -> tuple[ReservationFacts, datetime]:
        """Return the caller's reservation, and what time it is for its organization.

        Foreign and unknown ids get one answer.
        """
        rows = Reservation.objects.select_related("organization__test_clock")
        row = self.own(rows, reservation, "reservation")
        return selectors.reservation(row.public_id), row.organization.time(self.at)


class OneReservation(_ReservationView):
    """One of them."""

    @operation("get_reservation", tag=TAG, scope="usage:read", answers={200: ReservationShape})
    def get(self, request: Request, reservation: str) -> Response:
        """Get a reservation."""
        found, _ = self.reserved(reservation)
        return self.answer(ReservationShape, found)


class Commit(_ReservationView):
    """Using it."""

    @operation(
        "commit_reservation",
        tag=TAG,
        scope="usage:write",
        body=Used,
        answers={200: ReservationShape},
    )
    def post(self, request: Request, reservation: str) -> Response:
        """Count what was used of a reservation, and give the rest free.

        Stores the usage event itself: send none. Safe to repeat with the same amount. More than was
        reserved is taken only where the limit does not block.
        """
        (found, at), said = self.reserved(reservation), self.body()
        done = services.commit(
            found.public_id,
            amount=said.get("amount"),
            data=said.get("data"),
            actor=self.actor,
            at=at,
        )
        return self.answer(ReservationShape, done)


class Release(_ReservationView):
    """Giving it back."""

    @operation(
        "release_reservation",
        tag=TAG,
        scope="usage:write",
        body=NoBody,
        answers={200: ReservationShape},
    )
    def post(self, request: Request, reservation: str) -> Response:
        """Give a reservation free. Safe to repeat, also when it has expired by itself."""
        found, at = self.reserved(reservation)
        self.body()
        done = services.release(found.public_id, actor=self.actor, at=at)
        return self.answer(ReservationShape, done)


def _whose(view: ApiView, asked: dict[str, Any]) -> Organization:
    reference = asked.get("organization", "")
    if reference:
        return view.organization(reference)
    if view.actor.organization_id is None:
        said = "Say whose, with a key of the platform."
        raise InvalidRequest(
            said, [Fault("required", said, pointer="/organization")], param="organization"
        )
    return Organization.objects.get(pk=view.actor.organization_id)
