"""Payment methods: test cards and SEPA debits, saved with a customer or for one use."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from apps.sandbox.calendar import DAY
from apps.sandbox.cards import CARDS, READY_MADE, TOKENS, Card, Decline, by_number
from apps.sandbox.errors import Refusal, invalid, missing
from apps.sandbox.resources.fields import address, set_fields
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import operation


@dataclass(frozen=True, slots=True)
class Account:
    """A test bank account of SEPA: what comes of a debit, and after how many seconds."""

    iban: str
    outcome: str
    takes: int = 5 * DAY  # as long as real ones do; Stripe's test mode is quicker


ACCOUNTS = {
    account.iban: account
    for account in (
        Account("AT611904300234573201", "succeeded"),
        Account("AT321904300235473204", "succeeded", takes=180),
        Account("DE89370400440532013000", "succeeded"),
        Account("FR1420041010050500013M02606", "succeeded"),
        Account("AT861904300235473202", "failed"),
        Account("AT981904300235473205", "failed", takes=180),
        Account("DE62370400440532013001", "failed"),
        Account("FR8420041010050500013M02607", "failed"),
    )
}
NO_ADDRESS = address({"city": None})


@operation("POST /v1/payment_methods")
def create(world: World, params: Params) -> Body:
    """Create a payment method from a test card's number or token, or from a test IBAN."""
    kind = params["type"]
    if kind == "card":
        method = make_card(world, read_card(params.get("card") or {}))
        _set_expiry(method, params["card"])
    elif kind == "sepa_debit":
        method = make_debit(world, str((params.get("sepa_debit") or {}).get("iban", "")))
    else:
        raise Refusal(
            501,
            f"The sandbox has no payment methods of type {kind}.",
            kind="api_error",
            code="sandbox_not_implemented",
        )
    _set(method, params)
    return method


def read_card(given: dict[str, Any]) -> Card:
    """Return the test card that a number or token names. Raises Refusal for any other number."""
    if given.get("token"):
        found = TOKENS.get(given["token"])
        if found is None:
            raise missing("token", given["token"], param="card[token]")
        return found
    card = by_number(str(given.get("number", "")))
    if card is None:
        message = "Your card was declined. The sandbox takes test cards only."
        raise Refusal(
            402,
            message,
            kind="card_error",
            code="card_declined",
            decline_code="test_mode_live_card",
        )
    if card.decline is not None and card.decline.code == "incorrect_number":
        raise declined(card.decline, param="number")
    return card


def declined(why: Decline, *, param: str | None = None, **more: Any) -> Refusal:
    """Refuse a card, keeping what the attempt left behind."""
    return Refusal(
        402,
        why.message,
        kind="card_error",
        code=why.code,
        param=param,
        decline_code=why.decline_code,
        keeps=True,
        **more,
    )


