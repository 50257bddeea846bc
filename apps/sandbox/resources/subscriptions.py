"""Subscriptions as the API offers them: begin, change, end."""

from __future__ import annotations

from typing import Any

from apps.sandbox.amounts import rounded
from apps.sandbox.calendar import DAY
from apps.sandbox.errors import Refusal, invalid
from apps.sandbox.resources import (
    changing,
    collecting,
    coupons,
    cycles,
    intents,
    invoice_items,
    items,
    payment_methods,
    pricing,
    totals,
)
from apps.sandbox.resources.fields import set_fields
from apps.sandbox.resources.searching import read_query, search_result
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World, listing
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import drawn, operation

PLAIN = ("description", "metadata", "days_until_due")
ONE = "/v1/subscriptions/{subscription_exposed_id}"


@operation("POST /v1/subscriptions")
def create(world: World, params: Params) -> Body:
    """Begin a subscription, with its first invoice, and collect that as asked."""
    customer = world.get("customer", params.get("customer"), param="customer")
    specs = params.get("items") or []
    if not specs:
        raise invalid("Missing required param: items.", param="items", code="parameter_missing")
    subscription = _new(world, customer, specs, params)
    _add_items(world, subscription, specs)
    _set_discounts(world, subscription, customer, params)
    behavior = params.get("payment_behavior", "allow_incomplete")
    params.take("off_session", "proration_behavior")
    invoice = _first_invoice(world, subscription, customer, params)
    _settle_status(world, subscription, invoice, behavior)
    cycles.schedule(world, subscription)
    world.emit("customer.subscription.created", subscription)
    return subscription


