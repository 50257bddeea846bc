"""`/access` over HTTP: every answer is an answer, and what is reserved counts once."""

from __future__ import annotations

from decimal import Decimal

import pytest

from apps.core import rls
from apps.entitlements import services
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from tests.api.client import Api
from tests.conftest import STAFF
from tests.worlds import NOW, World

LIMIT = "features: [{key: requests, kind: limit, meter: ai_requests}]"


@pytest.fixture
def limited(world: World) -> World:
    """Acme may make nine requests a billing period, and has made one."""
    with rls.ops_scope("test"):
        plans.load_catalog(parse_catalog(LIMIT, source="limit.yaml"), actor=STAFF, at=NOW)
        services.override_entitlement(
            world.subscription.public_id, feature="requests", value=9, reason="x", actor=STAFF,
            at=NOW,
        )  # fmt: skip
    return world


def test_a_check_tells_all_there_is(api: Api, limited: World) -> None:
    found = api.post("access/check", {"feature": "requests", "amount": "8"}).json()
    assert (found["allowed"], found["reason"], found["behaviour"]) == (True, "ok", "block")
    numbers = ("limit", "used", "reserved", "remaining")
    assert [found[one] for one in numbers] == ["9", "1", "0", "8"]
    assert found["organization"] == limited.organization.public_id
    assert (found["price"]["currency"], found["price"]["exact"]) == ("USD", "0")
    over = api.post("access/check", {"feature": "requests", "amount": 9}).json()
    assert (over["allowed"], over["reason"]) == (False, "limit_reached")


@pytest.mark.parametrize("feature", ["none_such", "\x00", "x" * 200, "Ünicode", "a b"])
def test_an_unknown_feature_is_an_answer(api: Api, world: World, feature: str) -> None:
    reply = api.post("access/check", {"feature": feature})
    if reply.status_code == 400:  # no text of JSON's at all
        assert reply.json()["code"] == "invalid_request"
        return
    assert (reply.status_code, reply.json()["reason"]) == (200, "unknown_feature")
    assert reply.json()["allowed"] is False


def test_a_key_of_the_platform_says_whose(platform: Api, limited: World) -> None:
    assert platform.post("access/check", {"feature": "requests"}).status_code == 400
    asked = {"feature": "requests", "organization": "acme"}
    assert platform.post("access/check", asked).json()["allowed"] is True
    nobody = platform.post("access/check", {**asked, "organization": "nobody"}).json()
    assert (nobody["allowed"], nobody["reason"]) == (False, "unknown_organization")


@pytest.mark.parametrize(
    "amount", ["1e400", "NaN", "-0.5e", True, None, "-1", "1000000000000000000"]
)
def test_an_amount_that_is_none_is_malformed(api: Api, world: World, amount: object) -> None:
    reply = api.post("access/check", {"feature": "max_devices", "amount": amount})
    assert reply.status_code == 400


def test_what_is_reserved_is_committed_once(api: Api, limited: World) -> None:
    wanted = {"feature": "requests", "amount": "5", "key": "job-1"}
    made = api.post("access/reservations", wanted)
    assert (made.status_code, made.json()["status"]) == (201, "open")
    assert api.post("access/reservations", wanted).json()["id"] == made.json()["id"]
    refused = api.post("access/reservations", {"feature": "requests", "amount": "4"})
    assert (refused.status_code, refused.json()["code"]) == (409, "access_not_allowed")
    assert refused.json()["extra"] == {"reason": "limit_reached", "remaining": "3"}
    path = f"access/reservations/{made.json()['id']}"
    for _ in range(2):
        done = api.post(f"{path}/commit", {"amount": "2"}).json()
        assert (done["status"], done["committed"]) == ("committed", "2")
    assert api.get(path).json() == done
    found = api.post("access/check", {"feature": "requests"}).json()
    assert (found["used"], found["reserved"]) == ("3", "0")
    assert api.post(f"{path}/release", {}).json()["code"] == "reservation_settled"


def test_a_spend_cap_is_set_listed_and_removed(api: Api, limited: World) -> None:
    owner = f"organizations/{limited.organization.public_id}/spend-caps"
    made = api.post(owner, {"amount": 50_00}).json()
    assert (made["amount"], made["currency"], made["on_limit"]) == (50_00, "USD", "block")
    assert [one["id"] for one in api.get(owner).json()["data"]] == [made["id"]]
    assert api.call("DELETE", f"{owner}/{made['id']}", {}).json()["data"] == []
    assert Decimal(made["spent"]) >= 0