def make_card(world: World, card: Card, customer: str | None = None) -> Body:
    """Create a payment method for a test card."""
    method = _make(world, "card", customer)
    method["card"] = {
        "brand": card.brand,
        "checks": {
            "address_line1_check": None,
            "address_postal_code_check": None,
            "cvc_check": "pass",
        },
        "country": card.country,
        "display_brand": card.brand,
        "exp_month": 12,
        "exp_year": 2034,
        "fingerprint": hashlib.sha256(card.number.encode()).hexdigest()[:16],
        "funding": card.funding,
        "generated_from": None,
        "last4": card.number[-4:],
        "networks": {"available": [card.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }
    method["_number"] = card.number
    return method


def make_debit(world: World, iban: str, customer: str | None = None) -> Body:
    """Create a payment method for a test bank account."""
    account = ACCOUNTS.get(iban.replace(" ", ""))
    if account is None:
        raise invalid(
            "The sandbox takes test IBANs only.",
            param="sepa_debit[iban]",
            code="invalid_bank_account_iban",
        )
    method = _make(world, "sepa_debit", customer)
    method["sepa_debit"] = {
        "bank_code": account.iban[4:9],
        "branch_code": "",
        "country": account.iban[:2],
        "fingerprint": hashlib.sha256(account.iban.encode()).hexdigest()[:16],
        "generated_from": {"charge": None, "setup_attempt": None},
        "last4": account.iban[-4:],
    }
    method["_number"] = account.iban
    return method


def _make(world: World, kind: str, customer: str | None) -> Body:
    details = {"address": NO_ADDRESS, "email": None, "name": None, "phone": None, "tax_id": None}
    method = world.new("payment_method", type=kind, billing_details=details)
    kept = {
        "allow_redisplay",
        "billing_details",
        "created",
        "customer",
        "customer_account",
        "id",
        "livemode",
        "metadata",
        "object",
        "type",
    }
    for name in set(method) - kept:
        del method[name]
    method.update(customer=customer, allow_redisplay="unspecified")
    return method


def _set_expiry(method: Body, given: Body) -> None:
    for name in ("exp_month", "exp_year"):
        if given.get(name) is not None:
            method["card"][name] = int(given[name])


def _set(method: Body, params: Params) -> None:
    set_fields(method, params, "metadata", "allow_redisplay")
    details = params.get("billing_details")
    if details:
        known = {name: value or None for name, value in details.items() if name != "address"}
        method["billing_details"] = {**method["billing_details"], **known}
        if "address" in details:
            method["billing_details"]["address"] = address(details["address"]) or NO_ADDRESS


def card_of(method: Body) -> Card:
    """Return the test card behind a payment method."""
    return CARDS[method["_number"]]


def resolve(world: World, identity: object, *, param: str = "payment_method") -> Body:
    """Return a payment method; Stripe's ready-made ones are made on the spot."""
    if identity in READY_MADE:
        return make_card(world, READY_MADE[str(identity)])
    return world.get("payment_method", identity, param=param)


@operation("POST /v1/payment_methods/{payment_method}")
def update(world: World, params: Params, identity: str) -> Body:
    """Change a payment method."""
    method = world.get("payment_method", identity)
    with world.changes(method, "payment_method.updated"):
        _set(method, params)
        _set_expiry(method, params.get("card") or {}) if method["type"] == "card" else None
    return method


@operation("GET /v1/payment_methods/{payment_method}")
def retrieve(world: World, _params: Params, identity: str) -> Body:
    """Return a payment method."""
    return world.get("payment_method", identity)


@operation("GET /v1/payment_methods")
def list_all(world: World, params: Params) -> Body:
    """Return the payment methods of a customer."""
    where = params.take("customer", "type")
    params.take("limit", "starting_after", "ending_before", "allow_redisplay")
    return world.page("payment_method", "/v1/payment_methods", params, **where)


@operation("POST /v1/payment_methods/{payment_method}/attach")
def attach_to_customer(world: World, params: Params, identity: str) -> Body:
    """Save a payment method with a customer."""
    return attach(world, identity, world.get("customer", params["customer"], param="customer"))


def attach(world: World, identity: str, customer: Body) -> Body:
    """Save a payment method with a customer. Raises Refusal when the bank refuses it already."""
    method = resolve(world, identity)
    if method["customer"] == customer["id"]:
        return method
    if method["customer"] is not None:
        raise invalid(
            "The payment method you provided has already been attached to a customer.",
            code="payment_method_unexpected_state",
        )
    refuse_unsavable(method)
    method["customer"] = customer["id"]
    world.emit("payment_method.attached", method)
    return method


def refuse_unsavable(method: Body) -> None:
    """Raise Refusal for a card that declines when it is saved."""
    if method["type"] == "card":
        card = card_of(method)
        if card.decline is not None and not card.saves:
            raise declined(card.decline)


@operation("POST /v1/payment_methods/{payment_method}/detach")
def detach(world: World, _params: Params, identity: str) -> Body:
    """Take a payment method from its customer; it cannot be used any more."""
    method = world.get("payment_method", identity)
    if method["customer"] is None:
        message = "The payment method you provided is not attached to a customer so detachment "
        raise invalid(message + "is impossible.", code="payment_method_unexpected_state")
    customer = world.get("customer", method["customer"])
    settings = customer["invoice_settings"]
    if settings["default_payment_method"] == identity:
        changed = {**settings, "default_payment_method": None}
        world.change(customer, "customer.updated", invoice_settings=changed)
    for kind in ("subscription",):
        for body in world.find(kind, customer=customer["id"], default_payment_method=identity):
            world.change(body, "customer.subscription.updated", default_payment_method=None)
    previous = {"customer": method["customer"]}
    method.update(customer=None, _detached=True)
    world.emit("payment_method.detached", method, previous)
    return method


def behave_like(world: World, identity: str, number: str) -> Body:
    """Make a saved card answer like another test card from now on: it ran out, it was blocked."""
    card = by_number(number)
    if card is None:
        raise invalid("That is no test card.", param="number")
    method = world.get("payment_method", identity)
    method["_number"] = card.number
    return method
