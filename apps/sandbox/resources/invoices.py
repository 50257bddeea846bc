"""Invoices as the API offers them: drafts, their lines, their ends."""

from __future__ import annotations

from apps.sandbox.errors import invalid
from apps.sandbox.resources import collecting, coupons, invoice_items, totals
from apps.sandbox.resources.account import NAME
from apps.sandbox.resources.fields import set_fields, shipping
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World, listing, page_size
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import drawn, grown, operation

SHOWN_LINES = 10
FIELDS = (
    "custom_fields",
    "description",
    "footer",
    "metadata",
    "statement_descriptor",
    "effective_at",
    "number",
    "auto_advance",
)


@operation("POST /v1/invoices")
def create(world: World, params: Params) -> Body:
    """Create a draft, empty unless waiting items are asked for."""
    subscription = world.look(params.get("subscription"))
    identity = params.get("customer") or (subscription and subscription["customer"])
    customer = world.get("customer", identity, param="customer")
    behavior = params.get("pending_invoice_items_behavior")
    if subscription is not None and behavior is not None:
        message = "You may only specify one of: subscription, pending_invoice_items_behavior."
        raise invalid(message, param="pending_invoice_items_behavior")
    invoice = draft(
        world,
        customer,
        currency=(params.get("currency") or customer["currency"] or "usd").lower(),
        collection_method=params.get("collection_method", "charge_automatically"),
        subscription=subscription,
        auto_advance=False,
    )
    _set_terms(world, invoice, params)
    _set(world, invoice, customer, params)
    if behavior == "include" or subscription is not None:
        invoice_items.pull_pending(world, invoice, invoice["_subscription"])
    totals.refresh(world, invoice)
    collecting.schedule(world, invoice)
    world.emit("invoice.created", invoice)
    return invoice


def draft(
    world: World,
    customer: Body,
    *,
    currency: str,
    collection_method: str = "charge_automatically",
    reason: str = "manual",
    subscription: Body | None = None,
    auto_advance: bool = True,
    period: tuple[int, int] | None = None,
) -> Body:
    """Return a new draft; nobody is told yet."""
    at = world.time_of(customer)
    customer["currency"] = customer["currency"] or currency
    invoice = world.new(
        "invoice",
        account_country="US",
        account_name=NAME,
        auto_advance=auto_advance,
        billing_reason=reason,
        collection_method=collection_method,
        created=at,
        currency=currency,
        customer=customer["id"],
        customer_tax_ids=[],
        issuer={"type": "self"},
        parent=_parent(subscription),
        period_start=period[0] if period else at,
        period_end=period[1] if period else at,
        status="draft",
        test_clock=customer["test_clock"],
        total_discount_amounts=[],
        total_pretax_credit_amounts=[],
        total_taxes=[],
        _subscription=subscription["id"] if subscription else None,
        _attempts=0,
    )
    invoice["automatic_tax"]["enabled"] = False
    copy_customer(invoice, customer)
    if subscription is not None:
        invoice["default_tax_rates"] = list(subscription["default_tax_rates"])
        invoice["default_payment_method"] = None
        invoice["_days_until_due"] = subscription["days_until_due"]
    return invoice


def copy_customer(invoice: Body, customer: Body) -> None:
    """Write the customer's name and address on a draft; a final invoice keeps what it had."""
    for name in ("address", "email", "name", "phone", "shipping", "tax_exempt"):
        invoice[f"customer_{name}"] = customer[name]


def _parent(subscription: Body | None) -> Body | None:
    if subscription is None:
        return None
    details = {"metadata": dict(subscription["metadata"]), "subscription": subscription["id"]}
    return {"type": "subscription_details", "quote_details": None, "subscription_details": details}


def _set_terms(world: World, invoice: Body, params: Params) -> None:
    """Set when it is to be paid, and how."""
    given = params.take(
        "days_until_due",
        "due_date",
        "collection_method",
        "payment_settings",
        "default_payment_method",
        "automatically_finalizes_at",
        "pending_invoice_items_behavior",
    )
    if given.get("collection_method"):
        invoice["collection_method"] = given["collection_method"]
    sent = invoice["collection_method"] == "send_invoice"
    days, due = given.get("days_until_due"), given.get("due_date")
    if (days is not None or due is not None) and not sent:
        name = "due_date" if days is None else "days_until_due"
        raise invalid(
            f"`{name}` is only allowed with `collection_method=send_invoice`.", param=name
        )
    if days is not None:
        invoice["_days_until_due"] = days
    elif due is not None:
        invoice["due_date"] = due
    elif sent and invoice["due_date"] is None:
        invoice.setdefault("_days_until_due", 30)
    settings = given.get("payment_settings") or {}
    invoice["payment_settings"] = {**invoice["payment_settings"], **settings}
    if method := given.get("default_payment_method"):
        invoice["default_payment_method"] = world.get(
            "payment_method", method, param="default_payment_method"
        )["id"]
    if given.get("automatically_finalizes_at"):
        invoice["automatically_finalizes_at"] = given["automatically_finalizes_at"]


