"""`/invoices`: what was billed, with every line's arithmetic, and as PDF."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db.models import Prefetch, QuerySet
from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.errors import NoEInvoice
from apps.api.pagination import ListQuery, page
from apps.api.schema import operation
from apps.api.shapes import (
    Choice,
    Exact,
    Instant,
    Kind,
    LiveMode,
    Open,
    Shape,
    Span,
    list_of,
    public_id,
)
from apps.core.ids import is_public_id
from apps.invoicing import einvoice, pdf, selectors
from apps.invoicing.document import Document
from apps.invoicing.errors import UnknownInvoice
from apps.invoicing.models import CreditMovement, Invoice, InvoiceLine

TAG = "Invoices"
LONGEST_NUMBER = 40
# Times an invoice may be found by, and the comparisons: `created[gte]=2026-01-01T00:00:00Z`.
TIMES = {"created": "created_at", "issued": "issued_at"}
COMPARISONS = {"gte": "at or after", "gt": "after", "lte": "at or before", "lt": "before"}


class View(NamedTuple):
    """An invoice and the organization's public id, for the shapes below."""

    row: Invoice | None
    document: Document
    organization: str


class TaxShape(Shape):
    """One tax: on a line, or on the whole document."""

    name = serializers.CharField()
    percent = Exact()
    base = serializers.IntegerField(help_text="net of the tax and of discounts, minor units")
    amount = serializers.IntegerField(help_text="minor units")
    jurisdiction = serializers.CharField()
    treatment = serializers.CharField(
        help_text="standard, exempt, reverse_charge, export, outside_scope or none"
    )
    inclusive = serializers.BooleanField(help_text="whether the lines' amounts contain it")
    kind = serializers.CharField(help_text="vat, sales or gst")
    ground = serializers.CharField(help_text="why it is not charged: a VATEX code or words")


class DeductionShape(Shape):
    """What one discount took off, or one credit paid; minor units."""

    name = serializers.CharField()
    amount = serializers.IntegerField()


class LineShape(Shape):
    """One line. `explanation` is its arithmetic as data: anybody can do the sum again."""

    object = Kind("invoice_line")
    id = public_id("il", allow_null=True)
    key = serializers.CharField(help_text="key of the price")
    kind = serializers.CharField(help_text="advance, arrears or proration")
    reason = serializers.CharField()
    name = serializers.CharField()
    period = Span()
    quantity = Exact()
    unit = serializers.CharField(help_text="what one of the quantity is called")
    amount = serializers.IntegerField(
        help_text="minor units of the invoice's currency, before discounts"
    )
    discount = serializers.IntegerField(help_text="this line's part of all discounts")
    taxes = TaxShape(source="tax_rates", many=True)
    explanation = Open(
        help_text="plan version, price, quantity, included, billable, the steps with units and "
        "subtotals, exact and rounded amount, and for usage the number of events and their hash"
    )

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """Return the line; one that is not stored has no id yet."""
        return {**super().to_representation(instance), "id": instance.id or None}


class PartyShape(Shape):
    """Who issues, or who is billed, as on the document."""

    id = serializers.CharField(required=False)
    name = serializers.CharField()
    address = serializers.CharField()
    country = serializers.CharField()
    tax_id = serializers.CharField()
    email = serializers.CharField()
    bank_details = serializers.CharField(required=False)


class PartiesShape(Shape):
    """Both."""

    issuer = PartyShape()
    customer = PartyShape()


class SumsShape(Shape):
    """How a total comes about; minor units.

    `total` = `subtotal` − `discount` + the taxes that are not inclusive − `credit`.
    """

    currency = serializers.CharField(source="document.currency")
    subtotal = serializers.IntegerField(source="document.subtotal")
    discount = serializers.IntegerField(source="document.discount")
    tax = serializers.IntegerField(source="document.tax", help_text="the inclusive ones too")
    credit = serializers.IntegerField(
        source="document.credits_total",
        help_text="paid from credit; negative: what is kept as credit",
    )
    total = serializers.IntegerField(source="document.total")
    discounts = DeductionShape(source="document.discounts", many=True)
    taxes = TaxShape(source="document.taxes", many=True)
    credits = DeductionShape(source="document.credits", many=True)


