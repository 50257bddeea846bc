"""Documents to print: made by the engine, without a database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from apps.engine.money import round_half_away
from apps.engine.period import Period
from apps.engine.prices import Terms, parse_terms
from apps.engine.rating import rate
from apps.invoicing.document import CREDIT_NOTE, Corrects, Deduction, Document, Line, Tax

NOVEMBER = Period(datetime(2023, 11, 1, tzinfo=UTC), datetime(2023, 12, 1, tzinfo=UTC))
DECEMBER = Period(datetime(2023, 12, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC))
BERLIN_NOVEMBER = Period(
    datetime(2023, 10, 31, 23, tzinfo=UTC), datetime(2023, 11, 30, 23, tzinfo=UTC)
)
CONTEXT = {
    "model": "graduated",
    "tiers": [
        {"up_to": 5_000_000, "unit_amount": "0.0000015"},
        {"up_to": None, "unit_amount": "0.000001"},
    ],
}
SEAT = {"model": "per_unit", "unit_amount": "59"}
PARTIES: dict[str, Any] = {
    "issuer": {
        "name": "Countinghouse Ltd",
        "address": "1 Ledger Lane\nLondon EC1A 1AA",
        "country": "GB",
        "tax_id": "GB123456789",
        "email": "billing@countinghouse.example",
        "bank_details": "Bank of Examples\nIBAN GB33 BUKB 2020 1555 5555 55",
    },
    "customer": {
        "id": "org_1",
        "name": "Acme Corporation",
        "address": "500 Main Street\nSpringfield, IL 62701",
        "country": "US",
        "tax_id": "",
        "email": "billing@acme.example",
    },
}


def line(
    key: str,
    terms: Mapping[str, object] | Terms,
    quantity: str,
    *,
    name: str = "",
    included: str = "0",
    period: Period = NOVEMBER,
    currency: str = "USD",
    events: int | None = None,
) -> Line:
    """Return a line of a price applied to a quantity; `events` makes it a metered one."""
    price = parse_terms(terms) if isinstance(terms, Mapping) else terms
    rated = rate(price, quantity=Decimal(quantity), included=Decimal(included), currency=currency)
    told: dict[str, Any] = {"plan": "gateway", "plan_version": 1, "agreed_with_customer": False}
    if events is not None:
        told["meter"] = key
        told["usage"] = {"event_count": events, "value_count": events, "events_hash": "0f" * 16}
    return Line(
        id=f"il_{key}",
        key=key,
        kind="advance" if events is None else "arrears",
        reason="recurring" if events is None else "usage",
        name=name or key.replace("_", " ").capitalize(),
        period=period,
        quantity=Decimal(quantity),
        amount=rated.amount.minor,
        explanation=told | rated.explain(),
    )


def document(*lines: Line, **changes: Any) -> Document:
    """Return an open invoice of the lines; `changes` replace fields, also of the customer."""
    customer = changes.pop("customer", {})
    total = sum(one.amount for one in lines)
    issued = NOVEMBER.end
    made = Document(
        id="inv_1",
        number="INV-000003",
        status="open",
        organization_id=1,
        subscription_id="sub_1",
        currency="USD",
        subtotal=total,
        total=total,
        amount_paid=0,
        amount_due=total,
        period=Period(NOVEMBER.start, DECEMBER.end),
        issued_at=issued,
        due_at=issued + timedelta(days=14),
        timezone="UTC",
        locale="en",
        parties={**PARTIES, "customer": {**PARTIES["customer"], **customer}},
        lines=lines,
        finalized_at=issued,
    )
    made = replace(made, **changes)
    return replace(made, content_hash=made.hash()) if made.number else made


def gateway_lines() -> tuple[Line, ...]:
    """Return the lines of a month at the AI gateway: 262.99 dollars."""
    return (
        line("base", {"model": "flat", "amount": "50"}, "1", name="Base fee", period=DECEMBER),
        line(
            "ai_requests",
            {"model": "per_unit", "unit_amount": "0.05"},
            "8819",
            name="AI requests",
            included="5000",
            events=8819,
        ),
        line("context_tokens", CONTEXT, "18059974", events=8819),
        line(
            "generated_tokens",
            {"model": "package", "package_size": 1000, "unit_amount": "0.006"},
            "245896",
            events=8819,
        ),
    )


def gateway() -> Document:
    """Return the invoice of 262.99 dollars."""
    return document(*gateway_lines())


def yen() -> Document:
    """Return an invoice in a currency without decimals, for Tokyo, in Japanese notation."""
    period = Period(datetime(2026, 1, 31, 15, tzinfo=UTC), datetime(2026, 2, 28, 15, tzinfo=UTC))
    fee = line("base", {"model": "flat", "amount": "4980"}, "1", period=period, currency="JPY")
    used = line(
        "api_calls",
        {"model": "per_unit", "unit_amount": "1.5"},
        "1235",
        period=period,
        currency="JPY",
        events=1235,
    )
    return document(
        fee,
        used,
        currency="JPY",
        timezone="Asia/Tokyo",
        locale="ja",
        period=period,
        issued_at=period.end,
        due_at=period.end + timedelta(days=14),
        customer={"name": "Initech KK", "country": "JP"},
    )


def long() -> Document:
    """Return an invoice of several pages with names that hardly fit."""
    lines = [
        line(
            f"item_{number}",
            {"model": "per_unit", "unit_amount": "3.25"},
            str(number * 100_000_000_000),
            name=f"{number}: " + "Enterprise orchestration and observability suite " * 3,
            events=number,
        )
        for number in range(1, 41)
    ]
    return document(*lines, customer={"name": "W" * 200, "address": "Street " * 40})


GERMAN_SELLER = {
    "name": "Zählwerk GmbH",
    "address": "Kontorstraße 3\n20457 Hamburg",
    "country": "DE",
    "tax_id": "DE 136 695 976",
    "email": "rechnung@zaehlwerk.example",
    "bank_details": "Beispielbank\nIBAN DE89 3704 0044 0532 0130 00",
}
FRENCH_CUSTOMER = {
    "id": "org_2",
    "name": "Société Générique SARL",
    "address": "12 rue de la Paix\n75002 Paris",
    "country": "FR",
    "tax_id": "FR 83 404 833 048",
    "email": "factures@generique.example",
}
GERMAN_CUSTOMER = {
    "id": "org_3",
    "name": "Müller & Söhne OHG",
    "address": "Hinterhof\nGroße Straße 1\nAufgang B\n10115 Berlin",
    "country": "DE",
    "tax_id": "",
    "email": "einkauf@mueller.example",
}


def taxed(line_: Line, percent: str, *, discount: int = 0, **changes: Any) -> Line:
    """Return the line with a discount and one tax, rounded on the line."""
    share = Fraction(Decimal(percent)) / 100
    billed = line_.amount - discount
    if changes.get("inclusive"):
        base = round_half_away(billed / (1 + share))
        amount = billed - base
    else:
        base, amount = billed, round_half_away(billed * share)
    tax = Tax(
        **{"name": "VAT", "percent": Decimal(percent), "base": base, "amount": amount, **changes}
    )
    return replace(line_, discount=discount, tax_rates=(tax,))


def settled(*lines: Line, **changes: Any) -> Document:
    """Return a German seller's open invoice of taxed lines, in euros unless `changes` say else."""
    discounts: tuple[Deduction, ...] = changes.pop("discounts", ())
    credits_: tuple[Deduction, ...] = changes.pop("credits", ())
    taxes = gathered(lines)
    discount, used = (sum(d.amount for d in some) for some in (discounts, credits_))
    subtotal = sum(line.amount for line in lines)
    added = sum(tax.amount for tax in taxes if not tax.inclusive)
    total = subtotal - discount + added - used
    assert discount == sum(line.discount for line in lines)
    amounts = {
        "subtotal": subtotal,
        "discount": discount,
        "discounts": discounts,
        "tax": sum(tax.amount for tax in taxes),
        "taxes": taxes,
        "credits": credits_,
        "credits_total": used,
        "total": total,
        "amount_due": total,
    }
    parties = {"issuer": GERMAN_SELLER, "customer": GERMAN_CUSTOMER} | changes.pop("parties", {})
    made = document(
        *lines,
        **{
            "currency": "EUR",
            "timezone": "Europe/Berlin",
            "period": BERLIN_NOVEMBER,
            "issued_at": BERLIN_NOVEMBER.end,
            **amounts,
            **changes,
        },
    )
    made = replace(made, parties=parties)
    return replace(made, content_hash=made.hash())


