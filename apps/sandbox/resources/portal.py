"""The billing portal: configurations, and sessions that lead to its page."""

from __future__ import annotations

from typing import Any

from apps.sandbox.resources.fields import set_fields
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import operation

FEATURES = (
    "customer_update",
    "invoice_history",
    "payment_method_update",
    "subscription_cancel",
    "subscription_update",
)


@operation("POST /v1/billing_portal/configurations")
def create_configuration(world: World, params: Params) -> Body:
    """Say what customers may do in the portal."""
    configuration = world.new(
        "billing_portal.configuration",
        active=True,
        is_default=not world.find("billing_portal.configuration", is_default=True),
        updated=world.now,
        metadata={},
    )
    _set(configuration, params)
    world.emit("billing_portal.configuration.created", configuration)
    return configuration


@operation("POST /v1/billing_portal/configurations/{configuration}")
def update_configuration(world: World, params: Params, identity: str) -> Body:
    """Change what customers may do."""
    configuration = world.get("billing_portal.configuration", identity)
    with world.changes(configuration, "billing_portal.configuration.updated"):
        _set(configuration, params)
        configuration["updated"] = world.now
    return configuration


def _set(configuration: Body, params: Params) -> None:
    set_fields(configuration, params, "default_return_url", "metadata", "name", "active")
    given = params.take("business_profile", "features", "login_page")
    for name in ("business_profile", "login_page"):
        configuration[name] = _merged(configuration[name], given.get(name) or {})
    features = given.get("features") or {}
    for name in FEATURES:
        merged = _merged(configuration["features"][name], features.get(name) or {})
        configuration["features"][name] = merged


def _merged(known: Body, given: dict[str, Any]) -> Body:
    """Return settings with the given ones on top, inside as well."""
    merged = dict(known)
    for name, value in given.items():
        inner = isinstance(value, dict) and isinstance(known.get(name), dict)
        merged[name] = _merged(known[name], value) if inner else value
    return merged


@operation("GET /v1/billing_portal/configurations/{configuration}")
def retrieve_configuration(world: World, _params: Params, identity: str) -> Body:
    """Return a configuration."""
    return world.get("billing_portal.configuration", identity)


@operation("GET /v1/billing_portal/configurations")
def list_configurations(world: World, params: Params) -> Body:
    """Return the configurations."""
    where = params.take("active", "is_default")
    params.take("limit", "starting_after", "ending_before")
    url = "/v1/billing_portal/configurations"
    return world.page("billing_portal.configuration", url, params, **where)


@operation("POST /v1/billing_portal/sessions")
def create_session(world: World, params: Params) -> Body:
    """Open the portal for a customer; `url` is its page, for an hour in Stripe's case."""
    customer = world.get("customer", params.get("customer"), param="customer")
    flow = params.get("flow_data")
    session = world.new(
        "billing_portal.session",
        configuration=_configuration(world, params.get("configuration")),
        customer=customer["id"],
        flow=_flow(flow) if flow else None,
        locale=params.get("locale"),
        return_url=params.get("return_url"),
    )
    session["url"] = f"{world.base_url}/p/session/{session['id']}"
    world.emit("billing_portal.session.created", session)
    return session


def _configuration(world: World, asked: str | None) -> str:
    if asked is not None:
        return str(world.get("billing_portal.configuration", asked, param="configuration")["id"])
    for known in world.find("billing_portal.configuration", is_default=True):
        return str(known["id"])
    enabled = {name: {"enabled": True} for name in FEATURES if name != "subscription_update"}
    return str(create_configuration(world, Params({"features": enabled}))["id"])


def _flow(given: dict[str, Any]) -> Body:
    """Return where in the portal a session begins."""
    after = given.get("after_completion") or {"type": "portal_homepage"}
    kinds = (
        "customer_update",
        "subscription_cancel",
        "subscription_update",
        "subscription_update_confirm",
    )
    return {
        "type": given["type"],
        "after_completion": {"hosted_confirmation": None, "redirect": None, **after},
        **{kind: given.get(kind) for kind in kinds},
    }
