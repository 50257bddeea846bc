"""The period under way over HTTP: used, included, cost so far, forecast."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.core import clock, rls
from apps.usage import services as usage
from tests import worlds
from tests.api.client import Api
from tests.worlds import NOW, World


def current(api: Api, slug: str = "acme") -> dict[str, Any]:
    [found] = api.get(f"organizations/{slug}/current-usage").json()["data"]
    return {**found, "items": {one["key"]: one for one in found["items"]}}


def upcoming(api: Api, world: World) -> dict[str, int]:
    path = f"subscriptions/{world.subscription.public_id}/upcoming-invoice"
    return {
        one["key"]: one["amount"]
        for one in api.get(path).json()["lines"]
        if one["kind"] == "arrears"
    }


def test_cost_so_far_is_the_line_of_the_upcoming_invoice(api: Api, world: World) -> None:
    many = [
        worlds.event(f"more-{n}", datetime(2023, 12, 6, tzinfo=UTC) + timedelta(minutes=n))
        for n in range(700)
    ]
    worlds.send(world.organization, many)
    found = current(api)
    lines = upcoming(api, world)
    assert {key: one["cost"] - one["billed"] for key, one in found["items"].items()} == lines
    assert found["cost"] == sum(lines.values()) > 0
    assert (found["start"], found["end"]) == ("2023-12-01T00:00:00Z", "2024-01-01T00:00:00Z")


def test_what_is_included_is_used_and_left(api: Api) -> None:
    requests = current(api)["items"]["ai_requests"]
    told = {key: requests[key] for key in ("quantity", "included", "remaining", "percent_used")}
    assert told == {
        "quantity": "1", "included": "5000", "remaining": "4999", "percent_used": "0.02",
    }  # fmt: skip
    assert current(api)["items"]["context_tokens"]["percent_used"] is None


def test_the_forecast_costs_what_its_quantity_would(api: Api, world: World) -> None:
    """100 a day: 9.5 of 31 days are over, so 950 become 3,100 requests."""
    first = datetime(2023, 12, 1, tzinfo=UTC)
    sent = [
        worlds.event(f"f-{n}", first + timedelta(minutes=n * 1440 // 100 + 1)) for n in range(949)
    ]
    worlds.send(world.organization, sent)
    with rls.ops_scope("test: roll up"):
        usage.roll_up(NOW)
    found = current(api)
    requests, tokens = found["items"]["ai_requests"], found["items"]["context_tokens"]
    assert (requests["quantity"], requests["forecast"]["method"]) == ("950", "run_rate")
    assert (requests["forecast"]["quantity"], requests["cost_forecast"]["amount"]) == ("3100", 0)
    assert tokens["forecast"]["quantity"] == "3100000000"
    assert (tokens["cost"], tokens["cost_forecast"]["amount"]) == (952_50, 3_102_50)
    assert found["cost_forecast"] == sum(
        one["cost_forecast"]["amount"] for one in found["items"].values()
    )


def test_amounts_need_the_scope_of_invoices(world: World) -> None:
    found = current(Api(worlds.make_key(world.organization, ["usage:read"])))
    assert (found["cost"], found["cost_forecast"]) == (None, None)
    assert {one["cost"] for one in found["items"].values()} == {None}
    assert found["items"]["ai_requests"]["forecast"]["quantity"] is not None


def test_a_period_that_has_just_begun_says_that_it_does_not_know(world: World) -> None:
    with clock.frozen(datetime(2024, 1, 1, tzinfo=UTC)):
        found = current(Api(worlds.make_key(world.organization)))
    assert found["start"] == "2024-01-01T00:00:00Z"
    assert {one["forecast"]["method"] for one in found["items"].values()} == {"standing"}


@pytest.mark.usefixtures("stranger")
def test_of_others_it_tells_nothing(api: Api) -> None:
    assert api.get("organizations/globex/current-usage").status_code == 404
