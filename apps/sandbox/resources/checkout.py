"""Checkout sessions: a page on which somebody pays, saves a card or subscribes.

The page calls `submit` with what its visitor typed in, and `apply_code` for a promotion code.
"""

from __future__ import annotations

from dataclasses import dataclass

from apps.sandbox.amounts import rounded
from apps.sandbox.calendar import DAY
from apps.sandbox.errors import Refusal, invalid
from apps.sandbox.resources import (
    collecting,
    coupons,
    customers,
    cycles,
    intents,
    invoice_items,
    invoices,
    payment_methods,
    pricing,
    subscriptions,
    totals,
)
from apps.sandbox.resources.fields import set_fields
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World, listing
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import falls_due, grown, operation

ONE = "/v1/checkout/sessions/{session}"
OPEN_FOR = DAY
PLAIN = (
    "allow_promotion_codes",
    "cancel_url",
    "client_reference_id",
    "customer_email",
    "metadata",
    "success_url",
    "locale",
    "billing_address_collection",
    "submit_type",
    "customer_creation",
    "payment_method_collection",
)
SUBSCRIBES_WITH = (
    "description",
    "metadata",
    "trial_period_days",
    "trial_end",
    "trial_settings",
    "default_tax_rates",
    "billing_cycle_anchor",
    "proration_behavior",
)


@dataclass(frozen=True, slots=True)
class Payer:
    """What somebody typed in: a test card's number or a test IBAN, and who they are.

    `expires` is the month and the year printed on the card.
    """

    number: str
    email: str | None = None
    name: str | None = None
    expires: tuple[int, int] | None = None


# --- the API -------------------------------------------------------------------------------------


@operation("POST /v1/checkout/sessions")
def create(world: World, params: Params) -> Body:
    """Open a session; its `url` is the page."""
    mode = params.get("mode") or ("payment" if params.get("line_items") else "setup")
    _refuse_unfit(params, mode)
    customer = params.get("customer")
    if customer is not None:
        customer = world.get("customer", customer, param="customer")["id"]
    at = world.now
    session = world.new(
        "checkout.session",
        customer=customer,
        expires_at=params.get("expires_at") or at + OPEN_FOR,
        metadata={},
        mode=mode,
        payment_method_types=params.get("payment_method_types") or ["card"],
        payment_method_options={},
        payment_status="no_payment_required" if mode == "setup" else "unpaid",
        status="open",
        ui_mode=params.get("ui_mode", "hosted_page"),
        _wanted=params.take(
            "line_items",
            "subscription_data",
            "payment_intent_data",
            "setup_intent_data",
            "discounts",
            "currency",
        ),
    )
    set_fields(session, params, *PLAIN)
    params.take(
        "automatic_tax",
        "customer_update",
        "tax_id_collection",
        "consent_collection",
        "saved_payment_method_options",
        "phone_number_collection",
    )
    _refuse_tax(params)
    session["url"] = f"{world.base_url}/c/pay/{session['id']}"
    session["_due"] = session["expires_at"]
    if mode == "setup":
        session["currency"] = session["_wanted"].get("currency")
    else:
        session["_prices"] = _prices(world, session)
        quote(world, session)
    return session


def _refuse_unfit(params: Params, mode: str) -> None:
    if mode == "setup" and params.get("line_items"):
        raise invalid("You can not pass `line_items` in `setup` mode.", param="line_items")
    if mode != "setup" and not params.get("line_items"):
        message = f"The `line_items` parameter is required in {mode} mode."
        raise invalid(message, param="line_items", code="parameter_missing")
    if mode != "subscription" and params.get("subscription_data"):
        raise invalid(
            "You can not pass `subscription_data` outside of `subscription` mode.",
            param="subscription_data",
        )
    if params.get("discounts") and params.get("allow_promotion_codes"):
        raise invalid(
            "You may only specify one of these parameters: allow_promotion_codes, discounts.",
            param="allow_promotion_codes",
        )
    if params.get("customer") and params.get("customer_email"):
        raise invalid(
            "You may only specify one of these parameters: customer, customer_email.",
            param="customer_email",
        )


def _refuse_tax(params: Params) -> None:
    if (params.get("automatic_tax") or {}).get("enabled"):
        raise Refusal(
            501,
            "The sandbox has no Stripe Tax.",
            kind="api_error",
            code="sandbox_not_implemented",
            param="automatic_tax",
        )


