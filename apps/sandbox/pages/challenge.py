"""The bank's page of 3-D Secure, where the customer confirms a payment or a saved card."""

from __future__ import annotations

from apps.sandbox.errors import missing
from apps.sandbox.pages.asking import Visit
from apps.sandbox.pages.checkout import onward
from apps.sandbox.pages.drawing import Answer, go, show
from apps.sandbox.pages.routes import page
from apps.sandbox.resources import intents
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World


@page("/challenge/{intent}")
def challenge(visit: Visit, identity: str) -> Answer:
    """Ask whether the payment is the customer's own, and go on from there."""
    intent = visit.read(lambda world: _intent(world, identity))
    if intent["status"] != "requires_action":
        return _after(visit, intent)
    if visit.posted:
        passed = visit.form.get("do") == "complete"
        visit.act(lambda world: intents.authenticate(world, identity, passed=passed))
        return _after(visit, visit.read(lambda world: _intent(world, identity)))
    session = visit.read(lambda world: world.look(intent.get("_session")))
    method = visit.read(lambda world: world.look(intent["payment_method"]))
    leads_to = [session["success_url"]] if session else []
    return show(visit, "challenge", {"intent": intent, "method": method}, leads_to=leads_to)


def _after(visit: Visit, intent: Body) -> Answer:
    """Return to the page that sent the customer here."""
    refused = "" if intent["status"] in {"succeeded", "processing"} else "?refused=authentication"
    if session := intent.get("_session"):
        return onward(visit, session)
    if invoice := intent.get("_invoice"):
        return go(visit.place(f"/i/{invoice}{refused}"))
    if portal := intent.get("_portal"):
        return go(visit.place(f"/p/session/{portal}{refused}"))
    return show(visit, "challenged", {"intent": intent})


def _intent(world: World, identity: str) -> Body:
    intent = world.look(identity)
    if intent is None or intent["object"] not in {"payment_intent", "setup_intent"}:
        raise missing("payment_intent", identity)
    return intent
