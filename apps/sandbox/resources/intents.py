"""Payment intents and setup intents: from a wish to money, or to a saved card."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apps.sandbox.amounts import SMALLEST
from apps.sandbox.cards import AUTHENTICATION, NOT_AUTHENTICATED, Decline
from apps.sandbox.errors import Refusal, invalid
from apps.sandbox.resources import charging, payment_methods
from apps.sandbox.resources.fields import set_fields, shipping
from apps.sandbox.store import Body
from apps.sandbox.world.kinds import client_secret
from apps.sandbox.world.objects import World
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import falls_due, operation

CONFIRMABLE = frozenset({"requires_payment_method", "requires_confirmation", "requires_action"})
FIELDS = (
    "description",
    "metadata",
    "receipt_email",
    "setup_future_usage",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_group",
)
# What rooms of the sandbox do when an intent of theirs is paid or refused: see `invoices`.
Follower = Callable[[World, Body], None]
FOLLOWERS: list[Follower] = []


def follow(function: Follower) -> Follower:
    """Call a function whenever an intent succeeded or failed outside of its own operation."""
    FOLLOWERS.append(function)
    return function


# --- payment intents -----------------------------------------------------------------------------


@operation("POST /v1/payment_intents")
def create(world: World, params: Params) -> Body:
    """Create a payment intent, and confirm it at once when asked to."""
    currency = str(params["currency"]).lower()
    refuse_too_small(params["amount"], currency)
    customer = params.get("customer")
    if customer is not None:
        world.get("customer", customer, param="customer")
    automatic = params.get("automatic_payment_methods")
    intent = make(
        world,
        amount=params["amount"],
        currency=currency,
        customer=customer,
        automatic_payment_methods={"allow_redirects": "always", **automatic} if automatic else None,
        capture_method=params.get("capture_method", "automatic_async"),
        confirmation_method=params.get("confirmation_method", "automatic"),
        payment_method_types=params.get("payment_method_types") or ["card"],
        shipping=shipping(params.get("shipping")),
    )
    set_fields(intent, params, *FIELDS)
    _choose(world, intent, params)
    world.emit("payment_intent.created", intent)
    asked = params.take("confirm", "off_session", "error_on_requires_action", "mandate_data")
    if asked.get("confirm"):
        return _confirm(
            world,
            intent,
            off_session=bool(asked.get("off_session")),
            strictly=bool(asked.get("error_on_requires_action")),
        )
    return intent


def make(world: World, **fields: Any) -> Body:
    """Return a new payment intent that waits for a payment method."""
    intent = world.new(
        "payment_intent",
        amount_capturable=0,
        amount_received=0,
        capture_method="automatic_async",
        confirmation_method="automatic",
        payment_method_types=["card"],
        payment_method_options={},
        amount_details={"tip": {}},
        status="requires_payment_method",
        processing=None,
    )
    intent.update(fields)
    intent["created"] = world.time_of(intent)
    intent["client_secret"] = client_secret(intent["id"])
    return intent


def refuse_too_small(amount: int, currency: str) -> None:
    """Raise Refusal for an amount below what Stripe charges in a currency."""
    least = SMALLEST.get(currency, 50)
    if amount < least:
        raise invalid(
            f"Amount must be no less than {least} {currency}",
            param="amount",
            code="amount_too_small",
        )


def _choose(world: World, intent: Body, params: Params) -> None:
    """Set the payment method of the request, if it names one."""
    identity, fresh = params.get("payment_method"), params.get("payment_method_data")
    if fresh is not None:
        method = payment_methods.create(world, Params(fresh))
    elif identity is not None:
        method = payment_methods.resolve(world, identity)
    else:
        return
    owner = method["customer"]
    if owner is not None and owner != intent["customer"]:
        message = "The provided PaymentMethod belongs to another customer, or to a customer while "
        raise invalid(message + "this intent has none.", param="payment_method")
    intent["payment_method"] = method["id"]
    if intent["status"] == "requires_payment_method":
        intent["status"] = "requires_confirmation"


@operation("POST /v1/payment_intents/{intent}/confirm")
def confirm(world: World, params: Params, identity: str) -> Body:
    """Confirm a payment intent: charge now, or ask for 3-D Secure."""
    intent = world.get("payment_intent", identity)
    _refuse_unexpected(intent, CONFIRMABLE, "confirm")
    set_fields(intent, params, "receipt_email", "setup_future_usage")
    _choose(world, intent, params)
    given = params.take(
        "off_session",
        "error_on_requires_action",
        "mandate_data",
        "payment_method_types",
        "capture_method",
        "mandate",
    )
    return _confirm(
        world,
        intent,
        off_session=bool(given.get("off_session")),
        strictly=bool(given.get("error_on_requires_action")),
    )


def _confirm(world: World, intent: Body, *, off_session: bool, strictly: bool = False) -> Body:
    if intent["payment_method"] is None:
        message = "You cannot confirm this PaymentIntent because it's missing a payment method."
        raise invalid(message, code="payment_intent_unexpected_state")
    why = attempt(world, intent, intent["payment_method"], off_session=off_session)
    if intent["status"] == "requires_action" and strictly:
        why = AUTHENTICATION
        fail(world, intent, world.get("payment_method", intent["payment_method"]), why)
    if intent.get("_invoice"):
        _tell(world, intent)
    if why is not None:
        raise payment_methods.declined(
            why, payment_intent=world.draw(intent), charge=intent["latest_charge"]
        )
    return intent


def attempt(world: World, intent: Body, method_id: str, *, off_session: bool) -> Decline | None:
    """Try to take the money; return why not. It may also wait for the customer or the bank."""
    method = world.get("payment_method", method_id)
    if method.get("_detached"):
        message = "The provided PaymentMethod was previously used or detached; it may not be used."
        raise invalid(message, param="payment_method")
    intent["payment_method"] = method["id"]
    if method["type"] == "sepa_debit":
        _start_debit(world, intent, method)
        return None
    passed = intent.get("_authenticated") == method["id"]
    card = payment_methods.card_of(method)
    if charging.must_authenticate(card, method) and not passed and not off_session:
        intent.update(status="requires_action", next_action=next_action(world, intent))
        world.emit("payment_intent.requires_action", intent)
        return None
    why = charging.verdict(intent, method, off_session=off_session)
    if why is not None:
        fail(world, intent, method, why)
        return why
    _succeed(world, intent, method)
    return None


def next_action(world: World, intent: Body) -> Body:
    """Return where the customer's bank asks."""
    place = f"{world.base_url}/challenge/{intent['id']}"
    return {
        "type": "redirect_to_url",
        "redirect_to_url": {"return_url": intent.get("_return_url"), "url": place},
    }


