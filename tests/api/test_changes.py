"""Changes over HTTP: previewed, confirmed at what was quoted, scheduled, called off."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from apps.core import clock, rls
from apps.invoicing.models import Invoice
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.subscriptions.models import Change, QuantityStep
from tests import worlds
from tests.api.client import Api
from tests.conftest import STAFF
from tests.worlds import NOW, World

OFFERS = """
currency: USD
applications: [{slug: gateway, name: AI Gateway}]
plans:
  - {code: large, application: gateway, name: Large, interval: month,
     prices: [{key: base, type: flat, amount: "120.00"},
              {key: seats, type: licensed, model: per_unit, unit_amount: "10.00", included: 3}]}
  - {code: hidden, application: gateway, name: Hidden, visibility: private, interval: month,
     prices: [{key: base, type: flat, amount: "1.00"}]}
  - {code: care, application: gateway, name: Care, kind: add_on, interval: month,
     prices: [{key: care, type: flat, amount: "31.00"}]}
"""
SEATS = {"action": "quantity", "quantity": 5}
# 2 seats × 12.00 × 1,857,600 s of 2,678,400 s (10 December noon to the 1st) = 16.6451… → 16.65.
FOR_THE_REST = 16_65
NEXT = 51_51


@pytest.fixture
def path(world: World) -> str:
    with rls.ops_scope("test"):
        plans.load_catalog(parse_catalog(OFFERS, source="test"), actor=STAFF, at=NOW)
    return f"subscriptions/{world.subscription.public_id}"


def stored() -> tuple[int, int, int]:
    with rls.ops_scope("test"):
        return (
            Change.objects.count(), QuantityStep.objects.count(), Invoice.objects.count()
        )  # fmt: skip


def items(subscription: dict[str, Any]) -> dict[str, Any]:
    return {item["key"]: item for item in subscription["items"]}


def test_a_preview_shows_both_invoices_and_stores_nothing(api: Api, path: str) -> None:
    before = stored()
    quote = api.post(f"{path}/preview", {**SEATS, "behaviour": "now"}).json()
    assert quote["quoted"] == {"amount": FOR_THE_REST, "at": "2023-12-10T12:00:00Z"}
    assert (quote["bills_now"], quote["changes"]) == (True, True)
    assert quote["now"]["total"] == FOR_THE_REST
    assert quote["before"]["total"] == NEXT
    assert quote["upcoming"]["total"] == NEXT + 24_00
    assert stored() == before


def test_the_next_invoice_carries_what_waits_for_it(api: Api, path: str) -> None:
    quote = api.post(f"{path}/preview", SEATS).json()
    assert (quote["now"], quote["bills_now"]) == (None, False)
    assert quote["quoted"]["amount"] == FOR_THE_REST + 24_00
    assert quote["upcoming"]["total"] == NEXT + FOR_THE_REST + 24_00


def test_what_was_quoted_is_what_is_billed(api: Api, path: str) -> None:
    wish = {**SEATS, "behaviour": "now"}
    quote = api.post(f"{path}/preview", wish).json()
    with clock.frozen(NOW + timedelta(minutes=5)):
        done = api.post(f"{path}/changes", {**wish, "quoted": quote["quoted"]}).json()
    assert done["quoted"] == quote["quoted"]
    assert (done["invoice"]["kind"], done["invoice"]["total"]) == ("change", FOR_THE_REST)
    assert done["invoice"]["status"] == "open"
    assert items(done["subscription"])["seats"]["quantity"] == "5"
    lines = api.get(f"invoices/{done['invoice']['id']}").json()["lines"]
    assert [{**line, "id": None} for line in lines] == quote["now"]["lines"]
    assert api.get(f"{path}/upcoming-invoice").json()["total"] == quote["upcoming"]["total"]


@pytest.mark.parametrize(
    ("quoted", "code"),
    [
        ({"amount": 16_64, "at": "2023-12-10T12:00:00Z"}, "quote_moved"),
        ({"amount": 16_65, "at": "2023-12-10T11:30:00Z"}, "quote_moved"),
        ({"amount": 16_65, "at": "2023-12-10T10:59:59Z"}, "quote_expired"),
        ({"amount": 16_65, "at": "2023-12-10T12:00:01Z"}, "quote_expired"),
    ],
)
def test_a_moved_price_changes_nothing(
    api: Api, path: str, quoted: dict[str, Any], code: str
) -> None:
    before = stored()
    problem = api.post(f"{path}/changes", {**SEATS, "behaviour": "now", "quoted": quoted}).json()
    assert (problem["status"], problem["code"]) == (409, code)
    assert stored() == before


def test_the_same_change_again_changes_nothing(api: Api, path: str) -> None:
    first = api.post(f"{path}/changes", {**SEATS, "behaviour": "now"}).json()
    before = stored()
    again = api.post(f"{path}/changes", {**SEATS, "behaviour": "now"}).json()
    assert (first["invoice"]["total"], again["invoice"]) == (FOR_THE_REST, None)
    assert stored() == before


def test_another_plan_waits_for_the_next_period(api: Api, path: str) -> None:
    wish = {"action": "plan", "plan": "large", "behaviour": "next_period"}
    done = api.post(f"{path}/changes", {**wish, "reason": "grown"}).json()["subscription"]
    assert done["plan"]["code"] == "gateway"
    [change] = done["scheduled_changes"]
    assert (change["action"], change["status"], change["reason"]) == ("plan", "scheduled", "grown")
    assert change["effective_at"] == "2024-01-01T00:00:00Z"
    # Large in advance; the usage of December by the old plan: 1 request, 1 M tokens, 500 tokens.
    assert api.get(f"{path}/upcoming-invoice").json()["total"] == 120_00 + 1_51
    assert api.get(f"{path}/changes").json()["data"] == [change]


def test_a_scheduled_change_is_called_off_once(api: Api, path: str) -> None:
    wish = {**SEATS, "behaviour": "next_period"}
    done = api.post(f"{path}/changes", wish).json()["subscription"]
    [change] = done["scheduled_changes"]
    for _ in range(2):
        left = api.call("DELETE", f"{path}/changes/{change['id']}").json()
        assert left["scheduled_changes"] == []
    [kept] = api.get(f"{path}/changes").json()["data"]
    assert kept["status"] == "canceled"
    assert api.get(f"{path}/upcoming-invoice").json()["total"] == NEXT


def test_what_was_carried_out_is_not_called_off(api: Api, path: str) -> None:
    api.post(f"{path}/changes", SEATS)
    [change] = api.get(f"{path}/changes").json()["data"]
    problem = api.call("DELETE", f"{path}/changes/{change['id']}").json()
    assert (problem["status"], problem["code"]) == (409, "wrong_state")


def test_an_add_on_comes_and_goes(api: Api, path: str) -> None:
    more = api.post(f"{path}/changes", {"action": "add_item", "plan": "care"}).json()
    care = items(more["subscription"])["care"]
    assert (care["plan"], care["start"], care["end"]) == ("care", "2023-12-10T12:00:00Z", None)
    # 31.00 × 1,857,600 of 2,678,400 s = 21.50, and 31.00 ahead.
    assert api.get(f"{path}/upcoming-invoice").json()["total"] == NEXT + 21_50 + 31_00
    with clock.frozen(NOW + timedelta(hours=1)):
        api.post(f"{path}/changes", {"action": "remove_item", "item": "care"})
    with clock.frozen(NOW + timedelta(hours=2)):
        left = api.get(path).json()
    assert "care" not in items(left)


def test_several_changes_are_scheduled_or_none(api: Api, path: str) -> None:
    first = {**SEATS, "effective_at": "2024-01-10T00:00:00Z"}
    second = {"action": "plan", "plan": "large", "effective_at": "2024-02-01T00:00:00Z"}
    past = {**SEATS, "quantity": 6, "effective_at": "2023-12-01T00:00:00Z"}
    before = stored()
    assert api.post(f"{path}/schedule", {"changes": [first, past]}).status_code == 409
    assert stored() == before
    done = api.post(f"{path}/schedule", {"changes": [second, first]}).json()
    assert [one["action"] for one in done["scheduled_changes"]] == ["quantity", "plan"]


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"action": "price", "item": "base", "terms": None}, "terms"),
        ({"action": "plan", "plan": "large", "agreed": {"base": "1"}}, "agreed"),
        ({"action": "plan", "plan": "large", "version": "plv_1"}, "version"),
        ({**SEATS, "behaviour": "none"}, "behaviour"),
    ],
)
def test_customers_agree_nothing_with_themselves(
    api: Api, path: str, wish: dict[str, Any], param: str
) -> None:
    before = stored()
    for verb in ("preview", "changes"):
        problem = api.post(f"{path}/{verb}", wish).json()
        assert (problem["status"], problem["code"]) == (403, "platform_key_needed")
        assert problem["param"] == param
    assert stored() == before


@pytest.mark.parametrize(
    ("wish", "pointers"),
    [
        ({"action": "quantity"}, ["/quantity"]),
        ({"action": "plan", "quantity": 3}, ["/plan", "/quantity"]),
        ({"action": "remove_item", "item": "care", "plan": "care"}, ["/plan"]),
        ({"action": "price", "item": "base", "terms": {"model": "none"}}, ["/terms"]),
        ({"action": "price", "item": "base", "terms": "50"}, ["/terms"]),
        ({"action": "steal"}, ["/action"]),
        ({**SEATS, "behaviour": "later"}, ["/behaviour"]),
        ({**SEATS, "quoted": {"amount": "5", "at": "today"}}, ["/quoted/amount", "/quoted/at"]),
        ({}, ["/action"]),
    ],
)
def test_a_wish_names_what_its_action_needs_and_no_more(
    platform: Api, path: str, wish: dict[str, Any], pointers: list[str]
) -> None:
    problem = platform.post(f"{path}/changes", wish).json()
    assert (problem["status"], problem["code"]) == (400, "invalid_request")
    assert [fault["pointer"] for fault in problem["errors"]] == pointers


def test_a_hidden_plan_is_as_unknown_as_none(api: Api, path: str) -> None:
    replies = [
        api.post(f"{path}/preview", {"action": "plan", "plan": plan}).json()
        for plan in ("hidden", "nothing")
    ]
    assert {reply["code"] for reply in replies} == {"unknown_plan"}
    assert replies[0]["detail"] == replies[1]["detail"]


def test_the_platform_agrees_a_price(platform: Api, path: str) -> None:
    terms = {"model": "flat", "amount": "40"}
    wish = {"action": "price", "item": "base", "terms": terms, "behaviour": "next_period"}
    quote = platform.post(f"{path}/preview", wish).json()
    assert quote["quoted"]["amount"] == -10_00
    done = platform.post(f"{path}/changes", {**wish, "quoted": quote["quoted"]}).json()
    assert done["subscription"]["scheduled_changes"][0]["quoted_amount"] == -10_00
    assert platform.get(f"{path}/upcoming-invoice").json()["total"] == NEXT - 10_00


def test_a_reset_begins_a_new_cycle(api: Api, path: str) -> None:
    wish = {"action": "plan", "plan": "large", "behaviour": "reset"}
    quote = api.post(f"{path}/preview", wish).json()
    done = api.post(f"{path}/changes", {**wish, "quoted": quote["quoted"]}).json()
    assert done["invoice"]["total"] == quote["now"]["total"] == quote["quoted"]["amount"]
    after = done["subscription"]
    assert after["current_period"] == {
        "start": "2023-12-10T12:00:00Z",
        "end": "2024-01-10T12:00:00Z",
    }
    assert [phase["plan"] for phase in after["phases"]] == ["gateway", "large"]


def test_two_keys_see_their_own_changes_only(api: Api, path: str, stranger: World) -> None:
    other = Api(worlds.make_key(stranger.organization))
    assert other.get(f"{path}/changes").status_code == 404
    assert other.post(f"{path}/changes", SEATS).status_code == 404
