"""A change of a subscription's items, period or trial: what it costs, and when it counts."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from apps.sandbox.calendar import HOUR
from apps.sandbox.errors import Refusal, invalid
from apps.sandbox.resources import collecting, cycles, items, pricing, proration
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World

PENDING_FOR = 23 * HOUR


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be changed, at which instant it is reckoned, and how it is paid.

    `behavior` is Stripe's `proration_behavior`, `payment` its `payment_behavior`.
    """

    at: int
    items: list[Body] = field(default_factory=list)
    behavior: str = "create_prorations"
    payment: str = "allow_incomplete"
    restarts: bool = False
    trial_end: int | str | None = None
    extras: list[Body] = field(default_factory=list)

    @classmethod
    def read(cls, world: World, subscription: Body, params: Any) -> Change:
        """Return the change that is asked for. Raises Refusal for a date out of the period."""
        now = world.time_of(subscription)
        given = params.take(
            "items",
            "proration_behavior",
            "proration_date",
            "payment_behavior",
            "billing_cycle_anchor",
            "trial_end",
            "off_session",
        )
        at = int(given.get("proration_date") or now)
        start, end = items.period_of(world, subscription)
        if given.get("proration_date") is not None and not start <= at <= end:
            raise invalid(
                "`proration_date` has to lie in the current period.", param="proration_date"
            )
        return cls(
            at=at,
            items=given.get("items") or [],
            behavior=given.get("proration_behavior") or "create_prorations",
            payment=given.get("payment_behavior") or "allow_incomplete",
            restarts=given.get("billing_cycle_anchor") == "now",
            trial_end=given.get("trial_end"),
        )


def carry_out(world: World, subscription: Body, change: Change) -> Body | None:
    """Change a subscription; return the invoice that this made, if any."""
    if change.payment == "pending_if_incomplete" and _costs_now(change):
        return _carry_out_once_paid(world, subscription, change)
    invoice = _apply(world, subscription, change)
    if invoice is not None:
        _collect(world, subscription, invoice, change)
    return invoice


def _costs_now(change: Change) -> bool:
    return bool(change.items or change.restarts) and (
        change.behavior == "always_invoice" or change.restarts
    )


def _apply(world: World, subscription: Body, change: Change) -> Body | None:
    """Change items, trial and period; return the open invoice when one was made at once."""
    if change.trial_end is not None:
        if change.trial_end == "now":
            return _end_trial(world, subscription, change)
        _move_trial(world, subscription, int(change.trial_end))
    trialing = subscription["status"] == "trialing"
    prorate = change.behavior != "none" and not trialing
    restarts = change.restarts
    changed = False
    for place, spec in enumerate(change.items):
        told = _change_item(
            world, subscription, spec, change.at, f"items[{place}]", prorate=prorate
        )
        changed, restarts = changed or told.changed, restarts or told.restarts
    if restarts and not trialing:
        return cycles.restart(world, subscription, at=change.at, prorate=prorate, collect=False)
    if changed and change.behavior == "always_invoice" and not trialing:
        return cycles.bill_change(world, subscription, collect=False)
    return None


@dataclass(frozen=True, slots=True)
class _Told:
    """What became of an item: whether it is another, and whether its interval is."""

    changed: bool
    restarts: bool = False


def _change_item(
    world: World, subscription: Body, spec: Body, at: int, place: str, *, prorate: bool
) -> _Told:
    item = _meant(world, subscription, spec, place)
    if item is None:
        period = items.period_of(world, subscription)
        item = items.add(world, subscription, spec, *period, place=place)
        if prorate:
            proration.charge(world, subscription, item, at=at)
        return _Told(changed=True)
    if spec.get("deleted"):
        return _remove(world, subscription, item, at, prorate=prorate)
    items.set_fields(world, subscription, item, spec)
    price = items.price_of(world, item)
    wanted = price
    if spec.get("price") or spec.get("price_data"):
        wanted = pricing.price_of(world, spec, param=f"{place}[price]")
    quantity = int(spec["quantity"]) if "quantity" in spec else int(item["quantity"])
    if (wanted["id"], quantity) == (item["price"], item["quantity"]):
        return _Told(changed=False)
    moved = not items.same_interval(price, wanted)
    if prorate and not moved:
        proration.credit(world, subscription, item, at=at)
    item.update(price=wanted["id"], quantity=quantity)
    if prorate and not moved:
        proration.charge(world, subscription, item, at=at)
    return _Told(changed=True, restarts=moved)


def _meant(world: World, subscription: Body, spec: Body, place: str) -> Body | None:
    if not spec.get("id"):
        return None
    item = world.get("subscription_item", spec["id"], param=f"{place}[id]")
    if item["subscription"] != subscription["id"]:
        raise invalid("The item belongs to another subscription.", param=f"{place}[id]")
    return item


