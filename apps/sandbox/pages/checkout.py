"""Stripe's Checkout: a page on which somebody pays, subscribes, or saves a card."""

from __future__ import annotations

from typing import Any

from apps.sandbox.errors import Refusal
from apps.sandbox.pages import paying
from apps.sandbox.pages.asking import Visit
from apps.sandbox.pages.drawing import Answer, go, is_web, show
from apps.sandbox.pages.routes import page
from apps.sandbox.resources import checkout
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World

VERBS = {"setup": "Save", "payment": "Pay", "subscription": "Subscribe"}
REFUSED = {
    "authentication": "We are unable to authenticate your payment method. Please choose a"
    " different payment method and try again.",
}


@page("/c/pay/{session}")
def pay(visit: Visit, identity: str) -> Answer:
    """Show what is sold and take a card for it."""
    session = visit.read(lambda world: world.get("checkout.session", identity))
    if session["status"] != "open":
        return _over(visit, session)
    if not visit.posted:
        waits = visit.read(lambda world: _waits(world, session))
        if waits:
            return go(visit.place(f"/challenge/{session['_intent']}"))
        return _draw(visit, identity, REFUSED.get(visit.query.get("refused", "")))
    try:
        if "code" in visit.form and visit.form.get("do") == "code":
            code = visit.form["code"]
            visit.act(lambda world: checkout.apply_code(world, identity, code))
            return go(visit.place(visit.path))
        payer = paying.payer_of(visit.form, now=visit.sandbox.now)
        visit.act(lambda world: checkout.submit(world, identity, payer))
    except Refusal as refusal:
        return _draw(visit, identity, str(refusal), status=402)
    return onward(visit, identity)


def onward(visit: Visit, identity: str) -> Answer:
    """Send the visitor back to the seller, to the bank, or to the page again."""
    session = visit.read(lambda world: world.get("checkout.session", identity))
    if session["status"] == "complete":
        return go(success_of(session) or visit.place(f"/c/pay/{identity}"))
    if session.get("_intent"):
        return go(visit.place(f"/challenge/{session['_intent']}"))
    return go(visit.place(f"/c/pay/{identity}?refused=authentication"))


def success_of(session: Body) -> str | None:
    """Return where the seller wants the visitor after it."""
    address = session["success_url"]
    if not is_web(address):
        return None
    return str(address).replace("{CHECKOUT_SESSION_ID}", session["id"])


def _waits(world: World, session: Body) -> bool:
    intent = world.look(session.get("_intent"))
    return intent is not None and intent["status"] == "requires_action"


def _over(visit: Visit, session: Body) -> Answer:
    context = {"session": session, "onward": success_of(session)}
    return show(visit, "checkout_over", context)


def _draw(visit: Visit, identity: str, refused: str | None, status: int = 200) -> Answer:
    scene = visit.read(lambda world: _scene(world, identity))
    session = scene["session"]
    debits = "sepa_debit" in session["payment_method_types"]
    context = {
        **scene,
        "card": paying.form_of(visit.form, debits=debits),
        "refused": refused,
        "verb": VERBS[session["mode"]],
        "back": session["cancel_url"] if is_web(session["cancel_url"]) else None,
    }
    return show(visit, "checkout", context, status=status, leads_to=[session["success_url"]])


def _scene(world: World, identity: str) -> dict[str, Any]:
    session = world.get("checkout.session", identity)
    code = world.look(session.get("_code"))
    return {
        "session": session,
        "lines": session.get("_items") or [],
        "customer": world.look(session["customer"]),
        "code": code["code"] if code else "",
        "recurring": _recurring(session.get("_items") or []),
    }


def _recurring(lines: list[Body]) -> str:
    """Return how often it is paid again: `month`, `3 months`."""
    for line in lines:
        if terms := line["price"]["recurring"]:
            count = terms["interval_count"]
            return terms["interval"] if count == 1 else f"{count} {terms['interval']}s"
    return ""