def gathered(lines: Iterable[Line]) -> tuple[Tax, ...]:
    """Return the document's taxes: the lines' summed up by rate, treatment and kind of price."""
    found: dict[tuple[Decimal, str, bool], Tax] = {}
    for tax in (tax for one in lines for tax in one.tax_rates):
        key = (tax.percent, tax.treatment, tax.inclusive)
        before = found.get(key, replace(tax, base=0, amount=0))
        found[key] = replace(before, base=before.base + tax.base, amount=before.amount + tax.amount)
    return tuple(found.values())


def euro_lines() -> tuple[Line, ...]:
    """Return four lines in euros: flat, tiered, in hours, and a credit for an unused part."""
    told: dict[str, Any] = {"currency": "EUR", "period": BERLIN_NOVEMBER}
    base = line("base", {"model": "flat", "amount": "250"}, "1", name="Platform", **told)
    tokens = line("tokens", CONTEXT, "18059974", name="Tokens", events=8819, **told)
    hourly = {"model": "per_unit", "unit_amount": "95.5"}
    hours = line("training", hourly, "7.5", name="Training", **told)
    unused = line("seats", SEAT, "3", name="Seats, unused part", **told)
    return (
        base,
        tokens,
        replace(hours, unit="hour"),
        replace(unused, quantity=Decimal(-3), amount=-45_68, explanation={}),
    )


