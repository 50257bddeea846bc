"""What the sandbox does not do it says; it never pretends."""

from __future__ import annotations

from typing import Any

import pytest

from apps.sandbox.engine import Sandbox
from apps.sandbox.engine.faults import Fault, Kind
from apps.sandbox.errors import ConnectionLost, LiveKey
from apps.sandbox.serving import refuse_live
from tests.sandbox.shop import KEY

ASKING = {"Authorization": f"Bearer {KEY}"}


def error(sandbox: Sandbox, method: str, path: str, **params: Any) -> tuple[int, str | None]:
    answer = sandbox.handle(method, path, params, ASKING)
    return answer.status, answer.body["error"].get("code")


def test_an_address_that_stripe_does_not_have_is_not_found(sandbox: Sandbox) -> None:
    assert error(sandbox, "GET", "/v1/kittens") == (404, None)


@pytest.mark.parametrize("path", ["/v1/payouts", "/v1/topups", "/v1/issuing/cards"])
def test_a_real_operation_that_is_not_built_answers_501(sandbox: Sandbox, path: str) -> None:
    assert error(sandbox, "GET", path) == (501, "sandbox_not_implemented")


def test_a_parameter_that_nothing_acts_on_answers_501_and_changes_nothing(
    sandbox: Sandbox,
) -> None:
    found = error(sandbox, "POST", "/v1/customers", cash_balance={"settings": {}})
    assert found == (501, "sandbox_not_implemented")
    assert not sandbox.handle("GET", "/v1/customers", {}, ASKING).body["data"]
    assert not sandbox.handle("GET", "/v1/events", {}, ASKING).body["data"]


@pytest.mark.parametrize("header", ["", "Bearer nonsense", "Bearer pk_test_1", "Basic x"])
def test_without_a_test_key_nothing_is_answered(sandbox: Sandbox, header: str) -> None:
    answer = sandbox.handle("GET", "/v1/customers", {}, {"Authorization": header})
    assert answer.status == 401


def test_a_live_key_is_refused_at_the_door_and_at_the_start(sandbox: Sandbox) -> None:
    live = {"Authorization": "Bearer sk_live_0123456789abcdefghijklmn"}
    answer = sandbox.handle("POST", "/v1/customers", {}, live)
    assert (answer.status, "live key" in answer.body["error"]["message"]) == (401, True)
    with pytest.raises(LiveKey):
        refuse_live("sk_live_0123456789abcdefghijklmn")


@pytest.mark.parametrize(
    ("kind", "status"),
    [("error_before", 500), ("error_after", 502), ("busy", 429), ("locked", 429), ("outage", 503)],
)
def test_a_fault_strikes_as_often_as_it_was_told_to(
    sandbox: Sandbox, kind: Kind, status: int
) -> None:
    sandbox.faults.add(Fault(kind, operation="POST /v1/customers", times=2, skip=1))
    seen = [sandbox.handle("POST", "/v1/customers", {}, ASKING).status for _ in range(4)]
    assert seen == [200, status, status, 200]
    done = len(sandbox.handle("GET", "/v1/customers", {}, ASKING).body["data"])
    assert done == (4 if kind == "error_after" else 2)


@pytest.mark.parametrize(("kind", "done"), [("reset_before", 0), ("reset_after", 1)])
def test_a_broken_connection_may_hide_an_effect(sandbox: Sandbox, kind: Kind, done: int) -> None:
    sandbox.faults.add(Fault(kind))
    with pytest.raises(ConnectionLost):
        sandbox.handle("POST", "/v1/customers", {}, ASKING)
    assert len(sandbox.handle("GET", "/v1/customers", {}, ASKING).body["data"]) == done


@pytest.mark.parametrize(("kind", "done"), [("sticky_error", 0), ("sticky_after", 1)])
def test_a_sticky_error_stays_with_its_key(sandbox: Sandbox, kind: Kind, done: int) -> None:
    sandbox.faults.add(Fault(kind))
    headers = {**ASKING, "Idempotency-Key": "k"}
    answers = [sandbox.handle("POST", "/v1/customers", {}, headers) for _ in range(3)]
    assert [answer.status for answer in answers] == [500, 500, 500]
    assert answers[2].headers["Idempotent-Replayed"] == "true"
    assert len(sandbox.handle("GET", "/v1/customers", {}, ASKING).body["data"]) == done
