"""Changing what was agreed: previewed, confirmed, scheduled, called off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from drf_spectacular.utils import OpenApiExample, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.errors import PlatformKeyNeeded
from apps.api.pagination import ListQuery, page
from apps.api.schema import operation
from apps.api.shapes import (
    Body,
    Choice,
    Exact,
    Instant,
    Kind,
    NoBody,
    Shape,
    Strict,
    Text,
    Whole,
    list_of,
    public_id,
)
from apps.api.v1.invoices import (
    InvoiceShape,
    UpcomingInvoiceShape,
    View,
    invoice_view,
    upcoming_view,
)
from apps.api.v1.plans import TERMS_SCHEMA, Terms, visible_plan
from apps.api.v1.subscriptions import (
    TAG,
    ChangeShape,
    SubscriptionShape,
    SubscriptionView,
    seen,
)
from apps.core.errors import Invalid
from apps.engine.money import Money
from apps.engine.prices import InvalidTerms, parse_terms
from apps.engine.prices import Terms as EngineTerms
from apps.invoicing import quoting
from apps.invoicing import selectors as invoicing
from apps.invoicing import services as billing
from apps.invoicing.models import Invoice
from apps.invoicing.quoting import Quoted
from apps.invoicing.services import Confirmed
from apps.plans import selectors as plans
from apps.plans.selectors import VersionTerms
from apps.subscriptions import services
from apps.subscriptions.changes import (
    AddItem,
    Behaviour,
    ChangePlan,
    ChangeQuantity,
    OverridePrice,
    RemoveItem,
    Wish,
)
from apps.subscriptions.models import Change, Subscription
from apps.subscriptions.services import MAX_QUANTITY, Planned

MOST_AT_ONCE = 24
ACTIONS = (
    (ChangePlan.action, "Another plan, or another version of it"),
    (ChangeQuantity.action, "Another quantity of a licensed item"),
    (AddItem.action, "An add-on more"),
    (RemoveItem.action, "An add-on less"),
    (OverridePrice.action, "An item's terms as agreed with this customer"),
)
# What each action cannot do without; the rest of a wish's fields it may do without.
NEEDED = {
    ChangePlan.action: ("plan",),
    ChangeQuantity.action: ("quantity",),
    AddItem.action: ("plan",),
    RemoveItem.action: ("item",),
    OverridePrice.action: ("item", "terms"),
}
TAKEN = {
    ChangePlan.action: {"plan", "version", "quantities", "agreed"},
    ChangeQuantity.action: {"quantity", "item"},
    AddItem.action: {"plan", "version", "quantities", "agreed"},
    RemoveItem.action: {"item"},
    OverridePrice.action: {"item", "terms"},
}
OF_A_WISH = frozenset().union(*TAKEN.values())
PLATFORM_ONLY = "keys of the platform only"


@extend_schema_field(TERMS_SCHEMA)
class GivenTerms(Terms):
    """The terms of a price, as a plan shows them."""

    def to_internal_value(self, data: Any) -> EngineTerms:
        """Return the terms."""
        if not isinstance(data, Mapping):
            raise serializers.ValidationError("Send the terms as an object.", code="invalid")
        try:
            return parse_terms(data)
        except InvalidTerms as error:
            raise serializers.ValidationError(str(error), code="invalid") from None


class WishBody(Body):
    """What is to be changed, how that is billed, and from when."""

    action = Choice(ACTIONS)
    plan = Text(max_length=200, required=False, help_text="of plan and add_item: code or id")
    version = Text(
        max_length=40,
        required=False,
        help_text=f"of the plan: id of a version, default the one for sale; {PLATFORM_ONLY}",
    )
    quantities = serializers.DictField(
        child=Whole(min_value=0, max_value=MAX_QUANTITY),
        required=False,
        help_text="of plan and add_item: totals by price key; else they stay, or are the included",
    )
    agreed = serializers.DictField(
        child=Exact(),
        required=False,
        help_text=f"of plan and add_item: amounts by price key, major units; {PLATFORM_ONLY}",
    )
    quantity = Whole(
        min_value=0,
        max_value=MAX_QUANTITY,
        required=False,
        help_text="of quantity: the total, included ones too",
    )
    item = Text(
        max_length=100,
        required=False,
        help_text="key of the item; of remove_item also the add-on's code",
    )
    terms = GivenTerms(
        required=False,
        allow_null=True,
        help_text=f"of price: null returns to the price list; {PLATFORM_ONLY}",
    )
    behaviour = Choice(
        Change.Behaviour.choices,
        default=Behaviour.NEXT_INVOICE.value,
        help_text=f"how it is billed; none: {PLATFORM_ONLY}",
    )
    effective_at = Instant(required=False, help_text="schedules it for then")
    reason = Text(max_length=200, default="", allow_blank=True, help_text="kept with the change")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Hold the fields against the action."""
        action = attrs["action"]
        missing = [name for name in NEEDED[action] if name not in attrs]
        foreign = sorted(OF_A_WISH & set(attrs) - TAKEN[action])
        wrong = {name: _fault(f"'{action}' needs this.", "required") for name in missing}
        wrong |= {
            name: _fault(f"'{action}' does not take this.", "unknown_field") for name in foreign
        }
        if wrong:
            raise serializers.ValidationError(wrong)
        return attrs


