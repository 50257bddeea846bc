"""Test clocks: a time of their own for customers created on them."""

from __future__ import annotations

from apps.sandbox.calendar import DAY
from apps.sandbox.errors import Refusal, invalid
from apps.sandbox.resources import items
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import operation

KEPT_FOR = 30 * DAY
MOST_INTERVALS = 2
ALL = "/v1/test_helpers/test_clocks"


@operation(f"POST {ALL}")
def create(world: World, params: Params) -> Body:
    """Make a clock that stands still."""
    clock = world.new(
        "test_helpers.test_clock",
        deletes_after=world.now + KEPT_FOR,
        frozen_time=params["frozen_time"],
        name=params.get("name"),
        status="ready",
    )
    clock["status_details"] = {}
    world.emit("test_helpers.test_clock.created", clock)
    return clock


@operation(f"POST {ALL}/{{test_clock}}/advance")
def advance(world: World, params: Params, identity: str) -> Body:
    """Let a clock run up to an instant; it is `advancing` until everything in between is done."""
    clock, target = world.get("test_helpers.test_clock", identity), int(params["frozen_time"])
    if clock["status"] != "ready":
        raise Refusal(429, "Test clock advancement underway.", code="rate_limit")
    if target <= clock["frozen_time"]:
        raise invalid("The new time has to be later than the clock's.", param="frozen_time")
    _refuse_too_far(world, clock, target)
    clock.update(status="advancing", _target=target)
    clock["status_details"] = {"advancing": {"target_frozen_time": target}}
    world.emit("test_helpers.test_clock.advancing", clock)
    return clock


def _refuse_too_far(world: World, clock: Body, target: int) -> None:
    """Refuse more than two intervals of the shortest subscription on the clock."""
    for customer in world.find("customer", test_clock=clock["id"]):
        for subscription in world.find("subscription", customer=customer["id"]):
            start, end = items.period_of(world, subscription)
            if target > clock["frozen_time"] + MOST_INTERVALS * (end - start):
                message = "You can only advance two intervals of the shortest subscription at once."
                raise invalid(message, param="frozen_time")


@operation(f"GET {ALL}/{{test_clock}}")
def retrieve(world: World, _params: Params, identity: str) -> Body:
    """Return a clock."""
    return world.get("test_helpers.test_clock", identity)


@operation(f"GET {ALL}")
def list_all(world: World, params: Params) -> Body:
    """Return the clocks."""
    params.take("limit", "starting_after", "ending_before")
    return world.page("test_helpers.test_clock", ALL, params)


@operation(f"DELETE {ALL}/{{test_clock}}")
def delete(world: World, _params: Params, identity: str) -> Body:
    """Delete a clock with the customers on it."""
    clock = world.get("test_helpers.test_clock", identity)
    for customer in world.find("customer", test_clock=identity):
        for subscription in world.find("subscription", customer=customer["id"]):
            subscription.pop("_due", None)
        for invoice in world.find("invoice", customer=customer["id"]):
            invoice.pop("_due", None)
        world.bury(customer)
    world.emit("test_helpers.test_clock.deleted", clock)
    return world.bury(clock)
