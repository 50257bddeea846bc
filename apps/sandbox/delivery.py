"""Tells webhook endpoints what happened: signed, tried again, and disturbed on command."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from apps.sandbox.store import Body, Store

if TYPE_CHECKING:
    from apps.sandbox.engine.handling import Sandbox
    from apps.sandbox.world.objects import World

Post = Callable[[str, bytes, Mapping[str, str]], int]

TIMEOUT_SECONDS = 10
# A sender that took deliveries and is not heard of for so long has died.
GIVEN_UP_AFTER = 1_200.0
# Stripe goes on for three days; on a laptop an hour is enough to see it.
PAUSES = (1, 2, 5, 15, 60, 300, 900, 3600)
LONGEST_DELAY = 5.0


@dataclass(frozen=True, slots=True)
class Chaos:
    """How deliveries are disturbed; each number is the share of deliveries that it hits.

    `duplicate` sends twice, `delay` sends up to `longest` seconds late, `reorder` sends in no order
    at all, `drop` does not send. The same seed disturbs the same events in the same way.
    """

    seed: int = 0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay: float = 0.0
    drop: float = 0.0
    longest: float = LONGEST_DELAY

    def offsets(self, number: int) -> list[float]:
        """Return after how many seconds the delivery with this number goes out; none, once, twice.

        The numbers are shares of luck, not money.
        """
        luck = random.Random(self.seed * 1_000_003 + number)  # noqa: S311 - chaos on command
        if luck.random() < self.drop:
            return []
        copies = 2 if luck.random() < self.duplicate else 1
        return [self._offset(luck) for _ in range(copies)]

    def _offset(self, luck: random.Random) -> float:
        late = luck.random() < self.delay or luck.random() < self.reorder
        return luck.random() * self.longest if late else 0.0


def plan(world: World, event: Body) -> None:
    """Plan to tell all endpoints that want to know; part of the transaction of the change."""
    store = world.store
    chaos = Chaos(**store.note("chaos", {}))
    number = int(store.note("events", 0)) + 1
    store.set_note("events", number)
    wanting = [each for each in world.find("webhook_endpoint") if wants(each, event["type"])]
    event["pending_webhooks"] = len(wanting)
    for endpoint in wanting:
        for offset in chaos.offsets(number):
            store.add_delivery(event["id"], endpoint["id"], time.time() + offset)


def wants(endpoint: Body, name: str) -> bool:
    """Tell whether an endpoint asked for events of this name."""
    wanted = endpoint["enabled_events"]
    return endpoint["status"] == "enabled" and ("*" in wanted or name in wanted)


def signature(payload: bytes, secret: str, *, at: int | None = None) -> str:
    """Return the `Stripe-Signature` header; its timestamp is real time, as receivers judge it."""
    at = int(time.time()) if at is None else at
    signed = hmac.new(secret.encode(), b"%d." % at + payload, hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"


def post(url: str, payload: bytes, headers: Mapping[str, str]) -> int:
    """Send one delivery over HTTP and return the status, 0 when nobody answers."""
    request = urllib.request.Request(url, data=payload, headers=dict(headers), method="POST")  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)
    except OSError:
        return 0


def deliver_due(
    sandbox: Sandbox, send: Post = post, *, at_once: bool = False, limit: int = 100
) -> int:
    """Send what is due, and return how many were sent; `at_once` does not wait for pauses.

    Safe to call from several threads: each delivery is taken by one of them.
    """
    now = time.time()
    until = sys.float_info.max if at_once else now
    due = sandbox.store.take_deliveries(until, again_at=now + GIVEN_UP_AFTER, limit=limit)
    for row in due:
        _deliver(sandbox, send, dict(row))
    return len(due)


def _deliver(sandbox: Sandbox, send: Post, delivery: dict[str, object]) -> None:
    store = sandbox.store
    event = store.read(str(delivery["event"]))
    endpoint = store.read(str(delivery["endpoint"]))
    attempts = int(str(delivery["attempts"])) + 1
    if event is None or endpoint is None or endpoint.get("deleted"):
        _settle(store, delivery, attempts, "gone", "the endpoint was deleted")
        return
    payload = payload_of(event)
    status = send(endpoint["url"], payload, headers_for(payload, endpoint["_secret"]))
    if 200 <= status < 300:
        _settle(store, delivery, attempts, "sent", str(status))
    else:
        state = "waiting" if attempts <= len(PAUSES) else "given up"
        _settle(store, delivery, attempts, state, str(status))


def payload_of(event: Body) -> bytes:
    """Return the body of a delivery."""
    shown = {name: value for name, value in event.items() if not name.startswith("_")}
    return json.dumps(shown, indent=2).encode()


def headers_for(payload: bytes, secret: str) -> dict[str, str]:
    """Return the headers of a delivery."""
    return {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        "Stripe-Signature": signature(payload, secret),
    }


def resend(store: Store, event: str, endpoint: str) -> None:
    """Plan one more delivery of an event, now."""
    with store.transaction():
        store.add_delivery(event, endpoint, time.time())


def _settle(
    store: Store, delivery: Mapping[str, object], attempts: int, state: str, answer: str
) -> None:
    pause = PAUSES[min(attempts, len(PAUSES)) - 1]
    with store.transaction():
        store.settle_delivery(
            int(str(delivery["number"])),
            state=state,
            answer=answer,
            due=time.time() + pause,
            attempts=attempts,
        )
