from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from pypdf import PdfReader

from apps.engine.prices import parse_terms
from apps.engine.proration import change
from apps.engine.rating import rate
from apps.invoicing import pdf
from apps.invoicing.document import Document
from apps.invoicing.paper.words import Words, locale_of
from tests.invoicing import papers

HOSTILE = (
    '#read("invoice.typ")',
    '#{panic("executed")}',
    "$x^2$ *bold* _soft_ `code` <label> @reference",
    "[brackets] {braces} \\ backslash // comment /* open",
    '"; #import "secret.typ"',
    "=heading\n- list\n+ list",
)
FOREIGN = (
    "漢字株式会社",
    "😀 & Sons",
    "שלום בע״מ",
    "شركة مرحبا",
    "Ελληνικά ЖЖ",
    "a\x00\x01\u202eb",
)


def text_of(document: Document) -> str:
    pages = PdfReader(io.BytesIO(pdf.render(document))).pages
    return "\n".join(page.extract_text() for page in pages).replace("\u200b", "")


def test_the_invoice_says_what_is_owed_and_how_it_came_about() -> None:
    text = text_of(papers.gateway())
    for said in (
        "INV-000003",
        "$262.99 due 15 Dec 2023",
        "1 Nov 2023 – 30 Nov 2023",
        "8,819 − 5,000 included = 3,819 billable",
        "$20.559974 exactly, rounded once to $20.56",
        "above 5,000,000",
        "8,819 events counted by the meter ai_requests",
        "0f" * 16,
        "IBAN GB33",
        papers.gateway().content_hash,
    ):
        assert said in text, said


def test_a_document_from_before_taxes_keeps_its_fingerprint() -> None:
    assert papers.gateway().content_hash == (
        "b1ca7801de3dfc9fbbe88dd499c233fcb6cc22f736c925ace79c2f06cff1c344"
    )


def test_the_fingerprint_covers_discounts_taxes_credits_and_what_is_corrected() -> None:
    rich, note = papers.rich(), papers.credit_note()
    altered = [
        replace(rich, discounts=()),
        replace(rich, taxes=rich.taxes[:1]),
        replace(rich, credits=()),
        replace(rich, note="another"),
        replace(rich, kind="one_off"),
        replace(rich, corrects=note.corrects),
        replace(rich, lines=tuple(replace(line, discount=1) for line in rich.lines)),
        replace(rich, lines=tuple(replace(line, tax_rates=()) for line in rich.lines)),
    ]
    hashes = {document.hash() for document in (rich, *altered)}
    assert len(hashes) == len(altered) + 1


