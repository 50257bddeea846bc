"""The hosted page of an invoice, where its customer pays it; and the receipt of a payment."""

from __future__ import annotations

from typing import Any

from apps.sandbox.errors import Refusal, missing
from apps.sandbox.pages import paying
from apps.sandbox.pages.asking import Visit
from apps.sandbox.pages.checkout import REFUSED
from apps.sandbox.pages.drawing import Answer, go, show
from apps.sandbox.pages.routes import page
from apps.sandbox.resources import collecting, totals, visits
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World

ASKED = "invoice_payment_intent_requires_action"


@page("/i/{invoice}")
def hosted(visit: Visit, identity: str) -> Answer:
    """Show an invoice and take the payment."""
    visit.read(lambda world: _final(world, identity))
    if not visit.posted:
        return _draw(visit, identity, REFUSED.get(visit.query.get("refused", "")))
    try:
        _pay(visit, identity)
    except Refusal as refusal:
        if refusal.error.get("code") == ASKED:
            intent = visit.read(lambda world: _final(world, identity)["_intent"])
            return go(visit.place(f"/challenge/{intent}"))
        return _draw(visit, identity, str(refusal), status=402)
    return go(visit.place(visit.path))


def _pay(visit: Visit, identity: str) -> None:
    saved = visit.form.get("saved", "")
    if saved:
        visit.act(lambda world: visits.pay_saved(world, identity, saved))
        return
    payer = paying.payer_of(visit.form, now=visit.sandbox.now)
    keep = bool(visit.form.get("keep"))
    visit.act(lambda world: visits.pay_anew(world, identity, payer, keep=keep))


@page("/i/{invoice}/pdf")
def pdf(visit: Visit, identity: str) -> Answer:
    """Say that there is none."""
    invoice = visit.read(lambda world: _final(world, identity))
    return show(visit, "invoice_pdf", {"invoice": invoice}, status=404)


@page("/receipts/{intent}")
def receipt(visit: Visit, identity: str) -> Answer:
    """Show what was paid with what."""
    return show(visit, "receipt", visit.read(lambda world: _receipt(world, identity)))


def _receipt(world: World, identity: str) -> dict[str, Any]:
    intent = world.get("payment_intent", identity)
    charge = world.look(intent["latest_charge"])
    if charge is None or not charge["paid"]:
        raise missing("receipt", identity)
    return {
        "charge": charge,
        "method": world.look(charge["payment_method"]),
        "invoice": world.look(intent.get("_invoice")),
    }


def _draw(visit: Visit, identity: str, refused: str | None, status: int = 200) -> Answer:
    scene = visit.read(lambda world: _scene(world, identity))
    card = paying.form_of(visit.form, debits=scene["invoice"]["currency"] == "eur")
    context = {**scene, "card": card, "refused": refused, "saved": visit.form.get("saved")}
    return show(visit, "invoice", context, status=status)


def _scene(world: World, identity: str) -> dict[str, Any]:
    invoice = _final(world, identity)
    intent = world.look(invoice.get("_intent"))
    status = intent["status"] if intent else ""
    customer = world.get("customer", invoice["customer"])
    return {
        "invoice": invoice,
        "lines": totals.lines_of(world, invoice),
        "discount": sum(each["amount"] for each in invoice["total_discount_amounts"]),
        "tax": sum(each["amount"] for each in invoice["total_taxes"]),
        "intent": intent,
        "processing": status == "processing",
        "asked": status == "requires_action",
        "payable": invoice["status"] in collecting.PAYABLE and status != "processing",
        "methods": visits.methods_of(world, customer),
        "default": customer["invoice_settings"]["default_payment_method"],
    }


def _final(world: World, identity: str) -> Body:
    """Return an invoice that has a page: a draft has none."""
    invoice = world.get("invoice", identity)
    if invoice["status"] == "draft":
        raise missing("invoice", identity)
    return invoice
