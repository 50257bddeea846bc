"""What a subscription does by itself: invoices, renewals, ends of trials, endings."""

from __future__ import annotations

from fractions import Fraction

from apps.sandbox.amounts import exact, rounded
from apps.sandbox.calendar import DAY, HOUR, add_interval
from apps.sandbox.resources import (
    collecting,
    coupons,
    invoice_items,
    invoices,
    items,
    pricing,
    proration,
    totals,
)
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World
from apps.sandbox.world.registry import falls_due

TRIAL_WARNING = 3 * DAY
UPCOMING_WARNING = 7 * DAY
INCOMPLETE_FOR = 23 * HOUR
ENDED = frozenset({"canceled", "incomplete_expired"})
RENEWING = frozenset({"active", "past_due", "unpaid", "trialing"})


def next_end(world: World, subscription: Body, start: int) -> int:
    """Return the end of the period that begins at `start`."""
    recurring = items.recurring_of(world, subscription)
    count, anchor = recurring["interval_count"], subscription["billing_cycle_anchor"]
    return add_interval(start, recurring["interval"], count, anchor=anchor)


# --- invoices ------------------------------------------------------------------------------------


def new_draft(world: World, subscription: Body, reason: str, period: tuple[int, int]) -> Body:
    """Return a draft for a subscription, with its discounts and without lines."""
    customer = world.get("customer", subscription["customer"])
    at = world.time_of(subscription)
    draft = invoices.draft(
        world,
        customer,
        currency=subscription["currency"],
        collection_method=subscription["collection_method"],
        reason=reason,
        subscription=subscription,
        period=period,
    )
    known = [world.get("discount", identity) for identity in subscription["discounts"]]
    draft["discounts"] = [each["id"] for each in known if coupons.in_force(each, at=at)]
    subscription["latest_invoice"] = draft["id"]
    return draft


def add_lines(world: World, subscription: Body, draft: Body, start: int, end: int) -> None:
    """Put every item's price for a period on a draft."""
    for item in items.items_of(world, subscription):
        price = items.price_of(world, item)
        amount = rounded(pricing.cost(price, item["quantity"]))
        line = add_line(world, subscription, draft, item, (start, end), amount)
        item["_debit"] = {"source": line["id"], "start": start, "end": end}


def add_line(
    world: World,
    subscription: Body,
    draft: Body,
    item: Body,
    period: tuple[int, int],
    amount: int,
    *,
    words: str | None = None,
) -> Body:
    """Put an item on a draft."""
    price = items.price_of(world, item)
    at = world.time_of(subscription)
    known = [world.get("discount", identity) for identity in item["discounts"]]
    return invoice_items.new_line(
        world,
        draft,
        amount=amount,
        currency=subscription["currency"],
        description=words or _described(world, price, item["quantity"]),
        discountable=True,
        discounts=[each["id"] for each in known if coupons.in_force(each, at=at)],
        metadata=dict(item["metadata"]),
        parent={
            "type": "subscription_item_details",
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": subscription["id"],
                "subscription_item": item["id"],
            },
        },
        period={"start": period[0], "end": period[1]},
        pricing=pricing.shown(price),
        quantity=item["quantity"],
        quantity_decimal=str(item["quantity"]),
        subscription=subscription["id"],
        subtotal=amount,
        _tax_rates=list(item["tax_rates"]),
    )


def _described(world: World, price: Body, quantity: int) -> str:
    per = price["recurring"]["interval"]
    each = exact(price["unit_amount_decimal"] or 0) / 100
    cost = f"{float(each):.2f} {price['currency'].upper()}"
    return f"{quantity} × {items.product_name(world, price)} (at {cost} / {per})"


