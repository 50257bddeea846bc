"""Credit notes: an invoice is less than it said, before or after it was paid."""

from __future__ import annotations

from apps.sandbox.amounts import exact, rounded
from apps.sandbox.errors import Refusal, invalid
from apps.sandbox.resources import balances, collecting, refunds
from apps.sandbox.resources.fields import set_fields
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World, listing
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import drawn, operation


@operation("POST /v1/credit_notes")
def create(world: World, params: Params) -> Body:
    """Credit an invoice: less is due, and what was paid goes back or is kept as credit."""
    invoice = world.get("invoice", params["invoice"], param="invoice")
    if invoice["status"] not in {"open", "paid"}:
        raise invalid(f"You cannot credit an invoice that is {invoice['status']}.", param="invoice")
    lines = _lines(world, params, invoice)
    amount = sum(line["amount"] for line in lines)
    _refuse_too_much(world, invoice, amount)
    note = _new(world, invoice, lines, amount, params)
    before = min(amount, invoice["amount_remaining"])
    note["pre_payment_amount"] = before
    _reduce(world, invoice, before)
    _give_back(world, invoice, note, params, amount - before)
    world.emit("credit_note.created", note)
    if invoice["status"] == "open" and invoice["amount_remaining"] == 0:
        collecting.mark_paid(world, invoice)
    return note


def _lines(world: World, params: Params, invoice: Body) -> list[Body]:
    given, amount = params.get("lines"), params.get("amount")
    if (given is None) == (amount is None):
        raise invalid("You must specify either `amount` or `lines`.", param="amount")
    if given is None:
        given = [
            {
                "type": "custom_line_item",
                "description": "Credit",
                "quantity": 1,
                "unit_amount": amount,
            }
        ]
    return [_line(world, spec, invoice, place) for place, spec in enumerate(given)]


def _line(world: World, spec: Body, invoice: Body, place: int) -> Body:
    identity, amount = spec.get("invoice_line_item"), spec.get("amount")
    quantity, each = spec.get("quantity"), spec.get("unit_amount")
    if spec.get("tax_rates") or spec.get("tax_amounts"):
        raise Refusal(
            501,
            "The sandbox credits amounts without taxes of their own.",
            kind="api_error",
            code="sandbox_not_implemented",
        )
    description = spec.get("description")
    if identity is not None:
        line = world.get("line_item", identity, param=f"lines[{place}][invoice_line_item]")
        if line["invoice"] != invoice["id"]:
            raise invalid("The line is on another invoice.", param=f"lines[{place}]")
        description = description or line["description"]
        if amount is None:
            share = exact(quantity if quantity is not None else line["quantity"])
            amount = rounded(line["amount"] * share / (line["quantity"] or 1))
    elif amount is None:
        amount = rounded(exact(each or spec.get("unit_amount_decimal") or 0) * int(quantity or 1))
    return {
        "type": spec["type"],
        "amount": amount,
        "description": description,
        "invoice_line_item": identity,
        "quantity": quantity,
        "unit_amount": each,
        "unit_amount_decimal": None if each is None else str(each),
    }


def _refuse_too_much(world: World, invoice: Body, amount: int) -> None:
    notes = world.find("credit_note", invoice=invoice["id"], status="issued")
    left = invoice["total"] - sum(int(each["amount"]) for each in notes)
    if not 0 < amount <= left:
        message = f"The credit ({amount}) must be positive and at most what is left ({left})."
        raise invalid(message, param="amount")


def _new(world: World, invoice: Body, lines: list[Body], amount: int, params: Params) -> Body:
    count = len(world.find("credit_note", invoice=invoice["id"])) + 1
    note = world.new(
        "credit_note",
        amount=amount,
        currency=invoice["currency"],
        customer=invoice["customer"],
        invoice=invoice["id"],
        number=f"{invoice['number']}-CN-{count:02d}",
        pdf=f"{world.base_url}/i/{invoice['id']}/pdf",
        reason=params.get("reason"),
        subtotal=amount,
        subtotal_excluding_tax=amount,
        total=amount,
        total_excluding_tax=amount,
        total_taxes=[],
        type="mixed",
        effective_at=params.get("effective_at") or world.time_of(invoice),
    )
    note["created"] = world.time_of(invoice)
    set_fields(note, params, "memo", "metadata")
    params.get("email_type")
    note["_lines"] = [
        world.new("credit_note_line_item", tax_rates=[], taxes=[], **line)["id"] for line in lines
    ]
    return note


