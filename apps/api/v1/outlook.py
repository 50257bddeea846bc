"""`/organizations/…/current-usage`: where the period under way stands and where it is heading."""

from __future__ import annotations

from dataclasses import dataclass

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.schema import operation
from apps.api.shapes import Choice, Exact, Kind, LiveMode, Shape, list_of, public_id
from apps.api.v1.usage import TAG
from apps.engine.forecast import Method
from apps.invoicing.outlook import Cost, Expected, Outlook, outlook
from apps.subscriptions import selectors as subscriptions

METHODS = [
    (Method.SEASONAL.value, "Like the same hours of the last weeks"),
    (Method.RUN_RATE.value, "As fast as in the period so far"),
    (Method.STANDING.value, "As it stands: nothing says how it will move"),
    (Method.COMPLETE.value, "The period is over"),
]


class QuantityForecastShape(Shape):
    """The quantity at the end of the period."""

    method = Choice(choices=METHODS)
    quantity = Exact()
    low = Exact(allow_null=True, help_text="probably not below; null: unknown")
    high = Exact(allow_null=True, help_text="probably not above; null: unknown")


class CostForecastShape(Shape):
    """What that quantity, and those of its bounds, cost in minor units."""

    amount = serializers.IntegerField()
    low = serializers.IntegerField(allow_null=True)
    high = serializers.IntegerField(allow_null=True)


class CurrentItemShape(Shape):
    """A metered price in the period under way."""

    key = serializers.CharField(source="one.gauge.key")
    meter = serializers.CharField(source="one.gauge.meter")
    name = serializers.CharField(source="one.gauge.name")
    unit = serializers.CharField(source="one.gauge.unit")
    quantity = Exact(source="one.gauge.quantity")
    event_count = serializers.IntegerField(source="one.gauge.event_count")
    included = Exact(source="one.gauge.included", help_text="0: billed from the first one")
    remaining = Exact(source="one.gauge.left")
    percent_used = Exact(
        source="one.percent", allow_null=True, help_text="of what is included; null without any"
    )
    cost = serializers.IntegerField(
        allow_null=True, help_text="so far; null in a trial, or without `invoices:read`"
    )
    billed = serializers.IntegerField(
        allow_null=True, help_text="what of it was billed within the period already"
    )
    forecast = QuantityForecastShape(source="one.forecast")
    cost_forecast = CostForecastShape(allow_null=True)


class CurrentUsageShape(Shape):
    """A subscription's usage in the period under way, or in its trial."""

    object = Kind("current_usage")
    livemode = LiveMode()
    subscription = public_id("sub", source="found.facts.public_id")
    plan = serializers.CharField(source="found.facts.version.plan_code")
    currency = serializers.CharField(source="found.facts.agreement.currency")
    timezone = serializers.CharField(source="found.facts.agreement.cycle.timezone")
    start = serializers.DateTimeField(source="found.period.start")
    end = serializers.DateTimeField(source="found.period.end")
    cost = serializers.IntegerField(allow_null=True, help_text="of all usage so far")
    cost_forecast = serializers.IntegerField(
        allow_null=True, help_text="of all usage at the end of the period"
    )
    items = CurrentItemShape(many=True)


@dataclass(frozen=True, slots=True)
class ItemView:
    """An item, with its amounts for those who may see them."""

    one: Expected
    with_money: bool

    @property
    def cost(self) -> int | None:
        """So far."""
        return self.one.gauge.amount if self.with_money else None

    @property
    def billed(self) -> int | None:
        """What of it was billed."""
        return self.one.billed if self.with_money else None

    @property
    def cost_forecast(self) -> Cost | None:
        """At the end."""
        return self.one.cost if self.with_money else None


@dataclass(frozen=True, slots=True)
class OutlookView:
    """A subscription's outlook, with its amounts for those who may see them."""

    found: Outlook
    with_money: bool

    @property
    def cost(self) -> int | None:
        """So far."""
        return self.found.amount if self.with_money else None

    @property
    def cost_forecast(self) -> int | None:
        """At the end."""
        return self.found.expected if self.with_money else None

    @property
    def items(self) -> list[ItemView]:
        """What is metered."""
        return [ItemView(one, self.with_money) for one in self.found.items]


class CurrentUsage(ApiView):
    """The period under way."""

    @operation(
        "list_current_usage",
        tag=TAG,
        scope="usage:read",
        answers={200: list_of(CurrentUsageShape, "CurrentUsageList")},
    )
    def get(self, request: Request, organization: str) -> Response:
        """Get used and included, cost so far and forecast of the period under way.

        One for each live subscription with metered prices. `cost` less `billed` is the line of the
        upcoming invoice, which comes from the same function, before discounts, taxes and credit;
        `cost_forecast` is the same line for the quantity that is expected. Amounts need the scope
        `invoices:read`, too.
        """
        row = self.organization(organization)
        live = subscriptions.of_organization(row.pk, live=True)
        at = row.time(self.at)
        found = [outlook(facts, at=at) for facts in live]
        with_money = self.actor.may("view_invoices")
        seen = [OutlookView(one, with_money) for one in found if one.items]
        return self.envelope(CurrentUsageShape, seen)
