"""Documents to print: made by the engine, without a database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from apps.engine.period import Period
from apps.engine.prices import Terms, parse_terms
from apps.engine.rating import rate
from apps.invoicing.document import Document, Line

NOVEMBER = Period(datetime(2023, 11, 1, tzinfo=UTC), datetime(2023, 12, 1, tzinfo=UTC))
DECEMBER = Period(datetime(2023, 12, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC))
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
