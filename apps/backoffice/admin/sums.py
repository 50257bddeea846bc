"""What stands under an invoice's lines: discounts, taxes, credit, and what is still to be paid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.safestring import mark_safe

from apps.backoffice.admin import cells
from apps.backoffice.admin.panels import Cell, Panel
from apps.engine.decimals import plain
from apps.invoicing.document import Document, Line, Tax

# A cell without a value; on small screens, where cells stand one below the other, it is left out.
BLANK = mark_safe('<span class="ch-blank"></span>')


@dataclass(frozen=True, slots=True)
class Sum:
    """One amount below the lines; a whole one stands out."""

    name: str
    amount: str
    note: str = ""
    whole: bool = False


def sums_of(document: Document) -> list[Sum]:
    """Return the sums of a document in the order of its reckoning; only those that it has."""
    currency = document.currency
    total = Sum("Total", cells.money(document.total, currency), whole=True)
    steps = list(_steps(document))
    subtotal = Sum("Lines", cells.money(document.subtotal, currency))
    return [*([subtotal, *steps] if steps else []), total, *_settled(document)]


def _steps(document: Document) -> Iterable[Sum]:
    currency = document.currency
    for one in document.discounts:
        yield Sum(one.name, cells.money(-one.amount, currency), "discount")
    for tax in document.taxes:
        if tax.is_charged or tax.treatment != "none":
            yield Sum(_tax_name(tax), cells.money(tax.amount, currency), _tax_note(tax, currency))
    for one in document.credits:
        yield Sum(one.name, cells.money(-one.amount, currency), "credit")


def _settled(document: Document) -> Iterable[Sum]:
    currency = document.currency
    if document.credited:
        yield Sum("Credit notes", cells.money(-document.credited, currency))
    if document.amount_paid:
        yield Sum("Paid", cells.money(-document.amount_paid, currency))
    if document.credited or document.amount_paid:
        yield Sum("To pay", cells.money(document.amount_due, currency), whole=True)


def _tax_name(tax: Tax) -> str:
    name = tax.name or tax.treatment.replace("_", " ").capitalize()
    return f"{name} {plain(tax.charged_percent)} %" if tax.is_charged else name


def _tax_note(tax: Tax, currency: str) -> str:
    """Return of what it is taken, and whether the lines have it inside or why it is not charged."""
    said = [f"of {cells.money(tax.base, currency)}"]
    said += [tax.jurisdiction] if tax.jurisdiction else []
    said += ["included in the lines"] if tax.inclusive else []
    if not tax.is_charged:
        said += [tax.treatment.replace("_", " ")] if tax.name else []
        said += [tax.ground] if tax.ground else []
    return ", ".join(said)


def beside(line: Line, currency: str) -> list[tuple[str, str]]:
    """Return what a line's amount lost to discounts and gained by taxes, as (name, amount)."""
    found = [("Discounts", cells.money(-line.discount, currency))] if line.discount else []
    taxes = [
        (_tax_name(tax), cells.money(tax.amount, currency))
        for tax in line.tax_rates
        if tax.is_charged
    ]
    return found + taxes


def document_panel(title: str, document: Document, note: str = "") -> Panel:
    """Return a document that is not issued as a table: its lines, then its sums."""
    lines: list[tuple[Cell, ...]] = [
        (
            line.name,
            cells.span(line.period.start, line.period.end, document.timezone),
            cells.number(line.quantity),
            cells.money(line.amount, document.currency),
        )
        for line in document.lines
    ]
    sums: list[tuple[Cell, ...]] = [
        (f"{one.name} ({one.note})" if one.note else one.name, BLANK, BLANK, one.amount)
        for one in sums_of(document)
    ]
    headings = ("Line", "Period", ">Quantity", ">Amount")
    return Panel(title, headings, [*lines, *sums], note=note)
