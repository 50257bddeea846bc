"""Nobody but the provider tells us anything: forged, stale, foreign and oversized deliveries."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from djstripe.models import WebhookEndpoint

from apps.core import clock, rls
from apps.payments.models import ProviderEvent
from tests.payments.there import FORMER, SECRET, There, provider, signed

pytestmark = pytest.mark.django_db

PATH = "/api/v1/webhooks/stripe"
EVENT = {
    "id": "evt_1",
    "object": "event",
    "type": "invoice.paid",
    "created": 1_772_323_200,
    "livemode": False,
    "api_version": "2026-08-26.dahlia",
    "data": {"object": {"id": "in_1", "object": "invoice", "note": "Grüße €"}},
}
MUTATIONS = 500


@pytest.fixture
def there() -> Iterator[There]:
    with provider() as there:
        yield there


def body_of(**changes: Any) -> bytes:
    return json.dumps({**EVENT, **changes}, ensure_ascii=False).encode()


def send(body: bytes, signature: str | None, *, path: str = PATH) -> int:
    headers = {} if signature is None else {"Stripe-Signature": signature}
    answer = Client().post(path, body, content_type="application/json", headers=headers)
    return int(answer.status_code)


def stored() -> int:
    with rls.ops_scope("test: count events"):
        return ProviderEvent.objects.count()


def test_a_signed_event_is_stored_as_it_came(there: There) -> None:
    body = body_of()
    assert send(body, signed(body, at=clock.now())) == 200
    with rls.ops_scope("test: the event"):
        row = ProviderEvent.objects.get()
    assert row.payload == EVENT
    assert (row.event_id, row.object_type, row.object_id) == ("evt_1", "invoice", "in_1")
    assert (row.type, row.state, row.livemode) == ("invoice.paid", "pending", False)


def test_a_delivery_that_comes_again_is_acknowledged_and_stored_once(there: There) -> None:
    body = body_of()
    header = signed(body, at=clock.now())
    assert [send(body, header) for _ in range(3)] == [200] * 3
    assert stored() == 1


def test_while_the_secret_is_changed_both_count(there: There) -> None:
    body, now = body_of(), clock.now()
    assert send(body, signed(body, at=now, secret=FORMER)) == 200
    both = f"{signed(body, at=now, secret='whsec_other')},{signed(body, at=now).split(',')[1]}"
    assert send(body_of(), both) == 200


def test_a_signature_that_is_old_of_the_future_or_missing_is_refused(there: There) -> None:
    body, now = body_of(), clock.now()
    wrong = [
        None,
        "",
        "t=,v1=",
        signed(body, at=now - timedelta(seconds=302)),
        signed(body, at=now + timedelta(seconds=90)),
        signed(body, at=now, secret="whsec_other"),
        signed(body, at=now, secret=""),
        signed(body, at=now).replace("v1=", "v0="),
        signed(body, at=now).split(",")[1],
        signed(body, at=now).split(",")[0],
        f"t=1,{signed(body, at=now)}",
        signed(body, at=now).replace("t=", "t=+"),
        signed(body, at=now).upper(),
    ]
    assert [send(body, header) for header in wrong] == [400] * len(wrong)
    assert stored() == 0


def test_no_mutation_of_a_delivery_gets_in(there: There) -> None:
    body, chance = body_of(), random.Random(6)
    for number in range(MUTATIONS):
        header = signed(body, at=clock.now())
        if number % 2:
            assert send(mutated(body, chance), header) == 400
        else:
            forged = mutated(header.encode(), chance).decode("latin-1")
            assert send(body, forged) == 400, forged
    assert stored() == 0


def mutated(text: bytes, chance: random.Random) -> bytes:
    """Change, add or drop one byte, or swap two; never what stays the same."""
    while True:
        at, other = chance.randrange(len(text)), bytes([chance.randrange(33, 127)])
        found = chance.choice(
            [
                text[:at] + other + text[at + 1 :],
                text[:at] + other + text[at:],
                text[:at] + text[at + 1 :],
                text[at:] + text[:at],
            ]
        )
        # In the header, blanks around parts and letters of other schemes say nothing.
        if found != text and not (text.startswith(b"t=") and means_the_same(found, text)):
            return found


def means_the_same(one: bytes, other: bytes) -> bool:
    def parts(header: bytes) -> set[bytes]:
        return {part.strip() for part in header.split(b",")}

    return parts(other) <= parts(one)


def test_what_is_too_large_is_not_read(there: There) -> None:
    body = body_of(padding="x" * 256 * 1024)
    assert send(body, signed(body, at=clock.now())) == 413
    just = body_of(padding="")
    body = body_of(padding="x" * (256 * 1024 - len(just)))
    assert send(body, signed(body, at=clock.now())) == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"livemode": True},
        {"account": "acct_other"},
        {"id": 7},
        {"created": "yesterday"},
        {"type": None},
        {"data": {"object": {"id": "in_1\x00", "object": "invoice"}}},
        {"data": {"object": {"id": "x" * 200, "object": "invoice"}}},
    ],
)
def test_a_signed_event_that_is_not_for_us_is_refused(there: There, changes: Any) -> None:
    body = body_of(**changes)
    assert send(body, signed(body, at=clock.now())) == 400
    assert stored() == 0


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"{", b"\xff", b'{"id": "\\ud800"}', b"[" * 9999]
)
def test_signed_nonsense_is_refused(there: There, body: bytes) -> None:
    assert send(body, signed(body, at=clock.now())) == 400
    assert stored() == 0


def test_an_endpoint_that_dj_stripe_made_has_its_own_address_and_secret(there: There) -> None:
    with rls.ops_scope("test: an endpoint"):
        endpoint = WebhookEndpoint.objects.create(
            id="we_1", enabled_events=["*"], status="enabled", url="https://x", secret="whsec_own"
        )
    body, path = body_of(), f"/stripe/webhook/{endpoint.djstripe_uuid}/"
    assert send(body, signed(body, at=clock.now()), path=path) == 400
    assert send(body, signed(body, at=clock.now(), secret="whsec_own"), path=path) == 200
    nobody = f"/stripe/webhook/{uuid4()}/"
    assert send(body, signed(body, at=clock.now(), secret=""), path=nobody) == 400
    assert stored() == 1


def test_only_posts_are_taken(there: There) -> None:
    assert Client().get(PATH).status_code == 405


def test_without_a_provider_nothing_is_taken() -> None:
    body = body_of()
    assert send(body, signed(body, at=clock.now(), secret=SECRET)) == 409
    assert stored() == 0