class InvoiceShape(SumsShape):
    """A bill. Amounts are minor units of `currency` (cents of USD, yen of JPY)."""

    object = Kind("invoice")
    id = public_id("inv", source="row.public_id")
    created_at = serializers.DateTimeField(source="row.created_at")
    livemode = LiveMode()
    organization = public_id("org")
    subscription = public_id("sub", source="document.subscription_id", allow_null=True)
    number = serializers.CharField(source="document.number", allow_null=True)
    status = Choice(source="document.status", choices=Invoice.Status.choices)
    kind = Choice(source="row.kind", choices=Invoice.Kind.choices)
    credited = serializers.IntegerField(
        source="row.credited", help_text="taken off by credit notes since"
    )
    amount_paid = serializers.IntegerField(source="document.amount_paid")
    amount_due = serializers.IntegerField(source="document.amount_due")
    period = Span(source="document.period")
    issued_at = serializers.DateTimeField(source="document.issued_at")
    due_at = serializers.DateTimeField(source="document.due_at")
    finalized_at = serializers.DateTimeField(source="document.finalized_at", allow_null=True)
    paid_at = serializers.DateTimeField(source="document.paid_at", allow_null=True)
    voided_at = serializers.DateTimeField(source="document.voided_at", allow_null=True)
    void_reason = serializers.CharField(source="document.void_reason")
    uncollectible_at = serializers.DateTimeField(source="row.uncollectible_at", allow_null=True)
    memo = serializers.CharField(source="document.note")
    grace_until = serializers.DateTimeField(
        source="row.grace_until", allow_null=True, help_text="a draft is not issued before"
    )
    hold_reason = serializers.SerializerMethodField(
        help_text="why a draft waits for approval; empty: it does not"
    )
    content_hash = serializers.CharField(
        source="document.content_hash", help_text="SHA-256 of all that never changes"
    )
    pdf = serializers.SerializerMethodField(help_text="path of the PDF")

    def get_hold_reason(self, instance: View) -> str:
        """Return why a draft is held; what was said about it then is no part of the invoice."""
        row = instance.row
        waits = row is not None and row.status == Invoice.Status.DRAFT and row.is_held
        return row.hold_reason if row is not None and waits else ""

    def get_pdf(self, instance: View) -> str:
        """Return the path of the invoice's PDF."""
        return f"/api/v1/invoices/{instance.document.id}/pdf"


class InvoiceWithLinesShape(InvoiceShape):
    """A bill with its lines and parties."""

    timezone = serializers.CharField(source="document.timezone")
    parties = PartiesShape(source="document.parties")
    lines = LineShape(source="document.lines", many=True)


class UpcomingInvoiceShape(SumsShape):
    """What the next boundary would bill as things stand; it has neither id nor number yet."""

    object = Kind("upcoming_invoice")
    livemode = LiveMode()
    organization = public_id("org")
    subscription = public_id("sub", source="document.subscription_id", allow_null=True)
    period = Span(source="document.period")
    issued_at = serializers.DateTimeField(
        source="document.issued_at", help_text="the boundary that will bill it"
    )
    due_at = serializers.DateTimeField(source="document.due_at")
    timezone = serializers.CharField(source="document.timezone")
    parties = PartiesShape(source="document.parties")
    lines = LineShape(source="document.lines", many=True)


def upcoming_view(document: Document, organization: str) -> View:
    """Return an upcoming document for its shape."""
    return View(None, document, organization)


