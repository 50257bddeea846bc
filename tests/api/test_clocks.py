"""Organizations on a test clock, over HTTP: everything of theirs happens in their time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests import worlds
from tests.api.client import Api
from tests.worlds import World

SPRING = datetime(2024, 3, 5, 8, tzinfo=UTC)
SAID = "2024-03-05T08:00:00Z"


@pytest.fixture(autouse=True)
def _spring(world: World) -> None:
    worlds.put_on_clock(world.organization, SPRING)


def test_what_the_platform_does_for_them_is_dated_by_their_clock(
    platform: Api, stranger: World
) -> None:
    setup = {"name": "Setup", "unit_amount": "5.00"}
    made = platform.post("organizations/acme/charges", setup).json()
    assert made["created_at"] == SAID
    path = f"organizations/acme/charges/{made['id']}"
    assert platform.call("DELETE", path).json()["withdrawn_at"] == SAID
    theirs = platform.post("organizations/globex/charges", setup).json()
    assert theirs["created_at"] == "2023-12-10T12:00:00Z"


def test_what_they_do_themselves_is_too(api: Api, world: World) -> None:
    path = f"subscriptions/{world.subscription.public_id}"
    wish = {"action": "quantity", "quantity": 9, "behaviour": "now"}
    quoted = api.post(f"{path}/preview", wish).json()["quoted"]
    assert quoted["at"] == SAID
    done = api.post(f"{path}/changes", {**wish, "quoted": quoted}).json()
    assert done["subscription"]["current_period"]["start"] == "2024-03-01T00:00:00Z"


def test_usage_is_of_the_real_time(api: Api, world: World) -> None:
    sent = {"specversion": "1.0", "source": "test", "type": "ai.request"}
    mine = {**sent, "id": "e-1", "time": "2023-12-10T11:59:00Z"}
    assert api.post("events", mine).json()["accepted"] == 1
    theirs = {**sent, "id": "e-2", "time": "2024-03-05T07:59:00Z"}  # what their clock shows
    assert api.post("events", theirs).json()["rejected"] == 1


def test_the_period_under_way_is_that_of_their_clock(api: Api) -> None:
    [current] = api.get("organizations/acme/current-usage").json()["data"]
    assert current["start"] == "2024-03-01T00:00:00Z"
    starts = {one["start"] for one in api.get("usage").json()["data"]}
    assert starts == {"2024-03-01T00:00:00Z"}
    assert api.get("usage/ai_requests").json()["start"] == "2024-03-01T00:00:00Z"