def rich() -> Document:
    """Return an invoice with three rates, a credit line, a discount and prepaid credit.

    250.00 − 25.00 and 20.56 − 2.06 at 19 %, 716.25 − 71.63 at 7 %, −45.68 at 0 %:
    net 842.44, tax 46.27 + 45.12, total 933.83, of which 100.00 are prepaid.
    """
    base, tokens, hours, unused = euro_lines()
    return settled(
        taxed(base, "19", discount=25_00),
        taxed(tokens, "19", discount=2_06),
        taxed(hours, "7", discount=71_63),
        taxed(unused, "0"),
        discounts=(Deduction("Launch offer 10 %", 98_69),),
        credits=(Deduction("Prepaid credit", 100_00),),
        locale="de",
        note="Bestellung 4711",
    )


def reverse_charge() -> Document:
    """Return an invoice to a business in another member state."""
    lines = (taxed(one, "0", treatment="reverse_charge") for one in euro_lines()[:3])
    return settled(*lines, parties={"customer": FRENCH_CUSTOMER}, locale="fr")


def credit_note() -> Document:
    """Return a note that takes back half of the platform's fee: 125.00 and 23.75 tax."""
    half = replace(euro_lines()[0], amount=125_00, explanation={})
    return settled(
        taxed(half, "19"),
        kind=CREDIT_NOTE,
        number="CN-000001",
        corrects=Corrects("INV-000003", BERLIN_NOVEMBER.end),
        note="Der Dienst stand einen halben Monat lang still.",
        locale="de",
        amount_due=0,
    )


def with_prices_that_include_tax() -> Document:
    """Return an invoice whose prices contain 19 % tax, with a discount."""
    base, tokens, *_rest = euro_lines()
    return settled(
        taxed(base, "19", discount=10_00, inclusive=True),
        taxed(tokens, "19", inclusive=True),
        discounts=(Deduction("Ten off", 10_00),),
        locale="de",
    )


def taxed_yen() -> Document:
    """Return an invoice in yen with consumption tax of 10 % and 8 %."""
    fee, used = yen().lines
    seller = GERMAN_SELLER | {
        "name": "Soroban KK",
        "address": "1-1 Marunouchi\nTokyo 100-0005",
        "country": "JP",
        "tax_id": "T1234567890123",
        "bank_details": "Example Bank, 普通 1234567",
    }
    return settled(
        taxed(fee, "10", name="Consumption tax"),
        taxed(used, "8", name="Consumption tax"),
        currency="JPY",
        timezone="Asia/Tokyo",
        locale="ja",
        period=yen().period,
        issued_at=yen().issued_at,
        due_at=yen().due_at,
        parties={"issuer": seller, "customer": FRENCH_CUSTOMER | {"country": "JP"}},
    )


def dinars(amount: str = "12.340", **changes: Any) -> Document:
    """Return an exempt invoice in a currency of three decimals."""
    fee = line("base", {"model": "flat", "amount": amount}, "1", name="Platform", currency="KWD")
    exempt = taxed(fee, "0", name="VAT", treatment="exempt", ground="Small supplies")
    customer = FRENCH_CUSTOMER | {"country": "KW", "name": "Gulf Trading WLL"}
    return settled(exempt, currency="KWD", parties={"customer": customer}, locale="en", **changes)
