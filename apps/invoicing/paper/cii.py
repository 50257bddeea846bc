"""An EN 16931 invoice as UN/CEFACT Cross Industry Invoice (CII): the tree, in the schema's order.

Names like BT-136 and BR-27 are the standard's business terms and rules; codes are those of
UNTDID 1001 (documents), 4461 (payment) and 5189 (discounts), and of UN/ECE Recommendation 20.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _
from lxml import etree
from stdnum import iban

from apps.engine.decimals import plain
from apps.engine.money import exponent, round_half_away
from apps.engine.period import Period
from apps.invoicing.document import CREDIT_NOTE, Document, Line, Tax
from apps.invoicing.paper.legal import exemption_code, notice
from apps.invoicing.paper.vat import Group, by_rate, category, country_code, said, vat_id
from apps.invoicing.paper.words import visible
from apps.tenants.places import EU, tax_area

PROFILE = "urn:cen.eu:en16931:2017"
MOST_PLACES = 2  # BR-DEC-*: no amount may have more
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
EXEMPTION_CODES = {"AE": "VATEX-EU-AE", "G": "VATEX-EU-G", "O": "VATEX-EU-O"}


def written(document: Document) -> bytes:
    """Return the XML in UTF-8, its words in the active language.

    The document must have passed every check of `einvoice`: nothing is checked here.
    """
    root = _Writer(document).invoice()
    return bytes(etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True))


def account(details: str) -> str:
    """Return the first IBAN in the text without its spaces, or nothing."""
    for found in re.finditer(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}", details.upper()):
        for end in range(len(found.group()), 14, -1):
            candidate = found.group()[:end].replace(" ", "")
            if iban.is_valid(candidate, check_country=False):
                return candidate
    return ""


def unit_code(line: Line) -> str:
    """Return the unit of the line's quantity as a code: HUR, E34, C62 for what is just counted."""
    unit = (line.unit or str(line.explanation.get("unit") or "")).strip().lower()
    return UNITS.get(unit) or UNITS.get(unit.removesuffix("s"), ONE)


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
    def priced_for(self) -> Decimal:
        """How many the price is for (BT-149), never none: all of them, so nothing is rounded."""
        return abs(self.line.quantity) or Decimal(1)

    @property
    def quantity(self) -> Decimal:
        """The quantity with the amount's sign, which a price cannot bear (BR-27)."""
        if self.gross == 0:
            return abs(self.line.quantity)
        return self.priced_for.copy_sign(Decimal(self.gross))


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
        # One price for all: no tier and no share of a period is lost in a rounded price of one.
        _add(price, "ram:ChargeAmount", self._major(abs(priced.gross)))
        _add(price, "ram:BasisQuantity", plain(priced.priced_for), **unit)
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
        tax_id = said(party, "tax_id")
        if tax_id and not vat:
            _add(at, "ram:ID", tax_id)  # BR-CO-26: some id there must be
        _add(at, "ram:Name", said(party, "name"))
        self._address(_path(at, "PostalTradeAddress"), party)
        if said(party, "email"):
            mailbox = _path(at, "URIUniversalCommunication")
            _add(mailbox, "ram:URIID", said(party, "email"), schemeID="EM")
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
        _add(at, "ram:CountryID", country_code(party))
        self._part(at, "CountrySubDivisionName", party, "region")

    def _part(self, at: Any, name: str, party: Mapping[str, Any], key: str) -> None:
        if said(party, key):
            _add(at, f"ram:{name}", said(party, key))

    def _settlement(self, at: Any) -> None:
        document = self.document
        _add(at, "ram:PaymentReference", visible(document.number or ""))
        _add(at, "ram:InvoiceCurrencyCode", document.currency)
        self._payment_means(at)
        for group in by_rate(document.taxes).values():
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

    def _tax(self, at: Any, group: Group) -> None:
        reason, code = self._reason(group), self._exemption_code(group)
        _add(at, "ram:CalculatedAmount", self._major(group.amount))
        _add(at, "ram:TypeCode", "VAT")
        if reason:
            _add(at, "ram:ExemptionReason", reason)
        _add(at, "ram:BasisAmount", self._major(group.base))
        _add(at, "ram:CategoryCode", group.category)
        if code:
            _add(at, "ram:ExemptionReasonCode", code)
        self._percent(at, group.category, group.percent)

    def _reason(self, group: Group) -> str:
        """Return why there is no tax in words; outside the scope some are a must (BR-O-10)."""
        return notice(group.tax) or (_("Not subject to tax.") if group.category == "O" else "")

    def _exemption_code(self, group: Group) -> str:
        """Return why there is no tax as a code of the EU's directive, for who sells from there."""
        code = EXEMPTION_CODES.get(group.category, "") or exemption_code(group.tax)
        sold_from = tax_area(said(self.document.parties["issuer"], "country"))
        return code if sold_from in EU else ""

    def _rate(self, at: Any, tax: Tax) -> None:
        _add(at, "ram:TypeCode", "VAT")
        _add(at, "ram:CategoryCode", category(tax))
        self._percent(at, category(tax), tax.charged_percent)

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
        return any(category(line.tax_rates[0]) == "O" for line in self.document.lines)

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