class InvoiceQuery(ListQuery):
    """How invoices are found."""

    organization = serializers.CharField(
        required=False, help_text="only this organization's: id, slug or `ext:` id"
    )
    subscription = serializers.CharField(required=False, help_text="only this subscription's: id")
    status = Choice(choices=Invoice.Status.choices, required=False)
    kind = Choice(choices=Invoice.Kind.choices, required=False)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Add `created[gte]` and its kin, whose names are no Python names."""
        found = dict(super().get_fields())
        for name in TIMES:
            for comparison, words in COMPARISONS.items():
                found[f"{name}[{comparison}]"] = Instant(
                    required=False, help_text=f"{name} {words} this instant"
                )
        return found


class Invoices(ApiView):
    """The list."""

    @operation(
        "list_invoices",
        tag=TAG,
        scope="invoices:read",
        query=InvoiceQuery,
        answers={200: list_of(InvoiceShape, "InvoiceList")},
    )
    def get(self, request: Request) -> Response:
        """List invoices, newest first.

        Without their lines; `GET /invoices/{invoice}` has them.
        """
        query = self.query()
        among = visible(self, organization=query.get("organization", ""))
        found = page(_filtered(among, query), query, among=among)
        return self.listing(InvoiceShape, found, [invoice_view(row) for row in found.rows])


class OneInvoice(ApiView):
    """One of them."""

    @operation(
        "get_invoice",
        tag=TAG,
        scope="invoices:read",
        answers={200: InvoiceWithLinesShape},
    )
    def get(self, request: Request, invoice: str) -> Response:
        """Get an invoice with its explained lines."""
        return self.answer(InvoiceWithLinesShape, invoice_view(own_invoice(self, invoice)))


class InvoicePdf(ApiView):
    """One of them on paper."""

    @operation(
        "get_invoice_pdf",
        tag=TAG,
        scope="invoices:read",
        answers={(200, "application/pdf"): {"type": "string", "format": "binary"}},
    )
    def get(self, request: Request, invoice: str) -> HttpResponse:
        """Get an invoice as PDF."""
        document = selectors.document(own_invoice(self, invoice))
        answer = HttpResponse(pdf.render(document), content_type="application/pdf")
        name = document.number or document.id
        answer["Content-Disposition"] = f'inline; filename="{name}.pdf"'
        return answer


class InvoiceXml(ApiView):
    """One of them for machines."""

    @operation(
        "get_invoice_xml",
        tag=TAG,
        scope="invoices:read",
        answers={(200, "application/xml"): {"type": "string", "format": "binary"}},
    )
    def get(self, request: Request, invoice: str) -> HttpResponse:
        """Get an invoice as Factur-X XML.

        Profile EN 16931: the file that the PDF carries. Where the document is no invoice in terms
        of that standard, the refusal's `extra.reasons` say every reason.
        """
        document = selectors.document(own_invoice(self, invoice))
        made = einvoice.of(document)
        if made.xml is None:
            reasons = list(made.reasons)
            raise NoEInvoice(" ".join(reasons), reasons=reasons)
        answer = HttpResponse(made.xml, content_type="application/xml")
        name = document.number or document.id
        answer["Content-Disposition"] = f'inline; filename="{name}.xml"'
        return answer


def invoice_view(row: Invoice) -> View:
    """Return a stored invoice for its shapes."""
    return View(row, selectors.document(row), row.organization.public_id)


def visible(view: ApiView, *, organization: str = "") -> QuerySet[Invoice]:
    """Return the invoices that the caller may see: drafts are the platform's own affair."""
    rows = view.theirs(Invoice.objects.all(), organization=organization)
    return rows if view.caller.is_platform else rows.exclude(status=Invoice.Status.DRAFT)


def own_invoice(view: ApiView, reference: str) -> Invoice:
    """Return the caller's invoice with this public id or number, with its lines."""
    field = "public_id" if is_public_id(reference, "inv") else "number"
    readable = "\x00" not in reference and len(reference) <= LONGEST_NUMBER
    rows = selectors.with_lines(visible(view)).select_related("organization", "subscription")
    found = rows.filter(**{field: reference}).first() if readable else None
    if found is None:
        raise UnknownInvoice("There is no such invoice.")
    view.be_about(found.organization_id)
    return found


def _filtered(rows: QuerySet[Invoice], query: dict[str, Any]) -> QuerySet[Invoice]:
    # Lists show no lines: an empty prefetch keeps `document` from reading them, row by row.
    no_lines = Prefetch("lines", InvoiceLine.objects.none())
    used = Prefetch("credit_movements", CreditMovement.objects.select_related("grant"))
    rows = rows.select_related("organization", "subscription")
    rows = rows.prefetch_related(no_lines, "taxes", "discounts", used)
    for name in ("status", "kind"):
        if name in query:
            rows = rows.filter(**{name: query[name]})
    if "subscription" in query:
        wanted = query["subscription"]
        rows = rows.filter(subscription__public_id=wanted) if is_public_id(wanted) else rows.none()
    for name, column in TIMES.items():
        for comparison in COMPARISONS:
            if (instant := query.get(f"{name}[{comparison}]")) is not None:
                rows = rows.filter(**{f"{column}__{comparison}": instant})
    return rows
