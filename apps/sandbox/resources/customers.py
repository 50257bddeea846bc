"""Customers, and what is listed below them."""

from __future__ import annotations

from apps.sandbox.errors import Refusal, invalid
from apps.sandbox.resources import cycles, payment_methods
from apps.sandbox.resources.fields import address, set_fields, shipping
from apps.sandbox.resources.searching import read_query, search_result
from apps.sandbox.store import Body
from apps.sandbox.world.kinds import random_text
from apps.sandbox.world.objects import World, listing
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import drawn, grown, operation

PLAIN = (
    "description",
    "email",
    "invoice_prefix",
    "metadata",
    "name",
    "next_invoice_sequence",
    "phone",
    "preferred_locales",
    "tax_exempt",
)


@operation("POST /v1/customers")
def create(world: World, params: Params) -> Body:
    """Create a customer, with a payment method when one is named."""
    clock = params.get("test_clock")
    if clock is not None:
        world.get("test_helpers.test_clock", clock, param="test_clock")
    customer = world.new(
        "customer",
        balance=0,
        currency=None,
        delinquent=False,
        discount=None,
        invoice_prefix=random_text(8).upper(),
        invoice_settings={
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        next_invoice_sequence=1,
        preferred_locales=[],
        tax_exempt="none",
        test_clock=clock,
    )
    customer["created"] = world.time_of(customer)
    named = params.get("payment_method")
    method = payment_methods.resolve(world, named)["id"] if named else None
    _set(world, customer, params, {named, method})
    if named and customer["invoice_settings"]["default_payment_method"] == named:
        customer["invoice_settings"]["default_payment_method"] = method
    world.emit("customer.created", customer)
    if method is not None:
        payment_methods.attach(world, method, customer)
    return customer


@operation("POST /v1/customers/{customer}")
def update(world: World, params: Params, identity: str) -> Body:
    """Change a customer."""
    customer = world.get("customer", identity)
    with world.changes(customer, "customer.updated"):
        _set(world, customer, params, set())
    return customer


def _set(world: World, customer: Body, params: Params, coming: set[str | None]) -> None:
    set_fields(customer, params, *PLAIN)
    customer["tax_exempt"] = customer["tax_exempt"] or "none"
    given = params.take("address", "shipping", "balance", "invoice_settings")
    if "address" in given:
        customer["address"] = address(given["address"])
    if "shipping" in given:
        customer["shipping"] = shipping(given["shipping"])
    if given.get("balance") is not None:
        customer["balance"] = given["balance"]
    wanted = given.get("invoice_settings") or {}
    method = wanted.get("default_payment_method")
    if method and method not in coming:
        _belongs(world, customer, method)
    known = {name: None if value == "" else value for name, value in wanted.items()}
    customer["invoice_settings"] = {**customer["invoice_settings"], **known}


def _belongs(world: World, customer: Body, method: str) -> None:
    found = world.look(method)
    if found is None or found.get("customer") != customer["id"]:
        message = f"The customer does not have a payment method with the ID {method}."
        raise invalid(
            message + " The payment method must be attached to the customer.",
            code="resource_missing",
            param="invoice_settings[default_payment_method]",
        )


@operation("GET /v1/customers/{customer}")
def retrieve(world: World, _params: Params, identity: str) -> Body:
    """Return a customer, or what is left of a deleted one."""
    return world.tombstone("customer", identity) or world.get("customer", identity)


@operation("GET /v1/customers")
def list_all(world: World, params: Params) -> Body:
    """Return customers, youngest first."""
    email, clock = params.get("email"), params.get("test_clock")
    params.take("created", "limit", "starting_after", "ending_before")
    return world.page("customer", "/v1/customers", params, email=email, test_clock=clock)


@operation("GET /v1/customers/search")
def search(world: World, params: Params) -> Body:
    """Find customers by one condition on metadata or email: `metadata['key']:'value'`."""
    name, value = read_query(str(params["query"]))
    params.take("limit", "page")
    found = world.search("customer", name, value)
    return search_result(found, "/v1/customers/search")


@operation("DELETE /v1/customers/{customer}")
def delete(world: World, _params: Params, identity: str) -> Body:
    """Delete a customer; subscriptions end at once and saved cards are let go."""
    customer = world.get("customer", identity)
    for subscription in world.find("subscription", customer=identity):
        if subscription["status"] not in cycles.ENDED:
            cycles.end(world, subscription, reason=None)
    for method in world.find("payment_method", customer=identity):
        method["customer"] = None
    world.emit("customer.deleted", customer)
    return world.bury(customer)


@operation("GET /v1/customers/{customer}/payment_methods")
def list_payment_methods(world: World, params: Params, identity: str) -> Body:
    """Return a customer's payment methods."""
    world.get("customer", identity)
    kind = params.get("type")
    params.take("limit", "starting_after", "ending_before", "allow_redisplay")
    url = f"/v1/customers/{identity}/payment_methods"
    return world.page("payment_method", url, params, customer=identity, type=kind)


@operation("GET /v1/customers/{customer}/payment_methods/{payment_method}")
def retrieve_payment_method(world: World, _params: Params, identity: str, method: str) -> Body:
    """Return one of a customer's payment methods."""
    found = world.get("payment_method", method)
    if found["customer"] != identity:
        raise Refusal(404, f"No such payment method: '{method}'", code="resource_missing")
    return found


@operation("GET /v1/customers/{customer}/sources")
def list_sources(world: World, params: Params, identity: str) -> Body:
    """Return a customer's sources of the old kind: none."""
    world.get("customer", identity)
    params.take("object", "limit", "starting_after", "ending_before")
    return listing([], f"/v1/customers/{identity}/sources")


@operation("GET /v1/customers/{customer}/tax_ids")
def list_tax_ids(world: World, params: Params, identity: str) -> Body:
    """Return a customer's tax ids: none, tax is not Stripe's business here."""
    world.get("customer", identity)
    params.take("limit", "starting_after", "ending_before")
    return listing([], f"/v1/customers/{identity}/tax_ids")


@drawn("customer")
def _draw(world: World, customer: Body, shown: Body) -> None:
    discount = customer.get("discount")
    if isinstance(discount, str):
        shown["discount"] = world.draw(world.get("discount", discount))


@grown("customer", "sources")
def _sources(_world: World, customer: Body) -> Body:
    return listing([], f"/v1/customers/{customer['id']}/sources")


@grown("customer", "tax_ids")
def _tax_ids(_world: World, customer: Body) -> Body:
    return listing([], f"/v1/customers/{customer['id']}/tax_ids")


@grown("customer", "subscriptions")
def _subscriptions(world: World, customer: Body) -> Body:
    found = world.find("subscription", customer=customer["id"])
    running = [each for each in found if each["status"] not in {"canceled", "incomplete_expired"}]
    return listing(running[:10], f"/v1/customers/{customer['id']}/subscriptions")
