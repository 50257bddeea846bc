"""An invoice for machines: Factur-X, profile EN 16931, as UN/CEFACT Cross Industry Invoice (CII).

What a document cannot say truly in EN 16931 is not bent until it fits: the document then has no
XML, and `of` tells why. Names like BT-31 and BR-CO-26 are the standard's business terms and rules;
codes are those of UNTDID 1001 (documents), 5305 (VAT categories), 4461 (payment), 5189 (discounts)
and of UN/ECE Recommendation 20 (units).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import translation
from lxml import etree
from stdnum import iban

from apps.engine.decimals import plain
from apps.engine.money import exponent, round_half_away
from apps.engine.period import Period
from apps.invoicing.document import CREDIT_NOTE, Document, Line, Tax
from apps.invoicing.paper.legal import exemption_code, notice
from apps.invoicing.paper.words import is_country, locale_of, visible
from apps.tenants.places import EU, NORTHERN_IRELAND, prefix_of, tax_area

PROFILE = "urn:cen.eu:en16931:2017"
MOST_PLACES = 2  # BR-DEC-*: no amount may have more
TOLERANCE = 1  # BR-CO-17: major units between the tax and base × rate, for tax rounded per line
NAMESPACES = {
    "rsm": "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100",
    "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
    "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
    "qdt": "urn:un:unece:uncefact:data:standard:QualifiedDataType:100",
}
COMMERCIAL_INVOICE, CREDIT_NOTE_CODE = "380", "381"
CREDIT_TRANSFER, SEPA_TRANSFER = "30", "58"
DISCOUNT = "95"
ONE = "C62"
# UN/ECE Recommendation 20. What is not here (seats, requests, tokens) is counted in ones.
UNITS = {
    "hour": "HUR",
    "minute": "MIN",
    "second": "SEC",
    "day": "DAY",
    "week": "WEE",
    "month": "MON",
    "year": "ANN",
    "byte": "AD",
    "kb": "2P",
    "mb": "4L",
    "gb": "E34",
    "tb": "E35",
    "kwh": "KWH",
    "km": "KMT",
    "kg": "KGM",
}
# Treatments as VAT categories. Category K (goods moved within the EU) is missing on purpose:
# what is billed here are services.
CATEGORIES = {"exempt": "E", "reverse_charge": "AE", "export": "G", "outside_scope": "O"}
EXEMPTION_CODES = {"AE": "VATEX-EU-AE", "G": "VATEX-EU-G", "O": "VATEX-EU-O"}
# The standard's code lists are ISO's of today, and call Kosovo 1A.
WITHDRAWN_CURRENCIES = frozenset({"ANG", "BGN", "XAD"})
COUNTRY_CODES = {"XK": "1A"}


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
    Obstacle.SELLER_VAT_ID: "The seller's tax id is no VAT id of its country (BT-31).",
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
        root = _Writer(document).invoice()
    xml = etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True)
    return EInvoice(bytes(xml))


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
    categories = set() if unfit else {_category(line.tax_rates[0]) for line in document.lines}
    yield from _party_obstacles(document, categories)
    if not unfit and not _adds_up(document):
        yield Obstacle.AMOUNTS


def _has_thousandths(document: Document) -> bool:
    over = exponent(document.currency) - MOST_PLACES
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
    if any(not tax.is_charged and tax.treatment not in CATEGORIES for tax in every):
        yield Obstacle.UNKNOWN_TREATMENT


def _party_obstacles(document: Document, categories: set[str]) -> Iterable[Obstacle]:
    seller, buyer = document.parties["issuer"], document.parties["customer"]
    checks = (
        (Obstacle.SELLER_NAME, not _said(seller, "name")),
        (Obstacle.SELLER_COUNTRY, not is_country(_country(seller))),
        (Obstacle.SELLER_TAX_ID, not _said(seller, "tax_id")),
        (Obstacle.SELLER_VAT_ID, "G" in categories and not vat_id(seller)),
        (Obstacle.BUYER_NAME, not _said(buyer, "name")),
        (Obstacle.BUYER_COUNTRY, not is_country(_country(buyer))),
        (Obstacle.BUYER_VAT_ID, "AE" in categories and not vat_id(buyer)),
        (Obstacle.OUTSIDE_AND_INSIDE, "O" in categories and len(categories) > 1),
    )
    yield from (obstacle for obstacle, met in checks if met)


def _adds_up(document: Document) -> bool:
    """Whether bases, taxes and total agree, by the standard's own sums."""
    bases, taxed = _by_rate(line.tax_rates[0] for line in document.lines), _by_rate(document.taxes)
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


