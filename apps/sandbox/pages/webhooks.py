"""What happened, who is told, and how telling is disturbed on command."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from apps.sandbox import delivery
from apps.sandbox.delivery import Chaos
from apps.sandbox.errors import Refusal
from apps.sandbox.pages.asking import Visit
from apps.sandbox.pages.drawing import Answer, go, pretty, show
from apps.sandbox.pages.routes import page
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World

SHARES = ("duplicate", "reorder", "delay", "drop")
SHOWN = 50


@page("/events")
def events(visit: Visit) -> Answer:
    """List what happened, youngest first; `type` begins with what is typed in."""
    wanted, before = visit.query.get("type", ""), visit.query.get("before")
    found = visit.read(lambda world: _events(world, wanted, before))
    more = found[SHOWN - 1]["id"] if len(found) > SHOWN else None
    context = {"events": found[:SHOWN], "wanted": wanted, "more": more}
    return show(visit, "events", context)


def _events(world: World, wanted: str, before: str | None) -> list[dict[str, Any]]:
    """Return one more than a page; what comes after `before` in the list."""
    if before is not None:
        world.get("event", before)
    found: list[dict[str, Any]] = []
    while len(found) <= SHOWN:
        chunk = world.store.select("event", {}, after=before, limit=200)
        bodies = [world.get("event", each) for each in chunk]
        found += [_shown(each) for each in bodies if each["type"].startswith(wanted)]
        if len(chunk) < 200:
            break
        before = chunk[-1]
    return found[: SHOWN + 1]


def _shown(event: Body) -> dict[str, Any]:
    about = event["data"]["object"]
    return {
        "id": event["id"],
        "type": event["type"],
        "created": event["created"],
        "about": about.get("id", ""),
    }


@page("/events/{event}")
def event(visit: Visit, identity: str) -> Answer:
    """Show an event as it is sent, and send it again."""
    if visit.posted:
        visit.require_token()
        endpoint = visit.form.get("endpoint", "")
        visit.read(lambda world: world.get("webhook_endpoint", endpoint))
        visit.read(lambda world: world.get("event", identity))
        delivery.resend(visit.sandbox.store, identity, endpoint)
        visit.sandbox.wake()
        return go(visit.place(visit.path))
    body = visit.read(lambda world: world.get("event", identity))
    context = {
        "event": body,
        "about": body["data"]["object"].get("id", ""),
        "payload": pretty({k: v for k, v in body.items() if not k.startswith("_")}),
        "deliveries": [dict(row) for row in visit.sandbox.store.deliveries_of(identity)],
        "endpoints": visit.read(lambda world: world.find("webhook_endpoint")),
        "token": visit.token,
    }
    return show(visit, "event", context)


@page("/webhooks")
def endpoints(visit: Visit) -> Answer:
    """Show who is told, how deliveries go, and the switches that disturb them."""
    if visit.posted:
        visit.require_token()
        _switch(visit)
        return go(visit.place("/webhooks"))
    chaos = Chaos(**visit.sandbox.store.note("chaos", {}))
    context = {
        "endpoints": visit.read(lambda world: world.find("webhook_endpoint")),
        "deliveries": visit.read(_deliveries),
        "waiting": visit.sandbox.store.waiting_deliveries(),
        "seed": chaos.seed,
        "shares": [(name, round(getattr(chaos, name) * 100)) for name in SHARES],
        "disturbed": any(getattr(chaos, name) for name in SHARES),
        "token": visit.token,
    }
    return show(visit, "webhooks", context)


def _switch(visit: Visit) -> None:
    if visit.form.get("do") == "deliver":
        delivery.deliver_due(visit.sandbox, at_once=True)
        return
    chaos = Chaos() if visit.form.get("do") == "calm" else _chaos(visit)
    store = visit.sandbox.store
    with store.transaction():
        store.set_note("chaos", asdict(chaos))


def _chaos(visit: Visit) -> Chaos:
    try:
        seed = int(visit.form.get("seed") or 0)
        percents = {name: int(visit.form.get(name) or 0) for name in SHARES}
    except ValueError as error:
        raise Refusal(400, "Shares are whole percents, and the seed is a whole number.") from error
    if not all(0 <= percent <= 100 for percent in percents.values()):
        raise Refusal(400, "A share is between 0 and 100 percent.")
    return Chaos(seed=seed, **{name: percent / 100 for name, percent in percents.items()})


def _deliveries(world: World) -> list[dict[str, Any]]:
    found = []
    for row in world.store.recent_deliveries(SHOWN):
        event, endpoint = world.store.read(row["event"]), world.look(row["endpoint"])
        name = event["type"] if event else ""
        found.append({**dict(row), "type": name, "url": endpoint["url"] if endpoint else "gone"})
    return found