def _succeed(world: World, intent: Body, method: Body) -> None:
    charge = charging.make_charge(world, intent, method)
    intent.update(last_payment_error=None, next_action=None, processing=None)
    if intent["setup_future_usage"] and intent["customer"] and method["customer"] is None:
        payment_methods.attach(world, method["id"], world.get("customer", intent["customer"]))
        method["_set_up"] = True
    world.emit("charge.succeeded", charge)
    if intent["capture_method"] == "manual":
        intent.update(status="requires_capture", amount_capturable=intent["amount"])
        world.emit("payment_intent.amount_capturable_updated", intent)
        return
    intent.update(status="succeeded", amount_received=intent["amount"])
    world.emit("payment_intent.succeeded", intent)
    _notice_dispute(world, charge, method)


def _notice_dispute(world: World, charge: Body, method: Body) -> None:
    """Remember that this card's owner disputes what was charged; `disputes` opens it."""
    if method["type"] == "card" and payment_methods.card_of(method).dispute:
        charge["_due"] = world.time_of(charge)


def fail(world: World, intent: Body, method: Body, why: Decline) -> None:
    """Leave behind what a refused attempt leaves: a failed charge and an error."""
    charge = None
    if why.decline_code is not None:
        charge = charging.make_charge(world, intent, method, why)
        world.emit("charge.failed", charge)
    intent.update(
        status="requires_payment_method",
        payment_method=None,
        next_action=None,
        processing=None,
        last_payment_error=charging.error_of(why, method, charge),
    )
    world.emit("payment_intent.payment_failed", intent)


def _start_debit(world: World, intent: Body, method: Body) -> None:
    """Begin a bank debit: it is known some days later whether it worked."""
    charge = charging.make_charge(world, intent, method)
    charge.update(status="pending", paid=False, amount_captured=0, captured=True)
    intent.update(
        status="processing",
        next_action=None,
        processing=None,
        _due=world.time_of(intent) + charging.account_of(method).takes,
    )
    world.emit("charge.pending", charge)
    world.emit("payment_intent.processing", intent)


@falls_due("payment_intent")
def _finish_debit(world: World, intent: Body) -> None:
    if intent["status"] != "processing":
        return
    method = world.get("payment_method", intent["payment_method"])
    charge = world.get("charge", intent["latest_charge"])
    if charging.account_of(method).outcome == "succeeded":
        charge.update(status="succeeded", paid=True, amount_captured=intent["amount"])
        intent.update(status="succeeded", amount_received=intent["amount"])
        world.emit("charge.succeeded", charge)
        world.emit("payment_intent.succeeded", intent)
    else:
        why = Decline(
            "payment_method_provider_decline",
            "debit_not_authorized",
            "The customer's bank refused the debit.",
        )
        charge.update(
            status="failed",
            paid=False,
            captured=False,
            amount_captured=0,
            failure_code=why.code,
            failure_message=why.message,
        )
        intent.update(
            status="requires_payment_method",
            payment_method=None,
            last_payment_error=charging.error_of(why, method, charge),
        )
        world.emit("charge.failed", charge)
        world.emit("payment_intent.payment_failed", intent)
    _tell(world, intent)


