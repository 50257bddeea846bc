"""`/plans`: what is for sale, with exact prices."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import LONGEST_REFERENCE, ApiView
from apps.api.pagination import ListQuery, page
from apps.api.schema import operation
from apps.api.shapes import (
    DECIMAL_SCHEMA,
    Choice,
    Exact,
    Kind,
    LiveMode,
    Open,
    Shape,
    list_of,
    public_id,
)
from apps.plans import selectors
from apps.plans.errors import UnknownPlan
from apps.plans.models import Plan, PlanVersion, Price
from apps.plans.selectors import PlanOffer, VersionTerms
from apps.subscriptions.models import Subscription

TAG = "Plans"
_TIER = {
    "type": "object",
    "required": ["up_to", "unit_amount", "flat_amount"],
    "properties": {
        "up_to": {"oneOf": [DECIMAL_SCHEMA, {"type": "null"}]},
        "unit_amount": DECIMAL_SCHEMA,
        "flat_amount": DECIMAL_SCHEMA,
    },
}


def _model(name: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["model", *properties],
        "properties": {"model": {"type": "string", "const": name}, **properties},
    }


_TIERED = {"tiers": {"type": "array", "items": _TIER}}


@extend_schema_field(
    {
        "oneOf": [
            _model("flat", amount=DECIMAL_SCHEMA),
            _model("per_unit", unit_amount=DECIMAL_SCHEMA),
            _model("package", package_size=DECIMAL_SCHEMA, unit_amount=DECIMAL_SCHEMA),
            _model("graduated", **_TIERED),
            _model("volume", **_TIERED),
        ],
    }
)
class Terms(Open):
    """What a price charges, in major units of the version's currency, as exact decimals."""


@extend_schema_field(
    {"type": "object", "additionalProperties": {"type": ["boolean", "integer", "string", "null"]}}
)
class Grants(Open):
    """Features by key: a switch, a number (null: unlimited) or a text."""


class PriceShape(Shape):
    """One thing that a plan charges for."""

    object = Kind("price")
    id = public_id("price", source="public_id")
    key = serializers.CharField(help_text="the key of its invoice lines")
    name = serializers.CharField()
    description = serializers.CharField()
    type = Choice(choices=Price.Type.choices)
    timing = Choice(choices=Price.Timing.choices)
    meter = serializers.CharField(source="meter_key", allow_null=True)
    unit = serializers.CharField()
    included = Exact(help_text="units that cost nothing")
    terms = Terms(source="terms.as_dict", help_text="major units, exact decimals")


class IntervalShape(Shape):
    """How long a billing period is."""

    unit = Choice(choices=PlanVersion.Unit.choices)
    count = serializers.IntegerField()


class PlanVersionShape(Shape):
    """What a plan costs and grants; never changed once published."""

    object = Kind("plan_version")
    id = public_id("plv", source="terms.public_id")
    created_at = serializers.DateTimeField()
    livemode = LiveMode()
    plan = public_id("plan", source="terms.plan_public_id")
    number = serializers.IntegerField(source="terms.number")
    status = Choice(source="terms.status", choices=PlanVersion.Status.choices)
    currency = serializers.CharField(source="terms.currency")
    interval = IntervalShape(source="terms.interval")
    trial_days = serializers.IntegerField(source="terms.trial_days")
    prices = PriceShape(source="terms.prices", many=True)
    entitlements = Grants(source="terms.entitlements")


class PlanShape(Shape):
    """A thing for sale, with the version that a new subscription gets."""

    object = Kind("plan")
    id = public_id("plan", source="offer.public_id")
    created_at = serializers.DateTimeField()
    livemode = LiveMode()
    code = serializers.CharField(source="offer.code")
    name = serializers.CharField(source="offer.name")
    description = serializers.CharField(source="offer.description")
    kind = Choice(source="offer.kind", choices=Plan.Kind.choices)
    visibility = Choice(source="offer.visibility", choices=Plan.Visibility.choices)
    industries = serializers.ListField(source="offer.industries", child=serializers.CharField())
    custom = serializers.BooleanField(
        source="offer.custom", help_text="prices are agreed with each customer"
    )
    application = serializers.CharField(source="offer.application_slug")
    version = PlanVersionShape()


