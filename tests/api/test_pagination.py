"""Pages: nothing skipped, nothing twice, and never more queries for more rows."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests import worlds
from tests.api.client import Api
from tests.worlds import World


@pytest.fixture
def seven(platform: Api) -> list[str]:
    """Seven organizations, acme the oldest; slugs from the newest on."""
    for number in range(6):
        worlds.make_customer(f"customer-{number}")
    return [f"customer-{number}" for number in reversed(range(6))] + ["acme"]


def slugs(page: dict[str, Any]) -> list[str]:
    return [one["slug"] for one in page["data"]]


def test_the_envelope_says_where_it_goes_on(platform: Api, seven: list[str]) -> None:
    page = platform.get("organizations", {"limit": 3}).json()
    assert (page["object"], page["url"]) == ("list", "/api/v1/organizations")
    assert (slugs(page), page["has_more"]) == (seven[:3], True)
    assert page["next_cursor"] == page["data"][-1]["id"]


def test_walking_forward_meets_every_row_once(platform: Api, seven: list[str]) -> None:
    met, query = [], {"limit": "2"}
    while True:
        page = platform.get("organizations", query).json()
        met += slugs(page)
        if not page["has_more"]:
            break
        query = {"limit": "2", "starting_after": page["next_cursor"]}
    assert met == seven
    assert page["next_cursor"] is None


def test_walking_back_shows_the_pages_in_the_same_order(platform: Api, seven: list[str]) -> None:
    whole = platform.get("organizations").json()["data"]
    page = platform.get("organizations", {"limit": 2, "ending_before": whole[6]["id"]}).json()
    assert (slugs(page), page["has_more"]) == (seven[4:6], True)
    page = platform.get("organizations", {"limit": 4, "ending_before": page["next_cursor"]}).json()
    assert (slugs(page), page["has_more"]) == (seven[:4], False)


def test_what_is_added_meanwhile_moves_no_page(platform: Api, seven: list[str]) -> None:
    first = platform.get("organizations", {"limit": 3}).json()
    worlds.make_customer("newest")
    second = platform.get("organizations", {"starting_after": first["next_cursor"]}).json()
    assert slugs(first) + slugs(second) == seven


def test_the_last_object_may_have_left_the_filter(api: Api, world: World) -> None:
    query = {"status": "paid", "starting_after": world.second_invoice}
    assert api.get("invoices", query).json()["data"] == []


def test_both_cursors_at_once_are_refused(api: Api, world: World) -> None:
    query = {"starting_after": world.second_invoice, "ending_before": world.first_invoice}
    problem = api.get("invoices", query).json()
    assert (problem["status"], problem["param"]) == (400, "ending_before")


@pytest.mark.parametrize(("limit", "status"), [(1, 200), (100, 200), (0, 400), (101, 400)])
def test_a_page_has_1_to_100_objects(api: Api, world: World, limit: int, status: int) -> None:
    assert api.get("invoices", {"limit": limit}).status_code == status


@pytest.mark.parametrize(
    "path", ["organizations", "subscriptions", "invoices", "plans", "plans/gateway/versions"]
)
def test_more_rows_take_no_more_queries(platform: Api, world: World, path: str) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert platform.get(path).status_code == 200
        return len(captured)

    platform.get("me")  # notes the key's use, once a minute
    before = queries()
    for number in range(4):
        worlds.gateway_world(f"customer-{number}")
    worlds.load_catalog("seats")
    assert queries() == before
    assert before <= 13
