"""`/credit-notes`: what was taken back of an invoice, and money that went back."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.errors import NoEInvoice
from apps.api.pagination import ListQuery, page
from apps.api.schema import operation
from apps.api.shapes import (
    Body,
    Choice,
    Exact,
    Instant,
    Kind,
    Shape,
    Strict,
    Text,
    list_of,
    public_id,
)
from apps.api.v1.amounts import Minor, major
from apps.api.v1.invoices import LONGEST_NUMBER, TaxShape, own_invoice
from apps.core.ids import is_public_id
from apps.invoicing import credit, einvoice, pdf, services
from apps.invoicing.errors import UnknownCreditNote
from apps.invoicing.models import CreditNote, Invoice
from apps.invoicing.services import NoteLine, Split
from apps.payments import services as payments
from apps.payments.models import Payment, Refund

TAG = "Credit notes"
MOST_LINES = 200


class NoteLineShape(Shape):
    """What is taken back of one line: net and tax apart, minor units."""

    object = Kind("credit_note_line")
    id = public_id("cnl", source="public_id")
    line = public_id("il", source="line.public_id")
    name = serializers.CharField()
    amount = serializers.IntegerField(help_text="net, after discounts")
    tax = serializers.IntegerField()


class CreditNoteShape(Shape):
    """A document that takes back part of an invoice; final. Amounts in minor units.

    `total` = `subtotal` + `tax` = `offset` + `credited` + `refunded`.
    """

    object = Kind("credit_note")
    id = public_id("cn", source="public_id")
    created_at = serializers.DateTimeField(source="issued_at")
    organization = public_id("org", source="organization.public_id")
    invoice = public_id("inv", source="invoice.public_id")
    invoice_number = serializers.CharField(source="invoice.number")
    number = serializers.CharField()
    currency = serializers.CharField()
    reason = Choice(choices=CreditNote.Reason.choices)
    memo = serializers.CharField()
    subtotal = serializers.IntegerField(help_text="before tax, discounts taken off")
    tax = serializers.IntegerField()
    total = serializers.IntegerField()
    offset = serializers.IntegerField(source="offset_amount", help_text="lowers what is due")
    credited = serializers.IntegerField(source="credited_amount", help_text="became credit")
    refunded = serializers.IntegerField(source="refunded_amount", help_text="is paid back")
    taxes = serializers.SerializerMethodField(help_text="taken back, by rate")
    lines = NoteLineShape(many=True)
    content_hash = serializers.CharField(help_text="SHA-256 of all that it says")
    pdf = serializers.SerializerMethodField(help_text="path of the PDF")

    @extend_schema_field(TaxShape(many=True))
    def get_taxes(self, row: CreditNote) -> Any:
        """Return the taxes as documents show them."""
        return TaxShape([credit.as_tax(said) for said in row.taxes], many=True).data

    def get_pdf(self, row: CreditNote) -> str:
        """Return the path of the note's PDF."""
        return f"/api/v1/credit-notes/{row.public_id}/pdf"


class RefundShape(Shape):
    """Money that was paid back."""

    object = Kind("refund")
    id = public_id("re", source="public_id")
    created_at = serializers.DateTimeField(source="refunded_at")
    credit_note = public_id("cn", source="credit_note.public_id")
    invoice = public_id("inv", source="invoice.public_id")
    payment = public_id("pay", source="payment.public_id", allow_null=True)
    amount = serializers.IntegerField(help_text="minor units")
    currency = serializers.CharField()
    method = Choice(choices=Payment.Method.choices)
    reference = serializers.CharField()


class CreditNoteQuery(ListQuery):
    """How credit notes are found."""

    organization = serializers.CharField(
        required=False, help_text="only this organization's: id, slug or `ext:` id"
    )
    invoice = serializers.CharField(required=False, help_text="only of this one: id or number")


class NoteLineBody(Strict):
    """What to take back of a line; with neither an amount nor a quantity all that is left."""

    line = Text(max_length=40, help_text="id of the invoice's line")
    amount = Minor(
        required=False, help_text="minor units as the line shows it, before discounts and tax"
    )
    quantity = Exact(required=False, help_text="that many of it")


class SplitBody(Strict):
    """Where the total goes, in minor units.

    What is not said: as much as is due is offset, the rest becomes credit.
    """

    offset = Minor(min_value=0, required=False)
    credit = Minor(min_value=0, required=False)
    refund = Minor(min_value=0, required=False)


class CreditNoteBody(Body):
    """What is taken back: lines, or a total that is spread over them, or else all that is left."""

    reason = Choice(CreditNote.Reason.choices)
    lines = serializers.ListField(
        child=NoteLineBody(), min_length=1, max_length=MOST_LINES, required=False
    )
    total = Minor(required=False, help_text="minor units, tax included")
    split = SplitBody(required=False)
    memo = Text(max_length=500, default="", allow_blank=True, help_text="printed on it")


class RefundBody(Body):
    """Money that went back."""

    amount = Minor(required=False, help_text="minor units; default: all that is left of the note")
    reference = Text(
        max_length=100, default="", allow_blank=True, help_text="the bank's; once a note"
    )
    payment = Text(max_length=40, required=False, help_text="which money it was: id")
    refunded_at = Instant(required=False, help_text="default: now")


class CreditNotes(ApiView):
    """The list."""

    @operation(
        "list_credit_notes",
        tag=TAG,
        scope="invoices:read",
        query=CreditNoteQuery,
        answers={200: list_of(CreditNoteShape, "CreditNoteList")},
    )
    def get(self, request: Request) -> Response:
        """List credit notes, newest first."""
        query = self.query()
        among = self.theirs(CreditNote.objects.all(), organization=query.get("organization", ""))
        rows = with_content(among)
        if "invoice" in query:
            rows = rows.filter(invoice=own_invoice(self, query["invoice"]))
        found = page(rows, query, among=among)
        return self.listing(CreditNoteShape, found, found.rows)