def bill_start(world: World, subscription: Body, *, prorate: bool) -> Body:
    """Make the first invoice's draft: a trial's is nought, a stub's is a share."""
    start, end = items.period_of(world, subscription)
    draft = new_draft(world, subscription, "subscription_create", (start, start))
    for item in items.items_of(world, subscription):
        amount, words = _first_amount(world, subscription, item, (start, end), prorate=prorate)
        line = add_line(world, subscription, draft, item, (start, end), amount, words=words)
        if subscription["trial_end"] is None:
            item["_debit"] = {"source": line["id"], "start": start, "end": end}
    return draft


def _first_amount(
    world: World, subscription: Body, item: Body, period: tuple[int, int], *, prorate: bool
) -> tuple[int, str | None]:
    price = items.price_of(world, item)
    if subscription["trial_end"] is not None:
        return 0, f"Trial period for {items.product_name(world, price)}"
    start, end = period
    recurring = price["recurring"]
    before = add_interval(end, recurring["interval"], -recurring["interval_count"], anchor=end)
    whole = pricing.cost(price, item["quantity"])
    if before >= start or end == next_end(world, subscription, start):
        return rounded(whole), None
    share = Fraction(end - start, end - before) if prorate else Fraction(0)
    return rounded(whole * share), f"Time on {items.product_name(world, price)} until the anchor"


def bill_change(world: World, subscription: Body, *, collect: bool = True) -> Body:
    """Invoice what waits for a subscription, now."""
    at = world.time_of(subscription)
    draft = new_draft(world, subscription, "subscription_update", (at, at))
    invoice_items.pull_pending(world, draft, subscription["id"])
    return close(world, draft, collect=collect)


def close(world: World, draft: Body, *, collect: bool = True) -> Body:
    """Announce a draft and make it final at once."""
    totals.refresh(world, draft)
    world.emit("invoice.created", draft)
    return collecting.finalize(world, draft, collect=collect)


def restart(world: World, subscription: Body, *, at: int, prorate: bool, collect: bool) -> Body:
    """Begin a new period now: give back the old one's rest, bill the new one at once."""
    if prorate and subscription["status"] != "trialing":
        for item in items.items_of(world, subscription):
            proration.credit(world, subscription, item, at=at)
    subscription["billing_cycle_anchor"] = at
    end = next_end(world, subscription, at)
    items.set_period(world, subscription, at, end)
    draft = new_draft(world, subscription, "subscription_update", (at, at))
    add_lines(world, subscription, draft, at, end)
    invoice_items.pull_pending(world, draft, subscription["id"])
    return close(world, draft, collect=collect)


# --- time ----------------------------------------------------------------------------------------


def schedule(world: World, subscription: Body) -> None:
    """Say when something happens to a subscription by itself."""
    due = min((when for when, _ in _agenda(world, subscription)), default=None)
    subscription.pop("_due", None)
    if due is not None:
        subscription["_due"] = due


def _agenda(world: World, subscription: Body) -> list[tuple[int, str]]:
    """Return what is still to happen in this period, with its instant."""
    status = subscription["status"]
    if status == "incomplete":
        return [(subscription["created"] + INCOMPLETE_FOR, "expire")]
    if status not in RENEWING:
        return []
    end = items.period_of(world, subscription)[1]
    agenda = [(end, "renew")]
    if status == "trialing" and not subscription.get("_warned"):
        warned = max(subscription["trial_end"] - TRIAL_WARNING, subscription["created"])
        agenda.append((warned, "warn"))
    if subscription.get("_foretold") != end and not subscription["cancel_at_period_end"]:
        agenda.append((end - UPCOMING_WARNING, "foretell"))
    if subscription["cancel_at"] is not None:
        agenda.append((subscription["cancel_at"], "cancel"))
    pause = subscription["pause_collection"]
    if pause and pause["resumes_at"]:
        agenda.append((pause["resumes_at"], "resume"))
    if subscription["pending_update"] is not None:
        agenda.append((subscription["pending_update"]["expires_at"], "drop"))
    return agenda