def _reduce(world: World, invoice: Body, amount: int) -> None:
    """Ask for less: the open amount, and the payment intent with it."""
    if amount == 0:
        return
    with world.changes(invoice, "invoice.updated"):
        invoice["pre_payment_credit_notes_amount"] += amount
        invoice["amount_due"] -= amount
        invoice["amount_remaining"] -= amount
        for payment in world.find("invoice_payment", invoice=invoice["id"], status="open"):
            payment["amount_requested"] = invoice["amount_remaining"]
            intent = world.get("payment_intent", payment["payment"]["payment_intent"])
            intent["amount"] = invoice["amount_remaining"]


def _give_back(world: World, invoice: Body, note: Body, params: Params, amount: int) -> None:
    given = params.take("refund_amount", "credit_amount", "out_of_band_amount")
    shares = {
        name: int(given.get(name) or 0)
        for name in ("refund_amount", "credit_amount", "out_of_band_amount")
    }
    note.update(
        post_payment_amount=amount,
        type=_kind(note["pre_payment_amount"], amount),
        out_of_band_amount=shares["out_of_band_amount"] or None,
    )
    if sum(shares.values()) != amount:
        message = f"refund, credit and out-of-band amounts have to add up to {amount}."
        raise invalid(message, param="refund_amount")
    invoice["post_payment_credit_notes_amount"] += amount
    if shares["refund_amount"]:
        intent = world.get("payment_intent", invoice["_intent"])
        charge = world.get("charge", intent["latest_charge"])
        refund = refunds.make(world, charge, shares["refund_amount"], None)
        note["refunds"] = [
            {
                "amount_refunded": refund["amount"],
                "refund": refund["id"],
                "payment_record_refund": None,
                "type": "refund",
            }
        ]
    if shares["credit_amount"]:
        customer = world.get("customer", invoice["customer"])
        moved = balances.move(
            world,
            customer,
            -shares["credit_amount"],
            "credit_note",
            currency=invoice["currency"],
            credit_note=note["id"],
        )
        note["customer_balance_transaction"] = moved and moved["id"]


def _kind(before: int, after: int) -> str:
    if before and after:
        return "mixed"
    return "pre_payment" if before else "post_payment"


@operation("POST /v1/credit_notes/{id}/void")
def void(world: World, _params: Params, identity: str) -> Body:
    """Take a credit note back while its invoice is open."""
    note = world.get("credit_note", identity)
    invoice = world.get("invoice", note["invoice"])
    if note["status"] == "void" or invoice["status"] != "open":
        raise invalid("You can only void a credit note of an open invoice.")
    note.update(status="void", voided_at=world.time_of(invoice))
    _reduce(world, invoice, -note["pre_payment_amount"])
    world.emit("credit_note.voided", note)
    return note


@operation("POST /v1/credit_notes/{id}")
def update(world: World, params: Params, identity: str) -> Body:
    """Change a credit note's words."""
    note = world.get("credit_note", identity)
    with world.changes(note, "credit_note.updated"):
        set_fields(note, params, "memo", "metadata")
    return note


@operation("GET /v1/credit_notes/{id}")
def retrieve(world: World, _params: Params, identity: str) -> Body:
    """Return a credit note."""
    return world.get("credit_note", identity)


@operation("GET /v1/credit_notes")
def list_all(world: World, params: Params) -> Body:
    """Return credit notes."""
    where = params.take("customer", "invoice")
    params.take("created", "limit", "starting_after", "ending_before")
    return world.page("credit_note", "/v1/credit_notes", params, **where)


@drawn("credit_note")
def _draw(world: World, note: Body, shown: Body) -> None:
    lines = [world.draw(world.get("credit_note_line_item", each)) for each in note["_lines"]]
    shown["lines"] = listing(lines, f"/v1/credit_notes/{note['id']}/lines")
