"""Events: what happened, to be read again for thirty days."""

from __future__ import annotations

from apps.sandbox.store import Body
from apps.sandbox.world.objects import World, listing, page_size
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import drawn, operation


@operation("GET /v1/events/{id}")
def retrieve(world: World, _params: Params, identity: str) -> Body:
    """Return an event, with the picture that was taken then."""
    return world.get("event", identity)


@operation("GET /v1/events")
def list_all(world: World, params: Params) -> Body:
    """Return events, youngest first; `types` or `type` with `*` at the end for all of a kind."""
    kind, kinds = params.get("type"), params.get("types")
    params.take("created", "limit", "starting_after", "ending_before", "delivery_success")
    wanted = kinds or ([kind] if kind else None)
    if wanted is None:
        return world.page("event", "/v1/events", params)
    if len(wanted) == 1 and not wanted[0].endswith("*"):
        return world.page("event", "/v1/events", params, type=wanted[0])
    return _page_of_kinds(world, params, wanted)


def _page_of_kinds(world: World, params: Params, wanted: list[str]) -> Body:
    """Walk the pages of all events until enough of the wanted kinds are found."""
    limit, found = page_size(params), []
    walk = Params({**params, "limit": 100})
    while True:
        page = world.page("event", "/v1/events", walk)
        found += [each for each in page["data"] if _is_wanted(each["type"], wanted)]
        if len(found) > limit or not page["has_more"] or params.get("ending_before"):
            return listing(found[:limit], "/v1/events", has_more=len(found) > limit)
        walk = Params({**walk, "starting_after": page["data"][-1]["id"]})


def _is_wanted(name: str, wanted: list[str]) -> bool:
    return any(
        name.startswith(each[:-1]) if each.endswith("*") else name == each for each in wanted
    )


@drawn("event")
def _draw(world: World, event: Body, shown: Body) -> None:
    shown["pending_webhooks"] = world.store.waiting_deliveries(event["id"])