class IssueCreditNote(ApiView):
    """A new one."""

    @operation(
        "issue_credit_note",
        tag=TAG,
        scope="invoices:write",
        platform_only=True,
        body=CreditNoteBody,
        answers={201: CreditNoteShape},
    )
    def post(self, request: Request, invoice: str) -> Response:
        """Take back part of a final invoice, or all that is left of it.

        Never more than is left, and no more is paid back or kept as credit than was paid. Final at
        once: send an `Idempotency-Key`.
        """
        found = own_invoice(self, invoice)
        said = _said(self.body(), found)
        made = services.issue_credit_note(found.public_id, **said, actor=self.actor, at=self.at)
        return self.answer(CreditNoteShape, own_note(self, made.public_id), status=201)


class OneCreditNote(ApiView):
    """One of them."""

    @operation("get_credit_note", tag=TAG, scope="invoices:read", answers={200: CreditNoteShape})
    def get(self, request: Request, credit_note: str) -> Response:
        """Get a credit note."""
        return self.answer(CreditNoteShape, own_note(self, credit_note))


class CreditNotePdf(ApiView):
    """One of them on paper."""

    @operation(
        "get_credit_note_pdf",
        tag=TAG,
        scope="invoices:read",
        answers={(200, "application/pdf"): {"type": "string", "format": "binary"}},
    )
    def get(self, request: Request, credit_note: str) -> HttpResponse:
        """Get a credit note as PDF."""
        document = credit.credit_note_document(own_note(self, credit_note))
        answer = HttpResponse(pdf.render(document), content_type="application/pdf")
        answer["Content-Disposition"] = f'inline; filename="{document.number}.pdf"'
        return answer


class CreditNoteXml(ApiView):
    """One of them for machines."""

    @operation(
        "get_credit_note_xml",
        tag=TAG,
        scope="invoices:read",
        answers={(200, "application/xml"): {"type": "string", "format": "binary"}},
    )
    def get(self, request: Request, credit_note: str) -> HttpResponse:
        """Get a credit note as Factur-X XML, or in `extra.reasons` why there is none."""
        document = credit.credit_note_document(own_note(self, credit_note))
        made = einvoice.of(document)
        if made.xml is None:
            raise NoEInvoice(" ".join(made.reasons), reasons=list(made.reasons))
        answer = HttpResponse(made.xml, content_type="application/xml")
        answer["Content-Disposition"] = f'inline; filename="{document.number}.xml"'
        return answer


class Refunds(ApiView):
    """What went back for one of them."""

    @operation(
        "list_refunds",
        tag=TAG,
        scope="invoices:read",
        query=ListQuery,
        answers={200: list_of(RefundShape, "RefundList")},
    )
    def get(self, request: Request, credit_note: str) -> Response:
        """List what was paid back for a credit note, newest first."""
        among = Refund.objects.filter(credit_note=own_note(self, credit_note))
        rows = among.select_related("credit_note", "invoice", "payment")
        found = page(rows, self.query(), among=among)
        return self.listing(RefundShape, found, found.rows)

    @operation(
        "record_refund",
        tag=TAG,
        scope="invoices:write",
        platform_only=True,
        body=RefundBody,
        answers={201: RefundShape},
    )
    def post(self, request: Request, credit_note: str) -> Response:
        """Record that money went back which a credit note promised. Partial ones add up."""
        note = own_note(self, credit_note)
        wanted = self.body()
        if "amount" in wanted:
            wanted["amount"] = major(wanted["amount"], note.currency)
        if "payment" in wanted:
            theirs = Payment.objects.filter(organization_id=note.organization_id)
            self.own(theirs, wanted["payment"], "payment")
        row = payments.record_refund(note.public_id, **wanted, actor=self.actor, at=self.at)
        return self.answer(RefundShape, row, status=201)


def with_content(rows: QuerySet[CreditNote]) -> QuerySet[CreditNote]:
    """Return the query with all that a note's shape shows."""
    return credit.with_note_lines(rows).select_related("organization", "invoice__subscription")


def own_note(view: ApiView, reference: str) -> CreditNote:
    """Return the caller's credit note with this public id or number."""
    field = "public_id" if is_public_id(reference, "cn") else "number"
    readable = "\x00" not in reference and len(reference) <= LONGEST_NUMBER
    rows = with_content(view.theirs(CreditNote.objects.all()))
    found = rows.filter(**{field: reference}).first() if readable else None
    if found is None:
        raise UnknownCreditNote("There is no such credit note.")
    return found


def _said(wanted: dict[str, Any], invoice: Invoice) -> dict[str, Any]:
    """Return the arguments of the service, in major units."""
    if "total" in wanted:
        wanted["total"] = major(wanted["total"], invoice.currency)
    if "split" in wanted:
        wanted["split"] = Split(**_majors(wanted["split"], invoice.currency))
    lines = [_line(one, invoice.currency) for one in wanted.pop("lines", [])]
    return {**wanted, "lines": lines}


def _majors(said: Mapping[str, int], currency: str) -> dict[str, Decimal]:
    return {name: major(minor, currency) for name, minor in said.items()}


def _line(said: Mapping[str, Any], currency: str) -> NoteLine:
    amount = major(said["amount"], currency) if "amount" in said else None
    return NoteLine(line=said["line"], amount=amount, quantity=said.get("quantity"))
