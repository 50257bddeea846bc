"""`/subscriptions`: who bought what, when, and how it changes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.errors import Fault, InvalidRequest, NothingUpcoming, PlatformKeyNeeded
from apps.api.pagination import ListQuery, page
from apps.api.schema import operation
from apps.api.shapes import (
    Body,
    Choice,
    Exact,
    Flag,
    Instant,
    Kind,
    LiveMode,
    Open,
    Shape,
    Span,
    Text,
    Whole,
    list_of,
    public_id,
)
from apps.api.v1.invoices import UpcomingInvoiceShape, upcoming_view
from apps.api.v1.plans import IntervalShape, Terms, visible_plan
from apps.engine.period import Period
from apps.invoicing import selectors as invoicing
from apps.plans.models import Coupon, Price
from apps.subscriptions import selectors, services
from apps.subscriptions.models import Change, Subscription
from apps.subscriptions.selectors import DiscountFacts, ItemFacts, SubscriptionFacts
from apps.subscriptions.services import Begin

TAG = "Subscriptions"


class ItemShape(Shape):
    """One price of the agreement."""

    object = Kind("subscription_item")
    id = public_id("si", source="public_id")
    key = serializers.CharField(source="price.key")
    name = serializers.CharField(source="price.name")
    type = Choice(source="price.type", choices=Price.Type.choices)
    price = public_id("price", source="price.public_id")
    meter = serializers.CharField(source="price.meter_key", allow_null=True)
    included = Exact(source="item.included")
    terms = Terms(source="item.terms.as_dict", help_text="major units, exact decimals")
    agreed = serializers.BooleanField(help_text="whether the terms were agreed with this customer")
    plan = serializers.CharField(source="version.plan_code", help_text="or add-on: its code")
    start = serializers.DateTimeField(source="item.start")
    end = serializers.DateTimeField(source="item.end", allow_null=True)


class LicensedItemShape(ItemShape):
    """One price of the agreement, with the quantity in force where it is licensed."""

    quantity = Exact(allow_null=True, help_text="of licensed items: the total, included ones too")


class SubscribedPlanShape(Shape):
    """The plan and the version of it."""

    id = public_id("plan", source="plan_public_id")
    code = serializers.CharField(source="plan_code")
    name = serializers.CharField(source="plan_name")
    version = public_id("plv", source="public_id")
    number = serializers.IntegerField()


class PhaseShape(Shape):
    """A plan version and a cycle during a range of time."""

    plan = serializers.CharField(source="version.plan_code")
    version = public_id("plv", source="version.public_id")
    interval = IntervalShape()
    start = serializers.DateTimeField()
    end = serializers.DateTimeField(allow_null=True)


class ChangeShape(Shape):
    """A change that was asked for: carried out, to come, or called off."""

    object = Kind("subscription_change")
    id = public_id("chg", source="public_id")
    created_at = serializers.DateTimeField(source="requested_at")
    action = serializers.CharField()
    behaviour = Choice(choices=Change.Behaviour.choices)
    arguments = Open(help_text="what was wished, by the action")
    effective_at = serializers.DateTimeField()
    status = Choice(choices=Change.Status.choices)
    reason = serializers.CharField()
    quoted_amount = serializers.IntegerField(
        allow_null=True, help_text="what it was shown to cost, minor units"
    )


class CouponShape(Shape):
    """What comes off: a percentage, or an amount of the invoice's currency."""

    code = serializers.CharField()
    name = serializers.CharField()
    percent = Exact(allow_null=True)
    amounts = serializers.DictField(child=Exact(), help_text="major units, by currency")
    duration = Choice(choices=Coupon.Duration.choices)
    months = serializers.IntegerField(allow_null=True)
    plans = serializers.ListField(child=serializers.CharField(), help_text="codes; none: all")
    prices = serializers.ListField(child=serializers.CharField(), help_text="keys; none: all")


class DiscountShape(Shape):
    """A coupon that was redeemed; without a subscription it counts on all of them."""

    object = Kind("discount")
    id = public_id("disc", source="public_id")
    coupon = CouponShape()
    promotion_code = serializers.CharField()
    whole_organization = serializers.SerializerMethodField(
        help_text="whether it counts on all subscriptions of the organization"
    )
    start = serializers.DateTimeField(source="starts")
    end = serializers.DateTimeField(source="ends", allow_null=True)
    spent_at = serializers.DateTimeField(allow_null=True)
    removed_at = serializers.DateTimeField(allow_null=True)

    def get_whole_organization(self, facts: DiscountFacts) -> bool:
        """Return whether it names no subscription."""
        return facts.subscription_id is None


