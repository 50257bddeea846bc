"""Sums of an invoice: discounts, then taxes, then the customer's balance.

Discounts come off line by line, in their order, a percentage rounded per line and an amount spread
by the lines' sizes. Taxes are reckoned per line from what is left and rounded per line.
"""

from __future__ import annotations

from fractions import Fraction

from apps.sandbox.amounts import exact, rounded, spread
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World


def refresh(world: World, invoice: Body) -> None:
    """Reckon all sums of a draft anew."""
    lines = lines_of(world, invoice)
    _discount(world, invoice, lines)
    for line in lines:
        line["taxes"] = _taxes(world, invoice, line)
    discounts = _by_discount(lines)
    taxes = _by_rate(lines)
    exclusive = _sum(taxes, "exclusive")
    inclusive = _sum(taxes, "inclusive")
    subtotal = sum(line["amount"] for line in lines)
    total = subtotal - sum(each["amount"] for each in discounts) + exclusive
    invoice.update(
        subtotal=subtotal,
        subtotal_excluding_tax=subtotal - inclusive,
        total=total,
        total_discount_amounts=discounts,
        total_excluding_tax=total - exclusive - inclusive,
        total_pretax_credit_amounts=[{**each, "type": "discount"} for each in discounts],
        total_taxes=taxes,
    )
    settle_balance(world, invoice)


def settle_balance(world: World, invoice: Body) -> None:
    """Set off the customer's balance: a negative one is credit, a positive one is owed."""
    customer = world.get("customer", invoice["customer"])
    invoice["starting_balance"] = customer["balance"]
    due = max(0, invoice["total"] + customer["balance"])
    invoice.update(amount_due=due, amount_remaining=due - invoice["amount_paid"])


def balance_after(invoice: Body) -> int:
    """Return the customer's balance once this invoice is final."""
    return int(invoice["starting_balance"]) + int(invoice["total"]) - int(invoice["amount_due"])


def lines_of(world: World, invoice: Body) -> list[Body]:
    """Return an invoice's lines in their order."""
    return world.find("line_item", invoice=invoice["id"], oldest_first=True)


def _discount(world: World, invoice: Body, lines: list[Body]) -> None:
    for line in lines:
        line["discount_amounts"] = []
    for line in lines:
        for identity in line["discounts"]:
            _apply(world.get("discount", identity), [line], invoice)
    for identity in invoice["discounts"]:
        discount = world.get("discount", identity)
        _apply(discount, [line for line in lines if not line["discounts"]], invoice)
    for line in lines:
        line["pretax_credit_amounts"] = [
            {**each, "type": "discount"} for each in line["discount_amounts"]
        ]


def _apply(discount: Body, lines: list[Body], invoice: Body) -> None:
    coupon = discount["_coupon"]
    products = coupon["products"]
    meant = [
        line
        for line in lines
        if line["discountable"]
        and line["amount"] > 0
        and (not products or line["pricing"]["price_details"]["product"] in products)
    ]
    left = [net(line) for line in meant]
    for line, amount in zip(meant, _amounts(coupon, left, invoice["currency"]), strict=True):
        line["discount_amounts"].append({"amount": amount, "discount": discount["id"]})


def _amounts(coupon: Body, left: list[int], currency: str) -> list[int]:
    if coupon["percent_off"] is not None:
        share = exact(coupon["percent_off"]) / 100
        return [rounded(amount * share) for amount in left]
    if coupon["currency"] != currency:
        return [0] * len(left)
    return spread(min(int(coupon["amount_off"]), sum(left)), left)


def net(line: Body) -> int:
    """Return what is left of a line after its discounts."""
    return int(line["amount"]) - sum(int(each["amount"]) for each in line["discount_amounts"])


def _taxes(world: World, invoice: Body, line: Body) -> list[Body]:
    customer = world.get("customer", invoice["customer"])
    rates = line.get("_tax_rates") or invoice["default_tax_rates"]
    exempt = customer["tax_exempt"] != "none"
    found = [world.get("tax_rate", rate) for rate in rates]
    inclusive = sum((exact(rate["percentage"]) for rate in found if rate["inclusive"]), exact(0))
    return [_tax(rate, net(line), inclusive, exempt=exempt) for rate in found]


def _tax(rate: Body, amount: int, inclusive: Fraction, *, exempt: bool) -> Body:
    share = exact(0) if exempt else exact(rate["percentage"]) / 100
    base = amount / (1 + inclusive / 100)
    tax = rounded(base * share)
    return {
        "amount": tax,
        "tax_behavior": "inclusive" if rate["inclusive"] else "exclusive",
        "tax_rate_details": {"tax_rate": rate["id"]},
        "taxability_reason": "customer_exempt" if exempt else "standard_rated",
        "taxable_amount": rounded(base),
        "type": "tax_rate_details",
    }


def _by_discount(lines: list[Body]) -> list[Body]:
    sums: dict[str, int] = {}
    for each in (each for line in lines for each in line["discount_amounts"]):
        sums[each["discount"]] = sums.get(each["discount"], 0) + each["amount"]
    return [{"amount": amount, "discount": identity} for identity, amount in sums.items()]


def _by_rate(lines: list[Body]) -> list[Body]:
    sums: dict[str, Body] = {}
    for tax in (tax for line in lines for tax in line["taxes"]):
        identity = tax["tax_rate_details"]["tax_rate"]
        known = sums.setdefault(identity, {**tax, "amount": 0, "taxable_amount": 0})
        known["amount"] += tax["amount"]
        known["taxable_amount"] += tax["taxable_amount"]
    return list(sums.values())


def _sum(taxes: list[Body], behavior: str) -> int:
    return sum(int(tax["amount"]) for tax in taxes if tax["tax_behavior"] == behavior)