def _prices(world: World, session: Body) -> list[Body]:
    """Return the lines with the ids of their prices; described ones are made now."""
    found = []
    for place, line in enumerate(session["_wanted"]["line_items"]):
        price = pricing.price_of(world, line, param=f"line_items[{place}][price]")
        recurring = price["type"] == "recurring"
        if recurring and session["mode"] == "payment":
            message = "You specified `payment` mode but passed a recurring price."
            raise invalid(message, param=f"line_items[{place}]")
        found.append(
            {
                "price": price["id"],
                "quantity": int(line.get("quantity", 1)),
                "tax_rates": line.get("tax_rates") or [],
            }
        )
    if session["mode"] == "subscription" and not any(_recurs(world, line) for line in found):
        message = "You must provide at least one recurring price in `subscription` mode."
        raise invalid(message, param="line_items")
    return found


def _recurs(world: World, line: Body) -> bool:
    return bool(world.get("price", line["price"])["type"] == "recurring")


@operation(f"GET {ONE}")
def retrieve(world: World, _params: Params, identity: str) -> Body:
    """Return a session."""
    return world.get("checkout.session", identity)


@operation("GET /v1/checkout/sessions")
def list_all(world: World, params: Params) -> Body:
    """Return sessions, youngest first."""
    where = params.take("customer", "status", "subscription", "payment_intent")
    params.take("created", "limit", "starting_after", "ending_before")
    return world.page("checkout.session", "/v1/checkout/sessions", params, **where)


@operation(f"POST {ONE}")
def update(world: World, params: Params, identity: str) -> Body:
    """Change a session's metadata."""
    return set_fields(world.get("checkout.session", identity), params, "metadata")


@operation(f"POST {ONE}/expire")
def expire(world: World, _params: Params, identity: str) -> Body:
    """Close a session that nobody finished."""
    session = world.get("checkout.session", identity)
    _refuse_closed(session)
    return _close(world, session)


@falls_due("checkout.session")
def _run_out(world: World, session: Body) -> None:
    if session["status"] == "open":
        _close(world, session)


def _close(world: World, session: Body) -> Body:
    session.update(status="expired", url=None)
    session.pop("_due", None)
    world.emit("checkout.session.expired", session)
    return session


def _refuse_closed(session: Body) -> None:
    if session["status"] != "open":
        raise invalid(f"This Session is not open: it is {session['status']}.")


@operation(f"GET {ONE}/line_items")
def list_line_items(world: World, params: Params, identity: str) -> Body:
    """Return what a session sells."""
    session = world.get("checkout.session", identity)
    params.take("limit", "starting_after", "ending_before")
    return listing(session.get("_items") or [], f"/v1/checkout/sessions/{identity}/line_items")


@grown("checkout.session", "line_items")
def _line_items(_world: World, session: Body) -> Body:
    url = f"/v1/checkout/sessions/{session['id']}/line_items"
    return listing(session.get("_items") or [], url)


# --- sums ----------------------------------------------------------------------------------------


def quote(world: World, session: Body) -> None:
    """Reckon what a session comes to, by making the invoice and undoing it."""
    with world.rehearsal():
        customer = _customer_of(world, session, Payer("", email="quote@example.com"))
        draft = _draft(world, session, customer)
        lines = [_shown_line(world, line) for line in totals.lines_of(world, draft)]
        sums = {name: draft[name] for name in ("subtotal", "total", "currency")}
        discount = sum(each["amount"] for each in draft["total_discount_amounts"])
        tax = sum(each["amount"] for each in draft["total_taxes"])
    session.update(
        amount_subtotal=sums["subtotal"],
        amount_total=sums["total"],
        currency=sums["currency"],
        total_details={"amount_discount": discount, "amount_shipping": 0, "amount_tax": tax},
        discounts=_shown_discounts(session),
        _items=lines,
    )
    if session["mode"] == "payment" and sums["total"] == 0:
        session["payment_status"] = "no_payment_required"


def _draft(world: World, session: Body, customer: Body) -> Body:
    """Return the invoice that this session would make."""
    if session["mode"] == "subscription":
        made = _subscribe(world, session, customer, None)
        return world.get("invoice", made["latest_invoice"])
    currency = world.get("price", session["_prices"][0]["price"])["currency"]
    draft = invoices.draft(world, customer, currency=currency)
    at = world.time_of(customer)
    draft["discounts"] = [
        coupons.redeem(world, each, customer, at=at)["id"] for each in _discounts(session)
    ]
    for line in session["_prices"]:
        price = world.get("price", line["price"])
        amount = rounded(pricing.cost(price, line["quantity"]))
        item = invoice_items.make(world, customer, price, amount=amount)
        item.update(
            quantity=line["quantity"],
            quantity_decimal=str(line["quantity"]),
            tax_rates=line["tax_rates"],
            description=world.get("product", price["product"])["name"],
        )
        invoice_items.add_to(world, draft, item)
    totals.refresh(world, draft)
    return draft