class SubscriptionShape(Shape):
    """An organization's agreement for one application."""

    object = Kind("subscription")
    id = public_id("sub", source="facts.public_id")
    created_at = serializers.DateTimeField(source="row.created_at")
    livemode = LiveMode()
    organization = public_id("org", source="row.organization.public_id")
    application = serializers.CharField(source="facts.version.application_slug")
    plan = SubscribedPlanShape(source="facts.version")
    status = Choice(source="facts.status", choices=Subscription.Status.choices)
    collection = Choice(source="facts.collection", choices=Subscription.Collection.choices)
    currency = serializers.CharField(source="facts.agreement.currency")
    timezone = serializers.CharField(source="facts.agreement.cycle.timezone")
    started_at = serializers.DateTimeField(source="facts.started_at")
    trial_end = serializers.DateTimeField(source="facts.trial_end", allow_null=True)
    current_period = Span(allow_null=True, help_text="null once canceled")
    next_boundary_at = serializers.DateTimeField(
        allow_null=True, help_text="when it is billed next; null once canceled"
    )
    cancel_at = serializers.DateTimeField(source="facts.cancel_at", allow_null=True)
    cancel_reason = serializers.CharField(source="facts.cancel_reason")
    ended_at = serializers.DateTimeField(source="facts.ended_at", allow_null=True)
    pause_at = serializers.DateTimeField(source="facts.pause_at", allow_null=True)
    follows = public_id(
        "sub",
        source="row.follows.public_id",
        allow_null=True,
        help_text="the canceled one that it takes up",
    )
    items = LicensedItemShape(many=True, help_text="in force, and to come")
    phases = PhaseShape(source="facts.phases", many=True)
    scheduled_changes = ChangeShape(source="facts.scheduled", many=True)
    discounts = DiscountShape(source="facts.discounts", many=True)


class ItemView(NamedTuple):
    """An item with its quantity in force."""

    facts: ItemFacts
    quantity: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.facts, name)


class SubscriptionView(NamedTuple):
    """A subscription as it stands at an instant."""

    row: Subscription
    facts: SubscriptionFacts
    at: datetime

    @property
    def current_period(self) -> Period | None:
        """The period that holds the instant; the first one before the start, none at the end."""
        if self._is_over:
            return None
        return self.facts.current_period(max(self.at, self.facts.started_at))

    @property
    def next_boundary_at(self) -> datetime | None:
        """When it is billed next; never, once it has ended."""
        return None if self._is_over else self.facts.next_boundary_at

    @property
    def _is_over(self) -> bool:
        return self.facts.status == Subscription.Status.CANCELED

    @property
    def items(self) -> list[ItemView]:
        """The items, licensed ones with what is in force now."""
        quantities = self.facts.quantities(max(self.at, self.facts.started_at))
        return [ItemView(item, quantities.get(item.price.key)) for item in self.facts.standing]


class SubscriptionQuery(ListQuery):
    """How subscriptions are found."""

    organization = serializers.CharField(
        required=False, help_text="only this organization's: id, slug or `ext:` id"
    )
    status = Choice(choices=Subscription.Status.choices, required=False)
    plan = serializers.CharField(required=False, help_text="only of this plan: code or id")


class NewSubscription(Body):
    """A subscription to make."""

    plan = Text(max_length=200, help_text="code or id")
    organization = Text(
        max_length=220, required=False, help_text="whose; needed with a key of the platform"
    )
    seats = Whole(
        min_value=0,
        max_value=services.MAX_QUANTITY,
        required=False,
        help_text="total, included ones too",
    )
    start = Instant(required=False, help_text="default: now; only keys of the platform backdate")
    collection = Choice(
        choices=Subscription.Collection.choices, default=Subscription.Collection.MANUAL
    )
    agreed = serializers.DictField(
        child=Exact(),
        required=False,
        help_text="amounts by price key, in major units; custom plans and platform keys only",
    )
    anchor = Instant(
        required=False,
        help_text="puts the cycle on another day, such as the first of the month: the part up to "
        "it is billed first, by its share",
    )
    currency = Text(
        min_length=3,
        max_length=3,
        required=False,
        help_text="one of the plan's, ISO 4217; default: the organization's",
    )
    promotion_code = Text(max_length=100, required=False, help_text="redeemed for it at once")
    payment_method_saved = Flag(
        default=False, help_text="some plans want that for a trial; platform keys only"
    )


class QuantityChange(Body):
    """The new total quantity of a licensed item."""

    quantity = Whole(
        min_value=0, max_value=services.MAX_QUANTITY, help_text="total, included ones too"
    )
    item = Text(max_length=50, required=False, help_text="key; needed where several are licensed")


EXAMPLE = OpenApiExample("Five seats", value={"plan": "gateway", "seats": 5}, request_only=True)


