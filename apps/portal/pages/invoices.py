"""Invoices: the list, each one explained line by line, the one to come, and the PDF."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import Http404, HttpResponse
from django.shortcuts import render

from apps.core import clock
from apps.invoicing import einvoice, pdf
from apps.invoicing import selectors as invoicing
from apps.invoicing.document import Document, Line
from apps.invoicing.paper.arithmetic import Working, heading, working
from apps.invoicing.paper.totals import notices, shown, totals
from apps.portal import words
from apps.portal.access import PortalRequest, page
from apps.portal.balances import balances
from apps.portal.formats import Formats
from apps.subscriptions import selectors as subscriptions

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
    at, organization_id = clock.now(), request.organization.pk
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
        "owed": balances(organization_id, at=at),
        "live": subscriptions.of_organization(organization_id, live=True) if not before else [],
    }
    return render(request, "portal/invoices.html", context)


@page("invoices", "view_invoices")
def invoice(request: PortalRequest, reference: str) -> HttpResponse:
    """Show one invoice with every line explained."""
    found = invoicing.final_document(reference, organization_id=request.organization.pk)
    made = einvoice.of(found)
    context = _shown(found, request.formats) | {
        "has_xml": made.xml is not None,
        "no_xml": [words.OBSTACLES[obstacle] for obstacle in made.obstacles],
    }
    return render(request, "portal/invoice.html", context)


@page("invoices", "view_invoices")
def upcoming(request: PortalRequest, subscription: str) -> HttpResponse:
    """Show what the next boundary would bill with the usage so far."""
    facts = subscriptions.get(subscription, organization_id=request.organization.pk)
    found = invoicing.upcoming_of(facts)
    context = {"facts": facts, "document": None, "now": clock.now()}
    context |= _shown(found, request.formats) if found else {}
    return render(request, "portal/upcoming.html", context)


@page("invoices", "view_invoices")
def pdf_of_invoice(request: PortalRequest, reference: str) -> HttpResponse:
    """Send the invoice as PDF."""
    found = invoicing.final_document(reference, organization_id=request.organization.pk)
    response = HttpResponse(pdf.render(found), content_type="application/pdf")
    response["Content-Disposition"] = f'attachment; filename="{found.number}.pdf"'
    return response


@page("invoices", "view_invoices")
def xml_of_invoice(request: PortalRequest, reference: str) -> HttpResponse:
    """Send the invoice as XML for machines: EN 16931, as it lies inside the PDF."""
    found = invoicing.final_document(reference, organization_id=request.organization.pk)
    made = einvoice.of(found)
    if made.xml is None:
        raise Http404
    response = HttpResponse(made.xml, content_type="application/xml")
    response["Content-Disposition"] = f'attachment; filename="{found.number}.xml"'
    return response


def _shown(document: Document, formats: Formats) -> dict[str, object]:
    """Return what every page of a document shows: its lines, its sums and what the law wants."""
    return {
        "document": document,
        "lines": explained(document, formats),
        "totals": totals(document, formats.words(document.currency, document.timezone)),
        "notices": notices(document),
        "now": clock.now(),
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