def _shown_line(world: World, line: Body) -> Body:
    discount = line["amount"] - totals.net(line)
    tax = sum(each["amount"] for each in line["taxes"] if each["tax_behavior"] == "exclusive")
    price = world.get("price", line["pricing"]["price_details"]["price"])
    return {
        "id": line["id"].replace("il_", "li_"),
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": discount,
        "amount_subtotal": line["amount"],
        "amount_tax": tax,
        "amount_total": line["amount"] - discount + tax,
        "currency": line["currency"],
        "description": world.get("product", price["product"])["name"],
        "metadata": {},
        "price": world.draw(price),
        "quantity": line["quantity"],
    }


def _discounts(session: Body) -> list[Body]:
    typed = session.get("_code")
    given: list[Body] = session["_wanted"].get("discounts") or []
    return [{"promotion_code": typed}] if typed else given


def _shown_discounts(session: Body) -> list[Body] | None:
    given = _discounts(session)
    return [
        {"coupon": each.get("coupon"), "promotion_code": each.get("promotion_code")}
        for each in given
    ] or None


def apply_code(world: World, identity: str, code: str) -> Body:
    """Take a promotion code that somebody typed in; an empty one takes it away again."""
    session = world.get("checkout.session", identity)
    _refuse_closed(session)
    if not session["allow_promotion_codes"]:
        raise invalid("This session takes no promotion codes.")
    session.pop("_code", None)
    if code:
        session["_code"] = _find_code(world, code)["id"]
    quote(world, session)
    return session


def _find_code(world: World, code: str) -> Body:
    for promotion in world.find("promotion_code", active=True):
        if promotion["code"].lower() == code.strip().lower():
            return promotion
    raise invalid("This promotion code is invalid.", param="promotion_code")


# --- the visitor ---------------------------------------------------------------------------------


def submit(world: World, identity: str, payer: Payer) -> Body:
    """Pay, save or subscribe, as the session's visitor asked.

    A session that needs 3-D Secure stays open and names the intent in `_intent`. Raises Refusal
    when the card is declined.
    """
    session = world.get("checkout.session", identity)
    _refuse_closed(session)
    customer = _customer_of(world, session, payer)
    method = method_of(world, payer)
    session["customer_details"] = _details(customer, payer)
    steps = {"setup": _save, "payment": _pay, "subscription": _begin}
    intent = steps[session["mode"]](world, session, customer, method)
    if intent is not None:
        intent["_session"] = session["id"]
        session["_intent"] = intent["id"]
    if intent is None or intent["status"] in {"succeeded", "processing"}:
        return complete(world, session)
    return session


def _customer_of(world: World, session: Body, payer: Payer) -> Body:
    if session["customer"] is not None:
        return world.get("customer", session["customer"])
    email = payer.email or session["customer_email"]
    wanted = {"email": email or "buyer@example.com", "name": payer.name}
    return customers.create(world, Params({k: v for k, v in wanted.items() if v}))


def _details(customer: Body, payer: Payer) -> Body:
    return {
        "address": customer["address"],
        "business_name": None,
        "email": payer.email or customer["email"],
        "individual_name": None,
        "name": payer.name or customer["name"],
        "phone": customer["phone"],
        "tax_exempt": customer["tax_exempt"],
        "tax_ids": [],
    }


def method_of(world: World, payer: Payer) -> Body:
    """Return a new payment method for what somebody typed in. Raises Refusal for no test card."""
    if payer.number[:2].isalpha():
        return payment_methods.make_debit(world, payer.number)
    card = payment_methods.read_card({"number": payer.number})
    method = payment_methods.make_card(world, card)
    if payer.expires is not None:
        method["card"].update(exp_month=payer.expires[0], exp_year=payer.expires[1])
    return method