# --- amounts ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Group:
    """Everything taxed in one category at one rate (BG-23)."""

    category: str
    percent: Decimal
    base: int
    amount: int
    tax: Tax

    def is_near(self, tolerance: int) -> bool:
        """Whether the tax is base × rate; a category without tax bears none at all."""
        if self.category not in {"S", "Z"}:
            return self.amount == 0
        return abs(self.amount - self.base * Fraction(self.percent) / 100) < tolerance


def _by_rate(taxes: Iterable[Tax]) -> dict[tuple[str, Decimal], _Group]:
    groups: dict[tuple[str, Decimal], _Group] = {}
    for tax in taxes:
        key = (_category(tax), tax.charged_percent)
        before = groups.get(key)
        base = tax.base + (before.base if before else 0)
        amount = tax.amount + (before.amount if before else 0)
        groups[key] = _Group(*key, base, amount, before.tax if before else tax)
    return groups


def _category(tax: Tax) -> str:
    if tax.is_charged:
        return "S" if tax.percent else "Z"
    return CATEGORIES[tax.treatment]


@dataclass(frozen=True, slots=True)
class _Priced:
    """A line as EN 16931 wants it: net of tax, and with a price that is never negative."""

    line: Line
    tax: Tax

    @property
    def allowance(self) -> int:
        """The discount without the tax in it (BT-136)."""
        if not self.tax.inclusive:
            return self.line.discount
        return round_half_away(self.line.discount / (1 + Fraction(self.tax.charged_percent) / 100))

    @property
    def gross(self) -> int:
        """The net amount before the discount."""
        return self.tax.base + self.allowance

    @property
    def quantity(self) -> Decimal:
        """The quantity with the amount's sign, which a price cannot bear (BR-27)."""
        size = abs(self.line.quantity) or Decimal(1)
        return -size if self.gross < 0 else size


# --- parties ------------------------------------------------------------------------------------


def _said(party: Mapping[str, Any], name: str) -> str:
    return visible(str(party.get(name) or "")).strip()


def _country(party: Mapping[str, Any]) -> str:
    country = _said(party, "country")
    return COUNTRY_CODES.get(country, country)


def vat_id(party: Mapping[str, Any]) -> str:
    """Return the party's tax id as an international VAT id (DE123456789), or nothing.

    It starts with the country's code (BR-CO-09), but Greece's with EL and Northern Ireland's, which
    is in the United Kingdom, with XI.
    """
    country = _said(party, "country")
    compact = re.sub(r"[^A-Za-z0-9]", "", _said(party, "tax_id")).upper()
    prefixes = (prefix_of(country), NORTHERN_IRELAND if tax_area(country) == "GB" else country)
    return compact if country and compact.startswith(prefixes) and len(compact) > 3 else ""


def account(details: str) -> str:
    """Return the first IBAN in the text without its spaces, or nothing."""
    for found in re.finditer(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}", details.upper()):
        for end in range(len(found.group()), 14, -1):
            candidate = found.group()[:end].replace(" ", "")
            if iban.is_valid(candidate, check_country=False):
                return candidate
    return ""


# --- the tree -----------------------------------------------------------------------------------


def _add(parent: Any, name: str, text: str | None = None, **attributes: str) -> Any:
    """Append an element; `name` is prefix:Name."""
    prefix, local = name.split(":")
    element = etree.SubElement(parent, f"{{{NAMESPACES[prefix]}}}{local}", **attributes)
    element.text = text
    return element


def _path(parent: Any, *names: str) -> Any:
    for name in names:
        parent = _add(parent, f"ram:{name}")
    return parent