class QuotedBody(Strict):
    """What a preview answered as `quoted`."""

    amount = Whole(help_text="minor units of the subscription's currency")
    at = Instant(help_text="the moment it was computed for, at most an hour ago")


class ChangeBody(WishBody):
    """A change, and what was shown before it was confirmed."""

    quoted = QuotedBody(
        required=False,
        help_text="as the preview said it; refused when the amount has moved",
    )


class PlannedBody(WishBody):
    """One of several changes to come."""

    effective_at = Instant(help_text="ahead")


class ScheduleBody(Body):
    """Several changes to come."""

    changes = serializers.ListField(child=PlannedBody(), min_length=1, max_length=MOST_AT_ONCE)


class QuotedShape(Shape):
    """What a change costs, and as of when; send it back to confirm."""

    amount = serializers.IntegerField(source="amount.minor", help_text="minor units")
    at = serializers.DateTimeField()


class QuoteView(NamedTuple):
    """A quote and whose it is."""

    quote: Quoted
    subscription: str
    organization: str

    @property
    def amount(self) -> Money:
        """What it costs."""
        return self.quote.amount

    @property
    def at(self) -> datetime:
        """The moment it was computed for."""
        return self.quote.considered.at

    @property
    def now(self) -> View | None:
        """The invoice that it makes at once."""
        return self._shown(self.quote.now)

    @property
    def upcoming(self) -> View | None:
        """The next invoice with the change in it."""
        return self._shown(self.quote.upcoming)

    @property
    def before(self) -> View | None:
        """The next invoice without it."""
        return self._shown(self.quote.before)

    def _shown(self, document: Any) -> View | None:
        return None if document is None else upcoming_view(document, self.organization)


class QuoteShape(Shape):
    """What a change would cost, by the computation that will bill it. Nothing is stored."""

    object = Kind("change_quote")
    subscription = public_id("sub")
    currency = serializers.CharField(source="amount.currency")
    action = serializers.CharField(source="quote.considered.wish.action")
    behaviour = Choice(source="quote.considered.behaviour.value", choices=Change.Behaviour.choices)
    changes = serializers.BooleanField(
        source="quote.considered.changes", help_text="whether anything would be other than it is"
    )
    effective_at = serializers.DateTimeField(source="quote.considered.effective_at")
    bills_now = serializers.BooleanField(
        source="quote.bills_now", help_text="whether confirming it makes an invoice at once"
    )
    quoted = QuotedShape(
        source="*",
        help_text="the invoice that it makes at once, or the difference to the next one",
    )
    now = UpcomingInvoiceShape(allow_null=True, help_text="the invoice that it makes at once")
    upcoming = UpcomingInvoiceShape(allow_null=True, help_text="the next one, with the change")
    before = UpcomingInvoiceShape(allow_null=True, help_text="the next one as it is")


class OutcomeView(NamedTuple):
    """What became of a change."""

    subscription: SubscriptionView
    quote: QuoteView
    invoice: View | None


