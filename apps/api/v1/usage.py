"""`/usage`: what was used, by whom in what, exactly and up to this moment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.errors import Fault, InvalidRequest
from apps.api.schema import operation
from apps.api.shapes import (
    Choice,
    Digits,
    Exact,
    Instant,
    Kind,
    LiveMode,
    Query,
    Shape,
    list_of,
    public_id,
)
from apps.engine.period import Period
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions.selectors import ItemFacts, SubscriptionFacts
from apps.tenants.models import Organization
from apps.usage import selectors
from apps.usage.attachment import attachment
from apps.usage.breakdown import Breakdown, Question, break_down
from apps.usage.errors import UnknownMeter
from apps.usage.filtering import Values
from apps.usage.selectors import Measured, MeterFacts, Want

TAG = "Usage"
LONGEST_KEY = 64
LONGEST = {"hour": timedelta(days=31), "day": timedelta(days=400), "month": timedelta(days=3660)}
MOST_SHOWN = 500
CSV = "text/csv"
FILTER = re.compile(r"filter\[([^\[\]]{1,200})\]")
FILTERS = OpenApiParameter(
    "filter",
    {"type": "object", "additionalProperties": {"type": "string"}},
    style="deepObject",
    explode=True,
    description="values that a dimension must have: `filter[region]=eu`; again for one more value",
)


class PointShape(Shape):
    """One cell of a series, from `start` to before `end`."""

    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    quantity = Exact()
    event_count = serializers.IntegerField()


class UsageShape(Shape):
    """What a meter counted in [start, end)."""

    object = Kind("usage")
    livemode = LiveMode()
    organization = public_id("org")
    subscription = public_id(
        "sub", allow_null=True, help_text="the live subscription whose price reads the meter"
    )
    meter = serializers.CharField(source="meter.key")
    aggregation = serializers.CharField(source="meter.aggregation.value")
    unit = serializers.CharField(source="meter.unit")
    start = serializers.DateTimeField(source="period.start")
    end = serializers.DateTimeField(source="period.end")
    quantity = Exact(source="measured.quantity")
    included = Exact(
        allow_null=True,
        help_text="units of a billing period that cost nothing; null: no price reads it",
    )
    event_count = serializers.IntegerField(source="measured.event_count")
    events_hash = serializers.CharField(
        source="measured.hash", help_text="order-free hash of the events, as on invoice lines"
    )


class GroupShape(Shape):
    """What one combination of values comes to."""

    values = serializers.DictField(
        child=serializers.CharField(allow_null=True),
        help_text="the value of each dimension of `group_by`; null where events have none",
    )
    quantity = Exact()
    event_count = serializers.IntegerField()
    series = PointShape(many=True, help_text="empty unless `grain` is given")


class RestShape(Shape):
    """The groups beyond the largest ones, together."""

    groups = serializers.IntegerField(help_text="how many")
    quantity = Exact(allow_null=True, help_text="null where groups do not add up")
    event_count = serializers.IntegerField()


class UsageSeriesShape(UsageShape):
    """What a meter counted, when and in what."""

    filter = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField()),
        help_text="the values that were asked for",
    )
    series = PointShape(many=True, help_text="empty unless `grain` is given")
    group_by = serializers.ListField(child=serializers.CharField(), source="found.by")
    groups_add_up = serializers.BooleanField(
        source="found.adds_up", help_text="whether all groups together make the quantity"
    )
    groups = GroupShape(many=True, help_text="the largest first")
    other = RestShape(
        allow_null=True, source="found.rest", help_text="the smaller ones; null when there are none"
    )


class UsageView(NamedTuple):
    """A measurement and what it belongs to."""

    organization: str
    subscription: str | None
    meter: MeterFacts
    period: Period
    measured: Measured
    included: Decimal | None


class BreakdownView(NamedTuple):
    """A measurement by groups and what it belongs to."""

    organization: str
    subscription: str | None
    included: Decimal | None
    found: Breakdown
    filter: Values

    @property
    def meter(self) -> MeterFacts:
        """What was measured."""
        return self.found.meter

    @property
    def period(self) -> Period:
        """When."""
        return self.found.period

    @property
    def measured(self) -> Measured:
        """The whole."""
        return self.found.total

    @property
    def series(self) -> Sequence[Any]:
        """The whole in its cells."""
        return self.found.points

    @property
    def groups(self) -> list[dict[str, Any]]:
        """The parts, their values by name."""
        return [
            {
                "values": dict(zip(self.found.by, group.values, strict=True)),
                "quantity": group.quantity,
                "event_count": group.event_count,
                "series": group.points,
            }
            for group in self.found.groups
        ]


class WindowQuery(Query):
    """Whose usage, and when."""

    organization = serializers.CharField(
        required=False, help_text="whose: id, slug or `ext:` id; needed with a key of the platform"
    )
    start = Instant(required=False, help_text="default: the start of the current billing period")
    end = Instant(required=False, help_text="default: the end of the current billing period")


class SeriesQuery(WindowQuery):
    """How finely, by what, and in which form."""

    more = (FILTERS,)
    grain = Choice(
        choices=[("hour", "Hours"), ("day", "Days"), ("month", "Months")],
        required=False,
        help_text="cut the window into local hours (of 31 days), days (400) or months (ten years)",
    )
    group_by = serializers.CharField(
        required=False, help_text="up to three dimensions of the meter, with commas between"
    )
    top = Digits(
        min_value=1,
        max_value=MOST_SHOWN,
        default=20,
        help_text="how many groups, the largest first; the others are told together",
    )
    format = Choice(
        choices=[("json", "JSON"), ("csv", "CSV")],
        required=False,
        help_text="`csv` has all groups and their cells as rows, as `Accept: text/csv` does",
    )

    def to_internal_value(self, data: Any) -> Any:
        """Leave out the filters, whose names are the meter's."""
        plain = {key: value for key, value in data.items() if not FILTER.fullmatch(key)}
        return super().to_internal_value(plain)


