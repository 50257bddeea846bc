"""Asking the platform: what may be used, who may come in, and what is said in an outage."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from countinghouse import AccessOptions, Client, Refused, UnexpectedAnswer, WebhookInvalid
from countinghouse.access import Access, Seats
from countinghouse.calls import Calls
from countinghouse.errors import ConnectionFailed
from countinghouse.transport import Transport
from countinghouse.webhooks import WebhookVerifier
from tests.sdk.server import KEY, Reply, Server

YES = {"allowed": True, "reason": "ok", "remaining": "7"}
NO = {"allowed": False, "reason": "limit_reached", "remaining": "0"}
SET_ASIDE = {
    "id": "rsv_1",
    "feature": "tiles",
    "amount": "3",
    "status": "open",
    "expires_at": "2026-03-10T12:05:00Z",
}
SEAT = {
    "has_access": True,
    "seat_id": "seat_1",
    "subscription_status": "active",
    "expires_at": None,
    "reason": "ok",
}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def said(body: object, status: int = 200, **headers: str) -> Reply:
    return Reply(status, json.dumps(body).encode(), headers)


def refusal(code: str, status: int) -> Reply:
    return said({"code": code, "detail": f"Because {code}.", "extra": {"reason": "x"}}, status)


def calls(server: Server) -> Calls:
    return Calls(Transport(KEY, server.address, timeout=5), sleep=lambda seconds: None)


def access(server: Server, clock: Clock, **options: Any) -> Access:
    return Access(calls(server), AccessOptions(**options), clock=clock)


def bodies(server: Server) -> list[Any]:
    return [one.events[0] for one in server.seen]


def test_an_answer_is_remembered_for_moments(server: Server) -> None:
    clock = Clock()
    asking = access(server, clock)
    server.replies += [said(YES), said(NO)]
    first = asking.check("tiles", organization="acme", amount=2)
    assert (first.allowed, first.remaining, first.source) == (True, Decimal(7), "asked")
    again = asking.check("tiles", organization="acme", amount=2)
    assert (again.allowed, again.source) == (True, "remembered")
    clock.now += 5
    later = asking.check("tiles", organization="acme", amount=2)
    assert (later.allowed, later.reason) == (False, "limit_reached")
    assert bodies(server) == [{"feature": "tiles", "amount": "2", "organization": "acme"}] * 2


@pytest.mark.parametrize(("fail", "allowed"), [("open", True), ("closed", False)])
def test_an_outage_is_answered_as_was_chosen(server: Server, fail: str, allowed: bool) -> None:
    server.replies += [Reply(503, b"down")] * 3
    found = access(server, Clock(), fail=fail).check("tiles")
    assert (found.allowed, found.reason, found.source) == (allowed, "unavailable", "failed")
    assert len(server.seen) == 3


def test_in_an_outage_the_last_answer_counts_for_a_while(server: Server) -> None:
    clock = Clock()
    asking = access(server, clock, fail="closed", stale=100)
    server.replies += [said(YES), *[Reply(503, b"down")] * 6]
    asking.check("tiles")
    clock.now += 99
    assert (asking.check("tiles").allowed, asking.check("tiles").source) == (True, "stale")
    server.replies += [Reply(503, b"down")] * 3
    clock.now += 1
    assert asking.check("tiles").allowed is False


def test_a_wrong_key_is_no_outage(server: Server) -> None:
    server.replies.append(refusal("invalid_api_key", 401))
    with pytest.raises(UnexpectedAnswer) as refused:
        access(server, Clock(), fail="open").check("tiles")
    assert (refused.value.status, refused.value.code) == (401, "invalid_api_key")


def test_a_request_that_is_sent_again_carries_the_same_key(server: Server) -> None:
    server.replies += [Reply(503, b"down"), refusal("idempotency_in_flight", 409), said(SET_ASIDE)]
    found = access(server, Clock()).reserve("tiles", amount=3, key="job-7")
    assert (found.id, found.amount) == ("rsv_1", Decimal(3))
    keys = {one.headers["Idempotency-Key"] for one in server.seen}
    assert (len(server.seen), len(keys)) == (3, 1)
    assert bodies(server)[0]["key"] == "job-7"


def test_what_is_refused_is_a_type_with_its_reason(server: Server) -> None:
    server.replies.append(refusal("access_not_allowed", 409))
    with pytest.raises(Refused) as refused:
        access(server, Clock()).reserve("tiles")
    assert (refused.value.code, refused.value.status) == ("access_not_allowed", 409)
    assert (str(refused.value), refused.value.extra) == (
        "Because access_not_allowed.",
        {"reason": "x"},
    )
    assert len(server.seen) == 1


def test_a_reservation_is_settled_and_what_was_remembered_is_forgotten(server: Server) -> None:
    asking = access(server, Clock())
    server.replies += [said(YES), said(SET_ASIDE), said(SET_ASIDE), said(NO)]
    asking.check("tiles")
    reserved = asking.reserve("tiles", amount=3)
    asking.commit(reserved.id, amount=2)
    assert asking.check("tiles").allowed is False
    paths = [one.path.removeprefix("/api/v1/access/") for one in server.seen]
    assert paths == ["check", "reservations", "reservations/rsv_1/commit", "check"]
    assert bodies(server)[2] == {"amount": "2"}
    server.replies.append(said(SET_ASIDE))
    assert asking.release("rsv_1").id == "rsv_1"


def test_a_seat_is_verified_remembered_and_answered_in_an_outage(server: Server) -> None:
    clock = Clock()
    seats = Seats(calls(server), AccessOptions(stale=50), clock=clock)
    server.replies += [said(SEAT), *[Reply(502, b"")] * 6]
    ask: Callable[[], Any] = lambda: seats.verify("u-1", application="maps", organization="acme")  # noqa: E731 - asked four times
    assert (ask().has_access, ask().source) == (True, "remembered")
    clock.now += 49
    assert (ask().has_access, ask().source) == (True, "stale")
    server.replies += [Reply(502, b"")] * 3
    clock.now += 1
    assert (ask().has_access, bodies(server)[0]["user_id"]) == (False, "u-1")


def test_the_licence_that_holds_is_fetched(server: Server) -> None:
    server.replies.append(said({"token": "a.b.c"}))
    with server.client() as client:
        assert client.licence("acme", instance="plant 1") == "a.b.c"
    assert server.seen[0].path == "/api/v1/organizations/acme/licence?instance=plant+1"


def test_nobody_at_the_address_is_an_outage() -> None:
    client = Client(api_key=KEY, base_url="http://127.0.0.1:9", access=AccessOptions(fail="open"))
    assert client.access.check("tiles").source == "failed"
    with pytest.raises(ConnectionFailed):
        client.access.reserve("tiles")
    client.close()


def test_there_are_two_ways_to_fail() -> None:
    with pytest.raises(ValueError, match="fail must be"):
        AccessOptions(fail="maybe")


# --- webhooks -------------------------------------------------------------------------------------
# The example that the specification's libraries test with.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'
SENT = 1614265330
HEADERS = {
    "Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "Webhook-Timestamp": str(SENT),
    "Webhook-Signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


def verifier(*secrets: str, at: float = SENT) -> WebhookVerifier:
    return WebhookVerifier(*(secrets or (SECRET,)), clock=lambda: at)


def test_a_genuine_webhook_is_read() -> None:
    assert verifier().verify(BODY, HEADERS) == {"test": 2432232314}
    rotated = {**HEADERS, "Webhook-Signature": f"v1,AAAA v2,x {HEADERS['Webhook-Signature']}"}
    assert verifier("whsec_AAAA", SECRET).verify(BODY, rotated)


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (b'{"test": 2432232315}', {}),
        (BODY, {"Webhook-Id": "msg_other"}),
        (BODY, {"Webhook-Timestamp": str(SENT + 1)}),
        (BODY, {"Webhook-Timestamp": "soon"}),
        (BODY, {"Webhook-Signature": ""}),
        (BODY, {"Webhook-Signature": "v1,"}),
        (BODY, {"Webhook-Signature": "v1,not base64"}),
        (BODY, {"Webhook-Signature": HEADERS["Webhook-Signature"].replace("v1", "v2")}),
    ],
)
def test_any_other_is_refused(body: bytes, changed: dict[str, str]) -> None:
    with pytest.raises(WebhookInvalid):
        verifier().verify(body, {**HEADERS, **changed})


def test_an_old_webhook_is_refused() -> None:
    for at in (SENT + 301, SENT - 301):
        with pytest.raises(WebhookInvalid, match="too old"):
            verifier(at=at).verify(BODY, HEADERS)
    with pytest.raises(ValueError, match="secret"):
        WebhookVerifier()
    with pytest.raises(ValueError, match="base64"):
        WebhookVerifier("whsec_*")
