"""`/usage`: what was used, exactly and up to this moment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.errors import Fault, InvalidRequest
from apps.api.schema import operation
from apps.api.shapes import Choice, Exact, Instant, Kind, LiveMode, Query, Shape, list_of, public_id
from apps.engine.period import Period
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions.selectors import ItemFacts, SubscriptionFacts
from apps.tenants.models import Organization
from apps.usage import selectors
from apps.usage.errors import UnknownMeter
from apps.usage.selectors import Measured, MeterFacts, Point, Want

TAG = "Usage"
LONGEST_KEY = 64
LONGEST = {"hour": timedelta(days=31), "day": timedelta(days=400)}


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


class UsageSeriesShape(UsageShape):
    """What a meter counted, and when."""

    series = PointShape(many=True, help_text="empty unless `grain` is given")


class UsageView(NamedTuple):
    """A measurement and what it belongs to."""

    organization: str
    subscription: str | None
    meter: MeterFacts
    period: Period
    measured: Measured
    included: Decimal | None
    series: Sequence[Point] = ()


class WindowQuery(Query):
    """Whose usage, and when."""

    organization = serializers.CharField(
        required=False, help_text="whose: id, slug or `ext:` id; needed with a key of the platform"
    )
    start = Instant(required=False, help_text="default: the start of the current billing period")
    end = Instant(required=False, help_text="default: the end of the current billing period")


class SeriesQuery(WindowQuery):
    """And how finely."""

    grain = Choice(
        choices=[("hour", "Hours"), ("day", "Days")],
        required=False,
        help_text="cut the window into local hours or days",
    )


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
        windows = [_window(query, one, self.at) for one in priced]
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
        answers={200: UsageSeriesShape},
    )
    def get(self, request: Request, meter: str) -> Response:
        """Get the usage of one meter, with a series if you like.

        Every event that was answered with 2xx is counted. The cells of a series tile the window in
        the organization's time zone; each stands alone, so the days' unique counts do not add up to
        the month's.
        """
        found = _meter(meter)
        query = self.query()
        organization = _whose(self, query)
        priced = next(
            (one for one in _priced(organization) if one.item.price.meter_key == found.key), None
        )
        period = _window(query, priced, self.at)
        [measured] = selectors.measure(organization.pk, [Want(found.key, period.start, period.end)])
        return self.answer(
            UsageSeriesShape,
            UsageView(
                organization.public_id,
                priced.subscription.public_id if priced else None,
                found,
                period,
                measured,
                priced.item.item.included if priced else None,
                _series(organization, found.key, period, query.get("grain")),
            ),
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


def _series(
    organization: Organization, meter: str, period: Period, grain: str | None
) -> Sequence[Point]:
    if grain is None:
        return ()
    if period.end - period.start > LONGEST[grain]:
        days = LONGEST[grain].days
        raise _refused("grain", f"A series by {grain} covers at most {days} days.")
    return selectors.usage_series(
        organization.pk,
        meter,
        period.start,
        period.end,
        grain=grain,
        timezone=organization.timezone,
    )


def _refused(name: str, said: str, code: str = "invalid") -> InvalidRequest:
    return InvalidRequest(said, [Fault(code, said, parameter=name)], param=name)
