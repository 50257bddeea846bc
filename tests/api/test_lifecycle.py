"""Ends, pauses, trials and new beginnings over HTTP."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.core import clock, rls
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from tests import worlds
from tests.api.client import Api
from tests.conftest import STAFF
from tests.worlds import NOW, World

SIDE = """
currency: USD
applications: [{slug: side, name: Side}]
plans:
  - {code: trial, application: side, name: Trial, trial_days: 14, interval: month,
     prices: [{key: base, type: flat, amount: "29.00"}]}
  - {code: plain, application: side, name: Plain, interval: month,
     prices: [{key: base, type: flat, amount: "31.00"}]}
  - {code: carded, application: side, name: Carded, interval: month, trial_days: 14,
     trial_requires_card: true, prices: [{key: base, type: flat, amount: "29.00"}]}
"""
LATER = NOW + timedelta(days=1)


@pytest.fixture
def path(world: World) -> str:
    with rls.ops_scope("test"):
        plans.load_catalog(parse_catalog(SIDE, source="test"), actor=STAFF, at=NOW)
    return f"subscriptions/{world.subscription.public_id}"


def test_an_end_now_gives_back_what_was_paid_for_later(api: Api, path: str, world: World) -> None:
    ended = api.post(f"{path}/cancel", {"when": "now", "reason": "moved"}).json()
    assert ended["cancel_at"] == "2023-12-10T12:00:00Z"
    # The usage of December is 1.51; of the base fee 1,857,600 of 2,678,400 s come back: 34.68.
    upcoming = api.get(f"{path}/upcoming-invoice").json()
    assert upcoming["total"] == 0
    assert upcoming["subtotal"] == 1_51 - 34_68
    assert upcoming["credits"] == [{"name": "Kept as your credit", "amount": 1_51 - 34_68}]
    worlds.bill(as_of=LATER, at=LATER)
    with clock.frozen(LATER):
        over = api.get(path).json()
    assert (over["status"], over["ended_at"]) == ("canceled", "2023-12-10T12:00:00Z")
    assert {item["key"] for item in over["items"]} >= {"base", "seats"}


def test_an_end_may_give_back_nothing(api: Api, path: str) -> None:
    api.post(f"{path}/cancel", {"when": "now", "prorate": False})
    assert api.get(f"{path}/upcoming-invoice").json()["total"] == 1_51


def test_an_end_may_be_dated(api: Api, path: str) -> None:
    ended = api.post(f"{path}/cancel", {"when": "2024-02-15T00:00:00Z"}).json()
    assert (ended["cancel_at"], ended["status"]) == ("2024-02-15T00:00:00Z", "active")


@pytest.mark.parametrize(
    "body",
    [
        {"when": "soon"},
        {"when": 5},
        {"when": None},
        {"when": "2023-12-01T00:00:00Z"},
        {"prorate": "no"},
        {"until": "2024-01-01T00:00:00Z"},
    ],
)
def test_an_end_is_said_clearly(api: Api, path: str, body: dict[str, object]) -> None:
    assert api.post(f"{path}/cancel", body).status_code == 400
    assert api.get(path).json()["cancel_at"] is None


def test_a_pause_rests_and_ends_by_itself(api: Api, path: str) -> None:
    resting = api.post(f"{path}/pause", {"until": "2024-03-01T00:00:00Z"}).json()
    assert (resting["status"], resting["pause_at"]) == ("active", "2024-01-01T00:00:00Z")
    [back] = resting["scheduled_changes"]
    assert (back["action"], back["effective_at"]) == ("resume", "2024-03-01T00:00:00Z")
    taken_back = api.post(f"{path}/resume").json()
    assert (taken_back["pause_at"], taken_back["scheduled_changes"]) == (None, [])


def test_a_pause_now_is_taken_up_in_the_old_cycle_or_a_new_one(api: Api, path: str) -> None:
    api.post(f"{path}/pause", {"when": "now"})
    worlds.bill(as_of=LATER, at=LATER)
    with clock.frozen(LATER + timedelta(days=1)):
        assert api.get(path).json()["status"] == "paused"
        resumed = api.post(f"{path}/resume", {"restart": False}).json()
    assert resumed["status"] == "active"
    assert resumed["current_period"]["end"] == "2024-01-01T00:00:00Z"


def test_a_canceled_subscription_is_followed_by_a_new_one(api: Api, path: str) -> None:
    api.post(f"{path}/cancel", {"when": "now"})
    worlds.bill(as_of=LATER, at=LATER)
    with clock.frozen(LATER):
        again = api.post(f"{path}/reactivate")
        assert again.status_code == 201
        assert again.json()["follows"] == path.removeprefix("subscriptions/")
        assert again.json()["status"] == "active"
        assert api.get(f"subscriptions/{again.json()['id']}").json() == again.json()
        assert api.post(f"{path}/reactivate").json()["code"] == "already_subscribed"


def test_only_the_platform_extends_a_trial(api: Api, platform: Api, path: str) -> None:
    made = api.post("subscriptions", {"plan": "trial"}).json()
    verb = f"subscriptions/{made['id']}/extend-trial"
    body = {"until": "2024-01-10T12:00:00Z"}
    assert api.post(verb, body).json()["code"] == "platform_key_needed"
    longer = platform.post(verb, body).json()
    assert (longer["trial_end"], longer["status"]) == ("2024-01-10T12:00:00Z", "trialing")
    early = platform.post(verb, {"until": "2023-12-20T00:00:00Z"}).json()
    assert (early["status"], early["param"]) == (400, "until")


def test_a_cycle_may_be_anchored_on_another_day(api: Api, path: str) -> None:
    body = {"plan": "plain", "anchor": "2024-01-01T00:00:00Z"}
    made = api.post("subscriptions", body).json()
    assert made["current_period"] == {
        "start": "2023-12-10T12:00:00Z",
        "end": "2024-01-01T00:00:00Z",
    }
    # 31.00 × 1,857,600 of 2,678,400 s.
    document = api.get(f"subscriptions/{made['id']}/upcoming-invoice").json()
    assert document["total"] == 21_50


def test_a_trial_that_wants_a_payment_method_begins_with_one(
    api: Api, platform: Api, path: str
) -> None:
    refused = api.post("subscriptions", {"plan": "carded"}).json()
    assert (refused["status"], refused["code"]) == (402, "no_way_to_pay")
    claimed = api.post("subscriptions", {"plan": "carded", "payment_method_saved": True}).json()
    assert claimed["code"] == "platform_key_needed"
    body = {"plan": "carded", "organization": "acme", "payment_method_saved": True}
    assert platform.post("subscriptions", body).json()["status"] == "trialing"