class Subscriptions(ApiView):
    """The list."""

    @operation(
        "list_subscriptions",
        tag=TAG,
        scope="subscriptions:read",
        query=SubscriptionQuery,
        answers={200: list_of(SubscriptionShape, "SubscriptionList")},
    )
    def get(self, request: Request) -> Response:
        """List subscriptions, newest first."""
        query = self.query()
        among = self.theirs(Subscription.objects.all(), organization=query.get("organization", ""))
        rows = with_content(among)
        if "status" in query:
            rows = rows.filter(status=query["status"])
        if "plan" in query:
            rows = rows.filter(plan_version__plan=visible_plan(self, query["plan"]))
        found = page(rows, query, among=among)
        return self.listing(SubscriptionShape, found, views(found.rows, self.at))

    @operation(
        "create_subscription",
        tag=TAG,
        scope="subscriptions:write",
        body=NewSubscription,
        answers={201: SubscriptionShape},
        examples=[EXAMPLE],
    )
    def post(self, request: Request) -> Response:
        """Subscribe an organization to a plan.

        Cuts no invoice by itself: what is due at the start is billed at the start. An organization
        has one live subscription for each application.
        """
        wanted = self.body()
        organization_id = self.organization_id(wanted.get("organization", ""))
        if organization_id is None:
            said = "Say which organization, with a key of the platform."
            fault = Fault("required", said, pointer="/organization")
            raise InvalidRequest(said, [fault], param="organization")
        self._check_terms(wanted)
        facts = services.subscribe(
            organization_id,
            plan=visible_plan(self, wanted["plan"]).code,
            start=wanted.get("start", self.at),
            seats=wanted.get("seats"),
            collection=wanted["collection"],
            agreed=wanted.get("agreed"),
            begin=Begin(
                wanted.get("anchor"), wanted["payment_method_saved"], wanted.get("currency", "")
            ),
            actor=self.actor,
            at=self.at,
        )
        if "promotion_code" in wanted:
            facts = self._discounted(facts, wanted["promotion_code"])
        return self.answer(SubscriptionShape, seen(facts, self.at), status=201)

    def _discounted(self, facts: SubscriptionFacts, code: str) -> SubscriptionFacts:
        services.apply_discount(
            facts.organization_id,
            code=code,
            subscription_id=facts.public_id,
            owed=invoicing.owed_next(facts.public_id),
            actor=self.actor,
            at=self.at,
        )
        return selectors.by_id(facts.id)

    def _check_terms(self, wanted: dict[str, Any]) -> None:
        """Keep customers from agreeing prices with themselves, and from rewriting the past."""
        if self.caller.is_platform:
            return
        if "agreed" in wanted:
            raise PlatformKeyNeeded("Only keys of the platform agree prices.", param="agreed")
        if wanted["payment_method_saved"]:
            said = "Only keys of the platform say that a payment method is saved."
            raise PlatformKeyNeeded(said, param="payment_method_saved")
        if wanted.get("start", self.at) < self.at:
            raise PlatformKeyNeeded("Only keys of the platform backdate.", param="start")


class OneSubscription(ApiView):
    """One of them."""

    @operation(
        "get_subscription",
        tag=TAG,
        scope="subscriptions:read",
        answers={200: SubscriptionShape},
    )
    def get(self, request: Request, subscription: str) -> Response:
        """Get a subscription."""
        row = self.own(with_content(Subscription.objects.all()), subscription, "subscription")
        return self.answer(SubscriptionShape, views([row], self.at)[0])

    @operation(
        "change_quantity",
        tag=TAG,
        scope="subscriptions:write",
        body=QuantityChange,
        answers={200: SubscriptionShape},
    )
    def patch(self, request: Request, subscription: str) -> Response:
        """Change the quantity of a licensed item from now on.

        The next invoice carries the difference for the rest of the period, by the second.
        `GET …/upcoming-invoice` shows it.
        """
        row = self.own(Subscription.objects.all(), subscription, "subscription")
        wanted = self.body()
        facts = services.change_quantity(
            row.public_id,
            quantity=wanted["quantity"],
            key=wanted.get("item", ""),
            actor=self.actor,
            at=self.at,
        )
        return self.answer(SubscriptionShape, seen(facts, self.at))


class UpcomingInvoice(ApiView):
    """What is about to be billed."""

    @operation(
        "get_upcoming_invoice",
        tag=TAG,
        scope="invoices:read",
        answers={200: UpcomingInvoiceShape},
    )
    def get(self, request: Request, subscription: str) -> Response:
        """Preview the next invoice with the usage so far.

        Preview and bill are one computation. Writes nothing.
        """
        rows = Subscription.objects.select_related("organization")
        row = self.own(rows, subscription, "subscription")
        document = invoicing.upcoming(row.public_id, at=self.at)
        if document is None:
            raise NothingUpcoming("Nothing is about to be billed for this subscription.")
        view = upcoming_view(document, row.organization.public_id)
        return self.answer(UpcomingInvoiceShape, view)


def with_content(rows: QuerySet[Subscription]) -> QuerySet[Subscription]:
    """Return the query with what a subscription's shape shows beside its facts."""
    return rows.select_related("organization", "follows")


def views(rows: Iterable[Subscription], at: datetime) -> list[SubscriptionView]:
    """Return rows with their facts at an instant."""
    rows = list(rows)
    pairs = zip(rows, selectors.facts(rows), strict=True)
    return [SubscriptionView(row, facts, at) for row, facts in pairs]


def seen(facts: SubscriptionFacts, at: datetime) -> SubscriptionView:
    """Return what a service answered, for its shape."""
    row = Subscription.objects.select_related("organization", "follows").get(pk=facts.id)
    return SubscriptionView(row, facts, at)