def _remove(world: World, subscription: Body, item: Body, at: int, *, prorate: bool) -> _Told:
    if len(items.items_of(world, subscription)) == 1:
        raise invalid("A subscription must have at least one active item.", param="items")
    if prorate:
        proration.credit(world, subscription, item, at=at)
    world.bury(item)
    return _Told(changed=True)


def credit_rest(world: World, subscription: Body) -> None:
    """Give back what is left of all items."""
    at = world.time_of(subscription)
    for item in items.items_of(world, subscription):
        proration.credit(world, subscription, item, at=at)


def _end_trial(world: World, subscription: Body, change: Change) -> Body | None:
    if subscription["status"] != "trialing":
        return None
    for place, spec in enumerate(change.items):
        _change_item(world, subscription, spec, change.at, f"items[{place}]", prorate=False)
    subscription.update(status="active", trial_end=change.at)
    return cycles.restart(world, subscription, at=change.at, prorate=False, collect=False)


def _move_trial(world: World, subscription: Body, until: int) -> None:
    at = world.time_of(subscription)
    if until <= at:
        raise invalid("`trial_end` has to be in the future.", param="trial_end")
    subscription.update(trial_end=until, billing_cycle_anchor=until, status="trialing")
    subscription["trial_start"] = subscription["trial_start"] or at
    subscription.pop("_warned", None)
    start, _ = items.period_of(world, subscription)
    items.set_period(world, subscription, start, until)


def _collect(world: World, subscription: Body, invoice: Body, change: Change) -> None:
    if invoice["status"] != "open" or subscription["collection_method"] == "send_invoice":
        return
    if change.payment == "default_incomplete":
        subscription["status"] = "past_due"
        return
    refusal = collecting.attempt(world, invoice)
    collecting.schedule(world, invoice)
    if change.payment == "error_if_incomplete" and invoice["status"] != "paid":
        error = refusal.error if refusal else {"message": "The invoice is not paid."}
        raise Refusal(
            402,
            error["message"],
            kind="card_error",
            code=error.get("code"),
            decline_code=error.get("decline_code"),
        )


def _carry_out_once_paid(world: World, subscription: Body, change: Change) -> Body | None:
    """Make and collect the invoice; when it is not paid, the change waits for it 23 hours."""
    if subscription["pending_update"] is not None:
        cycles.drop_pending_update(world, subscription)
    before = [subscription, *items.items_of(world, subscription)]
    kept = copy.deepcopy(before)
    invoice = _apply(world, subscription, change)
    if invoice is None:
        return None
    expires = world.time_of(subscription) + PENDING_FOR
    after = _pictures(world, subscription)
    subscription["_pending"] = {"invoice": invoice["id"]}
    if invoice["status"] == "open":
        collecting.attempt(world, invoice)
        invoice["next_payment_attempt"] = None
        collecting.schedule(world, invoice)
    if invoice["status"] == "paid":
        subscription.pop("_pending")
        return invoice
    _undo(world, subscription, before, kept)
    subscription["latest_invoice"] = invoice["id"]
    subscription["_pending"] = {"invoice": invoice["id"], "after": after}
    subscription["pending_update"] = _shown(world, after, expires)
    return invoice


def _pictures(world: World, subscription: Body) -> list[Body]:
    return copy.deepcopy([subscription, *items.items_of(world, subscription)])


def _undo(world: World, subscription: Body, before: list[Body], kept: list[Body]) -> None:
    known = {each["id"] for each in kept}
    for item in items.items_of(world, subscription):
        if item["id"] not in known:
            world.forget(item)
    for body, old in zip(before, kept, strict=True):
        world.restore(body["id"], old)


def _shown(world: World, after: list[Body], expires: int) -> Body:
    """Return what waits to be applied, as a subscription shows it."""
    shown = [world.draw(item) for item in after[1:]]
    return {
        "billing_cycle_anchor": None,
        "expires_at": expires,
        "subscription_items": shown,
        "trial_end": None,
        "trial_from_plan": None,
    }


def follow(world: World, subscription: Body, invoice: Body) -> None:
    """Carry out the change that waited for an invoice which is paid now."""
    pending = subscription.get("_pending") or {}
    if pending.get("invoice") != invoice["id"] or "after" not in pending:
        return
    if invoice["status"] != "paid":
        return
    latest = subscription["latest_invoice"]
    wanted = {item["id"] for item in pending["after"][1:]}
    for item in items.items_of(world, subscription):
        if item["id"] not in wanted:
            world.bury(item)
    for picture in pending["after"]:
        world.restore(picture["id"], picture)
    subscription.update(pending_update=None, latest_invoice=latest, status="active")
    subscription.pop("_pending", None)
    cycles.schedule(world, subscription)
    world.emit("customer.subscription.pending_update_applied", subscription)
    world.emit("customer.subscription.updated", subscription)


collecting.FOLLOWERS.append(follow)
