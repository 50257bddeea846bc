"""Webhooks: how fast they are acknowledged, and how fast they are worked off.

| name | clients | limit | typical |
|---|---|---|---|
| webhook_ack | 4 | a view that reads the JSON and inserts a row | dj-stripe's view |
| webhook_drain | 1 process | reading each object, and one upsert | dj-stripe's view, inline |

The provider answers at once, so that none of its time is measured. Events touch about half as many
objects, as they do in life. BENCH_ROUNDS says how often each takes its turn.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import stripe
from django.db import connection
from django.test import RequestFactory
from djstripe.models import WebhookEndpoint
from djstripe.views import ProcessWebhookView

from apps.core import clock, rls
from apps.payments import gateway, mirror, services
from tests.bench.timing import Result, rate, result
from tests.bench.webhooks_there import SECRET, AtOnce, customer, told
from tests.bench.wire import Load, burst, serving
from tests.prove.ground import spoil

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
CLIENTS, REQUESTS, FEWER = 4, 100, 5
EVENTS, OBJECTS = 300, 160
REAL, INSERT, TYPICAL = "/api/v1/webhooks/stripe", "/bench/insert", "/bench/djstripe/{}/"
SCHEMA = (
    "CREATE TABLE inserted (id bigserial PRIMARY KEY, key text UNIQUE, type text, payload jsonb)",
    "CREATE TABLE upserted (key text PRIMARY KEY, payload jsonb)",
    "GRANT SELECT, INSERT, UPDATE ON inserted, upserted TO billing_ops",
    "GRANT USAGE ON SEQUENCE inserted_id_seq TO billing_ops",
)
_versions = itertools.count(1)


def measure() -> list[Result]:
    """Let ours, the limit and the typical way take turns, at the door and behind it."""
    spoil(*SCHEMA)
    with rls.ops_scope("bench: an endpoint"):
        endpoint = WebhookEndpoint.objects.create(
            id="we_1", enabled_events=["*"], status="enabled", url="https://x", secret=SECRET
        )
    return [_acknowledged(endpoint), _drained(endpoint)]


# --- at the door ----------------------------------------------------------------------------------
def _acknowledged(endpoint: WebhookEndpoint) -> Result:
    paths = {REAL: 1, INSERT: 1, TYPICAL.format(endpoint.djstripe_uuid): FEWER}
    rates: dict[str, list[float]] = {path: [] for path in paths}
    with serving("tests.bench.webhooks_server:application") as port:
        for _ in range(ROUNDS + 1):
            for path, fewer in paths.items():
                loads = [_load(REQUESTS // fewer) for _ in range(CLIENTS)]
                rates[path].append(burst(port, path, loads))
    ours, limit, typical = (found[1:] for found in rates.values())
    return result("webhook_ack", "events/s", ours, limit, typical)


def _load(count: int) -> Load:
    bodies = [json.dumps(told(number, next(_versions))).encode() for number in range(count)]
    return Load("", bodies, [f"Stripe-Signature: {_signed(body)}" for body in bodies])


def _signed(body: bytes) -> str:
    moment = str(int(time.time()))
    signature = hmac.new(SECRET.encode(), moment.encode() + b"." + body, hashlib.sha256)
    return f"t={moment},v1={signature.hexdigest()}"


# --- behind it ------------------------------------------------------------------------------------
def _drained(endpoint: WebhookEndpoint) -> Result:
    ours, limit, typical = list[float](), list[float](), list[float]()
    with gateway.use(AtOnce()):
        for _ in range(ROUNDS + 1):
            ours.append(_work_off())
            limit.append(rate(EVENTS, _upsert))
            typical.append(_inline(endpoint))
    return result("webhook_drain", "events/s", ours[1:], limit[1:], typical[1:])


def _bodies(count: int) -> list[bytes]:
    return [json.dumps(told(n % OBJECTS, next(_versions))).encode() for n in range(count)]


def _work_off() -> float:
    for body in _bodies(EVENTS):
        services.receive_event(body, header=_signed(body), at=clock.now())
    return rate(EVENTS, lambda: services.handle_events(limit=EVENTS))


def _upsert() -> None:
    for number in range(OBJECTS):
        found = gateway.retrieve("customer", f"cus_{number:06}")
        with rls.ops_scope("bench: one row"), connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO upserted VALUES (%s, %s)"
                " ON CONFLICT (key) DO UPDATE SET payload = excluded.payload",
                [customer(number)["id"], json.dumps(found)],
            )


def _inline(endpoint: WebhookEndpoint) -> float:
    view: Any = ProcessWebhookView.as_view()
    requests = list(_requests(_bodies(EVENTS // FEWER)))
    stripe.default_http_client = AtOnce()

    def work() -> None:
        for request in requests:
            with rls.ops_scope("bench: dj-stripe"):
                if view(request, uuid=endpoint.djstripe_uuid).status_code != 200:
                    raise RuntimeError("dj-stripe refused an event")

    try:
        return rate(len(requests), work)
    finally:
        stripe.default_http_client = mirror.TRANSPORT


def _requests(bodies: Sequence[bytes]) -> Iterator[Any]:
    for body in bodies:
        headers = {"Stripe-Signature": _signed(body)}
        yield RequestFactory().post("/", body, content_type="application/json", headers=headers)
