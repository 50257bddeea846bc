"""`/plans`: what is for sale, with exact prices."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.authentication import LONGEST_REFERENCE
from apps.api.door import ApiView
from apps.api.pagination import ListQuery, page
from apps.api.schema import operation
from apps.api.shapes import (
    DECIMAL_SCHEMA,
    Choice,
    Exact,
    Kind,
    LiveMode,
    Open,
    Query,
    Shape,
    list_of,
    public_id,
)
from apps.engine.price_rules import Conversion, Operation, QuantityRounding
from apps.engine.prices import BlockMode
from apps.plans import selectors
from apps.plans.errors import UnknownPlan
from apps.plans.models import Entitlement, Plan, PlanVersion, Price
from apps.plans.selectors import PlanOffer, PriceAmounts, ThresholdTerms, VersionTerms
from apps.subscriptions.models import Subscription

TAG = "Plans"
_OPEN_END = {"oneOf": [DECIMAL_SCHEMA, {"type": "null"}]}


def _object(required: Mapping[str, Any], **optional: Any) -> dict[str, Any]:
    properties = {**required, **optional}
    return {"type": "object", "required": [*required], "properties": properties}


def _model(name: str, required: Mapping[str, Any], **optional: Any) -> dict[str, Any]:
    return _object({"model": {"type": "string", "const": name}, **required}, **optional)


def _tiers(**tier: Any) -> dict[str, Any]:
    return {"tiers": {"type": "array", "items": _object(tier)}}


_FLAGS = {"zero_quantity_flat": {"type": "boolean"}, "bounded": {"type": "boolean"}}
_BY_UNIT = _tiers(up_to=_OPEN_END, unit_amount=DECIMAL_SCHEMA, flat_amount=DECIMAL_SCHEMA)
_BY_RATE = _tiers(up_to=_OPEN_END, rate_percent=DECIMAL_SCHEMA, flat_amount=DECIMAL_SCHEMA)
_BY_BLOCK = _tiers(block_size=DECIMAL_SCHEMA, max_blocks=_OPEN_END, block_amount=DECIMAL_SCHEMA)
_BY_CAPACITY = _tiers(
    amount=DECIMAL_SCHEMA, limits={"type": "object", "additionalProperties": _OPEN_END}
)
TERMS_SCHEMA: dict[str, Any] = {
    "oneOf": [
        _model("flat", {"amount": DECIMAL_SCHEMA}),
        _model("per_unit", {"unit_amount": DECIMAL_SCHEMA}),
        _model(
            "package",
            {"package_size": DECIMAL_SCHEMA, "unit_amount": DECIMAL_SCHEMA},
            rounding={"type": "string", "const": "down"},
        ),
        _model("graduated", _BY_UNIT, **_FLAGS),
        _model("volume", _BY_UNIT, **_FLAGS),
        _model("graduated_percentage", _BY_RATE, **_FLAGS),
        _model(
            "percentage",
            {"rate_percent": DECIMAL_SCHEMA},
            fixed_amount=DECIMAL_SCHEMA,
            free_events={"type": "integer"},
            free_amount=DECIMAL_SCHEMA,
            event_minimum=DECIMAL_SCHEMA,
            event_maximum=DECIMAL_SCHEMA,
        ),
        _model("dynamic", {"multiplier": DECIMAL_SCHEMA}),
        _model("blocks", {"mode": {"type": "string", "enum": [*BlockMode]}, **_BY_BLOCK}),
        _model("capacity", _BY_CAPACITY),
    ],
}
AMOUNTS_SCHEMA = _object(
    {"terms": TERMS_SCHEMA}, minimum_amount=DECIMAL_SCHEMA, maximum_amount=DECIMAL_SCHEMA
)
CONVERSION_SCHEMA = _object(
    {
        "operation": {"type": "string", "enum": [*Operation]},
        "factor": DECIMAL_SCHEMA,
        "rounding": {"type": "string", "enum": [*QuantityRounding]},
        "places": {"type": "integer"},
    }
)
THRESHOLD_SCHEMA = _object(
    {"amounts": {"type": "array", "items": DECIMAL_SCHEMA}}, step=DECIMAL_SCHEMA
)


@extend_schema_field(TERMS_SCHEMA)
class Terms(Open):
    """What a price charges, in major units of the version's currency, as exact decimals."""


@extend_schema_field(CONVERSION_SCHEMA)
class HowConverted(Open):
    """How what a meter counts becomes what a price bills; null: it is the same."""

    def to_representation(self, value: Conversion) -> Any:
        """Return it as plain JSON."""
        return value.as_dict()


@extend_schema_field({"type": "object", "additionalProperties": AMOUNTS_SCHEMA})
class ByCurrency(Open):
    """What a price charges in each currency that it is sold in."""

    def to_representation(self, value: Mapping[str, PriceAmounts]) -> Any:
        """Return it as plain JSON."""
        return {code: amounts.as_dict() for code, amounts in value.items()}