def _set(world: World, invoice: Body, customer: Body, params: Params) -> None:
    set_fields(invoice, params, *FIELDS)
    params.take("currency", "customer", "subscription", "collection_method")
    given = params.take(
        "shipping_details", "default_tax_rates", "discounts", "automatic_tax", "rendering", "issuer"
    )
    if "shipping_details" in given:
        invoice["shipping_details"] = shipping(given["shipping_details"])
    if "default_tax_rates" in given:
        rates = given["default_tax_rates"] or []
        invoice["default_tax_rates"] = [
            world.get("tax_rate", rate, param="default_tax_rates")["id"] for rate in rates
        ]
    if "discounts" in given:
        at = world.time_of(customer)
        invoice["discounts"] = [
            coupons.redeem(world, each, customer, at=at, invoice=invoice["id"])["id"]
            for each in given["discounts"] or []
        ]
    if (given.get("automatic_tax") or {}).get("enabled"):
        raise invalid("The sandbox has no Stripe Tax.", param="automatic_tax")


@operation("POST /v1/invoices/{invoice}")
def update(world: World, params: Params, identity: str) -> Body:
    """Change a draft, or the few things that may change of a final invoice."""
    invoice = world.get("invoice", identity)
    if invoice["status"] != "draft":
        _refuse_settled(set(params) - {"expand"})
    customer = world.get("customer", invoice["customer"])
    with world.changes(invoice, "invoice.updated"):
        if invoice["status"] == "draft":
            _set_terms(world, invoice, params)
            _set(world, invoice, customer, params)
            totals.refresh(world, invoice)
        else:
            set_fields(
                invoice,
                params,
                "metadata",
                "description",
                "footer",
                "custom_fields",
                "default_payment_method",
                "auto_advance",
                "due_date",
            )
        collecting.schedule(world, invoice)
    return invoice


def _refuse_settled(names: set[str]) -> None:
    allowed = {
        "metadata",
        "description",
        "footer",
        "custom_fields",
        "default_payment_method",
        "auto_advance",
        "due_date",
    }
    for name in sorted(names - allowed):
        raise invalid(
            "Finalized invoices can't be updated in this way",
            param=name,
            code="invoice_not_editable",
        )


@operation("GET /v1/invoices/{invoice}")
def retrieve(world: World, _params: Params, identity: str) -> Body:
    """Return an invoice with its first ten lines."""
    return world.get("invoice", identity)


@operation("GET /v1/invoices")
def list_all(world: World, params: Params) -> Body:
    """Return invoices, youngest first."""
    where = params.take("customer", "status", "collection_method")
    where["_subscription"] = params.get("subscription")
    if (due := params.get("due_date")) is not None:
        where["due_date"] = due
    params.take("created", "limit", "starting_after", "ending_before")
    return world.page("invoice", "/v1/invoices", params, **where)


@operation("GET /v1/invoices/{invoice}/lines")
def list_lines(world: World, params: Params, identity: str) -> Body:
    """Return an invoice's lines, the first line first."""
    world.get("invoice", identity)
    limit, after, before = (
        page_size(params),
        params.get("starting_after"),
        params.get("ending_before"),
    )
    lines = totals.lines_of(world, {"id": identity})
    places = {line["id"]: place for place, line in enumerate(lines)}
    for cursor, name in ((after, "starting_after"), (before, "ending_before")):
        if cursor is not None and cursor not in places:
            raise invalid(f"No such line item: '{cursor}'", param=name, code="resource_missing")
    if before is not None:
        earlier = lines[: places[before]]
        kept, more = earlier[-limit:], len(earlier) > limit
    else:
        later = lines[places[after] + 1 if after is not None else 0 :]
        kept, more = later[:limit], len(later) > limit
    return listing(kept, f"/v1/invoices/{identity}/lines", has_more=more)


@operation("POST /v1/invoices/{invoice}/lines/{line_item_id}")
def update_line(world: World, params: Params, identity: str, line_id: str) -> Body:
    """Change a draft's line."""
    invoice, line = world.get("invoice", identity), world.get("line_item", line_id)
    _refuse_final(invoice)
    set_fields(line, params, "description", "discountable", "metadata", "period")
    if (amount := params.get("amount")) is not None:
        line.update(amount=amount, subtotal=amount)
    totals.refresh(world, invoice)
    world.emit("invoice.updated", invoice)
    return line


