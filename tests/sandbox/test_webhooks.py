"""What happens is told: signed, again until somebody takes it, disturbed on command."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Mapping
from typing import Any

import pytest
import stripe

from apps.sandbox import delivery
from apps.sandbox.control import control
from apps.sandbox.delivery import Chaos
from apps.sandbox.engine import Sandbox
from apps.sandbox.transports import Application
from tests.sandbox.shop import KEY, Shop

HOOK = "https://example.com/hook"


class Ear:
    """A webhook endpoint that remembers what it was told, and answers as it was told to."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.heard: list[tuple[bytes, str]] = []

    def __call__(self, _url: str, payload: bytes, headers: Mapping[str, str]) -> int:
        self.heard.append((payload, headers["Stripe-Signature"]))
        return self.status

    @property
    def ids(self) -> list[str]:
        return [json.loads(payload)["id"] for payload, _ in self.heard]


def endpoint(shop: Shop, *names: Any) -> str:
    wanted: Any = {"url": HOOK, "enabled_events": list(names) or ["*"]}
    return str(shop.client.v1.webhook_endpoints.create(wanted).secret)


def test_a_delivery_carries_a_signature_that_stripes_own_client_accepts(shop: Shop) -> None:
    secret, ear = endpoint(shop), Ear()
    shop.customer(card=None)
    delivery.deliver_due(shop.sandbox, ear)
    payload, signature = ear.heard[0]
    event = stripe.Webhook.construct_event(payload, signature, secret)
    assert event.type == "customer.created"
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(payload, signature, "whsec_another")


def test_a_snapshot_stays_as_it_was(shop: Shop) -> None:
    endpoint(shop)
    ada = shop.customer(card=None)
    shop.client.v1.customers.update(ada.id, {"name": "Ada"})
    ear = Ear()
    delivery.deliver_due(shop.sandbox, ear)
    told = [json.loads(payload)["data"] for payload, _ in ear.heard]
    assert [each["object"]["name"] for each in told] == [None, "Ada"]
    assert told[1]["previous_attributes"] == {"name": None}


def test_only_what_was_asked_for_is_told(shop: Shop) -> None:
    endpoint(shop, "invoice.paid")
    invoice = shop.final(shop.customer(), 10_00)
    shop.client.v1.invoices.pay(str(invoice.id))
    ear = Ear()
    delivery.deliver_due(shop.sandbox, ear, at_once=True)
    assert [json.loads(payload)["type"] for payload, _ in ear.heard] == ["invoice.paid"]


def test_what_nobody_takes_is_told_again_and_given_up_at_last(shop: Shop) -> None:
    endpoint(shop, "customer.created")
    shop.customer(card=None)
    deaf = Ear(status=500)
    rounds = 0
    while delivery.deliver_due(shop.sandbox, deaf, at_once=True):
        rounds += 1
    assert rounds == len(delivery.PAUSES) + 1
    assert len(set(deaf.ids)) == 1
    assert shop.sandbox.store.waiting_deliveries() == 0


def test_it_waits_before_it_tells_again(shop: Shop) -> None:
    endpoint(shop, "customer.created")
    shop.customer(card=None)
    assert delivery.deliver_due(shop.sandbox, Ear(status=500)) == 1
    assert delivery.deliver_due(shop.sandbox, Ear()) == 0
    assert shop.sandbox.store.waiting_deliveries() == 1