@extend_schema_field({"type": "object", "additionalProperties": THRESHOLD_SCHEMA})
class Thresholds(Open):
    """At which sums usage is billed within a period, by currency."""

    def to_representation(self, value: Mapping[str, ThresholdTerms]) -> Any:
        """Return it as plain JSON."""
        return {code: terms.as_dict() for code, terms in value.items()}


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
    minimum_amount = Exact(allow_null=True, help_text="owed a period at least, major units")
    maximum_amount = Exact(allow_null=True, help_text="owed a period at most, major units")
    conversion = HowConverted(allow_null=True)
    proration = Choice(choices=Price.Proration.choices)
    quantity_policy = Choice(choices=Price.QuantityPolicy.choices)
    filters = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField()),
        help_text="which usage it prices: values by dimension; the most specific price wins",
    )
    currencies = ByCurrency(source="amounts", help_text="the same in all of its currencies")


class LimitRulesShape(Shape):
    """How a granted limit holds that a meter counts against."""

    feature = serializers.CharField(source="key")
    meter = serializers.CharField(source="meter_key")
    reset = Choice(
        source="rules.reset", choices=Entitlement.Reset.choices, help_text="when it counts anew"
    )
    on_limit = Choice(source="rules.on_limit", choices=Entitlement.OnLimit.choices)
    prepaid = serializers.BooleanField(
        source="rules.prepaid", help_text="open as far as the organization's credit covers it"
    )


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
    currency = serializers.CharField(source="terms.currency", help_text="of the terms shown first")
    currencies = serializers.ListField(
        source="terms.currencies", child=serializers.CharField(), help_text="all it is sold in"
    )
    interval = IntervalShape(source="terms.interval")
    trial_days = serializers.IntegerField(source="terms.trial_days")
    trial_requires_card = serializers.BooleanField(source="terms.trial_requires_card")
    thresholds = Thresholds(
        source="terms.thresholds", help_text="sums at which usage is billed within a period"
    )
    prices = PriceShape(source="terms.prices", many=True)
    entitlements = Grants(source="terms.entitlements")
    limits = LimitRulesShape(source="terms.metered_grants", many=True)


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


class DifferenceShape(Shape):
    """One thing that is not the same; null where there was or is nothing."""

    what = serializers.CharField(help_text="`prices.base.amount`, `entitlements.max_devices`, …")
    old = serializers.CharField(allow_null=True)
    new = serializers.CharField(allow_null=True)


class ComparedShape(Shape):
    """One side of a comparison."""

    plan = serializers.CharField(source="plan_code")
    name = serializers.CharField(source="plan_name")
    version = public_id("plv", source="public_id")
    number = serializers.IntegerField()


class ComparisonShape(Shape):
    """How two plans differ: what a subscriber of the one would find in the other."""

    object = Kind("plan_comparison")
    old = ComparedShape()
    new = ComparedShape()
    changes = DifferenceShape(many=True)


class ComparisonQuery(Query):
    """With which plan."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Add `with`, which is no Python name."""
        other = serializers.CharField(help_text="the other plan: code or id")
        return {**super().get_fields(), "with": other}


class PlanQuery(ListQuery):
    """How plans are found."""

    application = serializers.CharField(required=False, help_text="only this application's: slug")
    industry = serializers.CharField(
        required=False, help_text="only plans for this industry, or for everybody"
    )
    currency = serializers.CharField(
        required=False,
        min_length=3,
        max_length=3,
        help_text="only plans that are sold in this currency, with their prices in it first",
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
        currency = query.get("currency", "")
        if currency:
            rows = rows.filter(pk__in=_sold_in(currency))
        found = page(rows, query, among=among)
        return self.listing(PlanShape, found, _views(found.rows, currency))


class OnePlan(ApiView):
    """One of them."""

    @operation("get_plan", tag=TAG, scope="plans:read", answers={200: PlanShape})
    def get(self, request: Request, plan: str) -> Response:
        """Get a plan with its current version."""
        [seen] = _views([visible_plan(self, plan)])
        return self.answer(PlanShape, seen)


class PlanComparison(ApiView):
    """It beside another one."""

    @operation(
        "compare_plans",
        tag=TAG,
        scope="plans:read",
        query=ComparisonQuery,
        answers={200: ComparisonShape},
    )
    def get(self, request: Request, plan: str) -> Response:
        """Compare the version of a plan that is for sale with another plan's."""
        [old, new] = _views([visible_plan(self, plan), visible_plan(self, self.query()["with"])])
        found = selectors.compare(old.offer.version, new.offer.version)
        return self.answer(ComparisonShape, found)


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


def _sold_in(currency: str) -> QuerySet[PlanVersion, int]:
    """Return the ids of the plans that are for sale in a currency."""
    sold = Q(currency=currency) | Q(currencies__contains=[currency])
    found = PlanVersion.objects.filter(sold, status=PlanVersion.Status.PUBLISHED)
    return found.values_list("plan_id", flat=True)


def _views(rows: list[Plan], currency: str = "") -> list[PlanView]:
    """Return plans as they are shown, their prices in a currency that all of them are sold in."""
    offers = {offer.id: offer for offer in selectors.list_plans(visibility=None)}
    made = dict(
        PlanVersion.objects.filter(plan__in=rows, status=PlanVersion.Status.PUBLISHED).values_list(
            "plan_id", "created_at"
        )
    )
    return [
        PlanView(
            row.created_at,
            offers[row.pk],
            VersionView(made[row.pk], _terms(offers[row.pk], currency)),
        )
        for row in rows
    ]


def _terms(offer: PlanOffer, currency: str) -> VersionTerms:
    return offer.version.in_currency(currency) if currency else offer.version
