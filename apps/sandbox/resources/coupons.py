"""Coupons, promotion codes, and the discounts that they become."""

from __future__ import annotations

from apps.sandbox.calendar import add_interval
from apps.sandbox.errors import Refusal, invalid
from apps.sandbox.resources.fields import set_fields
from apps.sandbox.store import Body
from apps.sandbox.world.kinds import random_text
from apps.sandbox.world.objects import World
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import drawn, grown, operation


@operation("POST /v1/coupons")
def create_coupon(world: World, params: Params) -> Body:
    """Create a coupon: a percentage or an amount, once, for months or for ever."""
    given = params.take(
        "amount_off",
        "currency",
        "percent_off",
        "duration",
        "duration_in_months",
        "max_redemptions",
        "name",
        "redeem_by",
        "id",
        "applies_to",
    )
    if (given.get("amount_off") is None) == (given.get("percent_off") is None):
        raise invalid("You must specify either `percent_off` or `amount_off`.", param="percent_off")
    if given.get("amount_off") is not None and not given.get("currency"):
        raise invalid("You must pass currency when passing amount_off", param="currency")
    duration = given.setdefault("duration", "once")
    if (duration == "repeating") != (given.get("duration_in_months") is not None):
        raise invalid(
            "`duration_in_months` belongs to `duration=repeating`, and to it only.",
            param="duration_in_months",
        )
    if given.get("id") and world.look(given["id"]):
        raise Refusal(400, "Coupon already exists.", code="resource_already_exists", param="id")
    applies = given.pop("applies_to", None)
    fields = {name: value for name, value in given.items() if value is not None}
    coupon = world.new("coupon", times_redeemed=0, valid=True, **fields)
    coupon["_applies_to"] = applies
    set_fields(coupon, params, "metadata")
    world.emit("coupon.created", coupon)
    return coupon


@operation("POST /v1/coupons/{coupon}")
def update_coupon(world: World, params: Params, identity: str) -> Body:
    """Change what may change of a coupon: never its value."""
    coupon = world.get("coupon", identity)
    with world.changes(coupon, "coupon.updated"):
        set_fields(coupon, params, "name", "metadata")
    return coupon


@operation("GET /v1/coupons/{coupon}")
def retrieve_coupon(world: World, _params: Params, identity: str) -> Body:
    """Return a coupon."""
    return world.get("coupon", identity)


@operation("GET /v1/coupons")
def list_coupons(world: World, params: Params) -> Body:
    """Return coupons."""
    params.take("created", "limit", "starting_after", "ending_before")
    return world.page("coupon", "/v1/coupons", params)


@operation("DELETE /v1/coupons/{coupon}")
def delete_coupon(world: World, _params: Params, identity: str) -> Body:
    """Delete a coupon; discounts that were given stay."""
    coupon = world.get("coupon", identity)
    world.change(coupon, None, valid=False)
    world.emit("coupon.deleted", coupon)
    world.new("coupon", **{**coupon, "id": f"_deleted_{coupon['id']}_{random_text(6)}"})
    return world.bury(coupon)


@drawn("coupon")
def _draw_coupon(world: World, coupon: Body, shown: Body) -> None:
    spent = coupon["max_redemptions"] and coupon["times_redeemed"] >= coupon["max_redemptions"]
    late = coupon["redeem_by"] and coupon["redeem_by"] < world.now
    shown["valid"] = bool(coupon["valid"] and not spent and not late)


@grown("coupon", "applies_to")
def _applies_to(_world: World, coupon: Body) -> Body:
    return coupon.get("_applies_to") or {"products": []}


@grown("coupon", "currency_options")
def _currency_options(_world: World, _coupon: Body) -> Body:
    return {}


@operation("POST /v1/promotion_codes")
def create_promotion_code(world: World, params: Params) -> Body:
    """Create a code that customers type in for a coupon."""
    coupon = world.get("coupon", params["promotion"]["coupon"], param="promotion[coupon]")
    code = params.get("code") or random_text(8).upper()
    _refuse_taken(world, code)
    given = params.take("customer", "expires_at", "max_redemptions", "restrictions", "active")
    limits = given.pop("restrictions", None) or {}
    promotion = world.new(
        "promotion_code",
        code=code,
        promotion={"type": "coupon", "coupon": coupon["id"]},
        restrictions={
            "first_time_transaction": False,
            "minimum_amount": None,
            "minimum_amount_currency": None,
            **limits,
        },
        times_redeemed=0,
        **{"active": True, **given},
    )
    set_fields(promotion, params, "metadata")
    world.emit("promotion_code.created", promotion)
    return promotion