def test_the_fingerprint_is_of_json_with_sorted_keys_and_every_character_as_it_is() -> None:
    document = replace(papers.rich(), note='\x00\x1f\x7f\u2028"\\/' + "".join(FOREIGN))
    text = json.dumps(document.content(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert document.hash() == hashlib.sha256(text.encode()).hexdigest()


def test_the_same_document_makes_the_same_bytes() -> None:
    assert pdf.render(papers.gateway()) == pdf.render(papers.gateway())


def test_the_file_declares_that_it_may_be_archived() -> None:
    content = pdf.render(papers.gateway())
    metadata = PdfReader(io.BytesIO(content)).xmp_metadata
    assert metadata is not None
    assert b"pdfaid:part>3<" in content or b'pdfaid:part="3"' in content


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_printed_and_not_executed(name: str) -> None:
    hostile = papers.document(
        papers.line("x", {"model": "flat", "amount": "1"}, "1", name=name),
        customer={"name": name, "address": name, "email": name},
    )
    text = text_of(hostile)
    assert "".join(name.split()) in "".join(text.split())
    assert "sys.inputs" not in text


@pytest.mark.parametrize("name", FOREIGN)
def test_a_name_in_any_script_makes_a_file(name: str) -> None:
    assert pdf.render(papers.document(*papers.gateway_lines(), customer={"name": name}))


def flat(document: Document) -> str:
    """Return the text with every kind of space as one plain one."""
    return " ".join(text_of(document).split())


def test_discounts_taxes_and_credits_lead_from_the_lines_to_what_is_to_pay() -> None:
    text = flat(papers.rich())
    rows = (
        "Zwischensumme 941,13 €",
        "Launch offer 10 % -98,69 €",
        "VAT 19 % auf 243,50 € 46,27 €",
        "VAT 7 % auf 644,62 € 45,12 €",
        "VAT 0 % auf -45,68 € 0,00 €",
        "Betrag vor Guthaben 933,83 €",
        "Prepaid credit -100,00 €",
        "Summe 833,83 €",
    )
    places = [text.index(row) for row in rows]
    assert places == sorted(places)
    assert "Rabatt -25,00 €" in text
    assert "7,5 hour 7 % 716,25 €" in text
    assert "Bestellung 4711" in text
    assert "IBAN DE89" in text


def test_a_tax_inside_the_prices_adds_nothing() -> None:
    text = flat(papers.with_prices_that_include_tax())
    assert "Summe 260,56 € Enthält VAT 19 % auf 218,96 € 41,60 €" in text


def test_what_credit_notes_took_off_is_no_longer_due() -> None:
    document = replace(papers.rich(), credited=33_83, amount_paid=200_00, amount_due=600_00)
    assert "Rechnungskorrekturen -33,83 € Bezahlt -200,00 € Noch fällig 600,00 €" in flat(document)


def test_a_credit_note_names_what_it_corrects_and_asks_for_nothing() -> None:
    text = flat(papers.credit_note())
    for said in (
        "Rechnungskorrektur CN-000001",
        "Korrigiert INV-000003 vom 01.12.2023",
        "148,75 € zu Ihren Gunsten",
        "Der Dienst stand einen halben Monat lang still.",
    ):
        assert said in text, said
    assert "IBAN" not in text
    assert "Fällig" not in text


@pytest.mark.parametrize(
    ("locale", "said"),
    [
        ("en", "Reverse charge: the customer owes the tax."),
        ("de", "Steuerschuldnerschaft des Leistungsempfängers (Reverse Charge)."),
        ("fr", "Autoliquidation : la taxe est due par le client."),
        ("es", "Inversión del sujeto pasivo: el impuesto lo debe el cliente."),
        ("it", "Inversione contabile: l’imposta è dovuta dal cliente."),
        ("nl", "Btw verlegd: de afnemer is de belasting verschuldigd."),
        ("ja", "リバースチャージ：納税義務者はお客様です。"),
    ],
)
def test_reverse_charge_is_said_as_each_law_has_it(locale: str, said: str) -> None:
    document = replace(papers.reverse_charge(), locale=locale)
    assert "".join(said.split()) in "".join(text_of(document).split())
    assert "FR 83 404 833 048" in flat(document)


def test_an_exemption_says_its_ground() -> None:
    assert "Small supplies" in flat(papers.dinars())


def test_dinars_have_three_decimals_and_yen_none() -> None:
    assert "KWD12.345 due" in flat(papers.dinars("12.345"))
    assert "￥7,479" in flat(papers.taxed_yen())


def test_the_head_of_the_table_stands_on_every_page_of_lines() -> None:
    pages = PdfReader(io.BytesIO(pdf.render(papers.long()))).pages
    texts = [page.extract_text() for page in pages]
    lines = texts[: next(n for n, text in enumerate(texts) if "How these amounts" in text)]
    assert len(lines) > 3
    assert all("Description" in text for text in lines if "Enterprise" in text)


def test_an_address_in_parts_is_printed_with_the_town() -> None:
    customer = {"address": "Marktplatz 1", "postcode": "10115", "city": "Berlin"}
    assert "Marktplatz 1 10115 Berlin" in flat(
        papers.document(*papers.gateway_lines(), customer=customer)
    )


def test_what_no_font_of_ours_can_write_is_written_in_english() -> None:
    text = text_of(replace(papers.gateway(), locale="ar"))
    assert "262.99" in text


def test_an_invoice_in_japanese_needs_no_font_of_the_machine() -> None:
    text = text_of(papers.taxed_yen())
    for said in ("請求書", "￥7,479", "Consumption tax 10%（対象額 ￥4,980）"):
        assert said in text, said


def test_yen_have_no_decimals() -> None:
    words = Words.of(replace(papers.yen(), locale="en"))
    assert (words.money(4980), words.rate("4980"), words.rate("1852.5")) == (
        "¥4,980",
        "¥4,980",
        "¥1,852.50",
    )


def test_dates_are_those_of_the_customers_zone() -> None:
    words = Words.of(replace(papers.yen(), locale="en"))
    assert words.period(papers.yen().period) == "1 Feb 2026 – 28 Feb 2026"
    elsewhere = Words.of(replace(papers.gateway(), timezone="Asia/Tokyo"))
    assert "9:00:00" in elsewhere.period(papers.NOVEMBER)


def test_an_amount_without_a_finite_decimal_is_marked() -> None:
    assert Words.of(papers.gateway()).rate("1/3") == "≈ $0.333333"


@pytest.mark.parametrize(
    ("name", "known"), [("de-DE", "de_DE"), ("tlh", "en"), ("", "en"), ("de_XX_bad", "de")]
)
def test_an_unknown_locale_falls_back(name: str, known: str) -> None:
    assert locale_of(name) == known


@pytest.mark.parametrize(
    ("status", "said"),
    [("draft", "Draft"), ("upcoming", "to be billed on"), ("void", "this invoice is void")],
)
def test_what_is_no_open_invoice_says_so(status: str, said: str) -> None:
    number = papers.gateway().number if status == "void" else None
    text = text_of(replace(papers.gateway(), status=status, number=number, amount_due=0))
    assert said in text
    assert "Please pay" not in text


def test_a_partly_paid_invoice_asks_for_the_rest() -> None:
    text = text_of(replace(papers.gateway(), amount_paid=100_00, amount_due=162_99))
    assert "Please pay $162.99" in text
    assert "-$100.00" in text


def test_a_change_of_quantity_shows_both_sides_and_the_share() -> None:
    twelve, fifteen = (
        rate(parse_terms(papers.SEAT), quantity=Decimal(n), currency="USD") for n in (12, 15)
    )
    moved = change(twelve, fifteen, share=Fraction(8, 31))
    line = replace(
        papers.line("seats", papers.SEAT, "3"),
        kind="proration",
        reason="quantity_changed",
        amount=moved.amount.minor,
        explanation=moved.explain(),
    )
    text = text_of(papers.document(line))
    for said in (
        "Change of quantity by +3",
        "Before the change",
        "$708.00",
        "Difference × 8/31 of the period",
        "≈ $45.677419, rounded once to $45.68",
    ):
        assert said in text, said


def test_many_long_lines_take_several_pages() -> None:
    assert len(PdfReader(io.BytesIO(pdf.render(papers.long()))).pages) > 5


def test_the_file_name_is_the_number() -> None:
    assert pdf.file_name(papers.gateway()) == "INV-000003.pdf"
    assert pdf.file_name(replace(papers.gateway(), number="../../etc/x")) == "etc-x.pdf"


def test_a_credit_is_in_the_customers_favour_and_asks_for_nothing() -> None:
    text = text_of(replace(papers.gateway(), total=-16_00, subtotal=-16_00, amount_due=-16_00))
    assert "$16.00 in your favour" in text
    assert "Please pay" not in text
