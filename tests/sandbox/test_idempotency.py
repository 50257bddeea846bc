"""The same key gets the same answer, whatever it was."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import stripe
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.sandbox.engine import Answer, Sandbox
from apps.sandbox.engine.faults import Fault, Kind
from apps.sandbox.transports import SandboxClient
from tests.sandbox.shop import KEY, Shop

ASKING = {"Authorization": f"Bearer {KEY}"}


def create(sandbox: Sandbox, key: str, email: str) -> Answer:
    headers = {**ASKING, "Idempotency-Key": key}
    return sandbox.handle("POST", "/v1/customers", {"email": email}, headers)


def known(sandbox: Sandbox) -> list[Any]:
    found = sandbox.handle("GET", "/v1/customers", {"limit": "100"}, ASKING).body["data"]
    assert isinstance(found, list)
    return found


def test_a_repeated_request_gets_the_first_answer_and_does_nothing(sandbox: Sandbox) -> None:
    first, second = (create(sandbox, "k", "a@example.com") for _ in range(2))
    assert first.body == second.body
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.headers["Original-Request"] == first.headers["Request-Id"]
    assert len(known(sandbox)) == 1


def test_a_key_for_other_parameters_is_refused(sandbox: Sandbox) -> None:
    create(sandbox, "k", "a@example.com")
    refused = create(sandbox, "k", "b@example.com")
    assert (refused.status, refused.body["error"]["type"]) == (400, "idempotency_error")
    assert len(known(sandbox)) == 1


def test_a_declined_card_is_declined_again_without_a_second_attempt(shop: Shop) -> None:
    invoice = shop.final(shop.customer(card="pm_card_chargeCustomerFail"), 10_00)
    for _ in range(3):
        with pytest.raises(stripe.CardError):
            shop.client.v1.invoices.pay(str(invoice.id), options={"idempotency_key": "pay"})
    assert shop.client.v1.invoices.retrieve(str(invoice.id)).attempt_count == 1
    assert len(shop.client.v1.charges.list().data) == 1


def test_what_was_refused_before_it_began_does_not_use_up_the_key(sandbox: Sandbox) -> None:
    headers = {**ASKING, "Idempotency-Key": "k"}
    refused = sandbox.handle("POST", "/v1/customers", {"colour": "red"}, headers)
    assert refused.status == 400
    assert create(sandbox, "k", "a@example.com").status == 200


def test_a_second_request_while_the_first_one_runs_is_refused(sandbox: Sandbox) -> None:
    answers: list[Answer] = []
    first = threading.Thread(target=lambda: answers.append(create(sandbox, "k", "a@example.com")))
    with sandbox.store.lock:
        first.start()
        while not sandbox.is_running("k"):
            pass
        second = threading.Thread(
            target=lambda: answers.append(create(sandbox, "k", "a@example.com"))
        )
        second.start()
        second.join()
    first.join()
    assert [answer.status for answer in answers] == [409, 200]
    assert answers[0].body["error"]["code"] == "idempotency_key_in_use"
    assert len(known(sandbox)) == 1


kinds: st.SearchStrategy[Kind | None] = st.sampled_from(
    [None, "error_before", "error_after", "reset_before", "reset_after", "busy", "outage"]
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), kinds), max_size=12))
def test_whatever_breaks_each_key_has_one_effect(plan: list[tuple[int, Kind | None]]) -> None:
    """Each step asks with one of four keys under a fault; in the end all keys are asked once."""
    sandbox = Sandbox(strict=True)
    client = stripe.StripeClient(KEY, http_client=SandboxClient(sandbox))
    told: dict[int, set[str]] = {}
    for number, kind in [*plan, *((number, None) for number in range(4))]:
        sandbox.faults.clear()
        if kind is not None:
            sandbox.faults.add(Fault(kind))
        try:
            made = client.v1.customers.create(
                {"email": f"{number}@example.com"}, {"idempotency_key": f"key-{number}"}
            )
        except stripe.StripeError:
            continue
        told.setdefault(number, set()).add(made.id)
    assert all(len(ids) == 1 for ids in told.values())
    assert {each["id"] for each in known(sandbox)} == {one for ids in told.values() for one in ids}