def _refuse_taken(world: World, code: str) -> None:
    for other in world.find("promotion_code", active=True):
        if other["code"].lower() == code.lower():
            message = f"An active promotion code with `code: {code}` already exists."
            raise invalid(message, param="code")


@operation("POST /v1/promotion_codes/{promotion_code}")
def update_promotion_code(world: World, params: Params, identity: str) -> Body:
    """Switch a promotion code on or off."""
    promotion = world.get("promotion_code", identity)
    with world.changes(promotion, "promotion_code.updated"):
        if params.get("active") and not promotion["active"]:
            _refuse_taken(world, promotion["code"])
        set_fields(promotion, params, "active", "metadata")
    return promotion


@operation("GET /v1/promotion_codes/{promotion_code}")
def retrieve_promotion_code(world: World, _params: Params, identity: str) -> Body:
    """Return a promotion code."""
    return world.get("promotion_code", identity)


@operation("GET /v1/promotion_codes")
def list_promotion_codes(world: World, params: Params) -> Body:
    """Return promotion codes."""
    where = params.take("active", "code", "customer")
    coupon = params.get("coupon")
    params.take("created", "limit", "starting_after", "ending_before")
    url = "/v1/promotion_codes"
    return world.page("promotion_code", url, params, promotion__coupon=coupon, **where)


def redeem(
    world: World, spec: Body, customer: Body, *, at: int, param: str = "discounts", **belongs: str
) -> Body:
    """Return the discount that a coupon, a promotion code or a discount gives a customer.

    `belongs` says to what: subscription, subscription_item, invoice, invoice_item.
    """
    if spec.get("discount"):
        return world.get("discount", spec["discount"], param=param)
    promotion = None
    if spec.get("promotion_code"):
        promotion = world.get("promotion_code", spec["promotion_code"], param=param)
        _refuse_unusable(world, promotion, customer, at)
        promotion["times_redeemed"] += 1
    wanted = promotion["promotion"]["coupon"] if promotion else spec.get("coupon")
    coupon = world.get("coupon", wanted, param=param)
    if not world.draw(coupon)["valid"]:
        raise invalid(f"Coupon expired: {coupon['id']}", param=param, code="coupon_expired")
    coupon["times_redeemed"] += 1
    months = coupon["duration_in_months"] if coupon["duration"] == "repeating" else None
    discount = world.new(
        "discount",
        customer=customer["id"],
        source={"type": "coupon", "coupon": coupon["id"]},
        start=at,
        end=add_interval(at, "month", months) if months else None,
        promotion_code=promotion["id"] if promotion else None,
        **belongs,
    )
    discount["_coupon"] = {name: coupon[name] for name in _VALUE}
    discount["_coupon"]["products"] = (coupon.get("_applies_to") or {}).get("products")
    return discount


_VALUE = ("amount_off", "currency", "percent_off", "duration")


def _refuse_unusable(world: World, promotion: Body, customer: Body, at: int) -> None:
    spent = promotion["max_redemptions"] is not None and (
        promotion["times_redeemed"] >= promotion["max_redemptions"]
    )
    late = promotion["expires_at"] is not None and promotion["expires_at"] <= at
    other = promotion["customer"] not in {None, customer["id"]}
    again = promotion["restrictions"]["first_time_transaction"] and any(
        invoice["status"] == "paid" and invoice["total"] > 0
        for invoice in world.find("invoice", customer=customer["id"])
    )
    if not promotion["active"] or spent or late or other or again:
        message = "This promotion code cannot be redeemed because it is not usable (any more)."
        raise invalid(message, param="promotion_code", code="promotion_code_not_usable")


def in_force(discount: Body, *, at: int) -> bool:
    """Tell whether a discount still counts for an invoice made at an instant."""
    if discount["_coupon"]["duration"] == "once" and discount.get("_used"):
        return False
    return discount["end"] is None or at < int(discount["end"])
