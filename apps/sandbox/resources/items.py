"""The items of a subscription: which price, how many, paid until when."""

from __future__ import annotations

from typing import Any

from apps.sandbox.errors import Refusal, invalid
from apps.sandbox.resources import coupons, pricing
from apps.sandbox.resources.fields import merge_metadata
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World, listing
from apps.sandbox.world.registry import drawn

MOST_ITEMS = 20


def items_of(world: World, subscription: Body) -> list[Body]:
    """Return a subscription's items, the oldest first."""
    identity = subscription["id"]
    return world.find("subscription_item", subscription=identity, oldest_first=True)


def price_of(world: World, item: Body) -> Body:
    """Return an item's price."""
    return world.get("price", item["price"])


def recurring_of(world: World, subscription: Body) -> Body:
    """Return the interval that all items of a subscription share."""
    recurring: Body = price_of(world, items_of(world, subscription)[0])["recurring"]
    return recurring


def period_of(world: World, subscription: Body) -> tuple[int, int]:
    """Return the running period."""
    first = items_of(world, subscription)[0]
    return first["current_period_start"], first["current_period_end"]


def set_period(world: World, subscription: Body, start: int, end: int) -> None:
    """Move all items into a period."""
    for item in items_of(world, subscription):
        item.update(current_period_start=start, current_period_end=end)


def product_name(world: World, price: Body) -> str:
    """Return what a price's product is called."""
    return str(world.get("product", price["product"])["name"])


def add(
    world: World, subscription: Body, spec: Body, start: int, end: int, *, place: str = "items[0]"
) -> Body:
    """Add an item. Raises Refusal for a price that cannot recur with the others."""
    price = pricing.price_of(world, spec, param=f"{place}[price]")
    existing = items_of(world, subscription)
    _refuse_unfit(world, subscription, price, existing, place)
    item = world.new(
        "subscription_item",
        billing_thresholds=None,
        created=world.time_of(subscription),
        current_period_start=start,
        current_period_end=end,
        plan=None,
        price=price["id"],
        quantity=int(spec.get("quantity", 1)),
        subscription=subscription["id"],
        tax_rates=[],
        _clock=subscription.get("_clock"),
        _debit=None,
    )
    set_fields(world, subscription, item, spec)
    return item


def _refuse_unfit(
    world: World, subscription: Body, price: Body, existing: list[Body], place: str
) -> None:
    if price["type"] != "recurring":
        message = (
            "The price specified is set to `type=one_time` but this field only accepts prices with "
            "`type=recurring`."
        )
        raise invalid(message, param=f"{place}[price]")
    if price["recurring"]["usage_type"] == "metered":
        message = "The sandbox has no metered prices."
        raise Refusal(501, message, kind="api_error", code="sandbox_not_implemented")
    if len(existing) >= MOST_ITEMS:
        raise invalid(f"A subscription has at most {MOST_ITEMS} items.", param="items")
    if any(item["price"] == price["id"] for item in existing):
        message = f"Duplicate price `{price['id']}`; use `quantity` instead."
        raise invalid(message, param=f"{place}[price]")
    if price["currency"] != subscription["currency"]:
        message = f"The price's currency is {price['currency']}, the subscription's is "
        raise invalid(message + subscription["currency"], param=f"{place}[price]")
    for item in existing:
        if not same_interval(price_of(world, item), price):
            message = "Currency and interval fields must match across all prices"
            raise invalid(f"{message} on this subscription.", param=f"{place}[price]")


def same_interval(one: Body, other: Body) -> bool:
    """Tell whether two prices recur alike."""
    names = ("interval", "interval_count")
    return all(one["recurring"][name] == other["recurring"][name] for name in names)


def set_fields(world: World, subscription: Body, item: Body, spec: Body) -> None:
    """Set what an item has beside price and quantity."""
    if "metadata" in spec:
        merge_metadata(item, spec["metadata"] or None)
    if "tax_rates" in spec:
        rates = spec["tax_rates"] or []
        item["tax_rates"] = [world.get("tax_rate", rate, param="tax_rates")["id"] for rate in rates]
    if "discounts" in spec:
        customer = world.get("customer", subscription["customer"])
        at = world.time_of(subscription)
        item["discounts"] = [
            coupons.redeem(world, each, customer, at=at, subscription_item=item["id"])["id"]
            for each in spec["discounts"] or []
        ]


@drawn("subscription_item")
def _draw(world: World, item: Body, shown: Body) -> None:
    price = price_of(world, item)
    shown["price"] = world.draw(price)
    shown["plan"] = _plan(price)
    shown["tax_rates"] = [world.draw(world.get("tax_rate", rate)) for rate in item["tax_rates"]]


def _plan(price: Body) -> dict[str, Any]:
    """Return the price in its old clothes."""
    recurring = price["recurring"]
    same = ("active", "billing_scheme", "created", "currency", "id", "livemode", "metadata",
            "nickname", "product", "tiers_mode")  # fmt: skip
    return {
        **{name: price[name] for name in same},
        "object": "plan",
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "meter": recurring["meter"],
        "transform_usage": price["transform_quantity"],
        "trial_period_days": recurring["trial_period_days"],
        "usage_type": recurring["usage_type"],
    }


def drawn_list(world: World, subscription: Body) -> Body:
    """Return the items as a subscription shows them."""
    url = f"/v1/subscription_items?subscription={subscription['id']}"
    return listing([world.draw(item) for item in items_of(world, subscription)], url)
