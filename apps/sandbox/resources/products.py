"""Products and prices."""

from __future__ import annotations

from typing import Any

from apps.sandbox.amounts import exact, plain
from apps.sandbox.errors import Refusal, invalid
from apps.sandbox.resources.fields import set_fields
from apps.sandbox.resources.searching import read_query, search_result
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World, listing
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import grown, operation

PRODUCT_FIELDS = (
    "active",
    "description",
    "images",
    "marketing_features",
    "metadata",
    "name",
    "package_dimensions",
    "shippable",
    "statement_descriptor",
    "tax_code",
    "unit_label",
    "url",
)


@operation("POST /v1/products")
def create_product(world: World, params: Params) -> Body:
    """Create a product, under an id of the caller's when there is one."""
    wanted = params.take("id", "type")
    if wanted.get("id") and world.look(wanted["id"]):
        raise Refusal(400, "Product already exists.", code="resource_already_exists", param="id")
    product = world.new(
        "product",
        active=True,
        images=[],
        marketing_features=[],
        type="service",
        updated=world.now,
        default_price=None,
        **{name: value for name, value in wanted.items() if value},
    )
    set_fields(product, params, *PRODUCT_FIELDS)
    first = params.get("default_price_data")
    if first is not None:
        price = create_price(world, Params({**first, "product": product["id"]}))
        product["default_price"] = price["id"]
    world.emit("product.created", product)
    return product


@operation("POST /v1/products/{id}")
def update_product(world: World, params: Params, identity: str) -> Body:
    """Change a product."""
    product = world.get("product", identity)
    with world.changes(product, "product.updated"):
        set_fields(product, params, *PRODUCT_FIELDS, "default_price")
        product["updated"] = world.now
    return product


@operation("GET /v1/products/{id}")
def retrieve_product(world: World, _params: Params, identity: str) -> Body:
    """Return a product."""
    return world.tombstone("product", identity) or world.get("product", identity)


@operation("GET /v1/products")
def list_products(world: World, params: Params) -> Body:
    """Return products, youngest first."""
    active, ids = params.get("active"), params.get("ids")
    params.take("created", "limit", "starting_after", "ending_before", "type", "url", "shippable")
    if ids is not None:
        found = [world.get("product", each, param="ids") for each in ids]
        return listing(found, "/v1/products")
    return world.page("product", "/v1/products", params, active=active)


@operation("GET /v1/products/search")
def search_products(world: World, params: Params) -> Body:
    """Find products by one equality."""
    name, value = read_query(str(params["query"]))
    params.take("limit", "page")
    found = world.search("product", name, value)
    return search_result(found, "/v1/products/search")


@operation("DELETE /v1/products/{id}")
def delete_product(world: World, _params: Params, identity: str) -> Body:
    """Delete a product that has no price."""
    product = world.get("product", identity)
    if world.find("price", product=identity):
        message = "This product cannot be deleted because it has one or more user-created prices."
        raise invalid(message, param="id")
    world.emit("product.deleted", product)
    return world.bury(product)


@operation("GET /v1/products/{product}/features")
def list_features(world: World, params: Params, identity: str) -> Body:
    """Return a product's features: none, entitlements are not Stripe's business here."""
    params.take("limit", "starting_after", "ending_before")
    world.get("product", identity)
    return listing([], f"/v1/products/{identity}/features")


@operation("POST /v1/prices")
def create_price(world: World, params: Params) -> Body:
    """Create a price. Its amounts never change again."""
    currency = str(params["currency"]).lower()
    recurring = params.get("recurring")
    price = world.new(
        "price",
        active=True,
        billing_scheme=params.get("billing_scheme", "per_unit"),
        currency=currency,
        custom_unit_amount=None,
        product=_product_of(world, params),
        recurring=_recurring(recurring),
        tax_behavior=params.get("tax_behavior", "unspecified"),
        tiers_mode=params.get("tiers_mode"),
        transform_quantity=params.get("transform_quantity"),
        type="recurring" if recurring else "one_time",
        lookup_key=None,
        nickname=None,
    )
    set_fields(price, params, "active", "nickname", "metadata")
    _set_amounts(price, params)
    _set_lookup_key(world, price, params)
    world.emit("price.created", price)
    return price


