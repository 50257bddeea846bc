"""Invoices: the list, each one explained line by line, the one to come, and the PDF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.http import Http404, HttpResponse
from django.shortcuts import render

from apps.invoicing import credit, einvoice, pdf
from apps.invoicing import selectors as invoicing
from apps.invoicing.document import Document, Line
from apps.invoicing.paper.arithmetic import Working, heading, working
from apps.invoicing.paper.totals import notices, shown, totals
from apps.payments import gateway
from apps.payments import selectors as payments
from apps.portal import words
from apps.portal.access import PortalRequest, page
from apps.portal.balances import balances
from apps.portal.formats import Formats
from apps.portal.owed import ahead
from apps.subscriptions import selectors as subscriptions

if TYPE_CHECKING:
    from apps.invoicing.models import Invoice

PAGE = 20
TABS = ("", "open", "overdue", "paid", "void")


@dataclass(frozen=True, slots=True)
class Explained:
    """A line with what stands under its name and how its amount came about."""

    line: Line
    heading: str
    taxes: tuple[str, ...]
    working: Working


@page("invoices", "view_invoices")
def invoices(request: PortalRequest) -> HttpResponse:
    """List the final invoices, cut by status, newest first."""
    at, organization_id = request.at, request.organization.pk
    tab = request.GET.get("status", "")
    if tab not in TABS:
        raise Http404
    before = request.GET.get("before", "")
    rows = invoicing.final_invoices(organization_id, at=at, tab=tab, before=before, limit=PAGE + 1)
    counts = invoicing.tally(organization_id, at=at)
    context = {
        "now": at,
        "tab": tab,
        "tabs": [(name, getattr(counts, name or "all")) for name in TABS],
        "rows": rows[:PAGE],
        "next": rows[PAGE - 1].public_id if len(rows) > PAGE else "",
        "is_first": not before,
        "notes": credit.credit_notes_of(organization_id, limit=PAGE) if not before else (),
        "owed": balances(organization_id, at=at),
        "live": subscriptions.summaries(organization_id, live=True) if not before else [],
    }
    return render(request, "portal/invoices.html", context)


@page("invoices", "view_invoices")
def invoice(request: PortalRequest, reference: str) -> HttpResponse:
    """Show one invoice with every line explained."""
    row = invoicing.final(reference, organization_id=request.organization.pk)
    found = invoicing.document(row)
    notes = credit.credit_notes_of_invoice(row.pk) if row.credited else ()
    owed = {"ahead": ahead(row, request.formats) if found.amount_due > 0 else []}
    context = _shown(found, request) | _machine(found) | owed | _paying(row, request)
    return render(request, "portal/invoice.html", context | {"kind": row.kind, "notes": notes})


def _paying(row: Invoice, request: PortalRequest) -> dict[str, object]:
    """Return how the invoice is paid: what came, what was tried, and what it may be charged to."""
    owed = row.status == "open" and row.amount_due > 0
    attempts = payments.attempts_of(row.pk)
    latest = attempts[0] if attempts else None
    can_pay = owed and gateway.configured() and "manage_billing" in request.actor.capabilities
    return {
        "payments": payments.of_invoice(row.pk),
        "attempt": latest if owed else None,
        "is_running": latest is not None and latest.status in {"pending", "processing"},
        "can_pay": can_pay,
        "methods": payments.methods_of(row.organization_id) if can_pay else (),
    }


@page("invoices", "view_invoices")
def credit_note(request: PortalRequest, reference: str) -> HttpResponse:
    """Show one credit note: what it takes back, and where that went."""
    row = credit.get_credit_note(reference, organization_id=request.organization.pk)
    found = credit.credit_note_document(row)
    paid = sum(refund.amount for refund in payments.refunds_of_credit_note(row.pk))
    context = _shown(found, request) | _machine(found)
    return render(request, "portal/credit_note.html", context | {"note": row, "paid_out": paid})


@page("invoices", "view_invoices")
def pdf_of_note(request: PortalRequest, reference: str) -> HttpResponse:
    """Send the credit note as PDF."""
    return _pdf(_note(request, reference))


@page("invoices", "view_invoices")
def xml_of_note(request: PortalRequest, reference: str) -> HttpResponse:
    """Send the credit note as XML for machines."""
    return _xml(_note(request, reference))


def _note(request: PortalRequest, reference: str) -> Document:
    row = credit.get_credit_note(reference, organization_id=request.organization.pk)
    return credit.credit_note_document(row)


@page("invoices", "view_invoices")
def upcoming(request: PortalRequest, subscription: str) -> HttpResponse:
    """Show what the next boundary would bill with the usage so far."""
    facts = subscriptions.get(subscription, organization_id=request.organization.pk)
    found = invoicing.upcoming_of(facts)
    context: dict[str, object] = {"facts": facts, "document": None, "now": request.at}
    context |= _shown(found, request) if found else {}
    return render(request, "portal/upcoming.html", context)


@page("invoices", "view_invoices")
def pdf_of_invoice(request: PortalRequest, reference: str) -> HttpResponse:
    """Send the invoice as PDF."""
    return _pdf(invoicing.final_document(reference, organization_id=request.organization.pk))


@page("invoices", "view_invoices")
def xml_of_invoice(request: PortalRequest, reference: str) -> HttpResponse:
    """Send the invoice as XML for machines: EN 16931, as it lies inside the PDF."""
    return _xml(invoicing.final_document(reference, organization_id=request.organization.pk))


def _pdf(document: Document) -> HttpResponse:
    response = HttpResponse(pdf.render(document), content_type="application/pdf")
    response["Content-Disposition"] = f'attachment; filename="{document.number}.pdf"'
    return response


def _xml(document: Document) -> HttpResponse:
    made = einvoice.of(document)
    if made.xml is None:
        raise Http404
    response = HttpResponse(made.xml, content_type="application/xml")
    response["Content-Disposition"] = f'attachment; filename="{document.number}.xml"'
    return response


def _machine(document: Document) -> dict[str, object]:
    """Tell whether there is an XML of it, and why not."""
    made = einvoice.of(document)
    reasons = [words.OBSTACLES[obstacle] for obstacle in made.obstacles]
    return {"has_xml": made.xml is not None, "no_xml": reasons}


def _shown(document: Document, request: PortalRequest) -> dict[str, object]:
    """Return what every page of a document shows: its lines, its sums and what the law wants."""
    return {
        "document": document,
        "lines": explained(document, request.formats),
        "totals": totals(document, request.formats.words(document.currency, document.timezone)),
        "notices": notices(document),
        "now": request.at,
    }


def explained(document: Document, formats: Formats) -> tuple[Explained, ...]:
    """Return the document's lines with their arithmetic, as the reader's other amounts look."""
    said = formats.words(document.currency, document.timezone)
    return tuple(
        Explained(
            line,
            heading(line, said),
            tuple(
                f"{tax.name} {said.percent(tax.charged_percent)}" for tax in shown(line.tax_rates)
            ),
            working(line, said),
        )
        for line in document.lines
    )
