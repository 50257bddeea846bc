from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import pytest
from facturx import get_facturx_xml_from_pdf, xml_check_xsd
from lxml import etree
from pypdf import PdfReader

from apps.engine.money import EXPONENTS
from apps.invoicing import einvoice, pdf
from apps.invoicing.document import Document
from apps.invoicing.einvoice import Obstacle
from apps.invoicing.paper import cii, hybrid
from apps.invoicing.paper.cii import NAMESPACES
from apps.invoicing.paper.vat import vat_id
from apps.invoicing.paper.words import is_country
from tests.invoicing import papers
from tests.invoicing.published import RULES, broken_rules

ABROAD = papers.FRENCH_CUSTOMER | {"country": "CH", "tax_id": "CHE-123.456.788 MWST"}


def with_party(document: Document, side: str, party: Mapping[str, Any]) -> Document:
    return replace(document, parties={**document.parties, side: party})


def xml_of(document: Document) -> bytes:
    made = einvoice.of(document)
    assert made.xml is not None, made.obstacles
    return made.xml


def said(document: Document, path: str) -> list[str]:
    root = etree.fromstring(xml_of(document))
    return [node.text for node in root.iterfind(f".//{path}", NAMESPACES)]


def exported() -> Document:
    lines = (papers.taxed(one, "0", treatment="export") for one in papers.euro_lines()[:3])
    return papers.settled(*lines, parties={"customer": ABROAD}, locale="it")


def outside_scope() -> Document:
    base = papers.taxed(papers.euro_lines()[0], "0", treatment="outside_scope")
    return papers.settled(base, parties={"customer": ABROAD}, locale="nl")


def service_abroad() -> Document:
    base = papers.taxed(papers.euro_lines()[0], "0", treatment="export", ground="VATEX-EU-O")
    return papers.settled(base, parties={"customer": ABROAD})


def without_any_tax() -> Document:
    seller = papers.PARTIES["issuer"] | {"country": "US", "tax_id": "12-3456789"}
    fee = papers.line("base", {"model": "flat", "amount": "9"}, "1", name="Base fee")
    base = papers.taxed(fee, "0", treatment="none", name="")
    parties = {"issuer": seller, "customer": papers.PARTIES["customer"]}
    return papers.settled(base, currency="USD", locale="en", timezone="UTC", parties=parties)


def partly_paid() -> Document:
    return replace(papers.rich(), amount_paid=200_00, credited=33_83, amount_due=600_00)


def negative() -> Document:
    return papers.settled(papers.taxed(papers.euro_lines()[3], "19"))


def of_a_seller_with_a_national_number() -> Document:
    seller = papers.GERMAN_SELLER | {"tax_id": "41/815/08155"}
    return with_party(papers.rich(), "issuer", seller)


FIT: tuple[Callable[[], Document], ...] = (
    papers.rich,
    papers.reverse_charge,
    papers.credit_note,
    papers.with_prices_that_include_tax,
    papers.taxed_yen,
    papers.dinars,
    exported,
    outside_scope,
    service_abroad,
    without_any_tax,
    partly_paid,
    negative,
    of_a_seller_with_a_national_number,
)


@pytest.mark.parametrize("make", FIT, ids=lambda make: make.__name__)
def test_the_published_schema_and_rules_find_nothing(make: Callable[[], Document]) -> None:
    assert xml_check_xsd(xml_of(make()), flavor="factur-x", level="en16931")
    assert broken_rules(xml_of(make())) == []


@pytest.mark.parametrize(
    ("right", "wrong", "rule"),
    [
        (b">46.27<", b">56.27<", "BR-CO-14"),
        (b">933.83<", b">933.82<", "BR-CO-15"),
        (b'schemeID="VA">DE', b'schemeID="VA">', "BR-CO-09"),
        (b'"C62"', b'"PIECE"', "Value of '@unitCode' is not allowed"),
        (b">S<", b">Q<", "Value of 'ram:CategoryCode' is not allowed"),
    ],
)
def test_the_published_rules_do_find_something(right: bytes, wrong: bytes, rule: str) -> None:
    xml = xml_of(papers.rich()).replace(right, wrong)
    assert any(rule in broken for broken in broken_rules(xml))