class OutcomeShape(Shape):
    """A subscription after a change, what that costs, and the invoice it made at once."""

    object = Kind("change_outcome")
    subscription = SubscriptionShape()
    quoted = QuotedShape(source="quote")
    invoice = InvoiceShape(
        allow_null=True, help_text="null: none, or a draft that the platform still looks at"
    )


EXAMPLE = OpenApiExample(
    "Seven seats, billed at once",
    value={"action": "quantity", "quantity": 7, "behaviour": "now"},
    request_only=True,
)


class _Changing(ApiView):
    """What is done to the agreement of a subscription."""

    def mine(self, subscription: str) -> Subscription:
        """Return the caller's subscription, or refuse."""
        rows = Subscription.objects.select_related("organization")
        return self.own(rows, subscription, "subscription")

    def wish(self, wanted: Mapping[str, Any]) -> Wish:
        """Return what is wished; only the platform agrees prices, versions and no proration."""
        self._check_terms(wanted)
        return _WISHES[wanted["action"]](self, wanted)

    def _check_terms(self, wanted: Mapping[str, Any]) -> None:
        if self.caller.is_platform:
            return
        for param in ("version", "agreed", "terms"):
            if param in wanted:
                raise PlatformKeyNeeded("Only keys of the platform agree on this.", param=param)
        if wanted["behaviour"] == Behaviour.NONE:
            said = "Only keys of the platform change something without proration."
            raise PlatformKeyNeeded(said, param="behaviour")


class PreviewChange(_Changing):
    """What a change would cost."""

    @operation(
        "preview_change",
        tag=TAG,
        scope="invoices:read",
        body=WishBody,
        answers={200: QuoteShape},
        examples=[EXAMPLE],
    )
    def post(self, request: Request, subscription: str) -> Response:
        """Preview a change: the invoice it makes at once, and the next one with and without it.

        Preview and bill are one computation, and a preview refuses what confirming would. Send
        `quoted` back with `POST …/changes` to confirm. Writes nothing.
        """
        row = self.mine(subscription)
        wanted = self.body()
        quote = quoting.quote_change(
            row.public_id,
            wish=self.wish(wanted),
            behaviour=Behaviour(wanted["behaviour"]),
            at=self.at,
            effective_at=wanted.get("effective_at"),
        )
        return self.answer(QuoteShape, QuoteView(quote, row.public_id, row.organization.public_id))


class Changes(_Changing):
    """What was changed, and changing it."""

    @operation(
        "list_changes",
        tag=TAG,
        scope="subscriptions:read",
        query=ListQuery,
        answers={200: list_of(ChangeShape, "ChangeList")},
    )
    def get(self, request: Request, subscription: str) -> Response:
        """List the changes of a subscription, newest first: carried out, to come, called off."""
        among = Change.objects.filter(subscription=self.mine(subscription))
        found = page(among, self.query(), among=among)
        return self.listing(ChangeShape, found, found.rows)

    @operation(
        "change_subscription",
        tag=TAG,
        scope="subscriptions:write",
        body=ChangeBody,
        answers={200: OutcomeShape},
        examples=[EXAMPLE],
    )
    def post(self, request: Request, subscription: str) -> Response:
        """Change a subscription, or schedule it, and bill at once what `now` and `reset` owe.

        With `quoted` it is carried out as of the moment that was previewed; when it would cost
        another amount by now, it is refused (`quote_moved`) and nothing is done. Safe to repeat:
        what is so already changes nothing.
        """
        row = self.mine(subscription)
        wanted = self.body()
        done = billing.change_subscription(
            row.public_id,
            wish=self.wish(wanted),
            behaviour=Behaviour(wanted["behaviour"]),
            effective_at=wanted.get("effective_at"),
            confirmed=confirmed(wanted.get("quoted"), row.currency),
            reason=wanted["reason"],
            actor=self.actor,
            at=self.at,
        )
        return self.answer(OutcomeShape, outcome_of(done, row, self))


