"""Single amounts, and invoices that do not wait for a boundary."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.pagination import ListQuery, page
from apps.api.schema import operation
from apps.api.shapes import (
    Body,
    Exact,
    Flag,
    Instant,
    Kind,
    NoBody,
    Shape,
    Span,
    Strict,
    Text,
    Whole,
    list_of,
    public_id,
)
from apps.api.v1.invoices import (
    TAG,
    InvoiceWithLinesShape,
    UpcomingInvoiceShape,
    View,
    invoice_view,
    upcoming_view,
)
from apps.engine.money import Money
from apps.engine.period import Period
from apps.invoicing import quoting, selectors, services
from apps.invoicing.errors import UnknownCharge
from apps.invoicing.models import Charge, Invoice
from apps.invoicing.services import NewCharge
from apps.subscriptions.models import Subscription

MOST_CHARGES = 100
MOST_DAYS = 366


class ChargeShape(Shape):
    """A single amount for the next invoice, or for one of its own; negative: an allowance."""

    object = Kind("charge")
    id = public_id("charge", source="public_id")
    created_at = serializers.DateTimeField(source="recorded_at")
    organization = public_id("org", source="organization.public_id")
    subscription = public_id("sub", source="subscription.public_id", allow_null=True)
    key = serializers.CharField()
    name = serializers.CharField()
    currency = serializers.CharField()
    quantity = Exact()
    unit_amount = Exact(help_text="major units")
    amount = serializers.IntegerField(help_text="minor units")
    period = Span(source="span")
    source = serializers.CharField()  # type: ignore[assignment] # a field, not DRF's own
    withdrawn_at = serializers.DateTimeField(allow_null=True)


class PeriodBody(Strict):
    """A half-open time."""

    start = Instant()
    end = Instant()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a time that ends before it starts."""
        if attrs["start"] >= attrs["end"]:
            raise serializers.ValidationError("A period ends after it starts.", code="invalid")
        return attrs


class ChargeBody(Body):
    """An amount to bill: `quantity` × `unit_amount`, rounded once."""

    name = Text(max_length=200, help_text="as the invoice shows it")
    unit_amount = Exact(help_text="major units; negative for an allowance")
    quantity = Exact(default=Decimal(1))
    currency = Text(
        min_length=3, max_length=3, required=False, help_text="ISO 4217; default: the usual one"
    )
    subscription = Text(
        max_length=40, required=False, help_text="for the next invoice of this one alone"
    )
    key = Text(max_length=50, default="charge", help_text="of the invoice's line")
    period = PeriodBody(required=False, help_text="what it is for; default: this moment")
    source = Text(  # type: ignore[assignment] # as above
        max_length=60,
        default="",
        allow_blank=True,
        help_text="your id of the cause: the same one again is the same charge",
    )


class PreviewBody(Body):
    """Which charges, and how they would be billed."""

    charges = serializers.ListField(
        child=Text(max_length=40), min_length=1, max_length=MOST_CHARGES, help_text="ids"
    )
    due_in_days = Whole(
        min_value=0, max_value=MOST_DAYS, required=False, help_text="default: the issuer's terms"
    )
    memo = Text(max_length=500, default="", allow_blank=True, help_text="printed on it")


class SingleInvoiceBody(PreviewBody):
    """Which charges, how they are billed, and what was shown before."""

    draft = Flag(default=False, help_text="keep it for review")
    quoted = Whole(
        required=False, help_text="as the preview said it; refused when the amount has moved"
    )


class SingleInvoiceQuoteShape(UpcomingInvoiceShape):
    """What an invoice of its own would say; it has neither id nor number yet."""

    object = Kind("invoice_quote")
    issued_at = serializers.DateTimeField(
        source="document.issued_at", help_text="the moment it was computed for"
    )
    memo = serializers.CharField(source="document.note")
    quoted = serializers.SerializerMethodField(
        help_text="what it costs, minor units; below zero what is kept as credit. Send it back "
        "to confirm"
    )

    def get_quoted(self, instance: View) -> int:
        """Return what it costs."""
        return quoting.cost_of(instance.document).minor


