"""Invoice items, and the lines that they become."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from apps.sandbox.amounts import exact, plain, rounded
from apps.sandbox.errors import Refusal, invalid
from apps.sandbox.resources import coupons, pricing, totals
from apps.sandbox.resources.fields import set_fields
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import drawn, operation

MOST_ITEMS = 250


@operation("POST /v1/invoiceitems")
def create(world: World, params: Params) -> Body:
    """Create an invoice item: an amount, or a quantity of a price, for a draft or the next one."""
    invoice = _draft(world, params.get("invoice"))
    customer_id = params.get("customer") or (invoice and invoice["customer"])
    customer = world.get("customer", customer_id, param="customer")
    amount, price, quantity = _value(world, params, invoice, customer)
    subscription = params.get("subscription")
    if subscription is not None:
        world.get("subscription", subscription, param="subscription")
    item = make(
        world,
        customer,
        price,
        amount=amount,
        quantity=quantity,
        invoice=invoice,
        subscription=subscription,
    )
    _set(world, item, customer, params)
    world.emit("invoiceitem.created", item)
    if invoice is not None:
        add_to(world, invoice, item)
        totals.refresh(world, invoice)
        world.emit("invoice.updated", invoice)
    return item


def make(
    world: World,
    customer: Body,
    price: Body,
    *,
    amount: int,
    quantity: Fraction = Fraction(1),
    invoice: Body | None = None,
    subscription: str | None = None,
    **fields: Any,
) -> Body:
    """Return a new invoice item; nobody is told yet."""
    parent = None
    if subscription is not None:
        details = {"subscription": subscription, "subscription_item": None}
        parent = {"type": "subscription_details", "subscription_details": details}
    at = world.time_of(customer)
    return world.new(
        "invoiceitem",
        amount=amount,
        currency=price["currency"],
        customer=customer["id"],
        date=at,
        discountable=amount >= 0,
        discounts=[],
        invoice=invoice["id"] if invoice else None,
        net_amount=amount,
        parent=parent,
        period={"start": at, "end": at},
        pricing=pricing.shown(price),
        proration=False,
        quantity=int(quantity),
        quantity_decimal=plain(
            str(float(quantity)) if quantity.denominator != 1 else str(quantity)
        ),
        tax_rates=[],
        test_clock=customer["test_clock"],
        **fields,
    )


def _value(
    world: World, params: Params, invoice: Body | None, customer: Body
) -> tuple[int, Body, Fraction]:
    """Return amount, price and quantity. An amount stands alone, as Stripe has it."""
    given = params.take(
        "amount",
        "currency",
        "pricing",
        "price_data",
        "quantity",
        "quantity_decimal",
        "unit_amount_decimal",
    )
    if given.get("amount") is not None:
        other = [
            name
            for name in (
                "quantity",
                "quantity_decimal",
                "pricing",
                "price_data",
                "unit_amount_decimal",
            )
            if given.get(name) is not None
        ]
        if other:
            raise invalid(
                f"You may only specify one of these parameters: amount, {other[0]}.", param=other[0]
            )
        currency = _currency(given, invoice, customer)
        name = params.get("description") or "Invoice item"
        price = pricing.one_off(world, str(given["amount"]), currency, name)
        return int(given["amount"]), price, Fraction(1)
    quantity = exact(given.get("quantity_decimal") or given.get("quantity", 1))
    if given.get("unit_amount_decimal") is not None:
        currency = _currency(given, invoice, customer)
        price = pricing.one_off(world, given["unit_amount_decimal"], currency, "Invoice item")
    else:
        spec = {**(given.get("pricing") or {}), "price_data": given.get("price_data")}
        price = pricing.price_of(world, spec, param="pricing[price]")
        if price["type"] != "one_time":
            raise invalid(
                "The price specified is set to `type=recurring` but this field only "
                "accepts prices with `type=one_time`.",
                param="pricing[price]",
            )
    return rounded(pricing.cost(price, quantity)), price, quantity


def _currency(given: Body, invoice: Body | None, customer: Body) -> str:
    currency = given.get("currency") or (invoice and invoice["currency"]) or customer["currency"]
    if invoice is not None and currency.lower() != invoice["currency"]:
        raise invalid(f"The invoice's currency is {invoice['currency']}.", param="currency")
    return str(currency or "usd").lower()


def _draft(world: World, identity: object) -> Body | None:
    if identity is None:
        return None
    invoice = world.get("invoice", identity, param="invoice")
    if invoice["status"] != "draft":
        raise invalid(
            "You can only add invoice items to draft invoices.",
            param="invoice",
            code="invoice_not_editable",
        )
    if len(world.find("line_item", invoice=invoice["id"])) >= MOST_ITEMS:
        raise invalid(f"The maximum number of items on an invoice is {MOST_ITEMS}.")
    return invoice


def _set(world: World, item: Body, customer: Body, params: Params) -> None:
    set_fields(item, params, "description", "discountable", "metadata", "period", "tax_rates")
    item["tax_rates"] = item["tax_rates"] or []
    for rate in item["tax_rates"]:
        world.get("tax_rate", rate, param="tax_rates")
    params.take("tax_behavior", "tax_code")  # tax is reckoned from rates alone
    discounts = params.get("discounts")
    if discounts not in (None, ""):
        at = world.time_of(customer)
        item["discounts"] = [
            coupons.redeem(world, each, customer, at=at, invoice_item=item["id"])["id"]
            for each in discounts
        ]


@operation("POST /v1/invoiceitems/{invoiceitem}")
def update(world: World, params: Params, identity: str) -> Body:
    """Change an invoice item that is not on a final invoice."""
    item = world.get("invoiceitem", identity)
    _refuse_final(world, item)
    given = params.take("amount", "quantity", "unit_amount_decimal")
    if given.get("amount") is not None:
        item.update(amount=given["amount"], net_amount=given["amount"])
    elif given.get("quantity") is not None:
        price = world.get("price", item["pricing"]["price_details"]["price"])
        cost = rounded(pricing.cost(price, given["quantity"]))
        item.update(
            amount=cost,
            net_amount=cost,
            quantity=given["quantity"],
            quantity_decimal=str(given["quantity"]),
        )
    if given.get("unit_amount_decimal") is not None:
        raise Refusal(
            501,
            "The sandbox changes amounts and quantities only.",
            kind="api_error",
            code="sandbox_not_implemented",
        )
    customer = world.get("customer", item["customer"])
    _set(world, item, customer, params)
    if item["invoice"] is not None:
        invoice = world.get("invoice", item["invoice"])
        for line in world.find("line_item", invoice=invoice["id"], _item=identity):
            line.update(_copied(item))
        totals.refresh(world, invoice)
        world.emit("invoice.updated", invoice)
    return item


@operation("DELETE /v1/invoiceitems/{invoiceitem}")
def delete(world: World, _params: Params, identity: str) -> Body:
    """Delete an invoice item that is not on a final invoice."""
    item = world.get("invoiceitem", identity)
    _refuse_final(world, item)
    world.emit("invoiceitem.deleted", item)
    if item["invoice"] is not None:
        invoice = world.get("invoice", item["invoice"])
        for line in world.find("line_item", invoice=invoice["id"], _item=identity):
            world.forget(line)
        totals.refresh(world, invoice)
        world.emit("invoice.updated", invoice)
    return world.bury(item)


def _refuse_final(world: World, item: Body) -> None:
    invoice = world.look(item["invoice"])
    if invoice is not None and invoice["status"] != "draft":
        raise invalid(
            "This invoice item is on an invoice that is final.",
            param="invoiceitem",
            code="invoice_not_editable",
        )


@operation("GET /v1/invoiceitems/{invoiceitem}")
def retrieve(world: World, _params: Params, identity: str) -> Body:
    """Return an invoice item."""
    return world.get("invoiceitem", identity)


@operation("GET /v1/invoiceitems")
def list_all(world: World, params: Params) -> Body:
    """Return invoice items; `pending` are those on no invoice yet."""
    where = params.take("customer", "invoice")
    pending = params.get("pending")
    params.take("created", "limit", "starting_after", "ending_before")
    found = world.page("invoiceitem", "/v1/invoiceitems", params, **where)
    if pending is not None:
        found["data"] = [each for each in found["data"] if (each["invoice"] is None) == pending]
    return found


# --- lines ---------------------------------------------------------------------------------------


def pull_pending(world: World, invoice: Body, subscription: str | None) -> None:
    """Take onto a draft what waits for the customer's (or the subscription's) next invoice."""
    for item in world.find("invoiceitem", customer=invoice["customer"], oldest_first=True):
        if item["invoice"] is None and item["currency"] == invoice["currency"]:
            meant = ((item["parent"] or {}).get("subscription_details") or {}).get("subscription")
            if meant is None or meant == subscription:
                add_to(world, invoice, item)


def add_to(world: World, invoice: Body, item: Body) -> Body:
    """Make an invoice item a line of a draft."""
    item["invoice"] = invoice["id"]
    return new_line(world, invoice, parent=_parent(item), _item=item["id"], **_copied(item))


def _copied(item: Body) -> Body:
    """Return what a line has from its item."""
    same = (
        "amount",
        "currency",
        "description",
        "discountable",
        "discounts",
        "period",
        "pricing",
        "quantity",
        "quantity_decimal",
    )
    details = (item["parent"] or {}).get("subscription_details") or {}
    return {
        **{name: item[name] for name in same},
        "metadata": dict(item["metadata"]),
        "subtotal": item["amount"],
        "subscription": details.get("subscription"),
        "_tax_rates": list(item["tax_rates"]),
    }


def _parent(item: Body) -> Body:
    details = (item["parent"] or {}).get("subscription_details") or {}
    common = {
        "invoice_item": item["id"],
        "proration": item["proration"],
        "proration_details": item.get("_credited"),
        "subscription": details.get("subscription"),
    }
    if details.get("subscription_item"):
        inner = {**common, "subscription_item": details["subscription_item"]}
        return {
            "type": "subscription_item_details",
            "invoice_item_details": None,
            "subscription_item_details": inner,
        }
    return {
        "type": "invoice_item_details",
        "invoice_item_details": common,
        "subscription_item_details": None,
    }


def new_line(world: World, invoice: Body, **fields: Any) -> Body:
    """Add a line to a draft."""
    return world.new(
        "line_item",
        invoice=invoice["id"],
        discount_amounts=[],
        taxes=[],
        pretax_credit_amounts=[],
        **fields,
    )


@drawn("invoiceitem")
def _draw(world: World, item: Body, shown: Body) -> None:
    shown["tax_rates"] = [world.draw(world.get("tax_rate", rate)) for rate in item["tax_rates"]]
