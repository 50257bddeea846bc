"""Refunds: money that goes back, in whole or in part."""

from __future__ import annotations

from apps.sandbox.calendar import DAY
from apps.sandbox.errors import invalid
from apps.sandbox.resources import payment_methods
from apps.sandbox.resources.fields import set_fields
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import falls_due, operation

SETTLES_AFTER = 5 * DAY


@operation("POST /v1/refunds")
def create(world: World, params: Params) -> Body:
    """Refund a charge, never more than is left of it."""
    charge = _charge_of(world, params)
    reason = params.get("reason")
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = params.get("amount", left)
    if left == 0:
        message = f"Charge {charge['id']} has already been refunded."
        raise invalid(message, code="charge_already_refunded")
    if not 0 < amount <= left:
        message = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
        raise invalid(message, param="amount", code="amount_too_large")
    return make(world, charge, amount, reason, params)


def make(
    world: World, charge: Body, amount: int, reason: str | None, params: Params | None = None
) -> Body:
    """Give back an amount of a charge."""
    method = world.get("payment_method", charge["payment_method"])
    outcome = "pending"
    if method["type"] == "card":
        outcome = payment_methods.card_of(method).refund
    refund = world.new(
        "refund",
        amount=amount,
        charge=charge["id"],
        currency=charge["currency"],
        payment_intent=charge["payment_intent"],
        payment_method=method["id"],
        customer=None,
        reason=reason,
        status="succeeded" if outcome == "failed" else outcome,
        destination_details=_destination(method),
    )
    refund["created"] = world.time_of(charge)
    if outcome != "succeeded":
        refund.update(_due=world.time_of(charge) + SETTLES_AFTER, _outcome=outcome)
    if params is not None:
        set_fields(refund, params, "metadata")
    _count(world, charge, amount)
    world.emit("refund.created", refund)
    world.emit("charge.refunded", charge)
    return refund


def _destination(method: Body) -> Body:
    if method["type"] != "card":
        return {"type": method["type"], method["type"]: {}}
    card = {
        "reference": "pending",
        "reference_status": "pending",
        "type": "refund",
        "reference_type": "acquirer_reference_number",
    }
    return {"type": "card", "card": card}


def _charge_of(world: World, params: Params) -> Body:
    intent, charge = params.get("payment_intent"), params.get("charge")
    if intent is not None:
        charge = world.get("payment_intent", intent, param="payment_intent")["latest_charge"]
    found = world.get("charge", charge, param="charge")
    if found["status"] != "succeeded" or not found["captured"]:
        raise invalid("This charge brought no money yet; it cannot be refunded.", param="charge")
    return found


def _count(world: World, charge: Body, amount: int) -> None:
    with world.changes(charge, None):
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]


@falls_due("refund")
def _settle(world: World, refund: Body) -> None:
    """End what was open: the bank took the money, or sent it back."""
    failed = refund["_outcome"] == "failed"
    with world.changes(refund, "refund.failed" if failed else "refund.updated"):
        refund["status"] = "failed" if failed else "succeeded"
        if failed:
            refund["failure_reason"] = "lost_or_stolen_card"
    if failed:
        charge = world.get("charge", refund["charge"])
        with world.changes(charge, "charge.refund.updated"):
            _count(world, charge, -refund["amount"])


@operation("POST /v1/refunds/{refund}")
def update(world: World, params: Params, identity: str) -> Body:
    """Change a refund's metadata."""
    refund = world.get("refund", identity)
    with world.changes(refund, "refund.updated"):
        set_fields(refund, params, "metadata")
    return refund


@operation("GET /v1/refunds/{refund}")
def retrieve(world: World, _params: Params, identity: str) -> Body:
    """Return a refund."""
    return world.get("refund", identity)


@operation("GET /v1/refunds")
def list_all(world: World, params: Params) -> Body:
    """Return refunds."""
    where = params.take("charge", "payment_intent")
    params.take("created", "limit", "starting_after", "ending_before")
    return world.page("refund", "/v1/refunds", params, **where)