@operation("POST /v1/invoices/{invoice}/add_lines")
def add_lines(world: World, params: Params, identity: str) -> Body:
    """Add lines to a draft, each an invoice item of its own."""
    invoice = world.get("invoice", identity)
    _refuse_final(invoice)
    for given in params["lines"]:
        wanted = Params(given, invoice=identity, currency=invoice["currency"])
        invoice_items.create(world, wanted)
        if unread := wanted.unread():
            raise invalid(f"The sandbox adds no lines with {unread[0]}.", param=unread[0])
    invoice["metadata"] = {**invoice["metadata"], **(params.get("invoice_metadata") or {})}
    return invoice


@operation("DELETE /v1/invoices/{invoice}")
def delete(world: World, _params: Params, identity: str) -> Body:
    """Delete a draft; its items wait for the next invoice again."""
    invoice = world.get("invoice", identity)
    _refuse_final(invoice)
    for line in totals.lines_of(world, invoice):
        item = world.look(line.get("_item"))
        if item is not None:
            world.bury(item)
        world.forget(line)
    world.emit("invoice.deleted", invoice)
    return world.bury(invoice)


def _refuse_final(invoice: Body) -> None:
    if invoice["status"] != "draft":
        message = "You can only do this with a draft; this invoice is "
        raise invalid(message + f"{invoice['status']}.", code="invoice_not_editable")


@operation("POST /v1/invoices/{invoice}/finalize")
def finalize(world: World, params: Params, identity: str) -> Body:
    """Make a draft final; with `auto_advance` it is collected at once."""
    invoice = world.get("invoice", identity)
    advance = params.get("auto_advance")
    if advance is not None:
        invoice["auto_advance"] = advance
    return collecting.finalize(world, invoice)


@operation("POST /v1/invoices/{invoice}/pay")
def pay(world: World, params: Params, identity: str) -> Body:
    """Collect an invoice now, or note that it was paid elsewhere."""
    invoice = world.get("invoice", identity)
    given = params.take("paid_out_of_band", "payment_method", "off_session", "forgive")
    if invoice["status"] == "draft":
        collecting.finalize(world, invoice, collect=False)
    collecting.refuse_unpayable(invoice)
    if given.get("paid_out_of_band"):
        return collecting.mark_paid(world, invoice, out_of_band=True)
    return collecting.pay_now(world, invoice, given.get("payment_method"))


@operation("POST /v1/invoices/{invoice}/send")
def send(world: World, _params: Params, identity: str) -> Body:
    """Send an invoice to its customer: an event, nobody gets a mail."""
    invoice = world.get("invoice", identity)
    if invoice["status"] == "draft":
        collecting.finalize(world, invoice, collect=False)
    if invoice["status"] != "open":
        raise invalid(f"You cannot send an invoice that is {invoice['status']}.")
    world.emit("invoice.sent", invoice)
    return invoice


@operation("POST /v1/invoices/{invoice}/void")
def void(world: World, _params: Params, identity: str) -> Body:
    """Void an invoice that is not paid."""
    return collecting.void(world, world.get("invoice", identity))


@operation("POST /v1/invoices/{invoice}/mark_uncollectible")
def mark_uncollectible(world: World, _params: Params, identity: str) -> Body:
    """Give an invoice up; it can still be paid."""
    return collecting.give_up(world, world.get("invoice", identity))


@operation("GET /v1/invoice_payments")
def list_payments(world: World, params: Params) -> Body:
    """Return what was paid, or is asked for, on invoices."""
    where = params.take("invoice", "status")
    wanted = (params.get("payment") or {}).get("payment_intent")
    params.take("created", "limit", "starting_after", "ending_before")
    url = "/v1/invoice_payments"
    return world.page("invoice_payment", url, params, payment__payment_intent=wanted, **where)


@operation("GET /v1/invoice_payments/{invoice_payment}")
def retrieve_payment(world: World, _params: Params, identity: str) -> Body:
    """Return one payment of an invoice."""
    return world.get("invoice_payment", identity)


@drawn("invoice")
def _draw(world: World, invoice: Body, shown: Body) -> None:
    lines = totals.lines_of(world, invoice)
    first = [world.draw(line) for line in lines[:SHOWN_LINES]]
    url = f"/v1/invoices/{invoice['id']}/lines"
    shown["lines"] = listing(first, url, has_more=len(lines) > SHOWN_LINES)
    rates = invoice["default_tax_rates"]
    shown["default_tax_rates"] = [world.draw(world.get("tax_rate", rate)) for rate in rates]


@grown("invoice", "payments")
def _payments(world: World, invoice: Body) -> Body:
    found = world.find("invoice_payment", invoice=invoice["id"], oldest_first=True)
    return listing(found, "/v1/invoice_payments")


@grown("invoice", "confirmation_secret")
def _confirmation_secret(world: World, invoice: Body) -> Body | None:
    intent = world.look(invoice.get("_intent"))
    if intent is None:
        return None
    return {"client_secret": intent["client_secret"], "type": "payment_intent"}
