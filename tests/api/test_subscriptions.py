"""Subscriptions over HTTP: made, changed, ended."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.core import clock, rls
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.subscriptions.models import QuantityStep, Subscription
from tests import worlds
from tests.api.client import Api
from tests.conftest import STAFF
from tests.worlds import NOW, World

CUSTOM = """
currency: USD
applications: [{slug: side, name: Side}]
plans:
  - {code: bespoke, application: side, name: Bespoke, custom: true, interval: month,
     prices: [{key: base, type: flat, amount: "900.00"}]}
  - {code: trial, application: side, name: Trial, trial_days: 14, interval: month,
     prices: [{key: base, type: flat, amount: "29.00"}]}
"""


@pytest.fixture
def path(world: World) -> str:
    return f"subscriptions/{world.subscription.public_id}"


def load() -> None:
    with rls.ops_scope("test"):
        plans.load_catalog(parse_catalog(CUSTOM, source="test"), actor=STAFF, at=NOW)


def count() -> tuple[int, int]:
    with rls.ops_scope("test"):
        return Subscription.objects.count(), QuantityStep.objects.count()


def seats(reply: dict[str, object]) -> str:
    items = {item["key"]: item for item in reply["items"]}  # type: ignore[attr-defined]
    return str(items["seats"]["quantity"])


def test_a_subscription_shows_its_plan_period_and_items(api: Api, path: str) -> None:
    found = api.get(path).json()
    assert (found["status"], found["plan"]["code"], found["plan"]["number"]) == (
        "active",
        "gateway",
        1,
    )
    assert found["current_period"] == {
        "start": "2023-12-01T00:00:00Z",
        "end": "2024-01-01T00:00:00Z",
    }
    assert found["next_boundary_at"] == "2024-01-01T00:00:00Z"
    assert seats(found) == "3"
    assert [item["key"] for item in found["items"]] == [
        "base",
        "seats",
        "ai_requests",
        "context_tokens",
        "generated_tokens",
    ]


def test_an_organization_subscribes_itself(api: Api) -> None:
    load()
    reply = api.post("subscriptions", {"plan": "trial"})
    assert reply.status_code == 201
    made = reply.json()
    assert (made["status"], made["started_at"]) == ("trialing", "2023-12-10T12:00:00Z")
    assert made["trial_end"] == "2023-12-24T12:00:00Z"
    assert api.get(f"subscriptions/{made['id']}").json() == made


def test_a_start_in_the_future_has_its_first_period_ahead(api: Api) -> None:
    load()
    reply = api.post("subscriptions", {"plan": "trial", "start": "2024-01-15T00:00:00Z"})
    assert reply.status_code == 201
    assert reply.json()["current_period"] == {
        "start": "2024-01-15T00:00:00Z",
        "end": "2024-01-29T00:00:00Z",
    }


def test_a_second_subscription_of_an_application_is_refused(api: Api, world: World) -> None:
    before = count()
    problem = api.post("subscriptions", {"plan": "gateway"}).json()
    assert (problem["status"], problem["code"]) == (409, "already_subscribed")
    assert problem["extra"] == {"subscription": world.subscription.public_id}
    assert count() == before


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"plan": "bespoke", "agreed": {"base": "1.00"}}, "agreed"),
        ({"plan": "trial", "start": "2023-01-01T00:00:00Z"}, "start"),
    ],
)
def test_customers_agree_no_prices_and_backdate_nothing(
    api: Api, body: dict[str, object], param: str
) -> None:
    load()
    before = count()
    problem = api.post("subscriptions", body).json()
    assert (problem["status"], problem["code"]) == (403, "platform_key_needed")
    assert problem["param"] == param
    assert count() == before


def test_the_platform_agrees_a_price(platform: Api) -> None:
    load()
    body = {
        "organization": "acme",
        "plan": "bespoke",
        "agreed": {"base": "812.50"},
        "start": "2023-11-15T00:00:00Z",
    }
    made = platform.post("subscriptions", body)
    assert made.status_code == 201
    [item] = made.json()["items"]
    assert (item["agreed"], item["terms"]) == (True, {"model": "flat", "amount": "812.5"})


def test_the_platform_says_for_whom(platform: Api) -> None:
    problem = platform.post("subscriptions", {"plan": "gateway"}).json()
    assert (problem["status"], problem["param"]) == (400, "organization")


def test_what_nobody_can_collect_is_refused(api: Api, path: str) -> None:
    api.post(f"{path}/cancel")
    before = count()
    with clock.frozen(NOW + timedelta(days=30)):
        worlds.bill(as_of=NOW + timedelta(days=30), at=NOW + timedelta(days=30))
        body = {"plan": "gateway", "collection": "stripe_invoice"}
        problem = api.post("subscriptions", body).json()
    assert (problem["status"], problem["code"]) == (402, "no_way_to_pay")
    assert count() == before


def test_an_unknown_plan_is_404(api: Api) -> None:
    problem = api.post("subscriptions", {"plan": "nothing"}).json()
    assert (problem["status"], problem["code"], problem["param"]) == (404, "unknown_plan", "plan")


def test_more_seats_show_on_the_next_invoice_to_the_cent(api: Api, path: str) -> None:
    assert api.get(f"{path}/upcoming-invoice").json()["total"] == 51_51
    reply = api.patch(path, {"quantity": 5})
    assert (reply.status_code, seats(reply.json())) == (200, "5")
    # 2 seats × 12.00 × 1,857,600 s of 2,678,400 s (10 December noon to the 1st) = 16.6451… → 16.65,
    # and 2 × 12.00 ahead.
    upcoming = api.get(f"{path}/upcoming-invoice").json()
    assert upcoming["total"] == 51_51 + 16_65 + 24_00
    assert sorted(line["amount"] for line in upcoming["lines"] if line["key"] == "seats") == [
        16_65,
        24_00,
    ]


def test_the_same_quantity_again_changes_nothing(api: Api, path: str) -> None:
    before = count()
    assert api.patch(path, {"quantity": 3}).status_code == 200
    assert count() == before


@pytest.mark.parametrize("quantity", [-1, 1_000_001, 10**30, 1.5, "5", True, None, [], {}])
def test_a_quantity_is_a_whole_number(api: Api, path: str, quantity: object) -> None:
    before = count()
    problem = api.patch(path, {"quantity": quantity}).json()
    assert (problem["status"], problem["errors"][0]["pointer"]) == (400, "/quantity")
    assert count() == before


def test_a_canceled_subscription_runs_to_the_end_and_can_be_kept(api: Api, path: str) -> None:
    canceled = api.post(f"{path}/cancel", {"reason": "too expensive"}).json()
    assert (canceled["cancel_at"], canceled["status"]) == ("2024-01-01T00:00:00Z", "active")
    assert canceled["cancel_reason"] == "too expensive"
    assert api.post(f"{path}/cancel", {"reason": "again"}).json() == canceled
    kept = api.post(f"{path}/uncancel").json()
    assert (kept["cancel_at"], kept["cancel_reason"]) == (None, "")


def test_an_ended_subscription_has_nothing_upcoming(api: Api, path: str) -> None:
    api.post(f"{path}/cancel")
    later = NOW + timedelta(days=30)
    worlds.bill(as_of=later, at=later)
    with clock.frozen(later):
        ended = api.get(path).json()
        problem = api.get(f"{path}/upcoming-invoice").json()
    assert (ended["status"], ended["ended_at"]) == ("canceled", "2024-01-01T00:00:00Z")
    assert (ended["current_period"], ended["next_boundary_at"]) == (None, None)
    assert (problem["status"], problem["code"]) == (404, "nothing_upcoming")


def test_only_a_paused_subscription_resumes(api: Api, path: str) -> None:
    problem = api.post(f"{path}/resume").json()
    assert (problem["status"], problem["code"]) == (409, "wrong_state")


def test_a_trial_that_nobody_pays_pauses_and_resumes(api: Api, world: World) -> None:
    load()
    body = {"plan": "trial", "collection": "stripe_invoice"}
    made = api.post("subscriptions", body).json()
    later = NOW + timedelta(days=20)
    worlds.bill(as_of=later, at=later)
    with clock.frozen(later):
        paused = api.get(f"subscriptions/{made['id']}").json()
        resumed = api.post(f"subscriptions/{made['id']}/resume").json()
    assert (paused["status"], resumed["status"]) == ("paused", "active")
    assert resumed["collection"] == "manual"
    assert resumed["current_period"]["start"] == "2023-12-30T12:00:00Z"


def test_lists_filter_by_status_plan_and_organization(
    api: Api, platform: Api, world: World, stranger: World
) -> None:
    def ids(caller: Api, **query: str) -> list[str]:
        return [one["id"] for one in caller.get("subscriptions", query).json()["data"]]

    mine, theirs = world.subscription.public_id, stranger.subscription.public_id
    assert ids(platform) == [theirs, mine]
    assert ids(platform, organization="acme") == [mine]
    assert ids(api, status="active", plan="gateway") == [mine]
    assert ids(api, status="paused") == []


def test_a_plan_is_paid_in_the_currency_that_is_named(platform: Api, world: World) -> None:
    worlds.load_catalog("payments")
    wanted = {"organization": "acme", "plan": "payments-standard", "currency": "EUR"}
    made = platform.post("subscriptions", wanted).json()
    assert made["currency"] == "EUR"
    # Base 18.00 and setup 89.00, where dollars would be 20.00 and 99.00.
    upcoming = platform.get(f"subscriptions/{made['id']}/upcoming-invoice").json()
    assert (upcoming["currency"], upcoming["subtotal"]) == ("EUR", 107_00)


def test_a_currency_that_the_plan_is_not_sold_in_is_refused(platform: Api, world: World) -> None:
    worlds.load_catalog("payments")
    wanted = {"organization": "acme", "plan": "payments-standard", "currency": "SEK"}
    refused = platform.post("subscriptions", wanted).json()
    assert (refused["status"], refused["code"]) == (422, "wrong_currency")
    assert len(platform.get("subscriptions").json()["data"]) == 1
