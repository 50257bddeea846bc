"""Coupons, taxes, credits and rounding, as published by others, in the engine's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from apps.engine.credits import CreditGrant, NoteBalance, spend
from apps.engine.discounts import Discount, Split
from apps.engine.lines import EVERYTHING, Line, Scope
from apps.engine.money import Money, allocate, apportion, exponent, round_half_away
from apps.engine.prices import PerUnit
from apps.engine.rating import rate
from apps.engine.settlement import settle
from apps.engine.tax import Inclusive, TaxPolicy, TaxRate
from tests.cases.records import Adapter, Record

OPTIONS = frozenset({"tax-first-rounding"})

# Records in cents, and records that name only how many decimals they have, need a currency with as
# many. None of the sums looks at the code.
OF_PLACES = {0: "JPY", 2: "USD", 3: "KWD", 4: "CLF"}
CENTS = OF_PLACES[0]


def currency_of(inputs: Mapping[str, Any]) -> str:
    """The currency to reckon in; `places` says that the record's unit is not the major one."""
    if "places" in inputs:
        return OF_PLACES[int(inputs["places"])]
    return str(inputs.get("currency") or CENTS).upper()


def money(amount: object, currency: str) -> Money:
    """An amount as the record writes it, rounded as a line is."""
    return Money.rounded(Decimal(str(amount)), currency)


def major(minor: Fraction, currency: str) -> Fraction:
    """Exact minor units in the unit of the record."""
    return minor * Fraction(1, 10 ** exponent(currency))


def discount_of(
    coupon: Mapping[str, Any], name: str, currency: str, lines: Sequence[Line] = ()
) -> Discount:
    """A coupon; `only` names ids or kinds of lines."""
    scope = scope_of(coupon.get("only"), lines)
    value = Decimal(str(coupon["value"]))
    if coupon["type"] in {"percentage", "percent"}:
        return Discount(name, percent=value, scope=scope)
    return Discount(name, amount=money(value, currency), scope=scope)


def scope_of(only: str | Iterable[str] | None, lines: Sequence[Line]) -> Scope:
    """What a coupon or a wallet is restricted to: ids or kinds of lines."""
    if only is None:
        return EVERYTHING
    named = {only} if isinstance(only, str) else set(only)
    return Scope.of(lines=[line.id for line in lines if named & {line.id, line.kind}])


def rates_of(percents: Iterable[Any], *, inclusive: bool = False) -> tuple[TaxRate, ...]:
    """Rates by their percentages; two of the same height are two rates."""
    return tuple(
        TaxRate(f"{i}:{percent}", Decimal(str(percent)), inclusive=inclusive)
        for i, percent in enumerate(percents)
    )


def discount(record: Record) -> Mapping[str, object]:
    currency = currency_of(record.inputs)
    line = Line("1", money(record.inputs["price"], currency))
    coupon = discount_of(record.inputs, "coupon", currency)
    totals = settle([line], currency=currency, discounts=[coupon]).totals
    return {"discount": totals.discount.major, "final": totals.total.major}


def tax(record: Record) -> Mapping[str, object]:
    inputs, currency = record.inputs, currency_of(record.inputs)
    rates = rates_of(inputs["rates"] if "rates" in inputs else [inputs["rate"]])
    lines = [
        Line(str(i), money(inputs["amount"], currency), rates=rates)
        for i in range(int(inputs.get("repeat", 1)))
    ]
    settled = settle(lines, currency=currency)
    parts = [part.amount.major for part in settled.lines[0].taxed.parts]
    return {"parts": parts, "tax": settled.totals.tax.major, "total": settled.totals.total.major}


def tax_inclusive(record: Record) -> Mapping[str, object]:
    inputs, currency = record.inputs, currency_of(record.inputs)
    percents = inputs["rates"] if "rates" in inputs else [inputs["rate"]]
    rates = rates_of(percents, inclusive=True)
    policy = TaxPolicy(inclusive=Inclusive(inputs.get("round", "net")))
    settled = settle(
        [Line("1", money(inputs["amount"], currency), rates=rates)],
        currency=currency,
        policy=policy,
    )
    net = settled.totals.total - settled.totals.tax
    return {
        "net": net.major,
        "tax": settled.totals.tax.major,
        "parts": [part.amount.major for part in settled.lines[0].taxed.parts],
    }


def rounded(record: Record) -> Mapping[str, object]:
    return {"amount": money(record.inputs["amount"], currency_of(record.inputs)).major}


def sum_rounded(record: Record) -> Mapping[str, object]:
    inputs, currency = record.inputs, currency_of(record.inputs)
    amounts = list(inputs["amounts"]) * int(inputs.get("repeat", 1))
    lines = [Line(str(i), money(amount, currency)) for i, amount in enumerate(amounts)]
    totals = settle(lines, currency=currency).totals
    return {"subtotal": totals.subtotal.major, "total": totals.total.major}


def unit_line(record: Record) -> Mapping[str, object]:
    inputs, currency = record.inputs, currency_of(record.inputs)
    return {"amount": unit_amount(inputs, currency).major}


def unit_amount(inputs: Mapping[str, Any], currency: str) -> Money:
    """A quantity at a unit price, rated as every line is."""
    terms = PerUnit(Decimal(str(inputs["unit_amount"])))
    return rate(terms, quantity=Decimal(str(inputs["quantity"])), currency=currency).amount