class Priced(NamedTuple):
    """An item that reads a meter, and its subscription."""

    subscription: SubscriptionFacts
    item: ItemFacts


class Usage(ApiView):
    """All that is metered."""

    @operation(
        "list_usage",
        tag=TAG,
        scope="usage:read",
        query=WindowQuery,
        answers={200: list_of(UsageShape, "UsageList")},
    )
    def get(self, request: Request) -> Response:
        """List the usage of every meter that the live subscriptions are priced by.

        Without a window each meter is counted over its subscription's current billing period.
        """
        query = self.query()
        organization = _whose(self, query)
        priced = _priced(organization)
        at = organization.time(self.at)
        windows = [_window(query, one, at) for one in priced]
        wants = [
            Want(str(one.item.price.meter_key), window.start, window.end)
            for one, window in zip(priced, windows, strict=True)
        ]
        meters = {meter.key: meter for meter in selectors.meters()}
        measured = selectors.measure(organization.pk, wants)
        seen = [
            UsageView(
                organization.public_id,
                one.subscription.public_id,
                meters[want.meter_key],
                window,
                count,
                one.item.item.included,
            )
            for one, window, want, count in zip(priced, windows, wants, measured, strict=True)
        ]
        return self.envelope(UsageShape, seen)


class MeterUsage(ApiView):
    """One meter."""

    @operation(
        "get_usage",
        tag=TAG,
        scope="usage:read",
        query=SeriesQuery,
        answers={200: UsageSeriesShape, (200, CSV): {"type": "string"}},
    )
    def get(self, request: Request, meter: str) -> Response | HttpResponse:
        """Get the usage of one meter, by time and by dimension if you like.

        Every event that was answered with 2xx is counted. The cells of a series tile the window in
        the organization's time zone; each stands alone, so the days' unique counts do not add up to
        the month's. The groups of counts and sums add up to the total, those of a weighted sum too
        but for its last place; those of other aggregations stand alone. All of an answer is of one
        moment.
        """
        found = _meter(meter)
        query = self.query()
        organization = _whose(self, query)
        priced = next(
            (one for one in _priced(organization) if one.item.price.meter_key == found.key), None
        )
        as_csv = query.get("format", _accepted(request)) == "csv"
        where = _filters(request)
        window = _window(query, priced, organization.time(self.at))
        asked = _question(organization, found, window, query, where)
        broken = break_down(organization.pk, asked, limit=None if as_csv else query["top"])
        if as_csv:
            return attachment(broken)
        return self.answer(
            UsageSeriesShape,
            BreakdownView(
                organization.public_id,
                priced.subscription.public_id if priced else None,
                priced.item.item.included if priced else None,
                broken,
                where,
            ),
        )


def _accepted(request: Request) -> str:
    accepted = str(request.META.get("HTTP_ACCEPT", "")).split(";")[0].strip().lower()
    return "csv" if accepted == CSV else "json"


def _filters(request: Request) -> Values:
    """Return the values of every `filter[dimension]`."""
    found: dict[str, list[str]] = {}
    for key, values in request.query_params.lists():
        if named := FILTER.fullmatch(key):
            found[named[1]] = [value for value in values if "\x00" not in value]
    return found


def _question(
    organization: Organization,
    meter: MeterFacts,
    period: Period,
    query: Mapping[str, Any],
    where: Values,
) -> Question:
    grain = query.get("grain", "")
    if grain and period.end - period.start > LONGEST[grain]:
        days = LONGEST[grain].days
        raise _refused("grain", f"A series by {grain} covers at most {days} days.")
    by = [name.strip() for name in query.get("group_by", "").split(",") if name.strip()]
    return Question(
        meter.key, period.start, period.end, tuple(by), where, grain, organization.timezone
    )


def _whose(view: ApiView, query: dict[str, Any]) -> Organization:
    reference = query.get("organization", "")
    if reference:
        return view.organization(reference)
    if view.actor.organization_id is None:
        raise _refused("organization", "Say whose usage, with a key of the platform.", "required")
    return Organization.objects.get(pk=view.actor.organization_id)


def _priced(organization: Organization) -> list[Priced]:
    """Return the metered items of the live subscriptions, newest subscription first."""
    return [
        Priced(facts, item)
        for facts in subscriptions.of_organization(organization.pk, live=True)
        for item in facts.items
        if item.price.meter_key is not None
    ]


def _meter(key: str) -> MeterFacts:
    readable = "\x00" not in key and len(key) <= LONGEST_KEY
    found = selectors.find_meter(key) if readable else None
    if found is None:
        raise UnknownMeter("There is no such meter.", param="meter")
    return found


def _window(query: dict[str, Any], priced: Priced | None, at: datetime) -> Period:
    """Return the window asked for; what is left out comes from the current billing period."""
    start, end = query.get("start"), query.get("end")
    if start is None or end is None:
        if priced is None:
            said = "No subscription is priced by this meter: give start and end."
            raise _refused("start" if start is None else "end", said, "required")
        current = priced.subscription.current_period(max(at, priced.subscription.started_at))
        start, end = start or current.start, end or current.end
    if start >= end:
        raise _refused("end", "The window must end after it starts.")
    return Period(start, end)


def _refused(name: str, said: str, code: str = "invalid") -> InvalidRequest:
    return InvalidRequest(said, [Fault(code, said, parameter=name)], param=name)
