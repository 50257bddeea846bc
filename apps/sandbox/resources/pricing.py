"""What a quantity of a price costs."""

from __future__ import annotations

from fractions import Fraction

from apps.sandbox.amounts import exact
from apps.sandbox.errors import invalid
from apps.sandbox.resources import products
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World
from apps.sandbox.world.params import Params


def cost(price: Body, quantity: Fraction | int) -> Fraction:
    """Return the exact cost of a quantity, in the smallest unit of the price's currency."""
    if price["billing_scheme"] == "tiered":
        by_mode = {"graduated": _graduated, "volume": _volume}
        return by_mode[price["tiers_mode"]](price["_tiers"], Fraction(quantity))
    return _transformed(price, Fraction(quantity)) * exact(price["unit_amount_decimal"])


def _transformed(price: Body, quantity: Fraction) -> Fraction:
    """Return how many packages of `transform_quantity` a quantity is."""
    rule = price["transform_quantity"]
    if not rule:
        return quantity
    packages = quantity / rule["divide_by"]
    down = packages.numerator // packages.denominator
    whole = packages.denominator == 1
    return Fraction(down if whole or rule["round"] == "down" else down + 1)


def _volume(tiers: list[Body], quantity: Fraction) -> Fraction:
    """The tier that the whole quantity falls into prices all of it."""
    for tier in tiers:
        if tier["up_to"] is None or quantity <= tier["up_to"]:
            return _tier_cost(tier, quantity)
    raise AssertionError("the last tier is unbounded")


def _graduated(tiers: list[Body], quantity: Fraction) -> Fraction:
    """Each tier prices its part. The first tier's flat amount is due at quantity nought too."""
    total, below = Fraction(0), Fraction(0)
    for position, tier in enumerate(tiers):
        upper = quantity if tier["up_to"] is None else min(quantity, Fraction(tier["up_to"]))
        if upper > below or position == 0:
            total += _tier_cost(tier, upper - below)
            below = upper
    return total


def _tier_cost(tier: Body, quantity: Fraction) -> Fraction:
    per_unit = exact(tier["unit_amount_decimal"] or 0)
    return per_unit * quantity + exact(tier["flat_amount_decimal"] or 0)


def shown(price: Body) -> Body:
    """Return how lines and invoice items refer to a price."""
    return {
        "type": "price_details",
        "price_details": {"price": price["id"], "product": price["product"]},
        "unit_amount_decimal": price["unit_amount_decimal"],
    }


def price_of(world: World, spec: Body, *, param: str = "price") -> Body:
    """Return the price that a line, an item or a session names by id or describes."""
    if spec.get("price_data") is not None:
        return products.create_price(world, Params(spec["price_data"]))
    if spec.get("price") is None:
        raise invalid(f"Missing required param: {param}.", param=param, code="parameter_missing")
    price = world.get("price", spec["price"], param=param)
    if not price["active"]:
        raise invalid(
            "The price specified is inactive. This field only accepts active prices.", param=param
        )
    return price


def one_off(world: World, amount: str, currency: str, name: str) -> Body:
    """Return the inactive price that Stripe makes for an amount without one; nobody is told."""
    product = world.new(
        "product",
        name=name,
        active=False,
        type="service",
        images=[],
        marketing_features=[],
        updated=world.now,
    )
    whole, decimal = products.read_unit_amount({"unit_amount_decimal": amount})
    return world.new(
        "price",
        active=False,
        billing_scheme="per_unit",
        currency=currency,
        product=product["id"],
        recurring=None,
        tax_behavior="unspecified",
        type="one_time",
        unit_amount=whole,
        unit_amount_decimal=decimal,
    )