def true_up(record: Record) -> Mapping[str, object]:
    inputs, currency = record.inputs, currency_of(record.inputs)
    used = money(inputs["used"], currency)
    return {"true_up": used.shortfall(money(inputs["commitment"], currency)).major}


def allocated(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    currency = currency_of(inputs)
    weights = [Decimal(str(weight)) for weight in inputs["weights"]]
    amount = Money.of(str(inputs["amount"]), currency)
    if not inputs.get("cap_at_sum"):
        parts = [Money(part, currency) for part in allocate(amount.minor, weights)]
        return {"parts": [part.major for part in parts]}
    lines = [Line(str(i), Money.of(w, currency)) for i, w in enumerate(weights)]
    settled = settle(lines, currency=currency, discounts=[Discount("fixed", amount=amount)])
    return {"parts": [major(line.discount, currency) for line in settled.lines]}


def percentage_each(record: Record) -> Mapping[str, object]:
    percent = Discount("each", percent=Decimal(str(record.inputs["percent"])))
    amounts = [money(amount, CENTS) for amount in record.inputs["amounts"]]
    parts = [percent.off(amount.minor) for amount in amounts]
    return {"parts": parts, "on_sum": percent.off(Money.sum(amounts, CENTS).minor)}


def sequential_coupons(record: Record) -> Mapping[str, object]:
    lines = lines_of(record.inputs["lines"])
    coupons = [
        discount_of(coupon, str(i), CENTS, lines)
        for i, coupon in enumerate(record.inputs["coupons"])
    ]
    settled = settle(lines, currency=CENTS, discounts=coupons, split=Split.EXACT)
    by_line = [line.discount for line in settled.lines]
    return {
        "coupons_total": settled.totals.discount.minor,
        "coupons": taken_by_coupon(settled.discounts, len(coupons)),
        "line_coupons": by_line,
        "parts": by_line,
        "subtotal": settled.totals.net.minor,
    }


def taken_by_coupon(applied: Iterable[Any], count: int) -> list[object]:
    """What each coupon took, in the order in which the record names them."""
    taken = {turn.discount.id: turn.amount.major for turn in applied}
    return [taken[str(i)] for i in range(count)]


def credit_notes(record: Record) -> Mapping[str, object]:
    notes = [
        NoteBalance(str(i), money(n, CENTS)) for i, n in enumerate(record.inputs["credit_notes"])
    ]
    total = money(record.inputs["invoice_total"], CENTS)
    settled = settle([Line("all", total)], currency=CENTS, credit_notes=notes)
    return {
        "applied": [drawn.amount.minor for drawn in settled.credit_notes],
        "total_after": settled.totals.amount_due.minor,
    }


def wallets(record: Record) -> Mapping[str, object]:
    total = money(record.inputs["invoice_total"], CENTS)
    owed = owed_lines(record.inputs.get("lines"), total)
    lines = [line for line, _ in owed]
    grants = [
        grant_of(wallet, str(i), CENTS, lines) for i, wallet in enumerate(record.inputs["wallets"])
    ]
    spent = {each.grant.id: each for each in spend(grants, owed, limit=total)}
    used = [spent[grant.id].amount for grant in grants]
    return {
        "used": [amount.minor for amount in used],
        "total": Money.sum(used, CENTS).minor,
        "balances": [spent[grant.id].left.minor for grant in grants],
        "amount_due": (total - Money.sum(used, CENTS)).minor,
    }


def owed_lines(
    stated: Sequence[Mapping[str, Any]] | None, total: Money
) -> list[tuple[Line, Money]]:
    """Lines with their taxes; one for everything when the record names none.

    Where fractions of a cent make up the total, they are shared out as the engine does it.
    """
    if not stated:
        return [(Line("all", total), total)]
    lines = lines_of(stated)
    pairs = [(Fraction(str(raw["amount"])), Fraction(str(raw.get("tax", 0)))) for raw in stated]
    exact = [amount + tax for amount, tax in pairs]
    if abs(sum(exact, Fraction(-total.minor))) <= 1:
        owed = apportion(exact, total.minor)
    else:
        owed = [sum(round_half_away(part) for part in pair) for pair in pairs]
    return [(line, Money(part, CENTS)) for line, part in zip(lines, owed, strict=True)]


def grant_of(
    wallet: Any, name: str, currency: str, lines: Sequence[Line], *, before_tax: bool = False
) -> CreditGrant:
    """A wallet, or a bare balance; it is used in the record's order unless priorities say more."""
    terms = wallet if isinstance(wallet, Mapping) else {"balance": wallet}
    return CreditGrant(
        name,
        money(terms["balance"] if "balance" in terms else terms["amount"], currency),
        priority=int(terms.get("priority", 50)),
        scope=scope_of(terms.get("only", terms.get("eligible")), lines),
        before_tax=before_tax,
    )


def lines_of(lines: Iterable[Mapping[str, Any]]) -> list[Line]:
    """Lines in cents."""
    return [
        Line(str(line["id"]), money(line["amount"], CENTS), kind=line.get("kind", ""))
        for line in lines
    ]


ADAPTERS: Mapping[str, Adapter] = {
    "allocate": allocated,
    "credit_notes": credit_notes,
    "discount": discount,
    "percentage_each": percentage_each,
    "round": rounded,
    "sequential_coupons": sequential_coupons,
    "sum_rounded": sum_rounded,
    "tax": tax,
    "tax_inclusive": tax_inclusive,
    "true_up": true_up,
    "unit_line": unit_line,
    "wallets": wallets,
}
