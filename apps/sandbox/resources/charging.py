"""One attempt to take money: what the bank says, and the charge that stays behind."""

from __future__ import annotations

from apps.sandbox.cards import AUTHENTICATION, Card, Decline
from apps.sandbox.resources.fields import set_fields
from apps.sandbox.resources.payment_methods import ACCOUNTS, Account, card_of
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World, listing
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import grown, operation

_NETWORK_CODES = {"insufficient_funds": "51", "expired_card": "54", "generic_decline": "05"}
_ADVICE = {
    "insufficient_funds": "try_again_later",
    "processing_error": "try_again_later",
    "generic_decline": "try_again_later",
    "expired_card": "confirm_card_data",
    "incorrect_cvc": "confirm_card_data",
    "lost_card": "do_not_try_again",
    "stolen_card": "do_not_try_again",
    "fraudulent": "do_not_try_again",
}


def must_authenticate(card: Card, method: Body) -> bool:
    """Tell whether the bank asks its customer before it pays."""
    return card.challenge == "always" or (
        card.challenge == "until_set_up" and not method.get("_set_up")
    )


def verdict(intent: Body, method: Body, *, off_session: bool) -> Decline | None:
    """Return why the bank refuses, or None when it pays. A challenge is met before this."""
    card = card_of(method)
    passed = intent.get("_authenticated") == method["id"]
    if must_authenticate(card, method) and not passed and off_session:
        return AUTHENTICATION
    return card.decline


def make_charge(world: World, intent: Body, method: Body, why: Decline | None = None) -> Body:
    """Create the charge of an attempt: paid, or failed for a reason. Events follow."""
    capture = intent["capture_method"] != "manual"
    charge = world.new(
        "charge",
        amount=intent["amount"],
        amount_captured=intent["amount"] if capture and why is None else 0,
        amount_refunded=0,
        billing_details=method["billing_details"],
        captured=capture and why is None,
        currency=intent["currency"],
        customer=intent["customer"],
        description=intent["description"],
        disputed=False,
        failure_code=why.code if why else None,
        failure_message=why.message if why else None,
        fraud_details={},
        metadata=dict(intent["metadata"]),
        outcome=outcome(method, why),
        paid=why is None,
        payment_intent=intent["id"],
        payment_method=method["id"],
        payment_method_details=_details(method, intent),
        receipt_url=f"{world.base_url}/receipts/{intent['id']}" if why is None else None,
        receipt_email=intent["receipt_email"],
        refunded=False,
        status="failed" if why else "succeeded",
        calculated_statement_descriptor="SANDBOX",
    )
    charge["created"] = world.time_of(intent)
    intent["latest_charge"] = charge["id"]
    return charge


def outcome(method: Body, why: Decline | None) -> Body:
    """Return what the network said."""
    card = method["type"] == "card"
    reason = why.decline_code if why else None
    blocked = reason == "fraudulent"
    told = {
        "advice_code": _ADVICE.get(reason or "") if why else None,
        "network_advice_code": None,
        "network_decline_code": _NETWORK_CODES.get(reason or "") if why else None,
        "network_status": "declined_by_network" if why else "approved_by_network",
        "reason": reason,
        "seller_message": "The bank declined the payment." if why else "Payment complete.",
        "type": "authorized",
    }
    if why:
        told["type"] = "blocked" if blocked else "issuer_declined"
    if card:
        told["risk_level"] = card_of(method).risk
    return told


def _details(method: Body, intent: Body) -> Body:
    if method["type"] != "card":
        return {"type": method["type"], method["type"]: _debit_details(method)}
    card = method["card"]
    same = {
        name: card[name]
        for name in (
            "brand",
            "checks",
            "country",
            "exp_month",
            "exp_year",
            "fingerprint",
            "funding",
            "last4",
        )
    }
    return {
        "type": "card",
        "card": {
            **same,
            "amount_authorized": intent["amount"],
            "authorization_code": None,
            "extended_authorization": {"status": "disabled"},
            "incremental_authorization": {"status": "unavailable"},
            "installments": None,
            "mandate": None,
            "multicapture": {"status": "unavailable"},
            "network": card["brand"],
            "network_token": {"used": False},
            "network_transaction_id": None,
            "overcapture": {
                "maximum_amount_capturable": intent["amount"],
                "status": "unavailable",
            },
            "regulated_status": "unregulated",
            "three_d_secure": None,
            "transaction_link_id": None,
            "wallet": None,
        },
    }


def _debit_details(method: Body) -> Body:
    debit = method["sepa_debit"]
    same = ("bank_code", "branch_code", "country", "fingerprint", "last4")
    return {**{name: debit[name] for name in same}, "expected_debit_date": None, "mandate": None}


def error_of(why: Decline, method: Body, charge: Body | None) -> Body:
    """Return an intent's last error."""
    code = why.decline_code
    error = {
        "advice_code": _ADVICE.get(code or ""),
        "charge": charge["id"] if charge else None,
        "code": why.code,
        "decline_code": code,
        "doc_url": f"https://docs.stripe.com/error-codes/{why.code.replace('_', '-')}",
        "message": why.message,
        "type": "card_error" if why.decline_code else "invalid_request_error",
    }
    shown = {name: value for name, value in method.items() if not name.startswith("_")}
    kept = {name: value for name, value in error.items() if value is not None}
    return {**kept, "payment_method": shown}


def account_of(method: Body) -> Account:
    """Return the test account behind a payment method: what comes of a debit, and when."""
    return ACCOUNTS[method["_number"]]


@operation("GET /v1/charges/{charge}")
def retrieve(world: World, _params: Params, identity: str) -> Body:
    """Return a charge."""
    return world.get("charge", identity)


@operation("GET /v1/charges")
def list_all(world: World, params: Params) -> Body:
    """Return charges."""
    where = params.take("customer", "payment_intent")
    params.take("created", "limit", "starting_after", "ending_before")
    return world.page("charge", "/v1/charges", params, **where)


@operation("POST /v1/charges/{charge}")
def update(world: World, params: Params, identity: str) -> Body:
    """Change what may change of a charge."""
    charge = world.get("charge", identity)
    with world.changes(charge, "charge.updated"):
        set_fields(charge, params, "description", "metadata", "receipt_email")
    return charge


@grown("charge", "refunds")
def _refunds(world: World, charge: Body) -> Body:
    found = world.find("refund", charge=charge["id"])
    return listing(found[:10], f"/v1/charges/{charge['id']}/refunds", has_more=len(found) > 10)
