"""The life of an invoice: final, attempted, attempted again, paid or not."""

from __future__ import annotations

from collections.abc import Callable

from apps.sandbox.amounts import SMALLEST
from apps.sandbox.calendar import DAY, HOUR
from apps.sandbox.errors import Refusal, invalid
from apps.sandbox.resources import balances, intents, payment_methods, totals
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World
from apps.sandbox.world.registry import falls_due

FINALIZES_AFTER = HOUR
# Stripe chooses the moments of its "smart retries"; these are a fixed schedule in their place.
RETRIES = (3 * DAY, 5 * DAY, 7 * DAY)
PAYABLE = frozenset({"open", "uncollectible"})
# What subscriptions do when an invoice of theirs was paid, refused or voided.
Follower = Callable[[World, Body, Body], None]
FOLLOWERS: list[Follower] = []


def schedule(world: World, invoice: Body) -> None:
    """Say when something happens to an invoice by itself."""
    status, automatic = invoice["status"], invoice["auto_advance"]
    invoice.pop("_due", None)
    if status == "draft":
        if automatic and invoice["automatically_finalizes_at"] is None:
            invoice["automatically_finalizes_at"] = world.time_of(invoice) + FINALIZES_AFTER
        if not automatic:
            invoice["automatically_finalizes_at"] = None
        charged = invoice["collection_method"] == "charge_automatically"
        invoice["next_payment_attempt"] = (
            invoice["automatically_finalizes_at"] if charged and automatic else None
        )
    waits = {
        "draft": invoice["automatically_finalizes_at"],
        "open": invoice["next_payment_attempt"] or _overdue_at(invoice),
    }
    if (due := waits.get(status)) is not None:
        invoice["_due"] = due


def _overdue_at(invoice: Body) -> int | None:
    if invoice["collection_method"] != "send_invoice" or invoice.get("_overdue"):
        return None
    due: int | None = invoice["due_date"]
    return due


@falls_due("invoice")
def _go_on(world: World, invoice: Body) -> None:
    if invoice["status"] == "draft":
        finalize(world, invoice)
    elif invoice["status"] == "open" and invoice["next_payment_attempt"] is not None:
        attempt(world, invoice)
        schedule(world, invoice)
    elif invoice["status"] == "open":
        invoice["_overdue"] = True
        world.emit("invoice.overdue", invoice)


def finalize(world: World, invoice: Body, *, collect: bool = True) -> Body:
    """Make a draft final: number, due date, balance set off, payment intent, first attempt."""
    if invoice["status"] != "draft":
        raise invalid(
            "This invoice is already finalized, you can't re-finalize a non-draft invoice.",
            code="invoice_not_editable",
        )
    totals.refresh(world, invoice)
    customer = world.get("customer", invoice["customer"])
    _forgive_too_small(invoice)
    _open(world, invoice, customer)
    world.emit("invoice.finalized", invoice)
    if invoice["amount_due"] == 0:
        return mark_paid(world, invoice)
    _ask_for(world, invoice)
    if (behavior := invoice.get("_then")) is not None:  # collection is paused
        return void(world, invoice) if behavior == "void" else give_up(world, invoice)
    if invoice["collection_method"] == "send_invoice":
        if invoice["auto_advance"]:
            world.emit("invoice.sent", invoice)
    elif collect and invoice["auto_advance"]:
        attempt(world, invoice)
    schedule(world, invoice)
    return invoice


def _forgive_too_small(invoice: Body) -> None:
    """Owe on the balance what is too little to be charged: the next invoice bears it."""
    if 0 < invoice["amount_due"] < SMALLEST.get(invoice["currency"], 50) and (
        invoice["collection_method"] == "charge_automatically"
    ):
        invoice.update(amount_due=0, amount_remaining=0)


def _open(world: World, invoice: Body, customer: Body) -> None:
    at = world.time_of(invoice)
    after = totals.balance_after(invoice)
    moved = after - customer["balance"]
    currency, identity = invoice["currency"], invoice["id"]
    balances.move(world, customer, moved, "applied_to_invoice", currency=currency, invoice=identity)
    sequence = customer["next_invoice_sequence"]
    customer["next_invoice_sequence"] = sequence + 1
    for identity in invoice["discounts"]:
        world.get("discount", identity)["_used"] = True
    days = invoice.get("_days_until_due")
    sent = invoice["collection_method"] == "send_invoice"
    if sent and invoice["due_date"] is None and days is not None:
        invoice["due_date"] = at + days * DAY
    invoice.update(
        automatically_finalizes_at=None,
        effective_at=invoice["effective_at"] or at,
        ending_balance=after,
        hosted_invoice_url=f"{world.base_url}/i/{invoice['id']}",
        invoice_pdf=f"{world.base_url}/i/{invoice['id']}/pdf",
        next_payment_attempt=None,
        number=invoice["number"] or f"{customer['invoice_prefix']}-{sequence:04d}",
        status="open",
    )
    invoice["status_transitions"]["finalized_at"] = at