@dataclass(frozen=True)
class _Writer:
    """Writes one document; the order of everything is the schema's."""

    document: Document

    def invoice(self) -> Any:
        root = etree.Element(f"{{{NAMESPACES['rsm']}}}CrossIndustryInvoice", nsmap=NAMESPACES)
        context = _add(root, "rsm:ExchangedDocumentContext")
        guideline = _path(context, "GuidelineSpecifiedDocumentContextParameter")
        _add(guideline, "ram:ID", PROFILE)
        self._heading(_add(root, "rsm:ExchangedDocument"))
        deal = _add(root, "rsm:SupplyChainTradeTransaction")
        for number, line in enumerate(self.document.lines, 1):
            priced = _Priced(line, line.tax_rates[0])
            self._line(_path(deal, "IncludedSupplyChainTradeLineItem"), number, priced)
        self._parties(_path(deal, "ApplicableHeaderTradeAgreement"))
        _path(deal, "ApplicableHeaderTradeDelivery")
        self._settlement(_path(deal, "ApplicableHeaderTradeSettlement"))
        return root

    def _heading(self, at: Any) -> None:
        is_credit = self.document.kind == CREDIT_NOTE
        _add(at, "ram:ID", visible(self.document.number or ""))
        _add(at, "ram:TypeCode", CREDIT_NOTE_CODE if is_credit else COMMERCIAL_INVOICE)
        self._date(_path(at, "IssueDateTime"), self.document.issued_at)
        if visible(self.document.note).strip():
            _add(_path(at, "IncludedNote"), "ram:Content", visible(self.document.note))

    def _line(self, at: Any, number: int, priced: _Priced) -> None:
        line, unit = priced.line, {"unitCode": unit_code(priced.line)}
        _add(_path(at, "AssociatedDocumentLineDocument"), "ram:LineID", str(number))
        name = visible(line.name).strip() or line.key
        _add(_path(at, "SpecifiedTradeProduct"), "ram:Name", name)
        price = _path(at, "SpecifiedLineTradeAgreement", "NetPriceProductTradePrice")
        # The price is for the whole quantity (BT-149), so that no tier and no share of a period
        # is lost in a rounded price of one.
        _add(price, "ram:ChargeAmount", self._major(abs(priced.gross)))
        _add(price, "ram:BasisQuantity", plain(abs(priced.quantity)), **unit)
        delivery = _path(at, "SpecifiedLineTradeDelivery")
        _add(delivery, "ram:BilledQuantity", plain(priced.quantity), **unit)
        self._line_settlement(_path(at, "SpecifiedLineTradeSettlement"), priced)

    def _line_settlement(self, at: Any, priced: _Priced) -> None:
        self._rate(_path(at, "ApplicableTradeTax"), priced.tax)
        self._period(_path(at, "BillingSpecifiedPeriod"), priced.line.period)
        if priced.allowance:
            discount = _path(at, "SpecifiedTradeAllowanceCharge")
            _add(_path(discount, "ChargeIndicator"), "udt:Indicator", "false")
            _add(discount, "ram:ActualAmount", self._major(priced.allowance))
            _add(discount, "ram:ReasonCode", DISCOUNT)
            _add(discount, "ram:Reason", self._discount_names)
        summation = _path(at, "SpecifiedTradeSettlementLineMonetarySummation")
        _add(summation, "ram:LineTotalAmount", self._major(priced.tax.base))

    @cached_property
    def _discount_names(self) -> str:
        names = [visible(discount.name).strip() for discount in self.document.discounts]
        return ", ".join(name for name in names if name) or "Discount"

    def _parties(self, at: Any) -> None:
        self._party(_path(at, "SellerTradeParty"), self.document.parties["issuer"], is_seller=True)
        buyer = self.document.parties["customer"]
        self._party(_path(at, "BuyerTradeParty"), buyer, is_seller=False)

    def _party(self, at: Any, party: Mapping[str, Any], *, is_seller: bool) -> None:
        vat = "" if self._is_outside_scope else vat_id(party)
        tax_id = _said(party, "tax_id")
        if tax_id and not vat:
            _add(at, "ram:ID", tax_id)  # BR-CO-26: some id there must be
        _add(at, "ram:Name", _said(party, "name"))
        self._address(_path(at, "PostalTradeAddress"), party)
        if _said(party, "email"):
            mailbox = _path(at, "URIUniversalCommunication")
            _add(mailbox, "ram:URIID", _said(party, "email"), schemeID="EM")
        if vat:
            _add(_path(at, "SpecifiedTaxRegistration"), "ram:ID", vat, schemeID="VA")
        elif tax_id and is_seller and not self._is_outside_scope:
            _add(_path(at, "SpecifiedTaxRegistration"), "ram:ID", tax_id, schemeID="FC")

    def _address(self, at: Any, party: Mapping[str, Any]) -> None:
        """Write the address in lines as its owner wrote it, and in parts where it has them."""
        rows = [row.strip() for row in visible(str(party.get("address") or "")).splitlines()]
        rows = [row for row in rows if row]
        shown = [*rows[:2], ", ".join(rows[2:])] if rows[2:] else rows
        self._part(at, "PostcodeCode", party, "postcode")
        for name, row in zip(("LineOne", "LineTwo", "LineThree"), shown, strict=False):
            _add(at, f"ram:{name}", row)
        self._part(at, "CityName", party, "city")
        _add(at, "ram:CountryID", _country(party))
        self._part(at, "CountrySubDivisionName", party, "region")

    def _part(self, at: Any, name: str, party: Mapping[str, Any], key: str) -> None:
        if _said(party, key):
            _add(at, f"ram:{name}", _said(party, key))

    def _settlement(self, at: Any) -> None:
        document = self.document
        _add(at, "ram:PaymentReference", visible(document.number or ""))
        _add(at, "ram:InvoiceCurrencyCode", document.currency)
        self._payment_means(at)
        for group in _by_rate(document.taxes).values():
            self._tax(_path(at, "ApplicableTradeTax"), group)
        self._period(_path(at, "BillingSpecifiedPeriod"), document.period)
        due = _path(at, "SpecifiedTradePaymentTerms", "DueDateDateTime")
        self._date(due, document.due_at)
        self._sums(_path(at, "SpecifiedTradeSettlementHeaderMonetarySummation"))
        if document.corrects is not None:
            corrected = _path(at, "InvoiceReferencedDocument")
            _add(corrected, "ram:IssuerAssignedID", document.corrects.number)
            issued = _path(corrected, "FormattedIssueDateTime")
            self._date(issued, document.corrects.issued_at, kind="qdt:DateTimeString")

    def _payment_means(self, at: Any) -> None:
        found = account(str(self.document.parties["issuer"].get("bank_details") or ""))
        if not found or self.document.kind == CREDIT_NOTE:
            return
        means = _path(at, "SpecifiedTradeSettlementPaymentMeans")
        in_euro = self.document.currency == "EUR"
        _add(means, "ram:TypeCode", SEPA_TRANSFER if in_euro else CREDIT_TRANSFER)
        _add(_path(means, "PayeePartyCreditorFinancialAccount"), "ram:IBANID", found)

    def _tax(self, at: Any, group: _Group) -> None:
        reason, code = notice(group.tax), self._exemption_code(group)
        _add(at, "ram:CalculatedAmount", self._major(group.amount))
        _add(at, "ram:TypeCode", "VAT")
        if reason:
            _add(at, "ram:ExemptionReason", reason)
        _add(at, "ram:BasisAmount", self._major(group.base))
        _add(at, "ram:CategoryCode", group.category)
        if code:
            _add(at, "ram:ExemptionReasonCode", code)
        self._percent(at, group.category, group.percent)

    def _exemption_code(self, group: _Group) -> str:
        """Return why there is no tax as a code of the EU's directive, for who sells from there."""
        code = exemption_code(group.tax) or EXEMPTION_CODES.get(group.category, "")
        sold_from = tax_area(_said(self.document.parties["issuer"], "country"))
        return code if sold_from in EU else ""

    def _rate(self, at: Any, tax: Tax) -> None:
        _add(at, "ram:TypeCode", "VAT")
        _add(at, "ram:CategoryCode", _category(tax))
        self._percent(at, _category(tax), tax.charged_percent)

    def _percent(self, at: Any, category: str, percent: Decimal) -> None:
        if category != "O":  # BR-O-05: outside the scope there is no rate, not even zero
            _add(at, "ram:RateApplicablePercent", plain(percent))

    def _sums(self, at: Any) -> None:
        document = self.document
        net = sum(tax.base for tax in document.taxes)
        tax = sum(tax.amount for tax in document.taxes)
        paid = document.credits_total + document.amount_paid + document.credited
        _add(at, "ram:LineTotalAmount", self._major(net))
        _add(at, "ram:TaxBasisTotalAmount", self._major(net))
        _add(at, "ram:TaxTotalAmount", self._major(tax), currencyID=document.currency)
        _add(at, "ram:GrandTotalAmount", self._major(net + tax))
        _add(at, "ram:TotalPrepaidAmount", self._major(paid))
        _add(at, "ram:DuePayableAmount", self._major(net + tax - paid))

    @cached_property
    def _is_outside_scope(self) -> bool:
        return any(_category(line.tax_rates[0]) == "O" for line in self.document.lines)

    def _major(self, minor: int) -> str:
        places = exponent(self.document.currency)
        shown = Decimal(minor).scaleb(-places)
        return f"{shown:.{min(places, MOST_PLACES)}f}"

    def _local(self, moment: datetime) -> datetime:
        return moment.astimezone(ZoneInfo(self.document.timezone))

    def _date(self, at: Any, moment: datetime, *, kind: str = "udt:DateTimeString") -> None:
        _add(at, kind, f"{self._local(moment):%Y%m%d}", format="102")

    def _period(self, at: Any, period: Period) -> None:
        """Write the first and the last day; the end of a period is no part of it."""
        self._date(_path(at, "StartDateTime"), period.start)
        last = max(period.start, period.end - timedelta(microseconds=1))
        self._date(_path(at, "EndDateTime"), last)


def unit_code(line: Line) -> str:
    """Return the unit of the line's quantity as a code: HUR, E34, C62 for what is just counted."""
    unit = (line.unit or str(line.explanation.get("unit") or "")).strip().lower()
    return UNITS.get(unit) or UNITS.get(unit.removesuffix("s"), ONE)
