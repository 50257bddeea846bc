"""Disputes: a customer tells the bank that a charge was not right."""

from __future__ import annotations

from apps.sandbox.calendar import DAY
from apps.sandbox.cards import CARDS
from apps.sandbox.errors import invalid
from apps.sandbox.resources.fields import set_fields
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import falls_due, operation

ANSWER_WITHIN = 7 * DAY
# Stripe's test mode decides by these words in `uncategorized_text`.
OUTCOMES = {"winning_evidence": "won", "losing_evidence": "lost"}
OPEN = frozenset({"needs_response", "warning_needs_response"})


@falls_due("charge")
def _open(world: World, charge: Body) -> None:
    """Open the dispute that this test card stands for."""
    method = world.get("payment_method", charge["payment_method"])
    reason = CARDS[method["_number"]].dispute
    inquiry = reason == "warning"
    at = world.time_of(charge)
    dispute = world.new(
        "dispute",
        amount=charge["amount_captured"],
        charge=charge["id"],
        currency=charge["currency"],
        is_charge_refundable=inquiry,
        payment_intent=charge["payment_intent"],
        payment_method_details=_details(method),
        reason="general" if inquiry else reason,
        status="warning_needs_response" if inquiry else "needs_response",
        _clock=charge.get("_clock"),
        _due=at + ANSWER_WITHIN,
    )
    dispute["created"] = at
    dispute["evidence"].pop("enhanced_evidence", None)
    dispute["evidence"]["enhanced_evidence"] = {}
    dispute["evidence_details"].update(due_by=at + ANSWER_WITHIN, enhanced_eligibility={})
    charge["disputed"] = not inquiry
    world.emit("charge.dispute.created", dispute)
    if not inquiry:
        world.emit("charge.dispute.funds_withdrawn", dispute)


def _details(method: Body) -> Body:
    card = {
        "brand": method["card"]["brand"],
        "case_type": "chargeback",
        "network": method["card"]["brand"],
        "network_reason_code": "10",
    }
    return {"type": "card", "card": card}


@operation("POST /v1/disputes/{dispute}")
def update(world: World, params: Params, identity: str) -> Body:
    """Say something to a dispute, and with `submit` hand it to the bank."""
    dispute = world.get("dispute", identity)
    if dispute["status"] not in OPEN:
        raise invalid("This dispute is already closed.", code="dispute_already_closed")
    given = params.take("evidence", "submit")
    submitted = given.get("submit", True)
    with world.changes(dispute, "charge.dispute.updated"):
        set_fields(dispute, params, "metadata")
        dispute["evidence"].update(given.get("evidence") or {})
        if given.get("evidence"):
            dispute["evidence_details"]["has_evidence"] = True
        if submitted and given.get("evidence"):
            dispute["evidence_details"]["submission_count"] += 1
            dispute["status"] = dispute["status"].replace("needs_response", "under_review")
            dispute["_due"] = world.time_of(dispute)
    return dispute


@operation("POST /v1/disputes/{dispute}/close")
def close(world: World, _params: Params, identity: str) -> Body:
    """Give in."""
    dispute = world.get("dispute", identity)
    if dispute["status"] not in OPEN:
        raise invalid("This dispute is already closed.", code="dispute_already_closed")
    return _end(world, dispute, "lost")


@falls_due("dispute")
def _decide(world: World, dispute: Body) -> None:
    """Let the bank decide: by the evidence's words, or against whoever did not answer."""
    if dispute["status"] in OPEN:
        dispute["evidence_details"]["past_due"] = True
        _end(world, dispute, "lost")
        return
    said = str(dispute["evidence"].get("uncategorized_text") or "")
    _end(world, dispute, OUTCOMES.get(said, "lost"))


def _end(world: World, dispute: Body, outcome: str) -> Body:
    inquiry = dispute["status"].startswith("warning")
    dispute["status"] = "warning_closed" if inquiry else outcome
    dispute.pop("_due", None)
    world.emit("charge.dispute.closed", dispute)
    if outcome == "won" and not inquiry:
        world.emit("charge.dispute.funds_reinstated", dispute)
    return dispute


@operation("GET /v1/disputes/{dispute}")
def retrieve(world: World, _params: Params, identity: str) -> Body:
    """Return a dispute."""
    return world.get("dispute", identity)


@operation("GET /v1/disputes")
def list_all(world: World, params: Params) -> Body:
    """Return disputes."""
    where = params.take("charge", "payment_intent")
    params.take("created", "limit", "starting_after", "ending_before")
    return world.page("dispute", "/v1/disputes", params, **where)
