"""Stripe's billing portal: payment methods, invoices and subscriptions of one customer."""

from __future__ import annotations

from typing import Any

from apps.sandbox.calendar import HOUR
from apps.sandbox.errors import Refusal
from apps.sandbox.pages import paying
from apps.sandbox.pages.asking import Visit
from apps.sandbox.pages.checkout import REFUSED
from apps.sandbox.pages.drawing import Answer, go, is_web, show
from apps.sandbox.pages.routes import page
from apps.sandbox.resources import items, visits
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World

OPEN_FOR = HOUR


@page("/p/session/{session}")
def portal(visit: Visit, identity: str) -> Answer:
    """Show a customer's billing, and change what the configuration offers."""
    _refuse_old(visit, identity)
    if not visit.posted:
        return _draw(visit, identity, REFUSED.get(visit.query.get("refused", "")))
    try:
        asked = _change(visit, identity)
    except Refusal as refusal:
        return _draw(visit, identity, str(refusal), status=402)
    return go(visit.place(f"/challenge/{asked}" if asked else visit.path))


def _refuse_old(visit: Visit, identity: str) -> None:
    session = visit.read(lambda world: world.get("billing_portal.session", identity))
    if visit.sandbox.now > session["created"] + OPEN_FOR:
        raise Refusal(410, "This session is over; come in again from the seller's page.")


def _change(visit: Visit, identity: str) -> str | None:
    """Do what a button says; return the intent that the bank wants confirmed first."""
    asked: list[str] = []
    visit.act(lambda world: asked.extend(_do(world, visit, identity)))
    return asked[0] if asked else None


def _do(world: World, visit: Visit, identity: str) -> list[str]:
    form = visit.form
    offered = visits.features(world, world.get("billing_portal.session", identity))
    customer = visits.customer_of(world, identity)
    match form.get("do"):
        case "add" | "default" | "remove" if not offered["payment_method_update"]["enabled"]:
            raise Refusal(403, "Changing payment methods is not offered here.")
        case "add":
            payer = paying.payer_of(form, now=visit.sandbox.now)
            intent = visits.add_method(world, identity, payer)
            return [intent["id"]] if intent["status"] == "requires_action" else []
        case "default":
            visits.make_default(world, customer, form.get("method", ""))
        case "remove":
            visits.remove_method(world, customer, form.get("method", ""))
        case "cancel" | "resume" as verb:
            chosen = form.get("subscription", "")
            visits.set_ending(world, identity, chosen, ends=verb == "cancel")
        case _:
            raise Refusal(400, "The form says nothing to do.")
    return []


def _draw(visit: Visit, identity: str, refused: str | None, status: int = 200) -> Answer:
    scene = visit.read(lambda world: _scene(world, identity))
    back = scene["session"]["return_url"]
    context = {
        **scene,
        "card": paying.form_of(visit.form, debits=True),
        "adding": visit.form.get("do") == "add" or not scene["methods"],
        "refused": refused,
        "back": back if is_web(back) else None,
    }
    return show(visit, "portal", context, status=status)


def _scene(world: World, identity: str) -> dict[str, Any]:
    session = world.get("billing_portal.session", identity)
    customer = visits.customer_of(world, identity)
    running = [
        each
        for each in world.find("subscription", customer=customer["id"])
        if each["status"] not in {"canceled", "incomplete", "incomplete_expired"}
    ]
    return {
        "session": session,
        "customer": customer,
        "offered": visits.features(world, session),
        "methods": visits.methods_of(world, customer),
        "default": customer["invoice_settings"]["default_payment_method"],
        "invoices": _shown_invoices(world, customer),
        "subscriptions": [_shown_subscription(world, each) for each in running],
    }


def _shown_invoices(world: World, customer: Body) -> list[Body]:
    found = world.find("invoice", customer=customer["id"])
    return [each for each in found if each["status"] != "draft"][:24]


def _shown_subscription(world: World, subscription: Body) -> dict[str, Any]:
    sold = items.items_of(world, subscription)
    names = [items.product_name(world, items.price_of(world, item)) for item in sold]
    return {
        "id": subscription["id"],
        "status": subscription["status"],
        "ends": subscription["cancel_at_period_end"] or subscription["cancel_at"] is not None,
        "until": items.period_of(world, subscription)[1],
        "names": ", ".join(names),
    }
