"""Stripe's proration, in its flexible billing mode.

A change gives back what was paid for the time that is left, and asks for that time anew. What is
given back is a share of the debit itself, discounts included, by the second; what is asked for is
the new price's share of the whole period. Each of the two is rounded once, halves away from zero.
Source: https://docs.stripe.com/billing/subscriptions/billing-mode. This is written without our
engine on purpose: the twin compares the two.
"""

from __future__ import annotations

from fractions import Fraction

from apps.sandbox.amounts import exact, rounded
from apps.sandbox.calendar import said_day
from apps.sandbox.resources import coupons, invoice_items, items, pricing, totals
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World


def credit(world: World, subscription: Body, item: Body, *, at: int) -> Body | None:
    """Give back the rest of what was paid for an item; None when nothing was."""
    debit, item["_debit"] = item["_debit"], None
    if debit is None or debit["end"] <= at:
        return None
    source = world.look(debit["source"])
    if source is None:
        return None
    begin = max(at, debit["start"])
    share = Fraction(debit["end"] - begin, debit["end"] - debit["start"])
    price = world.get("price", source["pricing"]["price_details"]["price"])
    described = _described(world, "Unused time on", price, source["quantity"], at)
    made = _make(world, subscription, item, price, -rounded(_paid(source) * share))
    made.update(
        description=described, quantity=source["quantity"], quantity_decimal=str(source["quantity"])
    )
    made["period"] = {"start": begin, "end": debit["end"]}
    made["_credited"] = _credited(source)
    world.emit("invoiceitem.created", made)
    return made


def charge(world: World, subscription: Body, item: Body, *, at: int) -> Body:
    """Ask for the rest of the running period at an item's price and quantity."""
    start, end = item["current_period_start"], item["current_period_end"]
    price = items.price_of(world, item)
    share = Fraction(end - at, end - start)
    amount = rounded(
        pricing.cost(price, item["quantity"]) * share * _undiscounted(world, subscription, at)
    )
    described = _described(world, "Remaining time on", price, item["quantity"], at)
    made = _make(world, subscription, item, price, amount)
    made.update(
        description=described, quantity=item["quantity"], quantity_decimal=str(item["quantity"])
    )
    made["period"] = {"start": at, "end": end}
    item["_debit"] = {"source": made["id"], "start": at, "end": end}
    world.emit("invoiceitem.created", made)
    return made


def _make(world: World, subscription: Body, item: Body, price: Body, amount: int) -> Body:
    customer = world.get("customer", subscription["customer"])
    made = invoice_items.make(
        world, customer, price, amount=amount, subscription=subscription["id"]
    )
    made["parent"]["subscription_details"]["subscription_item"] = item["id"]
    made.update(proration=True, discountable=False, tax_rates=list(item["tax_rates"]))
    return made


def _paid(source: Body) -> int:
    """Return what a line or waiting item came to, after discounts and before taxes."""
    return totals.net(source) if source["object"] == "line_item" else int(source["amount"])


def _credited(source: Body) -> Body:
    if source["object"] != "line_item":
        return {"credited_items": None}
    return {"credited_items": {"invoice": source["invoice"], "invoice_line_items": [source["id"]]}}


def _undiscounted(world: World, subscription: Body, at: int) -> Fraction:
    """Return the share that percentages in force leave; amounts off are not prorated."""
    left = Fraction(1)
    for identity in subscription["discounts"]:
        discount = world.get("discount", identity)
        if coupons.in_force(discount, at=at) and discount["_coupon"]["percent_off"] is not None:
            left *= 1 - exact(discount["_coupon"]["percent_off"]) / 100
    return left


def _described(world: World, words: str, price: Body, quantity: int, at: int) -> str:
    counted = f"{quantity} × " if quantity != 1 else ""
    return f"{words} {counted}{items.product_name(world, price)} after {said_day(at)}"