@falls_due("subscription")
def _go_on(world: World, subscription: Body) -> None:
    """Do what is due first; the others come right after, each on its own."""
    ranks = ("resume", "warn", "foretell", "drop", "cancel", "expire", "renew")
    agenda = sorted(_agenda(world, subscription), key=lambda each: (each[0], ranks.index(each[1])))
    if agenda and agenda[0][0] <= world.now:
        _STEPS[agenda[0][1]](world, subscription)
    schedule(world, subscription)


def _warn(world: World, subscription: Body) -> None:
    subscription["_warned"] = True
    world.emit("customer.subscription.trial_will_end", subscription)


def _foretell(world: World, subscription: Body) -> None:
    """Tell that an invoice is coming; it has no id yet that could be looked up."""
    subscription["_foretold"] = items.period_of(world, subscription)[1]
    if subscription["status"] in {"active", "trialing"}:
        with world.rehearsal():
            shown = world.draw(upcoming(world, subscription))
        world.emit("invoice.upcoming", {**shown, "_as_is": True})


def upcoming(world: World, subscription: Body) -> Body:
    """Return the invoice of the next renewal; call it in a rehearsal only."""
    start, end = items.period_of(world, subscription)
    latest = subscription["latest_invoice"]
    draft = new_draft(world, subscription, "upcoming", (start, end))
    subscription["latest_invoice"] = latest
    add_lines(world, subscription, draft, end, next_end(world, subscription, end))
    invoice_items.pull_pending(world, draft, subscription["id"])
    totals.refresh(world, draft)
    return rename(world, draft)


def rename(world: World, draft: Body) -> Body:
    """Give a preview the kind of id that says that it is none."""
    lines = totals.lines_of(world, draft)
    old = draft["id"]
    world.forget(draft)
    preview = world.new("invoice", **{**draft, "id": f"upcoming_{old}"})
    for line in lines:
        line["invoice"] = preview["id"]
    return preview


def _resume_collection(world: World, subscription: Body) -> None:
    world.change(subscription, "customer.subscription.updated", pause_collection=None)


def expire(world: World, subscription: Body) -> None:
    """End a subscription whose first invoice was never paid."""
    invoice = world.look(subscription["latest_invoice"])
    at = world.time_of(subscription)
    world.change(
        subscription, "customer.subscription.updated", status="incomplete_expired", ended_at=at
    )
    if invoice is not None and invoice["status"] == "open":
        collecting.void(world, invoice)


def drop_pending_update(world: World, subscription: Body) -> None:
    """Give up a change that was never paid."""
    pending = subscription.pop("_pending")
    subscription["pending_update"] = None
    world.emit("customer.subscription.pending_update_expired", subscription)
    invoice = world.look(pending["invoice"])
    if invoice is not None and invoice["status"] == "open":
        collecting.void(world, invoice)


def _cancel_as_planned(world: World, subscription: Body) -> None:
    end(world, subscription, reason="cancellation_requested")


def end(world: World, subscription: Body, *, reason: str | None) -> None:
    """End a subscription; what is open stays open, and is not tried again."""
    at = world.time_of(subscription)
    subscription.update(status="canceled", ended_at=at, pending_update=None)
    subscription["canceled_at"] = subscription["canceled_at"] or at
    subscription["cancellation_details"]["reason"] = (
        subscription["cancellation_details"]["reason"] or reason
    )
    schedule(world, subscription)
    for invoice in world.find("invoice", _subscription=subscription["id"]):
        if invoice["status"] in {"draft", "open"} and invoice["auto_advance"]:
            with world.changes(invoice, "invoice.updated"):
                invoice.update(auto_advance=False, next_payment_attempt=None)
                collecting.schedule(world, invoice)
    world.emit("customer.subscription.deleted", subscription)


