"""What is watched: rules for alerts, the alerts they raised, and unusual usage."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.errors import Fault, InvalidRequest
from apps.api.pagination import ListQuery, page
from apps.api.schema import operation
from apps.api.shapes import Body, Choice, Exact, Kind, NoBody, Shape, Text, list_of, public_id
from apps.api.v1.amounts import Minor, currency_field, major
from apps.tenants.models import Organization
from apps.watch import services
from apps.watch.models import Alert, AlertRule, Anomaly

TAG = "Watching"


@dataclass(frozen=True, slots=True)
class RuleView:
    """A rule as its reader may see it: amounts only `with_money`."""

    row: AlertRule
    with_money: bool

    @property
    def amount(self) -> int | None:
        """The limit of a rule on money."""
        return self.row.amount if self.with_money else None


@dataclass(frozen=True, slots=True)
class AlertView:
    """An alert as its reader may see it: amounts only `with_money`."""

    row: Alert
    with_money: bool

    @property
    def figure(self) -> Decimal | None:
        """What was measured."""
        return self.row.figure if self._is_shown else None

    @property
    def limit(self) -> Decimal | None:
        """What was reached."""
        return self.row.limit if self._is_shown else None

    @property
    def _is_shown(self) -> bool:
        return self.with_money or self.row.is_percent


class RuleShape(Shape):
    """A limit that is watched: a percentage of what is included, or an amount in minor units.

    Whoever reads amounts needs the scope `invoices:read`, too; otherwise they are null.
    """

    object = Kind("alert_rule")
    id = public_id("ar", source="row.public_id")
    created_at = serializers.DateTimeField(source="row.set_at")
    organization = public_id("org", source="row.organization.public_id")
    kind = Choice(choices=AlertRule.Kind.choices, source="row.kind")
    meter = serializers.CharField(source="row.meter", help_text="empty: any")
    percent = Exact(allow_null=True, source="row.percent")
    amount = serializers.IntegerField(allow_null=True)
    currency = serializers.CharField(source="row.currency")
    active = serializers.BooleanField(source="row.active")
    ended_at = serializers.DateTimeField(allow_null=True, source="row.ended_at")


class AlertShape(Shape):
    """A limit that was reached. `figure` and `limit` are percentages or minor units.

    Amounts need the scope `invoices:read`, too; otherwise they are null.
    """

    object = Kind("alert")
    id = public_id("al", source="row.public_id")
    created_at = serializers.DateTimeField(source="row.raised_at")
    organization = public_id("org", source="row.organization.public_id")
    rule = serializers.CharField(source="row.rule", help_text="the rule's id")
    kind = Choice(choices=AlertRule.Kind.choices, source="row.kind")
    name = serializers.CharField(source="row.name", help_text="what was measured")
    meter = serializers.CharField(source="row.meter")
    subscription = serializers.CharField(
        source="row.subscription", help_text="its id, empty for credit"
    )
    figure = Exact(allow_null=True)
    limit = Exact(allow_null=True)
    currency = serializers.CharField(source="row.currency", help_text="of amounts")
    quantity = Exact(allow_null=True, source="row.quantity")
    included = Exact(allow_null=True, source="row.included")
    window_start = serializers.DateTimeField(allow_null=True, source="row.window_start")
    window_end = serializers.DateTimeField(allow_null=True, source="row.window_end")
    cleared_at = serializers.DateTimeField(
        allow_null=True, source="row.cleared_at", help_text="when there was more credit again"
    )


class AnomalyShape(Shape):
    """Hours of usage that were not as usual. Quantities are those of its worst hour."""

    object = Kind("anomaly")
    id = public_id("an", source="public_id")
    created_at = serializers.DateTimeField(source="found_at")
    organization = public_id("org", source="organization.public_id")
    meter = serializers.CharField()
    direction = Choice(choices=Anomaly.Way.choices)
    severity = Choice(choices=Anomaly.Degree.choices)
    status = Choice(choices=Anomaly.Status.choices)
    basis = Choice(choices=Anomaly.Against.choices, help_text="what it was compared with")
    samples = serializers.IntegerField(help_text="hours that the expectation rests on")
    first_hour = serializers.DateTimeField()
    last_hour = serializers.DateTimeField()
    hours = serializers.IntegerField(help_text="how many were off")
    worst_hour = serializers.DateTimeField()
    seen = Exact()
    expected = Exact()
    low = Exact()
    high = Exact()
    score = Exact(help_text="how many spreads it was off")
    dimension = serializers.CharField(help_text="what most of it is of; empty where nothing is")
    dimension_value = serializers.CharField()
    dimension_share = Exact(allow_null=True, help_text="percent")
    ended_at = serializers.DateTimeField(allow_null=True, help_text="null: it lasts")
    decided_at = serializers.DateTimeField(allow_null=True)
    reason = serializers.CharField()


class RuleBody(Body):
    """A limit to watch."""

    organization = Text(required=False, help_text="id, slug or `ext:` id; default: the key's own")
    kind = Choice(choices=AlertRule.Kind.choices)
    meter = Text(required=False, allow_blank=True, max_length=64, help_text="empty: any")
    percent = Exact(required=False, help_text="for kinds of usage")
    amount = Minor(min_value=0, required=False, help_text="minor units, for kinds of money")
    currency = currency_field()


class SeenBody(Body):
    """What there is to say about it."""

    reason = Text(max_length=200, required=False, allow_blank=True)


class WatchQuery(ListQuery):
    """Whose."""

    organization = serializers.CharField(
        required=False, help_text="only this organization's: id, slug or `ext:` id"
    )


class RuleQuery(WatchQuery):
    """How rules are found."""

    active = Choice([("true", "In force"), ("false", "Ended")], required=False)


class AnomalyQuery(WatchQuery):
    """How anomalies are found."""

    status = Choice(choices=Anomaly.Status.choices, required=False)
    meter = serializers.CharField(required=False)


class AlertRules(ApiView):
    """The rules."""

    @operation(
        "list_alert_rules",
        tag=TAG,
        scope="usage:read",
        query=RuleQuery,
        answers={200: list_of(RuleShape, "AlertRuleList")},
    )
    def get(self, request: Request) -> Response:
        """List alert rules, newest first."""
        query = self.query()
        among = self.theirs(rules(), organization=query.get("organization", ""))
        rows = among.filter(active=query["active"] == "true") if "active" in query else among
        found = page(rows, query, among=among)
        with_money = self.actor.may("view_invoices")
        return self.listing(RuleShape, found, [RuleView(row, with_money) for row in found.rows])

    @operation(
        "create_alert_rule",
        tag=TAG,
        scope="subscriptions:write",
        body=RuleBody,
        answers={201: RuleShape},
    )
    def post(self, request: Request) -> Response:
        """Watch a limit. The same one again is the same rule.

        An alert is raised once a crossing and billing period, and mailed to who manages billing.
        """
        wanted = self.body()
        owner = self._owner(wanted.pop("organization", ""))
        if "amount" in wanted:
            wanted["currency"] = wanted.get("currency", owner.currency)
            wanted["amount"] = major(wanted["amount"], wanted["currency"])
        row = services.set_rule(owner.pk, **wanted, actor=self.actor, at=self.at)
        made = RuleView(rules().get(pk=row.pk), with_money=True)  # the caller's own words
        return self.answer(RuleShape, made, status=201)

    def _owner(self, reference: str) -> Organization:
        if reference:
            return self.organization(reference)
        if self.actor.organization_id is None:
            said = "Say whose rule it is, with a key of the platform."
            fault = Fault("required", said, pointer="/organization")
            raise InvalidRequest(said, [fault], param="organization")
        return Organization.objects.get(pk=self.actor.organization_id)


class OneAlertRule(ApiView):
    """One of them."""

    @operation("get_alert_rule", tag=TAG, scope="usage:read", answers={200: RuleShape})
    def get(self, request: Request, alert_rule: str) -> Response:
        """Get an alert rule."""
        row = self.own(rules(), alert_rule, "alert rule")
        return self.answer(RuleShape, RuleView(row, self.actor.may("view_invoices")))

    @operation(
        "end_alert_rule",
        tag=TAG,
        scope="subscriptions:write",
        body=NoBody,
        answers={200: RuleShape},
    )
    def delete(self, request: Request, alert_rule: str) -> Response:
        """Watch a limit no more; the alerts it raised stay. Safe to repeat."""
        self.body()
        row = self.own(rules(), alert_rule, "alert rule")
        services.end_rule(row.public_id, actor=self.actor, at=self.at)
        ended = RuleView(rules().get(pk=row.pk), self.actor.may("view_invoices"))
        return self.answer(RuleShape, ended)


class Alerts(ApiView):
    """What they raised."""

    @operation(
        "list_alerts",
        tag=TAG,
        scope="usage:read",
        query=WatchQuery,
        answers={200: list_of(AlertShape, "AlertList")},
    )
    def get(self, request: Request) -> Response:
        """List alerts, newest first."""
        query = self.query()
        rows = Alert.objects.select_related("organization")
        among = self.theirs(rows, organization=query.get("organization", ""))
        found = page(among, query, among=among)
        with_money = self.actor.may("view_invoices")
        return self.listing(AlertShape, found, [AlertView(row, with_money) for row in found.rows])


class Anomalies(ApiView):
    """What is not as usual."""

    @operation(
        "list_anomalies",
        tag=TAG,
        scope="usage:read",
        query=AnomalyQuery,
        answers={200: list_of(AnomalyShape, "AnomalyList")},
    )
    def get(self, request: Request) -> Response:
        """List anomalies of usage, newest first."""
        query = self.query()
        among = self.theirs(anomalies(), organization=query.get("organization", ""))
        asked: dict[str, Any] = {name: query[name] for name in ("status", "meter") if name in query}
        found = page(among.filter(**asked), query, among=among)
        return self.listing(AnomalyShape, found, found.rows)


class OneAnomaly(ApiView):
    """One of them."""

    @operation("get_anomaly", tag=TAG, scope="usage:read", answers={200: AnomalyShape})
    def get(self, request: Request, anomaly: str) -> Response:
        """Get an anomaly."""
        return self.answer(AnomalyShape, self.own(anomalies(), anomaly, "anomaly"))


class AcknowledgeAnomaly(ApiView):
    """One of them, seen."""

    @operation(
        "acknowledge_anomaly",
        tag=TAG,
        scope="subscriptions:write",
        body=SeenBody,
        answers={200: AnomalyShape},
    )
    def post(self, request: Request, anomaly: str) -> Response:
        """Say that an anomaly was seen. Safe to repeat; what is decided already is refused."""
        row = self.own(anomalies(), anomaly, "anomaly")
        services.acknowledge_anomaly(row.public_id, **self.body(), actor=self.actor, at=self.at)
        return self.answer(AnomalyShape, anomalies().get(pk=row.pk))


def rules() -> QuerySet[AlertRule]:
    """Return organizations' rules with what their shape shows; staff's are not among them."""
    return AlertRule.objects.select_related("organization").filter(organization__isnull=False)


def anomalies() -> QuerySet[Anomaly]:
    """Return the anomalies with what their shape shows."""
    return Anomaly.objects.select_related("organization")
