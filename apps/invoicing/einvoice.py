"""An invoice for machines: Factur-X, profile EN 16931, as UN/CEFACT Cross Industry Invoice (CII).

What a document cannot say truly in EN 16931 is not bent until it fits: the document then has no
XML, and `of` tells why. Names like BT-31 and BR-CO-26 are the standard's business terms and rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from django.utils import translation

from apps.engine.money import exponent
from apps.invoicing.document import CREDIT_NOTE, Document, Line, Tax
from apps.invoicing.paper import cii
from apps.invoicing.paper.vat import by_rate, category, country_code, has_category, said, vat_id
from apps.invoicing.paper.words import is_country, locale_of

TOLERANCE = 1  # BR-CO-17: major units between the tax and base × rate, for tax rounded per line
# Currencies of ours that the standard's code list, which is ISO's of today, no longer has.
WITHDRAWN_CURRENCIES = frozenset({"ANG", "BGN", "XAD"})


class Obstacle(StrEnum):
    """Why a document cannot be an EN 16931 invoice."""

    NOT_ISSUED = "not_issued"
    VOID = "void"
    NO_LINES = "no_lines"
    SELLER_NAME = "seller_name"
    SELLER_COUNTRY = "seller_country"
    SELLER_TAX_ID = "seller_tax_id"
    SELLER_VAT_ID = "seller_vat_id"
    BUYER_NAME = "buyer_name"
    BUYER_COUNTRY = "buyer_country"
    BUYER_VAT_ID = "buyer_vat_id"
    CORRECTED_INVOICE = "corrected_invoice"
    CURRENCY = "currency"
    CURRENCY_DECIMALS = "currency_decimals"
    TAX_NOT_STATED = "tax_not_stated"
    SEVERAL_TAXES = "several_taxes"
    NOT_VAT = "not_vat"
    UNKNOWN_TREATMENT = "unknown_treatment"
    OUTSIDE_AND_INSIDE = "outside_and_inside"
    AMOUNTS = "amounts"
    NOT_ARCHIVAL = "not_archival"


MEANING = {
    Obstacle.NOT_ISSUED: "It is not issued: only a document with a number is an invoice.",
    Obstacle.VOID: "It is void.",
    Obstacle.NO_LINES: "It has no lines (BR-16).",
    Obstacle.SELLER_NAME: "The seller has no name (BT-27).",
    Obstacle.SELLER_COUNTRY: "The seller has no country (BT-40).",
    Obstacle.SELLER_TAX_ID: "The seller has no tax id (BT-31, BT-32).",
    Obstacle.SELLER_VAT_ID: "The seller's tax id is no VAT id (BT-31).",
    Obstacle.BUYER_NAME: "The customer has no name (BT-44).",
    Obstacle.BUYER_COUNTRY: "The customer has no country (BT-55).",
    Obstacle.BUYER_VAT_ID: "Reverse charge, but the customer's tax id is no VAT id (BT-48).",
    Obstacle.CORRECTED_INVOICE: "It does not say which invoice it corrects (BT-25).",
    Obstacle.CURRENCY: "The currency is not in the list of today's (BR-CL-04).",
    Obstacle.CURRENCY_DECIMALS: "An amount has more than two decimals (BR-DEC).",
    Obstacle.TAX_NOT_STATED: "A line does not say how it is taxed (BT-151).",
    Obstacle.SEVERAL_TAXES: "A line bears several taxes; EN 16931 knows one per line (BT-151).",
    Obstacle.NOT_VAT: "A line bears a tax that is no value-added tax.",
    Obstacle.UNKNOWN_TREATMENT: "A tax is treated in a way that has no VAT category.",
    Obstacle.OUTSIDE_AND_INSIDE: "Some lines are outside the scope of VAT, others not (BR-O-11).",
    Obstacle.AMOUNTS: "Lines, discounts, taxes and total do not add up (BR-CO-10 to BR-CO-17).",
    Obstacle.NOT_ARCHIVAL: "No font at hand writes all of it, so that the file is no PDF/A-3.",
}


@dataclass(frozen=True, slots=True)
class EInvoice:
    """The XML, or every reason why there is none."""

    xml: bytes | None
    obstacles: tuple[Obstacle, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """The obstacles in words."""
        return tuple(MEANING[obstacle] for obstacle in self.obstacles)


def of(document: Document) -> EInvoice:
    """Return the document as Factur-X XML in UTF-8, or why it cannot be one."""
    obstacles = tuple(dict.fromkeys(_obstacles(document)))
    if obstacles:
        return EInvoice(None, obstacles)
    with translation.override(locale_of(document.locale)):
        return EInvoice(cii.written(document))


# --- what stands in the way ---------------------------------------------------------------------


def _obstacles(document: Document) -> Iterable[Obstacle]:
    checks = (
        (Obstacle.NOT_ISSUED, document.number is None),
        (Obstacle.VOID, document.status == "void"),
        (Obstacle.NO_LINES, not document.lines),
        (Obstacle.CORRECTED_INVOICE, document.kind == CREDIT_NOTE and document.corrects is None),
        (Obstacle.CURRENCY, document.currency in WITHDRAWN_CURRENCIES),
        (Obstacle.CURRENCY_DECIMALS, _has_thousandths(document)),
    )
    yield from (obstacle for obstacle, met in checks if met)
    unfit = list(_untaxable(document))
    yield from unfit
    categories = set() if unfit else {category(line.tax_rates[0]) for line in document.lines}
    yield from _party_obstacles(document, categories)
    if not unfit and not _adds_up(document):
        yield Obstacle.AMOUNTS


def _has_thousandths(document: Document) -> bool:
    over = exponent(document.currency) - cii.MOST_PLACES
    return over > 0 and any(amount % 10**over for amount in _amounts(document))


def _amounts(document: Document) -> Iterable[int]:
    yield from (document.total, document.credits_total, document.amount_paid, document.credited)
    for tax in document.taxes:
        yield from (tax.base, tax.amount)
    for line in document.lines:
        yield from (line.amount, line.discount, *(tax.base for tax in line.tax_rates))


def _untaxable(document: Document) -> Iterable[Obstacle]:
    taxes = [line.tax_rates for line in document.lines]
    if any(not on_line for on_line in taxes):
        yield Obstacle.TAX_NOT_STATED
    if any(len(on_line) > 1 for on_line in taxes):
        yield Obstacle.SEVERAL_TAXES
    every = [tax for on_line in (*taxes, document.taxes) for tax in on_line]
    if any(tax.kind != "vat" for tax in every):
        yield Obstacle.NOT_VAT
    if any(not has_category(tax) for tax in every):
        yield Obstacle.UNKNOWN_TREATMENT


def _party_obstacles(document: Document, categories: set[str]) -> Iterable[Obstacle]:
    seller, buyer = document.parties["issuer"], document.parties["customer"]
    checks = (
        (Obstacle.SELLER_NAME, not said(seller, "name")),
        (Obstacle.SELLER_COUNTRY, not is_country(country_code(seller))),
        (Obstacle.SELLER_TAX_ID, not said(seller, "tax_id")),
        (Obstacle.SELLER_VAT_ID, "G" in categories and not vat_id(seller)),
        (Obstacle.BUYER_NAME, not said(buyer, "name")),
        (Obstacle.BUYER_COUNTRY, not is_country(country_code(buyer))),
        (Obstacle.BUYER_VAT_ID, "AE" in categories and not vat_id(buyer)),
        (Obstacle.OUTSIDE_AND_INSIDE, "O" in categories and len(categories) > 1),
    )
    yield from (obstacle for obstacle, met in checks if met)


def _adds_up(document: Document) -> bool:
    """Whether bases, taxes and total agree, by the standard's own sums."""
    bases, taxed = by_rate(line.tax_rates[0] for line in document.lines), by_rate(document.taxes)
    major = 10 ** exponent(document.currency)
    net = sum(group.base for group in taxed.values())
    tax = sum(group.amount for group in taxed.values())
    return (
        {rate: group.base for rate, group in bases.items()}
        == {rate: group.base for rate, group in taxed.items()}
        and all(_rests_on(line, line.tax_rates[0]) for line in document.lines)
        and all(group.is_near(TOLERANCE * major) for group in taxed.values())
        and net + tax == document.total + document.credits_total
    )


def _rests_on(line: Line, tax: Tax) -> bool:
    """Whether the base is the line after discounts; tax rounded per document leaves cents open."""
    billed = line.amount - line.discount
    return tax.base == billed if not tax.inclusive else abs(tax.base + tax.amount - billed) <= 1