def _ask_for(world: World, invoice: Body) -> None:
    """Make the payment intent of a final invoice, and the entry that ties them together."""
    intent = intents.make(
        world,
        amount=invoice["amount_due"],
        currency=invoice["currency"],
        customer=invoice["customer"],
        capture_method="automatic",
        description="Subscription update" if invoice["_subscription"] else "Payment for Invoice",
        setup_future_usage="off_session" if _saves_method(world, invoice) else None,
        _invoice=invoice["id"],
    )
    payment = world.new(
        "invoice_payment",
        amount_requested=invoice["amount_due"],
        currency=invoice["currency"],
        invoice=invoice["id"],
        is_default=True,
        payment={"type": "payment_intent", "payment_intent": intent["id"]},
        status="open",
        _clock=invoice.get("_clock"),
    )
    payment["created"] = world.time_of(invoice)
    invoice["_intent"] = intent["id"]
    world.emit("payment_intent.created", intent)


def _saves_method(world: World, invoice: Body) -> bool:
    subscription = world.look(invoice["_subscription"])
    settings = (subscription or {}).get("payment_settings") or {}
    return settings.get("save_default_payment_method") == "on_subscription"


def method_for(world: World, invoice: Body) -> str | None:
    """Return which payment method an invoice is charged to; one that was detached is none."""
    subscription = world.look(invoice["_subscription"]) or {}
    customer = world.get("customer", invoice["customer"])
    named = (
        invoice["default_payment_method"],
        subscription.get("default_payment_method"),
        customer["invoice_settings"]["default_payment_method"],
    )
    known = (world.look(each) for each in named)
    usable = (each for each in known if each and each["customer"] == customer["id"])
    return next((str(each["id"]) for each in usable), None)


def attempt(world: World, invoice: Body, method: str | None = None) -> Refusal | None:
    """Try to collect; return how the API would say why not. Stripe's retries are planned here."""
    method = method or method_for(world, invoice)
    intent = world.get("payment_intent", invoice["_intent"])
    invoice.update(attempted=True, attempt_count=invoice["attempt_count"] + 1)
    if method is None:
        message = "Cannot charge the customer because they have no default payment method"
        refusal = Refusal(400, message, code="missing", keeps=True)
        _failed(world, invoice)
        return refusal
    why = intents.attempt(world, intent, method, off_session=False)
    if why is not None:
        _failed(world, invoice)
        return payment_methods.declined(
            why, payment_intent=world.draw(intent), charge=intent["latest_charge"]
        )
    if intent["status"] == "requires_action":
        world.emit("invoice.payment_action_required", invoice)
        _failed(world, invoice)
        message = (
            "This payment requires additional user action before it can be completed "
            "successfully. Payment can be completed using the PaymentIntent associated with the "
            "invoice."
        )
        return Refusal(
            402,
            message,
            kind="card_error",
            keeps=True,
            code="invoice_payment_intent_requires_action",
            payment_intent=world.draw(intent),
        )
    if intent["status"] == "succeeded":
        mark_paid(world, invoice)
    return None


def _failed(world: World, invoice: Body) -> None:
    first = invoice["billing_reason"] == "subscription_create"
    invoice["next_payment_attempt"] = None
    if invoice["auto_advance"] and not first:
        invoice["_attempts"] += 1
        if invoice["_attempts"] <= len(RETRIES):
            pause = RETRIES[invoice["_attempts"] - 1]
            invoice["next_payment_attempt"] = world.time_of(invoice) + pause
    schedule(world, invoice)
    world.emit("invoice.payment_failed", invoice)
    tell(world, invoice)


def refuse_unpayable(invoice: Body) -> None:
    """Raise Refusal unless an invoice can be paid."""
    if invoice["status"] == "paid":
        raise invalid("Invoice is already paid", code="invoice_already_paid")
    if invoice["status"] not in PAYABLE:
        message = f"This invoice can no longer be paid: it is {invoice['status']}."
        raise invalid(message, code="invoice_not_open")