def test_what_we_write_is_in_the_published_code_lists() -> None:
    lists = [
        {code.get("value") for code in one}
        for one in etree.parse(str(RULES.with_name("FACTUR-X_EN16931_codedb.xml"))).iter("cl")
    ]
    currencies = next(codes for codes in lists if "EUR" in codes and "AAA" not in codes)
    countries = next(codes for codes in lists if {"DE", "1A"} <= codes)
    units = next(codes for codes in lists if "C62" in codes)
    grounds = next(codes for codes in lists if "VATEX-EU-AE" in codes)
    assert set(EXPONENTS) - currencies == einvoice.WITHDRAWN_CURRENCIES
    assert {*cii.UNITS.values(), cii.ONE} <= units
    assert set(cii.EXEMPTION_CODES.values()) <= grounds
    known = {a + b for a in "1" + ascii_uppercase for b in ascii_uppercase if is_country(a + b)}
    assert known == countries


def test_a_service_abroad_is_outside_the_scope_and_no_export() -> None:
    assert set(said(service_abroad(), "ram:CategoryCode")) == {"O"}
    assert said(service_abroad(), "ram:ExemptionReasonCode") == ["VATEX-EU-O"]
    assert set(said(exported(), "ram:CategoryCode")) == {"G"}


def test_where_no_tax_is_collected_the_paper_is_silent_and_the_xml_says_so() -> None:
    assert said(without_any_tax(), "ram:ExemptionReason") == ["Not subject to tax."]
    assert said(without_any_tax(), "ram:ExemptionReasonCode") == []
    pages = PdfReader(io.BytesIO(pdf.render(without_any_tax()))).pages
    text = pages[0].extract_text()
    assert "Total" in text
    assert "0%" not in text
    assert "Not subject" not in text


def test_a_code_is_the_ground_of_an_exemption_and_words_are_too() -> None:
    base = papers.euro_lines()[0]
    coded = papers.taxed(base, "0", treatment="exempt", ground="VATEX-EU-132-1I")
    worded = papers.taxed(base, "0", treatment="exempt", ground="§ 19 UStG")
    assert said(papers.settled(coded), "ram:ExemptionReasonCode") == ["VATEX-EU-132-1I"]
    assert said(papers.settled(coded), "ram:ExemptionReason") == ["Exempt from tax."]
    assert said(papers.settled(worded), "ram:ExemptionReason") == ["§ 19 UStG"]
    assert broken_rules(xml_of(papers.settled(coded))) == []
    assert broken_rules(xml_of(papers.settled(worded))) == []


def test_an_address_in_parts_is_told_in_parts() -> None:
    buyer = papers.GERMAN_CUSTOMER | {"postcode": "10115", "city": "Berlin", "region": "BE"}
    document = with_party(papers.rich(), "customer", buyer)
    address = "ram:BuyerTradeParty/ram:PostalTradeAddress/ram:"
    assert said(document, address + "PostcodeCode") == ["10115"]
    assert said(document, address + "CityName") == ["Berlin"]
    assert said(document, address + "LineThree") == ["Aufgang B, 10115 Berlin"]
    assert broken_rules(xml_of(document)) == []


def test_the_sums_are_those_of_the_paper() -> None:
    summation = "ram:SpecifiedTradeSettlementHeaderMonetarySummation/ram:"
    sums = {
        "LineTotalAmount": "842.44",
        "TaxBasisTotalAmount": "842.44",
        "TaxTotalAmount": "91.39",
        "GrandTotalAmount": "933.83",
        "TotalPrepaidAmount": "100.00",
        "DuePayableAmount": "833.83",
    }
    for name, amount in sums.items():
        assert said(papers.rich(), summation + name) == [amount]


def test_what_was_paid_is_no_longer_asked_for() -> None:
    asked = "ram:SpecifiedTradeSettlementHeaderMonetarySummation/ram:"
    assert said(partly_paid(), asked + "TotalPrepaidAmount") == ["333.83"]
    assert said(partly_paid(), asked + "DuePayableAmount") == ["600.00"]


def test_a_line_keeps_its_quantity_and_its_amount_without_a_rounded_price() -> None:
    """18,059,974 tokens for 20.56: the price is for all of them."""
    assert said(papers.rich(), "ram:BasisQuantity") == ["1", "18059974", "7.5", "3"]
    assert said(papers.rich(), "ram:BilledQuantity") == ["1", "18059974", "7.5", "-3"]
    charged = said(papers.rich(), "ram:NetPriceProductTradePrice/ram:ChargeAmount")
    assert charged == ["250.00", "20.56", "716.25", "45.68"]
    net = said(papers.rich(), "ram:LineTotalAmount")
    assert net[:4] == ["225.00", "18.50", "644.62", "-45.68"]


