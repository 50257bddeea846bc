"""Tax rates."""

from __future__ import annotations

from apps.sandbox.resources.fields import set_fields
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import operation

FIELDS = ("active", "country", "description", "display_name", "jurisdiction", "metadata", "state")


@operation("POST /v1/tax_rates")
def create(world: World, params: Params) -> Body:
    """Create a tax rate."""
    rate = world.new(
        "tax_rate",
        active=True,
        inclusive=params["inclusive"],
        percentage=params["percentage"],
        effective_percentage=params["percentage"],
        rate_type="percentage",
        tax_type=params.get("tax_type"),
    )
    set_fields(rate, params, *FIELDS)
    world.emit("tax_rate.created", rate)
    return rate


@operation("POST /v1/tax_rates/{tax_rate}")
def update(world: World, params: Params, identity: str) -> Body:
    """Change what may change of a tax rate: never its percentage."""
    rate = world.get("tax_rate", identity)
    with world.changes(rate, "tax_rate.updated"):
        set_fields(rate, params, *FIELDS, "tax_type")
    return rate


@operation("GET /v1/tax_rates/{tax_rate}")
def retrieve(world: World, _params: Params, identity: str) -> Body:
    """Return a tax rate."""
    return world.get("tax_rate", identity)


@operation("GET /v1/tax_rates")
def list_all(world: World, params: Params) -> Body:
    """Return tax rates."""
    where = params.take("active", "inclusive")
    params.take("created", "limit", "starting_after", "ending_before")
    return world.page("tax_rate", "/v1/tax_rates", params, **where)