def _tell(world: World, intent: Body) -> None:
    for follower in FOLLOWERS:
        follower(world, intent)


@operation("POST /v1/payment_intents/{intent}")
def update(world: World, params: Params, identity: str) -> Body:
    """Change a payment intent that is not paid yet."""
    intent = world.get("payment_intent", identity)
    given = params.take("amount", "currency", "customer")
    if given and intent["status"] not in CONFIRMABLE:
        raise _unexpected(intent, "update")
    if given.get("amount") is not None:
        refuse_too_small(given["amount"], given.get("currency") or intent["currency"])
    intent.update({name: value for name, value in given.items() if value is not None})
    set_fields(intent, params, *FIELDS)
    _choose(world, intent, params)
    return intent


@operation("POST /v1/payment_intents/{intent}/capture")
def capture(world: World, params: Params, identity: str) -> Body:
    """Take what was authorized, or a part of it."""
    intent = world.get("payment_intent", identity)
    _refuse_unexpected(intent, frozenset({"requires_capture"}), "capture")
    amount = params.get("amount_to_capture", intent["amount_capturable"])
    if amount > intent["amount_capturable"]:
        raise invalid(
            "The amount to capture is more than was authorized.",
            param="amount_to_capture",
            code="amount_too_large",
        )
    charge = world.get("charge", intent["latest_charge"])
    charge.update(captured=True, amount_captured=amount)
    intent.update(status="succeeded", amount_received=amount, amount_capturable=0)
    world.emit("charge.captured", charge)
    world.emit("payment_intent.succeeded", intent)
    return intent


@operation("POST /v1/payment_intents/{intent}/cancel")
def cancel(world: World, params: Params, identity: str) -> Body:
    """Cancel a payment intent that is not paid."""
    intent = world.get("payment_intent", identity)
    if intent.get("_invoice"):
        message = "You cannot cancel a PaymentIntent that an invoice owns; void the invoice."
        raise invalid(message, code="payment_intent_unexpected_state")
    _refuse_unexpected(intent, CONFIRMABLE | {"requires_capture"}, "cancel")
    return call_off(world, intent, params.get("cancellation_reason"))


def call_off(world: World, intent: Body, reason: str | None) -> Body:
    """Cancel an intent, whoever owns it."""
    intent.update(
        status="canceled",
        canceled_at=world.time_of(intent),
        next_action=None,
        cancellation_reason=reason,
        amount_capturable=0,
    )
    world.emit("payment_intent.canceled", intent)
    return intent


@operation("GET /v1/payment_intents/{intent}")
def retrieve(world: World, params: Params, identity: str) -> Body:
    """Return a payment intent."""
    params.get("client_secret")
    return world.get("payment_intent", identity)


@operation("GET /v1/payment_intents")
def list_all(world: World, params: Params) -> Body:
    """Return payment intents."""
    where = params.take("customer")
    params.take("created", "limit", "starting_after", "ending_before")
    return world.page("payment_intent", "/v1/payment_intents", params, **where)


# --- setup intents -------------------------------------------------------------------------------


@operation("POST /v1/setup_intents")
def create_setup(world: World, params: Params) -> Body:
    """Create a setup intent, and confirm it at once when asked to."""
    customer = params.get("customer")
    if customer is not None:
        world.get("customer", customer, param="customer")
    automatic = params.get("automatic_payment_methods")
    intent = world.new(
        "setup_intent",
        customer=customer,
        automatic_payment_methods={"allow_redirects": "always", **automatic} if automatic else None,
        payment_method_types=params.get("payment_method_types") or ["card"],
        status="requires_payment_method",
        usage=params.get("usage", "off_session"),
        payment_method_options={},
        flow_directions=None,
    )
    intent["client_secret"] = client_secret(intent["id"])
    set_fields(intent, params, "description", "metadata")
    _choose_setup(world, intent, params)
    world.emit("setup_intent.created", intent)
    asked = params.take("confirm", "mandate_data")
    return _confirm_setup(world, intent) if asked.get("confirm") else intent


def _choose_setup(world: World, intent: Body, params: Params) -> None:
    identity, fresh = params.get("payment_method"), params.get("payment_method_data")
    if fresh is not None:
        intent["payment_method"] = payment_methods.create(world, Params(fresh))["id"]
    elif identity is not None:
        intent["payment_method"] = payment_methods.resolve(world, identity)["id"]
    if intent["payment_method"] and intent["status"] == "requires_payment_method":
        intent["status"] = "requires_confirmation"