class VersionView(NamedTuple):
    """A version's terms and when it was made."""

    created_at: datetime
    terms: VersionTerms


class PlanView(NamedTuple):
    """An offer and when the plan and its version were made."""

    created_at: datetime
    offer: PlanOffer
    version: VersionView


class PlanQuery(ListQuery):
    """How plans are found."""

    application = serializers.CharField(required=False, help_text="only this application's: slug")
    industry = serializers.CharField(
        required=False, help_text="only plans for this industry, or for everybody"
    )


class Plans(ApiView):
    """The list."""

    @operation(
        "list_plans",
        tag=TAG,
        scope="plans:read",
        query=PlanQuery,
        answers={200: list_of(PlanShape, "PlanList")},
    )
    def get(self, request: Request) -> Response:
        """List the plans for sale.

        A key of an organization sees the public ones and those that it is subscribed to.
        """
        query = self.query()
        among = visible(self)
        rows = among
        if "application" in query:
            rows = rows.filter(application__slug=query["application"])
        if "industry" in query:
            # A list of one in JSON: PostgreSQL's containment, not a search in text.
            rows = rows.filter(Q(industries=[]) | Q(industries__contains=[query["industry"]]))
        found = page(rows, query, among=among)
        return self.listing(PlanShape, found, _views(found.rows))


class OnePlan(ApiView):
    """One of them."""

    @operation("get_plan", tag=TAG, scope="plans:read", answers={200: PlanShape})
    def get(self, request: Request, plan: str) -> Response:
        """Get a plan with its current version."""
        [seen] = _views([visible_plan(self, plan)])
        return self.answer(PlanShape, seen)


class PlanVersions(ApiView):
    """Its history."""

    @operation(
        "list_plan_versions",
        tag=TAG,
        scope="plans:read",
        query=ListQuery,
        answers={200: list_of(PlanVersionShape, "PlanVersionList")},
    )
    def get(self, request: Request, plan: str) -> Response:
        """List the published versions of a plan, newest first.

        Subscriptions stay on the version that they were made with.
        """
        rows = PlanVersion.objects.filter(plan=visible_plan(self, plan))
        rows = rows.exclude(status=PlanVersion.Status.DRAFT)
        found = page(rows, self.query(), among=rows)
        terms = selectors.terms_of([row.pk for row in found.rows])
        seen = [VersionView(row.created_at, terms[row.pk]) for row in found.rows]
        return self.listing(PlanVersionShape, found, seen)


def visible(view: ApiView) -> QuerySet[Plan]:
    """Return the plans for sale that the caller may see: private ones only to who has them."""
    rows = Plan.objects.filter(versions__status=PlanVersion.Status.PUBLISHED)
    if view.caller.is_platform:
        return rows
    mine = view.theirs(Subscription.objects.all()).values("plan_version__plan_id")
    return rows.filter(Q(visibility=Plan.Visibility.PUBLIC) | Q(pk__in=mine))


def visible_plan(view: ApiView, reference: str) -> Plan:
    """Return the plan with this id or code, when it is for sale and the caller may see it."""
    readable = "\x00" not in reference and len(reference) <= LONGEST_REFERENCE
    named = Q(public_id=reference) | Q(code=reference)
    found = visible(view).filter(named).first() if readable else None
    if found is None:
        raise UnknownPlan("There is no such plan for sale.", param="plan")
    return found


def _views(rows: list[Plan]) -> list[PlanView]:
    offers = {offer.id: offer for offer in selectors.list_plans(visibility=None)}
    made = dict(
        PlanVersion.objects.filter(plan__in=rows, status=PlanVersion.Status.PUBLISHED).values_list(
            "plan_id", "created_at"
        )
    )
    return [
        PlanView(row.created_at, offers[row.pk], VersionView(made[row.pk], offers[row.pk].version))
        for row in rows
    ]