def _product_of(world: World, params: Params) -> str:
    identity, wanted = params.get("product"), params.get("product_data")
    if (identity is None) == (wanted is None):
        raise invalid(
            "You must specify either `product` or `product_data` when creating a price.",
            param="product",
            code="parameter_missing",
        )
    if wanted is not None:
        return str(create_product(world, Params(wanted))["id"])
    return str(world.get("product", identity, param="product")["id"])


def _recurring(given: Body | None) -> Body | None:
    if not given:
        return None
    usual = {"interval_count": 1, "meter": None, "trial_period_days": None}
    return {**usual, "usage_type": "licensed", **given}


def _set_amounts(price: Body, params: Params) -> None:
    tiers = params.get("tiers")
    price["unit_amount"], price["unit_amount_decimal"] = read_unit_amount(params)
    if price["billing_scheme"] == "tiered":
        if not tiers or price["tiers_mode"] not in {"graduated", "volume"}:
            raise invalid(
                "You must pass both `tiers` and `tiers_mode` for a tiered price.", param="tiers"
            )
        price["_tiers"] = [_tier(each) for each in tiers]
        if price["_tiers"][-1]["up_to"] is not None:
            raise invalid("The last tier has to be unbounded: `up_to=inf`.", param="tiers")
    elif price["unit_amount_decimal"] is None:
        raise invalid(
            "Missing required param: unit_amount.", param="unit_amount", code="parameter_missing"
        )


def read_unit_amount(given: Any) -> tuple[int | None, str | None]:
    """Return an amount per unit as integer (None when it is not one) and as decimal text."""
    whole, decimal = given.get("unit_amount"), given.get("unit_amount_decimal")
    if whole is not None:
        return int(whole), str(whole)
    if decimal is None:
        return None, None
    value = exact(decimal)
    return (int(value) if value.denominator == 1 else None), plain(str(decimal))


def _tier(given: Body) -> Body:
    tier: Body = {"up_to": None if given["up_to"] == "inf" else int(given["up_to"])}
    tier["unit_amount"], tier["unit_amount_decimal"] = read_unit_amount(given)
    flat = {
        "unit_amount": given.get("flat_amount"),
        "unit_amount_decimal": given.get("flat_amount_decimal"),
    }
    tier["flat_amount"], tier["flat_amount_decimal"] = read_unit_amount(flat)
    return tier


def _set_lookup_key(world: World, price: Body, params: Params) -> None:
    """Give a price its lookup key; another active price has to hand it over on request only."""
    wanted = params.take("lookup_key", "transfer_lookup_key")
    if "lookup_key" not in wanted:
        return
    for holder in world.find("price", lookup_key=wanted["lookup_key"]):
        if wanted["lookup_key"] is None or holder["id"] == price["id"]:
            continue
        if not wanted.get("transfer_lookup_key"):
            message = f"A price (`{holder['id']}`) already uses that lookup key."
            raise invalid(message, param="lookup_key")
        world.change(holder, "price.updated", lookup_key=None)
    price["lookup_key"] = wanted["lookup_key"]


@operation("POST /v1/prices/{price}")
def update_price(world: World, params: Params, identity: str) -> Body:
    """Change what may change of a price: never its amount."""
    price = world.get("price", identity)
    with world.changes(price, "price.updated"):
        set_fields(price, params, "active", "nickname", "metadata", "tax_behavior")
        _set_lookup_key(world, price, params)
    return price


@operation("GET /v1/prices/{price}")
def retrieve_price(world: World, _params: Params, identity: str) -> Body:
    """Return a price."""
    return world.get("price", identity)


@operation("GET /v1/prices")
def list_prices(world: World, params: Params) -> Body:
    """Return prices, by product, kind or lookup keys."""
    keys = params.get("lookup_keys")
    where = params.take("active", "currency", "product", "type")
    params.take("created", "limit", "starting_after", "ending_before")
    if keys is not None:
        found = [one for key in keys for one in world.find("price", lookup_key=key, **where)]
        return listing(found, "/v1/prices")
    return world.page("price", "/v1/prices", params, **where)


@operation("GET /v1/prices/search")
def search_prices(world: World, params: Params) -> Body:
    """Find prices by one equality."""
    name, value = read_query(str(params["query"]))
    params.take("limit", "page")
    found = world.search("price", name, value)
    return search_result(found, "/v1/prices/search")


@grown("price", "tiers")
def _tiers(_world: World, price: Body) -> list[Body]:
    return list(price.get("_tiers") or [])


@grown("price", "currency_options")
def _currency_options(_world: World, _price: Body) -> Body:
    return {}