@operation("POST /v1/setup_intents/{intent}/confirm")
def confirm_setup(world: World, params: Params, identity: str) -> Body:
    """Confirm a setup intent: save the card, or ask for 3-D Secure first."""
    intent = world.get("setup_intent", identity)
    _refuse_unexpected(intent, CONFIRMABLE, "confirm")
    params.get("mandate_data")
    _choose_setup(world, intent, params)
    return _confirm_setup(world, intent)


def _confirm_setup(world: World, intent: Body) -> Body:
    if intent["payment_method"] is None:
        message = "You cannot confirm this SetupIntent because it's missing a payment method."
        raise invalid(message, code="setup_intent_unexpected_state")
    method = world.get("payment_method", intent["payment_method"])
    if method["type"] == "card":
        card = payment_methods.card_of(method)
        if card.challenge != "never" and intent.get("_authenticated") != method["id"]:
            place = f"{world.base_url}/challenge/{intent['id']}"
            action = {"return_url": intent.get("_return_url"), "url": place}
            intent.update(
                status="requires_action",
                next_action={"type": "redirect_to_url", "redirect_to_url": action},
            )
            world.emit("setup_intent.requires_action", intent)
            return intent
        if card.decline is not None and not card.saves:
            raise _refuse_setup(world, intent, method, card.decline)
    return save_method(world, intent, method)


def save_method(world: World, intent: Body, method: Body) -> Body:
    """Finish a setup intent: the method is its customer's and may be charged without them."""
    if intent["customer"] is not None and method["customer"] is None:
        method["customer"] = intent["customer"]
        world.emit("payment_method.attached", method)
    method["_set_up"] = True
    intent.update(status="succeeded", next_action=None, last_setup_error=None)
    world.emit("setup_intent.succeeded", intent)
    return intent


def _refuse_setup(world: World, intent: Body, method: Body, why: Decline) -> Refusal:
    error = charging.error_of(why, method, None)
    intent.update(
        status="requires_payment_method",
        payment_method=None,
        next_action=None,
        last_setup_error=error,
    )
    world.emit("setup_intent.setup_failed", intent)
    return payment_methods.declined(why, setup_intent=world.draw(intent))


@operation("POST /v1/setup_intents/{intent}/cancel")
def cancel_setup(world: World, params: Params, identity: str) -> Body:
    """Cancel a setup intent."""
    intent = world.get("setup_intent", identity)
    _refuse_unexpected(intent, CONFIRMABLE, "cancel")
    intent.update(
        status="canceled", cancellation_reason=params.get("cancellation_reason"), next_action=None
    )
    world.emit("setup_intent.canceled", intent)
    return intent


@operation("GET /v1/setup_intents/{intent}")
def retrieve_setup(world: World, params: Params, identity: str) -> Body:
    """Return a setup intent."""
    params.get("client_secret")
    return world.get("setup_intent", identity)


@operation("GET /v1/setup_intents")
def list_setups(world: World, params: Params) -> Body:
    """Return setup intents."""
    where = params.take("customer", "payment_method")
    params.take("created", "limit", "starting_after", "ending_before", "attach_to_self")
    return world.page("setup_intent", "/v1/setup_intents", params, **where)


# --- 3-D Secure ----------------------------------------------------------------------------------


def authenticate(world: World, identity: str, *, passed: bool) -> Body:
    """Do what the customer does at the bank, and go on from there."""
    intent = world.look(identity)
    if intent is None or intent["object"] not in {"payment_intent", "setup_intent"}:
        raise Refusal(404, f"No such intent: '{identity}'", code="resource_missing")
    _refuse_unexpected(intent, frozenset({"requires_action"}), "authenticate")
    method = world.get("payment_method", intent["payment_method"])
    if not passed:
        _fail_authentication(world, intent, method)
    else:
        intent["_authenticated"] = method["id"]
        if intent["object"] == "setup_intent":
            _confirm_setup(world, intent)
        else:
            attempt(world, intent, method["id"], off_session=False)
    _tell(world, intent)
    return intent


def _fail_authentication(world: World, intent: Body, method: Body) -> None:
    if intent["object"] == "payment_intent":
        fail(world, intent, method, NOT_AUTHENTICATED)
        return
    why = Decline("setup_intent_authentication_failure", None, NOT_AUTHENTICATED.message)
    _refuse_setup(world, intent, method, why)


def _refuse_unexpected(intent: Body, allowed: frozenset[str], verb: str) -> None:
    if intent["status"] not in allowed:
        raise _unexpected(intent, verb)


def _unexpected(intent: Body, verb: str) -> Refusal:
    name = "PaymentIntent" if intent["object"] == "payment_intent" else "SetupIntent"
    message = f"You cannot {verb} this {name} because it has a status of {intent['status']}."
    return invalid(message, code=f"{intent['object']}_unexpected_state")
