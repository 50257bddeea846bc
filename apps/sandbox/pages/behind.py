"""Behind the scenes: the index, customers, invoices, checkout sessions."""

from __future__ import annotations

from typing import Any

from apps.sandbox.cards import CARDS
from apps.sandbox.errors import Refusal
from apps.sandbox.pages import paying
from apps.sandbox.pages.asking import Visit
from apps.sandbox.pages.drawing import Answer, go, show
from apps.sandbox.pages.routes import page
from apps.sandbox.resources import payment_methods, portal, visits
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World
from apps.sandbox.world.params import Params

SHOWN = 100


@page("/?")
def index(visit: Visit) -> Answer:
    """Link everything, and say what the test cards do."""
    cards = [paying.Choice(number, paying.effect(card)) for number, card in CARDS.items()]
    kinds = ("customer", "invoice", "subscription", "checkout.session", "event")
    counts = visit.read(lambda world: {kind: _count(world, kind) for kind in kinds})
    context = {
        "cards": cards,
        "counts": {name.replace(".", "_"): count for name, count in counts.items()},
        "waiting": visit.sandbox.store.waiting_deliveries(),
        "violations": visit.sandbox.violations,
    }
    return show(visit, "index", context)


def _count(world: World, kind: str) -> int:
    return len(world.store.select(kind, {}))


@page("/customers")
def customers(visit: Visit) -> Answer:
    """List the customers."""
    found = visit.read(lambda world: _youngest(world, "customer"))
    return show(visit, "customers", {"customers": found})


@page("/customers/{customer}")
def customer(visit: Visit, identity: str) -> Answer:
    """Show a customer; make a saved card behave differently; open the billing portal."""
    if visit.posted:
        visit.require_token()
        return _change(visit, identity)
    context = visit.read(lambda world: _scene(world, identity))
    context["cards"] = [paying.Choice(each.number, paying.effect(each)) for each in CARDS.values()]
    context["token"] = visit.token
    return show(visit, "customer", context)


def _change(visit: Visit, identity: str) -> Answer:
    if visit.form.get("do") == "portal":
        opened: list[str] = []
        visit.act(lambda world: opened.append(_open_portal(world, identity)))
        return go(visit.place(f"/p/session/{opened[0]}"))
    method, number = visit.form.get("method", ""), visit.form.get("number", "")
    visit.act(lambda world: _behave(world, identity, method, number))
    return go(visit.place(visit.path))


def _open_portal(world: World, identity: str) -> str:
    wanted = Params({"customer": identity})
    return str(portal.create_session(world, wanted)["id"])


def _behave(world: World, identity: str, method: str, number: str) -> None:
    saved = world.get("payment_method", method)
    if saved["customer"] != identity or saved["type"] != "card":
        raise Refusal(404, "This customer has no such card.")
    payment_methods.behave_like(world, method, number)


def _scene(world: World, identity: str) -> dict[str, Any]:
    body = world.get("customer", identity)
    return {
        "customer": body,
        "methods": [(each, each["_number"]) for each in visits.methods_of(world, body)],
        "default": body["invoice_settings"]["default_payment_method"],
        "invoices": world.find("invoice", customer=identity)[:SHOWN],
        "subscriptions": world.find("subscription", customer=identity),
    }


@page("/invoices")
def invoices(visit: Visit) -> Answer:
    """List the invoices."""
    found = visit.read(lambda world: _youngest(world, "invoice"))
    return show(visit, "invoices", {"invoices": found})


@page("/sessions")
def sessions(visit: Visit) -> Answer:
    """List the checkout sessions."""
    found = visit.read(lambda world: _youngest(world, "checkout.session"))
    return show(visit, "sessions", {"sessions": found})


def _youngest(world: World, kind: str) -> list[Body]:
    return [world.get(kind, each) for each in world.store.select(kind, {}, limit=SHOWN)]