def test_several_senders_never_send_the_same_delivery(shop: Shop) -> None:
    endpoint(shop, "customer.created")
    for _ in range(20):
        shop.customer(card=None)
    ear = Ear()
    senders = [
        threading.Thread(target=delivery.deliver_due, args=(shop.sandbox, ear)) for _ in range(4)
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert len(ear.ids) == len(set(ear.ids)) == 20


def test_a_deleted_endpoint_is_told_nothing_more(shop: Shop) -> None:
    endpoint(shop)
    shop.customer(card=None)
    hook = shop.client.v1.webhook_endpoints.list().data[0]
    shop.client.v1.webhook_endpoints.delete(hook.id)
    ear = Ear()
    delivery.deliver_due(shop.sandbox, ear, at_once=True)
    assert ear.heard == []


def disturbed(**chaos: Any) -> tuple[list[str], list[str]]:
    """Return the events of fifty customers, and what the endpoint heard of them."""
    sandbox = Sandbox(strict=True)
    asking = {"Authorization": f"Bearer {KEY}"}
    hook = {"url": HOOK, "enabled_events": {"0": "*"}}
    sandbox.handle("POST", "/v1/webhook_endpoints", hook, asking)
    control(sandbox, "POST", "chaos", {"seed": 7, **chaos})
    for number in range(50):
        sandbox.handle("POST", "/v1/customers", {"email": f"{number}@example.com"}, asking)
    events = sandbox.handle("GET", "/v1/events", {"limit": "100"}, asking).body["data"]
    ear = Ear()
    while delivery.deliver_due(sandbox, ear, at_once=True):
        pass
    return [each["id"] for each in events][::-1], ear.ids


def test_chaos_duplicates_drops_and_reorders_on_command() -> None:
    events, heard = disturbed()
    assert heard == events
    events, heard = disturbed(duplicate=1.0)
    assert sorted(heard) == sorted(events * 2)
    events, heard = disturbed(drop=0.5)
    assert 10 < len(heard) < 40
    assert set(heard) < set(events)
    events, heard = disturbed(reorder=0.5)
    assert heard != events
    assert sorted(heard) == sorted(events)


def test_the_same_seed_disturbs_the_same_deliveries() -> None:
    one, other = (Chaos(seed=3, duplicate=0.3, drop=0.2, delay=0.4) for _ in range(2))
    assert [one.offsets(n) for n in range(200)] == [other.offsets(n) for n in range(200)]
    assert [one.offsets(n) for n in range(200)] != [Chaos(seed=4).offsets(n) for n in range(200)]


# --- the mount -----------------------------------------------------------------------------------


def ask(sandbox: Sandbox, method: str, path: str, body: str = "") -> tuple[str, Any]:
    """Send a request through WSGI; return the status line and the answer."""
    seen: list[str] = []
    path, _, query = path.partition("?")
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body.encode()),
        "HTTP_AUTHORIZATION": f"Bearer {KEY}",
        "HTTP_IDEMPOTENCY_KEY": "k",
    }
    answer = Application(sandbox)(environ, lambda status, _headers: seen.append(status))
    return seen[0], json.loads(b"".join(answer) or b"null")


def test_the_mount_answers_like_stripe(sandbox: Sandbox) -> None:
    status, made = ask(sandbox, "POST", "/_stripe/v1/customers", "email=a%40example.com")
    assert (status, made["email"]) == ("200 OK", "a@example.com")
    status, found = ask(sandbox, "GET", "/_stripe/v1/customers?limit=1")
    assert (status, found["data"]) == ("200 OK", [made])
    assert ask(sandbox, "GET", "/_stripe/v1/kittens")[0] == "404 Not Found"
    assert ask(sandbox, "GET", "/elsewhere")[0] == "404 Not Found"


def test_the_switches_are_reached_through_the_mount(sandbox: Sandbox) -> None:
    before = ask(sandbox, "GET", "/_stripe/_sandbox/state")[1]["now"]
    ask(sandbox, "POST", "/_stripe/_sandbox/advance", '{"seconds": 86400}')
    assert ask(sandbox, "GET", "/_stripe/_sandbox/state")[1]["now"] - before >= 86_400
    ask(sandbox, "POST", "/_stripe/_sandbox/faults", '{"kind": "outage", "times": null}')
    assert ask(sandbox, "GET", "/_stripe/v1/customers")[0] == "503 Service Unavailable"
    ask(sandbox, "DELETE", "/_stripe/_sandbox/faults")
    assert ask(sandbox, "GET", "/_stripe/v1/customers")[0] == "200 OK"
    assert ask(sandbox, "POST", "/_stripe/_sandbox/faults", '{"kin": 1}')[0] == "400 Bad Request"