def _renew(world: World, subscription: Body) -> None:
    if subscription["cancel_at_period_end"]:
        _cancel_as_planned(world, subscription)
        return
    if subscription["status"] == "trialing" and not _may_begin(world, subscription):
        return
    start, over = items.period_of(world, subscription)
    following = next_end(world, subscription, over)
    with world.changes(subscription, "customer.subscription.updated"):
        if subscription["status"] == "trialing":
            subscription["status"] = "active"
        draft = new_draft(world, subscription, "subscription_cycle", (start, over))
        items.set_period(world, subscription, over, following)
        add_lines(world, subscription, draft, over, following)
        invoice_items.pull_pending(world, draft, subscription["id"])
        totals.refresh(world, draft)
        _hold_if_paused(subscription, draft)
        collecting.schedule(world, draft)
        world.emit("invoice.created", draft)


def _hold_if_paused(subscription: Body, draft: Body) -> None:
    paused = subscription["pause_collection"]
    if subscription["status"] == "unpaid" or (paused and paused["behavior"] == "keep_as_draft"):
        draft["auto_advance"] = False
    elif paused:
        draft["_then"] = paused["behavior"]


def _may_begin(world: World, subscription: Body) -> bool:
    """Ask, at the end of a trial, whether there is anything to charge; else do what was agreed."""
    if subscription["collection_method"] == "send_invoice":
        return True
    asked = {
        "default_payment_method": None,
        "_subscription": subscription["id"],
        "customer": subscription["customer"],
    }
    if collecting.method_for(world, asked) is not None:
        return True
    behavior = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    if behavior == "cancel":
        end(world, subscription, reason=None)
    elif behavior == "pause":
        subscription["status"] = "paused"
        world.emit("customer.subscription.paused", subscription)
    return bool(behavior == "create_invoice")


_STEPS = {
    "resume": _resume_collection,
    "warn": _warn,
    "foretell": _foretell,
    "drop": drop_pending_update,
    "cancel": _cancel_as_planned,
    "expire": expire,
    "renew": _renew,
}


# --- what invoices tell --------------------------------------------------------------------------


def follow(world: World, subscription: Body, invoice: Body) -> None:
    """Let a subscription's status follow its invoices."""
    if subscription["status"] in ENDED:
        return
    if invoice["status"] == "open":
        _refused(world, subscription, invoice)
    else:
        _settled(world, subscription, invoice)
    schedule(world, subscription)


def _settled(world: World, subscription: Body, invoice: Body) -> None:
    pending = subscription.get("_pending")
    if pending and pending["invoice"] == invoice["id"] and invoice["status"] == "paid":
        return  # `subscriptions` carries out the change
    others = world.find("invoice", _subscription=subscription["id"], status="open")
    latest = invoice["id"] == subscription["latest_invoice"]
    waits = subscription["status"] in {"incomplete", "past_due", "unpaid"}
    if waits and (latest or not others):
        if subscription["status"] == "incomplete" and invoice["status"] != "paid":
            return
        with world.changes(subscription, "customer.subscription.updated"):
            subscription["status"] = "active"
            _save_method(world, subscription, invoice)


def _save_method(world: World, subscription: Body, invoice: Body) -> None:
    settings = subscription["payment_settings"] or {}
    intent = world.look(invoice.get("_intent"))
    if settings.get("save_default_payment_method") == "on_subscription" and intent is not None:
        subscription["default_payment_method"] = intent["payment_method"]


def _refused(world: World, subscription: Body, invoice: Body) -> None:
    if invoice["billing_reason"] == "subscription_create" or subscription.get("_pending"):
        return
    if subscription["status"] in {"active", "trialing"}:
        world.change(subscription, "customer.subscription.updated", status="past_due")
    tries_over = invoice["auto_advance"] and invoice["next_payment_attempt"] is None
    if tries_over and subscription["status"] == "past_due":
        after = world.store.note("after_retries", "cancel")
        if after == "cancel":
            end(world, subscription, reason="payment_failed")
        elif after == "unpaid":
            world.change(subscription, "customer.subscription.updated", status="unpaid")


collecting.FOLLOWERS.append(follow)