class OneChange(_Changing):
    """One of them."""

    @operation(
        "cancel_change",
        tag=TAG,
        scope="subscriptions:write",
        body=NoBody,
        answers={200: SubscriptionShape},
    )
    def delete(self, request: Request, subscription: str, change: str) -> Response:
        """Call off a scheduled change. Safe to repeat."""
        row = self.mine(subscription)
        found = self.own(Change.objects.filter(subscription=row), change, "change")
        self.body()
        facts = services.cancel_scheduled_change(
            row.public_id, change_id=found.public_id, actor=self.actor, at=self.at
        )
        return self.answer(SubscriptionShape, seen(facts, self.at))


class Schedule(_Changing):
    """What is to come."""

    @operation(
        "schedule_changes",
        tag=TAG,
        scope="subscriptions:write",
        body=ScheduleBody,
        answers={200: SubscriptionShape},
    )
    def post(self, request: Request, subscription: str) -> Response:
        """Schedule several changes in the order of their time: all of them or none.

        Each is checked against what those before it will have made of the subscription.
        """
        row = self.mine(subscription)
        planned = [
            Planned(self.wish(one), Behaviour(one["behaviour"]), one["effective_at"])
            for one in self.body()["changes"]
        ]
        facts = services.schedule_changes(
            row.public_id, planned=planned, actor=self.actor, at=self.at
        )
        return self.answer(SubscriptionShape, seen(facts, self.at))


def outcome_of(done: billing.Changed, row: Subscription, view: ApiView) -> OutcomeView:
    """Return what became of a change; a draft that it made is shown to the platform alone."""
    quote = QuoteView(done.quoted, row.public_id, row.organization.public_id)
    return OutcomeView(seen(done.facts, view.at), quote, _shown(done.invoice, view))


def _shown(invoice: Invoice | None, view: ApiView) -> View | None:
    if invoice is None:
        return None
    hidden = invoice.status == Invoice.Status.DRAFT and not view.caller.is_platform
    return None if hidden else invoice_view(invoicing.get(invoice.public_id))


def confirmed(quoted: Mapping[str, Any] | None, currency: str) -> Confirmed | None:
    """Return what was shown before somebody confirmed, where they say it."""
    return None if quoted is None else Confirmed(Money(quoted["amount"], currency), quoted["at"])


def _fault(said: str, code: str) -> list[serializers.ErrorDetail]:
    return [serializers.ErrorDetail(said, code=code)]


def _version(view: ApiView, wanted: Mapping[str, Any]) -> VersionTerms:
    plan = visible_plan(view, wanted["plan"])
    if "version" not in wanted:
        return plans.current_version(plan.code)
    found = plans.find_version(wanted["version"])
    if found.plan_id != plan.pk:
        raise Invalid(f"That is no version of {plan.name}.", param="version")
    return found


def _agreed(version: VersionTerms, amounts: Mapping[str, Decimal]) -> dict[str, EngineTerms]:
    prices = {price.key: price for price in version.prices}
    if unknown := sorted(set(amounts) - set(prices)):
        raise Invalid(f"{version.plan_name} has no price '{unknown[0]}'.", param="agreed")
    return {
        key: services.agreed_terms(prices[key], amount=amount) for key, amount in amounts.items()
    }


def _quantities(wanted: Mapping[str, Any]) -> dict[str, Decimal]:
    return {key: Decimal(value) for key, value in wanted.get("quantities", {}).items()}


def _change_plan(view: ApiView, wanted: Mapping[str, Any]) -> Wish:
    version = _version(view, wanted)
    agreed = _agreed(version, wanted.get("agreed", {}))
    return ChangePlan(version.public_id, _quantities(wanted), agreed)


def _add_item(view: ApiView, wanted: Mapping[str, Any]) -> Wish:
    version = _version(view, wanted)
    agreed = _agreed(version, wanted.get("agreed", {}))
    return AddItem(version.public_id, _quantities(wanted), agreed)


_WISHES: Mapping[str, Callable[[ApiView, Mapping[str, Any]], Wish]] = {
    ChangePlan.action: _change_plan,
    ChangeQuantity.action: lambda _, said: ChangeQuantity(
        Decimal(said["quantity"]), said.get("item", "")
    ),
    AddItem.action: _add_item,
    RemoveItem.action: lambda _, said: RemoveItem(said["item"]),
    OverridePrice.action: lambda _, said: OverridePrice(said["item"], said["terms"]),
}
