"""The time machine: Stripe's clock goes forward, and what falls due on the way happens."""

from __future__ import annotations

from typing import Any

from apps.sandbox.calendar import DAY, HOUR
from apps.sandbox.errors import Refusal
from apps.sandbox.pages.asking import Visit
from apps.sandbox.pages.drawing import Answer, go, show
from apps.sandbox.pages.routes import page
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World

STEPS = {"hour": HOUR, "day": DAY, "week": 7 * DAY, "month": 31 * DAY}
HAPPENS = {
    ("invoice", "draft"): "becomes final and is collected",
    ("invoice", "open"): "is tried again, or becomes overdue",
    ("subscription", "trialing"): "its trial goes on or ends",
    ("checkout.session", "open"): "expires",
    ("payment_intent", "processing"): "the bank answers the debit",
}


@page("/time")
def machine(visit: Visit) -> Answer:
    """Show the clock and what is due, and move it."""
    if visit.posted:
        visit.require_token()
        visit.sandbox.advance(_seconds(visit))
        return go(visit.place("/time"))
    context = {
        "offset": visit.sandbox.store.note("offset", 0),
        "due": visit.read(_due),
        "steps": list(STEPS),
        "token": visit.token,
    }
    return show(visit, "machine", context)


def _seconds(visit: Visit) -> int:
    step = visit.form.get("step", "")
    if step in STEPS:
        return STEPS[step]
    if step != "next":
        raise Refusal(400, "The time machine knows no such step.")
    due = visit.read(_due)
    if not due:
        raise Refusal(409, "Nothing is due: there is nowhere to go.")
    return max(0, int(due[0]["at"]) - visit.sandbox.now)


def _due(world: World) -> list[dict[str, Any]]:
    found = [world.look(identity) for identity in world.store.upcoming()]
    return [_shown(world, body) for body in found if body is not None]


def _shown(world: World, body: Body) -> dict[str, Any]:
    status = body.get("status")
    customer = world.look(body.get("customer"))
    return {
        "id": body["id"],
        "kind": body["object"],
        "at": body["_due"],
        "who": (customer or {}).get("name") or (customer or {}).get("email") or "",
        "what": HAPPENS.get((body["object"], str(status)), "goes on"),
    }