def _save(world: World, session: Body, customer: Body, method: Body) -> Body:
    extra = session["_wanted"].get("setup_intent_data") or {}
    known = {name: extra[name] for name in ("description", "metadata") if name in extra}
    wanted = {
        **known,
        "customer": customer["id"],
        "usage": "off_session",
        "payment_method": method["id"],
    }
    intent = intents.create_setup(world, Params(wanted))
    session.update(customer=customer["id"], setup_intent=intent["id"])
    return intents.confirm_setup(world, Params(), intent["id"])


def _pay(world: World, session: Body, customer: Body, method: Body) -> Body | None:
    session["customer"] = customer["id"]
    if session["amount_total"] == 0:
        return None
    extra = session["_wanted"].get("payment_intent_data") or {}
    intents.refuse_too_small(session["amount_total"], session["currency"])
    intent = intents.make(
        world,
        amount=session["amount_total"],
        currency=session["currency"],
        customer=customer["id"],
        description=extra.get("description"),
        metadata=extra.get("metadata") or {},
        setup_future_usage=extra.get("setup_future_usage"),
    )
    world.emit("payment_intent.created", intent)
    session["payment_intent"] = intent["id"]
    _charge(world, intent, method)
    return intent


def _charge(world: World, intent: Body, method: Body) -> None:
    why = intents.attempt(world, intent, method["id"], off_session=False)
    if why is not None:
        raise payment_methods.declined(why)


def _begin(world: World, session: Body, customer: Body, method: Body) -> Body | None:
    payment_methods.refuse_unsavable(method)
    method["customer"] = customer["id"]
    world.emit("payment_method.attached", method)
    subscription = _subscribe(world, session, customer, method)
    session.update(
        customer=customer["id"],
        subscription=subscription["id"],
        invoice=subscription["latest_invoice"],
    )
    invoice = world.get("invoice", subscription["latest_invoice"])
    if invoice["status"] != "open":
        return None
    intent = world.get("payment_intent", invoice["_intent"])
    invoice.update(attempted=True, attempt_count=1)
    why = intents.attempt(world, intent, method["id"], off_session=False)
    if why is not None:
        # Nothing of this stays: a session that failed has made no subscription.
        raise Refusal(
            402, why.message, kind="card_error", code=why.code, decline_code=why.decline_code
        )
    if intent["status"] == "succeeded":
        collecting.mark_paid(world, invoice)
    return intent


def _subscribe(world: World, session: Body, customer: Body, method: Body | None) -> Body:
    extra = session["_wanted"].get("subscription_data") or {}
    lines = session["_prices"]
    recurring = [line for line in lines if _recurs(world, line)]
    once = [line for line in lines if not _recurs(world, line)]
    wanted: Body = {
        **{name: extra[name] for name in SUBSCRIBES_WITH if name in extra},
        "customer": customer["id"],
        "items": recurring,
        "payment_behavior": "default_incomplete",
    }
    if method is not None:
        wanted["default_payment_method"] = method["id"]
    if once:
        wanted["add_invoice_items"] = once
    if discounts := _discounts(session):
        wanted["discounts"] = discounts
    return subscriptions.create(world, Params(wanted))


def complete(world: World, session: Body) -> Body:
    """Finish a session and tell so; a bank debit is told again when the bank answered."""
    intent = world.look(session.get("_intent"))
    waits = intent is not None and intent["status"] == "processing"
    free = not session["amount_total"]
    session.update(
        status="complete",
        url=None,
        payment_status="unpaid" if waits else "no_payment_required" if free else "paid",
    )
    session.pop("_due", None)
    world.emit("checkout.session.completed", session)
    return session


@intents.follow
def _follow_intent(world: World, intent: Body) -> None:
    """Go on where the visitor came back from the bank, or where the bank answered at last."""
    session = world.look(intent.get("_session"))
    if session is None:
        return
    if session["status"] == "open" and intent["status"] in {"succeeded", "processing"}:
        complete(world, session)
    elif session["status"] == "open":
        _forget_attempt(world, session)
    elif session["payment_status"] == "unpaid":
        paid = intent["status"] == "succeeded"
        session["payment_status"] = "paid" if paid else "unpaid"
        outcome = "succeeded" if paid else "failed"
        world.emit(f"checkout.session.async_payment_{outcome}", session)


def _forget_attempt(world: World, session: Body) -> None:
    """Take back what a failed challenge left, so that the visitor can try another card."""
    subscription = world.look(session["subscription"])
    if subscription is not None:
        cycles.expire(world, subscription)
    session.update(subscription=None, invoice=None, setup_intent=None)
    session.pop("_intent", None)