@pytest.mark.parametrize(
    ("quantity", "amount", "billed", "priced_for"),
    [
        ("0", 0, "0", "1"),
        ("0", 5_00, "1", "1"),
        ("7", 0, "7", "7"),
        ("3", -5_00, "-3", "3"),
        ("-3", 5_00, "3", "3"),
    ],
)
def test_the_quantity_bears_the_sign_and_a_price_is_for_something(
    quantity: str, amount: int, billed: str, priced_for: str
) -> None:
    line = replace(papers.euro_lines()[0], quantity=Decimal(quantity), amount=amount)
    document = papers.settled(papers.taxed(line, "19"))
    assert said(document, "ram:BilledQuantity") == [billed]
    assert said(document, "ram:BasisQuantity") == [priced_for]
    assert broken_rules(xml_of(document)) == []


def test_prices_that_include_tax_are_told_without_it() -> None:
    """240.00 with 19 % is 201.68 net; the discount of 10.00 is 8.40 net."""
    allowance = "ram:SpecifiedTradeAllowanceCharge/ram:ActualAmount"
    assert said(papers.with_prices_that_include_tax(), allowance) == ["8.40"]
    assert said(papers.with_prices_that_include_tax(), "ram:LineTotalAmount") == [
        "201.68",
        "17.28",
        "218.96",
    ]
    assert said(papers.with_prices_that_include_tax(), "ram:GrandTotalAmount") == ["260.56"]


def test_yen_have_no_decimals_and_dinars_two() -> None:
    assert said(papers.taxed_yen(), "ram:GrandTotalAmount") == ["7479"]
    assert said(papers.dinars(), "ram:GrandTotalAmount") == ["12.34"]


def test_days_are_those_of_the_documents_zone_and_the_last_one_counts() -> None:
    """November in Berlin starts on 31 October in UTC, and its end is no part of it."""
    period = "ram:BillingSpecifiedPeriod/ram:{}/udt:DateTimeString"
    assert set(said(papers.rich(), period.format("StartDateTime"))) == {"20231101"}
    assert set(said(papers.rich(), period.format("EndDateTime"))) == {"20231130"}
    assert said(papers.rich(), "ram:IssueDateTime/udt:DateTimeString") == ["20231201"]


def test_reverse_charge_is_told_in_words_and_as_a_code() -> None:
    document = papers.reverse_charge()
    assert said(document, "ram:ExemptionReasonCode") == ["VATEX-EU-AE"]
    assert said(document, "ram:ExemptionReason") == [
        "Autoliquidation : la taxe est due par le client."
    ]
    assert set(said(document, "ram:RateApplicablePercent")) == {"0"}
    assert "FR83404833048" in said(document, "ram:SpecifiedTaxRegistration/ram:ID")


def test_a_rate_that_is_only_named_is_not_charged() -> None:
    base = papers.euro_lines()[0]
    named = replace(
        papers.taxed(base, "0", treatment="reverse_charge").tax_rates[0], percent=Decimal(19)
    )
    line = replace(base, tax_rates=(named,))
    document = papers.settled(line, parties={"customer": papers.FRENCH_CUSTOMER})
    assert set(said(document, "ram:RateApplicablePercent")) == {"0"}
    assert broken_rules(xml_of(document)) == []


def test_codes_of_the_eus_directive_are_for_sellers_in_the_eu() -> None:
    seller = papers.GERMAN_SELLER | {"country": "CH", "tax_id": "CHE-123.456.788 MWST"}
    document = with_party(exported(), "issuer", seller)
    assert said(document, "ram:ExemptionReasonCode") == []
    assert broken_rules(xml_of(document)) == []


def test_a_credit_note_names_what_it_corrects() -> None:
    assert said(papers.credit_note(), "ram:TypeCode")[0] == "381"
    assert said(papers.credit_note(), "ram:IssuerAssignedID") == ["INV-000003"]
    assert said(papers.rich(), "ram:TypeCode")[0] == "380"


@pytest.mark.parametrize(
    ("details", "found"),
    [
        ("Bank\nIBAN DE89 3704 0044 0532 0130 00", "DE89370400440532013000"),
        ("iban: gb33bukb20201555555555 BIC BUKBGB22", "GB33BUKB20201555555555"),
        ("IBAN DE89 3704 0044 0532 0130 01", ""),
        ("Account 1234567, routing 021000021", ""),
        ("", ""),
    ],
)
def test_the_account_is_the_iban_in_the_bank_details(details: str, found: str) -> None:
    assert cii.account(details) == found