class Charges(ApiView):
    """The list."""

    @operation(
        "list_charges",
        tag=TAG,
        scope="invoices:read",
        query=ListQuery,
        answers={200: list_of(ChargeShape, "ChargeList")},
    )
    def get(self, request: Request, organization: str) -> Response:
        """List an organization's single charges, newest first, billed ones too."""
        owner = self.organization(organization)
        among = Charge.objects.filter(organization=owner)
        rows = among.select_related("organization", "subscription")
        found = page(rows, self.query(), among=among)
        return self.listing(ChargeShape, found, [ChargeView(row) for row in found.rows])

    @operation(
        "add_charge",
        tag=TAG,
        scope="invoices:write",
        platform_only=True,
        body=ChargeBody,
        answers={201: ChargeShape},
    )
    def post(self, request: Request, organization: str) -> Response:
        """Put a single amount on the next invoice.

        Or on one of its own: `POST …/invoices`.
        """
        owner = self.organization(organization)
        wanted = self.body()
        if "subscription" in wanted:
            mine = Subscription.objects.filter(organization=owner)
            self.own(mine, wanted["subscription"], "subscription")
        if "period" in wanted:
            wanted["period"] = Period(**wanted["period"])
        row = services.add_charge(owner.pk, new=NewCharge(**wanted), actor=self.actor, at=self.at)
        return self.answer(ChargeShape, ChargeView(row), status=201)


class OneCharge(ApiView):
    """One of them."""

    @operation(
        "withdraw_charge",
        tag=TAG,
        scope="invoices:write",
        platform_only=True,
        body=NoBody,
        answers={200: ChargeShape},
    )
    def delete(self, request: Request, organization: str, charge: str) -> Response:
        """Take back a charge that is not billed. Safe to repeat."""
        rows = Charge.objects.filter(organization=self.organization(organization))
        found = self.own(rows, charge, "charge")
        self.body()
        row = services.withdraw_charge(found.public_id, actor=self.actor, at=self.at)
        return self.answer(ChargeShape, ChargeView(row))


class SingleInvoices(ApiView):
    """Invoices of their own."""

    @operation(
        "create_invoice",
        tag=TAG,
        scope="invoices:write",
        platform_only=True,
        body=SingleInvoiceBody,
        answers={201: InvoiceWithLinesShape},
    )
    def post(self, request: Request, organization: str) -> Response:
        """Bill charges at once, on an invoice of their own.

        With `quoted` it is refused (`quote_moved`) when it would come to another amount. One that
        is out of bounds stays a draft until somebody approves it.
        """
        owner = self.organization(organization)
        wanted = self.body()
        charges = wanted.pop("charges")
        _check_theirs(owner.pk, charges)
        wanted["quoted"] = _money(wanted.get("quoted"), charges)
        row = services.invoice_charges(charges, **wanted, actor=self.actor, at=self.at)
        return self.answer(InvoiceWithLinesShape, _invoice(row), status=201)


class PreviewSingleInvoice(ApiView):
    """What an invoice of its own would say."""

    @operation(
        "preview_invoice",
        tag=TAG,
        scope="invoices:read",
        platform_only=True,
        body=PreviewBody,
        answers={200: SingleInvoiceQuoteShape},
    )
    def post(self, request: Request, organization: str) -> Response:
        """Preview the invoice of its own that charges would make now.

        Preview and bill are one computation, and a preview refuses what billing would. Send
        `quoted` back with `POST …/invoices` to confirm. Writes nothing.
        """
        owner = self.organization(organization)
        wanted = self.body()
        charges = wanted.pop("charges")
        _check_theirs(owner.pk, charges)
        document = quoting.quote_charges(charges, **wanted, at=self.at)
        return self.answer(SingleInvoiceQuoteShape, upcoming_view(document, owner.public_id))


class BillNow(ApiView):
    """What waits on a subscription."""

    @operation(
        "bill_now",
        tag=TAG,
        scope="invoices:write",
        platform_only=True,
        body=NoBody,
        answers={201: InvoiceWithLinesShape},
    )
    def post(self, request: Request, subscription: str) -> Response:
        """Bill what waits on a subscription without waiting for its boundary.

        Changes up to now, charges and corrections. Refused when nothing waits.
        """
        row = self.own(Subscription.objects.all(), subscription, "subscription")
        self.body()
        made = services.bill_now(row.public_id, actor=self.actor, at=self.at)
        return self.answer(InvoiceWithLinesShape, _invoice(made), status=201)


class ChargeView:
    """A charge with its time as a period."""

    def __init__(self, row: Charge) -> None:
        self._row = row

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, name)

    @property
    def span(self) -> Period:
        """What it is for."""
        return Period(self._row.during.lower, self._row.during.upper)


def _check_theirs(organization_id: int, charges: Sequence[str]) -> None:
    """Refuse charges of somebody else as if there were none."""
    mine = Charge.objects.filter(organization_id=organization_id, public_id__in=charges)
    if mine.count() < len(set(charges)):
        raise UnknownCharge("The organization has no such charge.", param="charges")


def _money(minor: int | None, charges: Sequence[str]) -> Money | None:
    """Return what was quoted in the currency of the charges."""
    if minor is None:
        return None
    return Money(minor, Charge.objects.filter(public_id__in=charges)[0].currency)


def _invoice(row: Invoice) -> Any:
    return invoice_view(selectors.get(row.public_id))