def _new(world: World, customer: Body, specs: list[Body], params: Params) -> Body:
    at = world.time_of(customer)
    if params.get("backdate_start_date") is not None:
        raise Refusal(
            501, "The sandbox does not backdate.", kind="api_error", code="sandbox_not_implemented"
        )
    first = _first_price(world, specs[0])
    subscription = world.new(
        "subscription",
        billing_cycle_anchor=at,
        billing_mode={"type": "flexible", "flexible": {"proration_discounts": "included"}},
        cancellation_details={"comment": None, "feedback": None, "reason": None},
        collection_method=params.get("collection_method", "charge_automatically"),
        created=at,
        currency=str(params.get("currency") or first["currency"]).lower(),
        customer=customer["id"],
        default_tax_rates=[],
        invoice_settings={
            "account_tax_ids": None,
            "custom_fields": None,
            "description": None,
            "footer": None,
            "issuer": {"type": "self"},
        },
        start_date=at,
        status="incomplete",
        test_clock=customer["test_clock"],
        trial_settings={"end_behavior": {"missing_payment_method": "create_invoice"}},
        payment_settings={
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
    )
    for name in ("items", "managed_payments"):
        del subscription[name]
    _set_trial(subscription, params, at)
    set_terms(world, subscription, params)
    _set_anchor(subscription, params, at)
    return subscription


def _first_price(world: World, spec: Body) -> Body:
    if spec.get("price_data") is not None:
        return {"currency": spec["price_data"]["currency"]}
    return pricing.price_of(world, spec, param="items[0][price]")


def _set_trial(subscription: Body, params: Params, at: int) -> None:
    days, until = params.get("trial_period_days"), params.get("trial_end")
    if days is not None:
        until = at + int(days) * DAY
    if until in (None, "", "now"):
        return
    if int(until) <= at:
        raise invalid("`trial_end` has to be in the future.", param="trial_end")
    subscription.update(trial_start=at, trial_end=int(until), billing_cycle_anchor=int(until))


def _set_anchor(subscription: Body, params: Params, at: int) -> None:
    anchor = params.get("billing_cycle_anchor")
    if anchor is None or subscription["trial_end"] is not None:
        return
    if int(anchor) < at:
        raise invalid("billing_cycle_anchor cannot be in the past", param="billing_cycle_anchor")
    subscription["billing_cycle_anchor"] = int(anchor)


def set_terms(world: World, subscription: Body, params: Params) -> None:
    """Set what creating and updating have in common."""
    set_fields(subscription, params, *PLAIN)
    given = params.take(
        "default_payment_method",
        "default_tax_rates",
        "cancel_at_period_end",
        "cancel_at",
        "trial_settings",
        "payment_settings",
        "collection_method",
        "cancellation_details",
        "invoice_settings",
        "automatic_tax",
        "billing_mode",
    )
    _refuse_unbuilt(given)
    if "default_payment_method" in given:
        method = given["default_payment_method"]
        subscription["default_payment_method"] = method and _own_method(world, subscription, method)
    if "default_tax_rates" in given:
        subscription["default_tax_rates"] = [
            world.get("tax_rate", rate, param="default_tax_rates")["id"]
            for rate in given["default_tax_rates"] or []
        ]
    if given.get("collection_method"):
        subscription["collection_method"] = given["collection_method"]
    if subscription["collection_method"] == "send_invoice":
        subscription["days_until_due"] = subscription["days_until_due"] or 30
    for name in ("trial_settings", "payment_settings", "invoice_settings", "cancellation_details"):
        subscription[name] = {**subscription[name], **(given.get(name) or {})}
    _set_ending(world, subscription, given)


def _refuse_unbuilt(given: Body) -> None:
    tax = (given.get("automatic_tax") or {}).get("enabled")
    classic = (given.get("billing_mode") or {}).get("type") == "classic"
    if tax or classic:
        what = "Stripe Tax" if tax else "classic billing mode"
        raise Refusal(
            501, f"The sandbox has no {what}.", kind="api_error", code="sandbox_not_implemented"
        )


def _own_method(world: World, subscription: Body, identity: str) -> str:
    method = payment_methods.resolve(world, identity, param="default_payment_method")
    if method["customer"] is None and method["id"] != identity:
        payment_methods.attach(world, method["id"], world.get("customer", subscription["customer"]))
    if method["customer"] != subscription["customer"]:
        raise invalid(
            "The payment method has to be attached to the customer.",
            param="default_payment_method",
            code="resource_missing",
        )
    return str(method["id"])


def _set_ending(world: World, subscription: Body, given: Body) -> None:
    at = world.time_of(subscription)
    if "cancel_at" in given:
        planned = given["cancel_at"]
        subscription["cancel_at"] = planned
        subscription["canceled_at"] = at if planned else None
    ending = given.get("cancel_at_period_end")
    if ending is not None and ending != subscription["cancel_at_period_end"]:
        subscription["cancel_at_period_end"] = ending
        subscription["canceled_at"] = at if ending else None
        subscription["_ends"] = ending
        reason = "cancellation_requested" if ending else None
        subscription["cancellation_details"]["reason"] = reason


def _add_items(world: World, subscription: Body, specs: list[Body]) -> None:
    at = subscription["start_date"]
    for place, spec in enumerate(specs):
        items.add(world, subscription, spec, at, at, place=f"items[{place}]")
    anchor = subscription["billing_cycle_anchor"]
    over = anchor if anchor > at else cycles.next_end(world, subscription, at)
    items.set_period(world, subscription, at, over)


def _set_discounts(world: World, subscription: Body, customer: Body, params: Params) -> None:
    given = params.take("discounts")
    if "discounts" in given:
        at = world.time_of(subscription)
        identity = subscription["id"]
        subscription["discounts"] = [
            coupons.redeem(world, each, customer, at=at, subscription=identity)["id"]
            for each in given["discounts"] or []
        ]


def _first_invoice(world: World, subscription: Body, customer: Body, params: Params) -> Body:
    prorate = params.get("proration_behavior", "create_prorations") != "none"
    draft = cycles.bill_start(world, subscription, prorate=prorate)
    for extra in params.get("add_invoice_items") or []:
        _add_extra(world, subscription, customer, draft, extra)
    invoice_items.pull_pending(world, draft, subscription["id"])
    if subscription["collection_method"] == "send_invoice":
        collecting.schedule(world, draft)
        totals.refresh(world, draft)
        world.emit("invoice.created", draft)
        return draft
    return cycles.close(world, draft, collect=False)


def _add_extra(world: World, subscription: Body, customer: Body, draft: Body, extra: Body) -> None:
    """Put a one-time price on the first invoice."""
    price = pricing.price_of(world, extra, param="add_invoice_items[0][price]")
    quantity = int(extra.get("quantity", 1))
    amount = rounded(pricing.cost(price, quantity))
    item = invoice_items.make(
        world, customer, price, amount=amount, subscription=subscription["id"]
    )
    item.update(
        quantity=quantity,
        quantity_decimal=str(quantity),
        description=items.product_name(world, price),
    )
    world.emit("invoiceitem.created", item)
    invoice_items.add_to(world, draft, item)


def _settle_status(world: World, subscription: Body, invoice: Body, behavior: str) -> None:
    """Say what a new subscription is, once its first invoice was tried or not."""
    if invoice["status"] == "open" and behavior != "default_incomplete":
        refusal = collecting.attempt(world, invoice)
        collecting.schedule(world, invoice)
        if behavior == "error_if_incomplete" and invoice["status"] == "open":
            error = refusal.error if refusal else {"message": "Your card was declined."}
            raise Refusal(
                402,
                error["message"],
                kind="card_error",
                code=error.get("code"),
                decline_code=error.get("decline_code"),
            )
    sent = subscription["collection_method"] == "send_invoice"
    if subscription["trial_end"] is not None:
        subscription["status"] = "trialing"
        _ask_for_card(world, subscription)
    elif sent or invoice["status"] == "paid":
        subscription["status"] = "active"
    elif subscription["status"] != "active":
        subscription["status"] = "incomplete"


def _ask_for_card(world: World, subscription: Body) -> None:
    """Leave a setup intent where a trial has nothing to charge at its end."""
    asked = {
        "default_payment_method": None,
        "_subscription": subscription["id"],
        "customer": subscription["customer"],
    }
    charged = subscription["collection_method"] == "charge_automatically"
    if charged and collecting.method_for(world, asked) is None:
        wanted = Params({"customer": subscription["customer"], "usage": "off_session"})
        subscription["pending_setup_intent"] = intents.create_setup(world, wanted)["id"]


@operation(f"GET {ONE}")
def retrieve(world: World, _params: Params, identity: str) -> Body:
    """Return a subscription."""
    return world.get("subscription", identity)


@operation("GET /v1/subscriptions")
def list_all(world: World, params: Params) -> Body:
    """Return subscriptions, without the ended ones unless they are asked for."""
    where = params.take("customer", "collection_method", "test_clock")
    status, price = params.get("status"), params.get("price")
    params.take("created", "limit", "starting_after", "ending_before")
    if status not in (None, "all", "ended"):
        where["status"] = status
    page = world.page("subscription", "/v1/subscriptions", params, **where)
    if status is None:
        page["data"] = [each for each in page["data"] if each["status"] not in cycles.ENDED]
    elif status == "ended":
        page["data"] = [each for each in page["data"] if each["status"] in cycles.ENDED]
    if price is not None:
        page["data"] = [each for each in page["data"] if _has_price(world, each, price)]
    return page


def _has_price(world: World, subscription: Body, price: str) -> bool:
    return any(item["price"] == price for item in items.items_of(world, subscription))


@operation("GET /v1/subscriptions/search")
def search(world: World, params: Params) -> Body:
    """Find subscriptions by one equality."""
    name, value = read_query(str(params["query"]))
    params.take("limit", "page")
    url = "/v1/subscriptions/search"
    return search_result(world.search("subscription", name, value), url)


@operation(f"POST {ONE}")
def update(world: World, params: Params, identity: str) -> Body:
    """Change a subscription: what it has, how it is paid, when it ends."""
    subscription = world.get("subscription", identity)
    if subscription["status"] in cycles.ENDED:
        message = f"A {subscription['status']} subscription can only update its "
        raise invalid(message + "cancellation_details and metadata.")
    change = changing.Change.read(world, subscription, params)
    with world.changes(subscription, "customer.subscription.updated"):
        set_terms(world, subscription, params)
        customer = world.get("customer", subscription["customer"])
        _set_discounts(world, subscription, customer, params)
        _set_pause(subscription, params)
        changing.carry_out(world, subscription, change)
        cycles.schedule(world, subscription)
    return subscription


def _set_pause(subscription: Body, params: Params) -> None:
    given = params.take("pause_collection")
    if "pause_collection" in given:
        wanted = given["pause_collection"]
        paused = (
            {"behavior": wanted["behavior"], "resumes_at": wanted.get("resumes_at")}
            if wanted
            else None
        )
        subscription["pause_collection"] = paused


@operation(f"DELETE {ONE}")
def cancel(world: World, params: Params, identity: str) -> Body:
    """End a subscription now, with a last invoice when asked to."""
    subscription = world.get("subscription", identity)
    if subscription["status"] in cycles.ENDED:
        raise Refusal(
            404, f"No such subscription: '{identity}'", code="resource_missing", param="id"
        )
    given = params.take("invoice_now", "prorate", "cancellation_details")
    details = given.get("cancellation_details") or {}
    subscription["cancellation_details"] = {**subscription["cancellation_details"], **details}
    if given.get("prorate"):
        changing.credit_rest(world, subscription)
    if given.get("invoice_now"):
        cycles.bill_change(world, subscription)
    cycles.end(world, subscription, reason="cancellation_requested")
    return subscription


@operation("POST /v1/subscriptions/{subscription}/resume")
def resume(world: World, params: Params, identity: str) -> Body:
    """Go on with a paused subscription."""
    subscription = world.get("subscription", identity)
    anchor = params.get("billing_cycle_anchor", "now")
    params.take("proration_behavior", "proration_date")
    if subscription["status"] != "paused":
        raise invalid("You can only resume subscriptions with status `paused`.")
    at = world.time_of(subscription)
    with world.changes(subscription, None):
        subscription.update(status="active", trial_end=subscription["trial_end"])
        if anchor == "now":
            cycles.restart(world, subscription, at=at, prorate=False, collect=True)
        cycles.schedule(world, subscription)
    world.emit("customer.subscription.resumed", subscription)
    return subscription


@operation(f"DELETE {ONE}/discount")
def delete_discount(world: World, _params: Params, identity: str) -> Body:
    """Take a subscription's discounts away."""
    subscription = world.get("subscription", identity)
    gone = subscription["discounts"]
    world.change(subscription, "customer.subscription.updated", discounts=[])
    last = gone[-1] if gone else ""
    return {"id": last, "object": "discount", "deleted": True}


# --- items ---------------------------------------------------------------------------------------


@operation("POST /v1/subscription_items")
def create_item(world: World, params: Params) -> Body:
    """Add an item."""
    subscription = world.get("subscription", params["subscription"], param="subscription")
    spec = params.take("price", "price_data", "quantity", "metadata", "tax_rates", "discounts")
    before = {item["id"] for item in items.items_of(world, subscription)}
    _update_items(world, subscription, params, spec)
    return next(i for i in items.items_of(world, subscription) if i["id"] not in before)


@operation("POST /v1/subscription_items/{item}")
def update_item(world: World, params: Params, identity: str) -> Body:
    """Change an item."""
    item = world.get("subscription_item", identity)
    spec = params.take("price", "price_data", "quantity", "metadata", "tax_rates", "discounts")
    subscription = world.get("subscription", item["subscription"])
    _update_items(world, subscription, params, {**spec, "id": identity})
    return item


@operation("DELETE /v1/subscription_items/{item}")
def delete_item(world: World, params: Params, identity: str) -> Body:
    """Take an item away; the last one cannot go."""
    item = world.get("subscription_item", identity)
    params.take("clear_usage")
    subscription = world.get("subscription", item["subscription"])
    _update_items(world, subscription, params, {"id": identity, "deleted": True})
    return {"id": identity, "object": "subscription_item", "deleted": True}


def _update_items(world: World, subscription: Body, params: Params, spec: Body) -> None:
    wanted: dict[str, Any] = {"items": [spec]}
    wanted |= params.take("proration_behavior", "proration_date", "payment_behavior", "off_session")
    update(world, Params(wanted), subscription["id"])


@operation("GET /v1/subscription_items/{item}")
def retrieve_item(world: World, _params: Params, identity: str) -> Body:
    """Return an item."""
    return world.get("subscription_item", identity)


@operation("GET /v1/subscription_items")
def list_items(world: World, params: Params) -> Body:
    """Return the items of a subscription."""
    subscription = world.get("subscription", params["subscription"], param="subscription")
    params.take("limit", "starting_after", "ending_before")
    return listing(items.items_of(world, subscription), "/v1/subscription_items")


@drawn("subscription")
def _draw(world: World, subscription: Body, shown: Body) -> None:
    shown["items"] = items.drawn_list(world, subscription)
    rates = subscription["default_tax_rates"]
    shown["default_tax_rates"] = [world.draw(world.get("tax_rate", rate)) for rate in rates]
    if (
        subscription["cancel_at_period_end"]
        and shown["cancel_at"] is None
        and shown["items"]["data"]
    ):
        shown["cancel_at"] = shown["items"]["data"][0]["current_period_end"]