def test_the_transfer_is_a_sepa_one_in_euros_only() -> None:
    means = "ram:SpecifiedTradeSettlementPaymentMeans/ram:TypeCode"
    assert said(papers.rich(), means) == ["58"]
    fee = papers.line("base", {"model": "flat", "amount": "9"}, "1", currency="CHF")
    assert said(papers.settled(papers.taxed(fee, "19"), currency="CHF"), means) == ["30"]


@pytest.mark.parametrize(
    ("country", "number", "found"),
    [
        ("DE", "DE 136 695 976", "DE136695976"),
        ("GR", "EL094259216", "EL094259216"),
        ("GB", "XI 980 7806 84", "XI980780684"),
        ("CH", "CHE-123.456.788 MWST", "CHE123456788MWST"),
        ("DE", "41/815/08155", ""),
        ("FR", "DE136695976", "DE136695976"),
        ("US", "12-3456789", ""),
        ("FR", "CHE-123.456.788 MWST", ""),
        ("DE", "DE", ""),
        ("", "DE136695976", ""),
    ],
)
def test_a_vat_id_starts_with_its_country_or_a_member_state(
    country: str, number: str, found: str
) -> None:
    assert vat_id({"country": country, "tax_id": number}) == found


@pytest.mark.parametrize(
    ("unit", "code"),
    [("hour", "HUR"), ("GB", "E34"), ("days", "DAY"), ("seat", "C62"), ("", "C62")],
)
def test_units_are_coded_and_what_has_no_code_is_counted(unit: str, code: str) -> None:
    assert cii.unit_code(replace(papers.euro_lines()[0], unit=unit)) == code


def test_hostile_text_stays_text() -> None:
    name = "</ram:Name><ram:Name>\x00\x1b\ud800]]>&#x0;"
    line = replace(papers.rich().lines[0], name=name)
    document = replace(papers.rich(), lines=(line, *papers.rich().lines[1:]), note=name)
    assert said(document, "ram:SpecifiedTradeProduct/ram:Name")[0] == (
        "</ram:Name><ram:Name>]]>&#x0;"
    )
    assert broken_rules(xml_of(document)) == []


# --- what cannot be one ---------------------------------------------------------------------------


def without(side: str, name: str, value: str = "") -> Document:
    party = papers.rich().parties[side] | {name: value}
    return with_party(papers.rich(), side, party)


def with_first_line(**changes: Any) -> Document:
    first, *others = papers.rich().lines
    return replace(papers.rich(), lines=(replace(first, **changes), *others))


def with_first_tax(**changes: Any) -> Document:
    return with_first_line(tax_rates=(replace(papers.rich().lines[0].tax_rates[0], **changes),))


GOODS = {"treatment": "reverse_charge", "ground": "VATEX-EU-IC"}


def half_outside() -> Document:
    base, tokens, *_rest = papers.euro_lines()
    return papers.settled(
        papers.taxed(base, "0", treatment="outside_scope"), papers.taxed(tokens, "19")
    )


UNFIT: tuple[tuple[Obstacle, Callable[[], Document]], ...] = (
    (Obstacle.NOT_ISSUED, lambda: replace(papers.rich(), number=None)),
    (Obstacle.VOID, lambda: replace(papers.rich(), status="void")),
    (Obstacle.NO_LINES, lambda: papers.settled()),
    (Obstacle.SELLER_NAME, lambda: without("issuer", "name", " ")),
    (Obstacle.SELLER_COUNTRY, lambda: without("issuer", "country")),
    (Obstacle.SELLER_TAX_ID, lambda: without("issuer", "tax_id")),
    (
        Obstacle.SELLER_VAT_ID,
        lambda: replace(exported(), parties=of_a_seller_with_a_national_number().parties),
    ),
    (Obstacle.BUYER_NAME, lambda: without("customer", "name")),
    (Obstacle.BUYER_COUNTRY, lambda: without("customer", "country")),
    (
        Obstacle.BUYER_VAT_ID,
        lambda: replace(papers.reverse_charge(), parties=papers.rich().parties),
    ),
    (Obstacle.CORRECTED_INVOICE, lambda: replace(papers.credit_note(), corrects=None)),
    (Obstacle.CURRENCY_DECIMALS, lambda: papers.dinars("12.345")),
    (Obstacle.TAX_NOT_STATED, papers.gateway),
    (
        Obstacle.SEVERAL_TAXES,
        lambda: with_first_line(tax_rates=papers.rich().lines[0].tax_rates * 2),
    ),
    (Obstacle.NOT_VAT, lambda: with_first_tax(kind="sales")),
    (Obstacle.UNKNOWN_TREATMENT, lambda: with_first_tax(treatment="margin_scheme")),
    (Obstacle.UNKNOWN_TREATMENT, lambda: with_first_tax(**GOODS)),
    (Obstacle.OUTSIDE_AND_INSIDE, half_outside),
    (Obstacle.AMOUNTS, lambda: with_first_tax(base=225_01)),
    (Obstacle.AMOUNTS, lambda: replace(papers.rich(), total=833_82)),
    (Obstacle.SELLER_COUNTRY, lambda: without("issuer", "country", "ZZ")),
    (Obstacle.CURRENCY, lambda: replace(papers.rich(), currency="BGN")),
)