def pay_now(world: World, invoice: Body, method: str | None) -> Body:
    """Collect now, as somebody asked. Raises Refusal with the attempt's traces kept."""
    intent = world.get("payment_intent", invoice["_intent"])
    if intent["status"] == "processing":
        message = "This invoice has a payment that is being processed."
        raise invalid(message, code="invoice_payment_intent_processing")
    if method is not None:
        method = payment_methods.resolve(world, method)["id"]
    refusal = attempt(world, invoice, method)
    if refusal is not None:
        raise refusal
    return invoice


def mark_paid(world: World, invoice: Body, *, out_of_band: bool = False) -> Body:
    """Settle an invoice."""
    at = world.time_of(invoice)
    paid = 0 if out_of_band else invoice["amount_due"]
    invoice.update(
        status="paid",
        attempted=True,
        amount_paid=paid,
        amount_remaining=0,
        next_payment_attempt=None,
        auto_advance=False,
    )
    if out_of_band:
        invoice["amount_paid_off_stripe"] = invoice["amount_due"]
    invoice["status_transitions"]["paid_at"] = at
    schedule(world, invoice)
    _close_request(world, invoice, at, out_of_band=out_of_band)
    world.emit("invoice.paid", invoice)
    if not out_of_band:
        world.emit("invoice.payment_succeeded", invoice)
    tell(world, invoice)
    return invoice


def _close_request(world: World, invoice: Body, at: int, *, out_of_band: bool) -> None:
    for payment in world.find("invoice_payment", invoice=invoice["id"], status="open"):
        if out_of_band:
            payment["status"] = "canceled"
            payment["status_transitions"]["canceled_at"] = at
            intent = world.get("payment_intent", payment["payment"]["payment_intent"])
            intents.call_off(world, intent, "automatic")
        else:
            payment.update(status="paid", amount_paid=payment["amount_requested"])
            payment["status_transitions"]["paid_at"] = at
            world.emit("invoice_payment.paid", payment)


def give_up(world: World, invoice: Body) -> Body:
    """Mark an invoice as uncollectible."""
    if invoice["status"] != "open":
        message = "You can only mark open invoices as uncollectible."
        raise invalid(message, code="invoice_not_open")
    invoice.update(status="uncollectible", next_payment_attempt=None, auto_advance=False)
    invoice["status_transitions"]["marked_uncollectible_at"] = world.time_of(invoice)
    schedule(world, invoice)
    world.emit("invoice.marked_uncollectible", invoice)
    tell(world, invoice)
    return invoice


def void(world: World, invoice: Body) -> Body:
    """Void an invoice; its payment intent is called off."""
    if invoice["status"] not in PAYABLE:
        raise invalid("You can only void open or uncollectible invoices.", code="invoice_not_open")
    at = world.time_of(invoice)
    invoice.update(status="void", next_payment_attempt=None, auto_advance=False)
    invoice["status_transitions"]["voided_at"] = at
    schedule(world, invoice)
    _give_balance_back(world, invoice)
    for payment in world.find("invoice_payment", invoice=invoice["id"], status="open"):
        payment["status"] = "canceled"
        payment["status_transitions"]["canceled_at"] = at
        intents.call_off(
            world, world.get("payment_intent", payment["payment"]["payment_intent"]), "void_invoice"
        )
    world.emit("invoice.voided", invoice)
    tell(world, invoice)
    return invoice


def _give_balance_back(world: World, invoice: Body) -> None:
    """Undo what finalizing did to the customer's balance."""
    customer = world.get("customer", invoice["customer"])
    moved = invoice["starting_balance"] - (invoice["ending_balance"] or 0)
    currency, identity = invoice["currency"], invoice["id"]
    balances.move(
        world, customer, moved, "unapplied_from_invoice", currency=currency, invoice=identity
    )


@intents.follow
def _follow_intent(world: World, intent: Body) -> None:
    """Settle the invoice of an intent that was paid or refused on a page, or days later."""
    invoice = world.look(intent.get("_invoice"))
    if invoice is None or invoice["status"] not in PAYABLE:
        return
    if intent["status"] == "succeeded":
        mark_paid(world, invoice)
    elif intent["status"] == "requires_payment_method" and intent["last_payment_error"]:
        _failed(world, invoice)


def tell(world: World, invoice: Body) -> None:
    """Tell the invoice's subscription what became of it."""
    subscription = world.look(invoice["_subscription"])
    for follower in FOLLOWERS:
        if subscription is not None:
            follower(world, subscription, invoice)
