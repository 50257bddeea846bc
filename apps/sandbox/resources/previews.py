"""What an invoice would be: the change is carried out, looked at, and undone."""

from __future__ import annotations

from apps.sandbox.errors import invalid
from apps.sandbox.resources import (
    changing,
    coupons,
    cycles,
    invoice_items,
    invoices,
    subscriptions,
    totals,
)
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World, listing
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import operation


@operation("POST /v1/invoices/create_preview")
def create_preview(world: World, params: Params) -> Body:
    """Return the next invoice of a subscription, a change or a customer; nothing is kept."""
    with world.rehearsal():
        identity = params.get("subscription")
        if identity is not None:
            subscription = world.get("subscription", identity, param="subscription")
            preview = _of_subscription(world, subscription, params)
        else:
            preview = _of_customer(world, params)
        return _picture(world, preview)


def _picture(world: World, preview: Body) -> Body:
    """Return a preview as it is shown, with all its lines: they cannot be looked up later."""
    preview.update(status="draft", billing_reason="upcoming", number=None)
    lines = [world.draw(line) for line in totals.lines_of(world, preview)]
    shown = world.draw(preview)
    shown["lines"] = listing(lines, shown["lines"]["url"])
    return {**shown, "_as_is": True}


def _of_subscription(world: World, subscription: Body, params: Params) -> Body:
    details = Params(params.get("subscription_details") or {})
    params.take("customer", "currency", "preview_mode", "schedule")
    change = changing.Change.read(world, subscription, details)
    if details.get("cancel_now"):
        changing.credit_rest(world, subscription)
        return _at_once(world, subscription)
    planned = details.take("cancel_at_period_end", "cancel_at")
    subscription.update({name: value for name, value in planned.items() if value is not None})
    _discount(world, subscription, params)
    made = changing.carry_out(
        world, subscription, changing.Change(**{**_fields(change), "payment": "default_incomplete"})
    )
    _add_items(world, subscription, params)
    if made is not None:
        invoice_items.pull_pending(world, made, None)
        return cycles.rename(world, made)
    if subscription["cancel_at_period_end"]:
        return _at_once(world, subscription)
    return cycles.upcoming(world, subscription)


def _fields(change: changing.Change) -> Body:
    return {name: getattr(change, name) for name in changing.Change.__slots__}


def _at_once(world: World, subscription: Body) -> Body:
    """Return an invoice of what waits, and nothing else."""
    at = world.time_of(subscription)
    draft = cycles.new_draft(world, subscription, "upcoming", (at, at))
    invoice_items.pull_pending(world, draft, subscription["id"])
    totals.refresh(world, draft)
    return cycles.rename(world, draft)


def _discount(world: World, body: Body, params: Params) -> None:
    given = params.get("discounts")
    if given is not None:
        customer = world.get("customer", body["customer"])
        at = world.time_of(body)
        body["discounts"] = [
            coupons.redeem(world, each, customer, at=at)["id"] for each in given or []
        ]


def _add_items(world: World, body: Body, params: Params) -> None:
    for each in params.get("invoice_items") or []:
        item = Params({**each, "customer": body["customer"]})
        invoice_items.create(world, item)


def _of_customer(world: World, params: Params) -> Body:
    identity = params.get("customer")
    if identity is None:
        raise invalid("You must specify either `customer` or `subscription`.", param="customer")
    customer = world.get("customer", identity, param="customer")
    details = params.get("subscription_details") or {}
    currency = params.get("currency")
    if details.get("items"):
        wanted = {name: details[name] for name in _BEGINS if name in details}
        wanted |= {"customer": identity, "payment_behavior": "default_incomplete"}
        if params.get("discounts"):
            wanted["discounts"] = params["discounts"]
        subscription = subscriptions.create(world, Params(wanted))
        return cycles.rename(world, world.get("invoice", subscription["latest_invoice"]))
    draft = invoices.draft(world, customer, currency=currency or customer["currency"] or "usd")
    _discount(world, draft, params)
    _add_items(world, draft, params)
    invoice_items.pull_pending(world, draft, None)
    totals.refresh(world, draft)
    return cycles.rename(world, draft)


_BEGINS = ("items", "trial_end", "billing_cycle_anchor", "proration_behavior", "default_tax_rates")