@pytest.mark.parametrize(("obstacle", "make"), UNFIT)
def test_what_cannot_be_said_truly_is_not_said_and_the_paper_is_still_made(
    obstacle: Obstacle, make: Callable[[], Document]
) -> None:
    made = einvoice.of(make())
    assert made.xml is None
    assert obstacle in made.obstacles
    assert einvoice.MEANING[obstacle] in made.reasons
    assert pdf.paper(make()).content.startswith(b"%PDF")


def test_every_obstacle_has_its_words() -> None:
    assert set(einvoice.MEANING) == set(Obstacle)


def test_every_obstacle_is_documented() -> None:
    page = Path("docs/invoices.md").read_text()
    for obstacle, meaning in einvoice.MEANING.items():
        assert f"| `{obstacle}` | {meaning} |" in page


def test_every_obstacle_can_be_met() -> None:
    assert {obstacle for obstacle, _make in UNFIT} == set(Obstacle) - {Obstacle.NOT_ARCHIVAL}


def test_all_reasons_are_told_at_once() -> None:
    document = replace(without("issuer", "tax_id"), number=None)
    assert einvoice.of(document).obstacles == (Obstacle.NOT_ISSUED, Obstacle.SELLER_TAX_ID)


# --- inside the PDF -------------------------------------------------------------------------------


@pytest.mark.parametrize("make", FIT, ids=lambda make: make.__name__)
def test_the_file_carries_the_very_xml(make: Callable[[], Document]) -> None:
    made = pdf.paper(make())
    name, xml = get_facturx_xml_from_pdf(made.content)
    assert (name, xml) == ("factur-x.xml", made.einvoice.xml)
    assert xml == xml_of(make())


def test_the_file_says_that_it_is_factur_x_and_may_be_archived() -> None:
    reader = PdfReader(io.BytesIO(pdf.render(papers.rich())))
    root = reader.root_object
    attached = root["/AF"][0].get_object()  # type: ignore[index]
    assert attached["/AFRelationship"] == "/Alternative"
    assert attached["/EF"]["/F"].get_object()["/Subtype"] == "/text/xml"
    xmp = etree.fromstring(root["/Metadata"].get_data())  # type: ignore[attr-defined]
    told = {node.tag.split("}")[1]: node.text for node in xmp.iter(f"{{{hybrid.URN}}}*")}
    assert told == {
        "DocumentFileName": "factur-x.xml",
        "DocumentType": "INVOICE",
        "Version": "1.0",
        "ConformanceLevel": "EN 16931",
    }
    declared = "".join(xmp.itertext())
    assert all(part in declared for part in ("Factur-X PDFA Extension Schema", "3", "B"))


def test_the_same_invoice_makes_the_same_file() -> None:
    assert pdf.render(papers.rich()) == pdf.render(papers.rich())


def test_a_file_that_is_not_archival_carries_no_xml() -> None:
    document = without("customer", "name", "\U00012000")
    made = pdf.paper(document)
    assert made.einvoice.obstacles == (Obstacle.NOT_ARCHIVAL,)
    assert PdfReader(io.BytesIO(made.content)).attachments == {}


def test_only_what_typst_wrote_can_be_marked() -> None:
    with pytest.raises(ValueError, match="typst"):
        hybrid.mark(hybrid.mark(pdf.render(papers.rich())) + b"more")
