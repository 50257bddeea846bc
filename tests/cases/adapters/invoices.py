"""Whole invoices, from lines to what is due, as published by others, in the engine's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from apps.engine.credits import CreditGrant, NoteBalance
from apps.engine.discounts import Discount, Split
from apps.engine.lines import Line, Scope
from apps.engine.settlement import Settlement, settle, verify_settlement
from apps.engine.tax import TaxPolicy, TaxRounding
from tests.cases.adapters.coupons_taxes import (
    currency_of,
    discount_of,
    grant_of,
    major,
    money,
    rates_of,
    unit_amount,
)
from tests.cases.records import Adapter, Record

OPTIONS = frozenset({"tax-rounded-once", "tax-per-rate"})


def invoice(record: Record) -> Mapping[str, object]:
    inputs, currency = record.inputs, currency_of(record.inputs)
    lines = [_line(line, inputs, currency) for line in inputs["lines"]]
    policy = TaxPolicy(TaxRounding(inputs.get("tax_rounding", "per_line")))
    # Who rounds the tax once also leaves the shares of a coupon unrounded.
    once = policy.rounding is TaxRounding.ONCE
    settled = settle(
        lines,
        currency=currency,
        discounts=[*_line_coupons(inputs, currency), *_coupons(inputs, currency, lines)],
        split=Split.EXACT if once else Split.LARGEST_REMAINDER,
        policy=policy,
        credit_notes=_notes(inputs, currency),
        grants=_grants(inputs, currency, lines),
    )
    assert verify_settlement(settled.as_dict()) == settled.totals.amount_due.minor
    return _results(settled, once)


def _line(line: Mapping[str, Any], inputs: Mapping[str, Any], currency: str) -> Line:
    amount = money(line["amount"], currency) if "amount" in line else unit_amount(line, currency)
    percents = line["tax_rates"] if "tax_rates" in line else inputs.get("tax_rates", ())
    return Line(str(line["id"]), amount, kind=line.get("kind", ""), rates=rates_of(percents))


def _line_coupons(inputs: Mapping[str, Any], currency: str) -> Iterator[Discount]:
    """Coupons of one line, named beside the line's id, under it, or within the line."""
    for i, (line, coupon) in enumerate(_named_coupons(inputs)):
        terms = {key: value for key, value in coupon.items() if key != "only"}
        plain = discount_of(terms, f"line-{i}", currency)
        yield Discount(
            plain.id, plain.percent, plain.amount, Scope.of(lines=[line] if line else _only(coupon))
        )


def _named_coupons(inputs: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    stated = inputs.get("line_coupons") or []
    if isinstance(stated, Mapping):
        for line, coupons in stated.items():
            for coupon in coupons if isinstance(coupons, list) else [coupons]:
                yield str(line), coupon
    else:
        for coupon in stated:
            yield str(coupon.get("line") or coupon.get("line_id") or ""), coupon
    for line in inputs["lines"]:
        for coupon in line.get("coupons") or []:
            yield str(line["id"]), coupon


def _only(coupon: Mapping[str, Any]) -> Sequence[str]:
    only = coupon["only"]
    return [only] if isinstance(only, str) else list(only)


def _coupons(inputs: Mapping[str, Any], currency: str, lines: Sequence[Line]) -> list[Discount]:
    coupons = inputs.get("invoice_coupons") or []
    return [discount_of(c, f"invoice-{i}", currency, lines) for i, c in enumerate(coupons)]


def _notes(inputs: Mapping[str, Any], currency: str) -> list[NoteBalance]:
    notes = inputs.get("credits_after_tax") or []
    return [NoteBalance(f"note-{i}", money(note, currency)) for i, note in enumerate(notes)]


def _grants(inputs: Mapping[str, Any], currency: str, lines: Sequence[Line]) -> list[CreditGrant]:
    early = inputs.get("credits_before_tax") or []
    late = inputs.get("wallets") or ([inputs["wallet"]] if inputs.get("wallet") else [])
    return [
        *(grant_of(g, f"early-{i}", currency, lines, before_tax=True) for i, g in enumerate(early)),
        *(grant_of(g, f"wallet-{i}", currency, lines) for i, g in enumerate(late)),
    ]


def _results(settled: Settlement, once: bool) -> Mapping[str, object]:
    totals, currency = settled.totals, settled.balance.currency
    return {
        "subtotal": totals.subtotal.major,
        "discount_total": totals.discount.major,
        "net": totals.net.major,
        "taxable": totals.net.major,
        "line_coupons": [major(line.discount, currency) for line in settled.lines],
        "line_taxes": [(line.taxed.alone if once else line.tax).major for line in settled.lines],
        "rate_taxes": [tax.major for tax in settled.taxation.by_rate().values()],
        "tax_total": totals.tax.major,
        "credits_before_tax": totals.prepaid.major,
        "total": totals.total.major,
        "credits_after_tax": [drawn.amount.major for drawn in settled.credit_notes],
        "wallet_used": totals.credits.major,
        "amount_due": totals.amount_due.major,
    }


ADAPTERS: Mapping[str, Adapter] = {"invoice": invoice}
