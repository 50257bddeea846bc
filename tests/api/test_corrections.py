"""What late usage changed under final lines, over HTTP: found, approved, rejected."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from apps.core import rls
from apps.invoicing import services as billing
from apps.tenants import services as tenants
from tests import worlds
from tests.api.client import Api
from tests.conftest import STAFF
from tests.worlds import NOW, World


@pytest.fixture
def waiting(world: World) -> World:
    """A request of November came after its invoice, and everything waits for a decision."""
    with rls.ops_scope("test: review everything"):
        issuer = world.organization.billing_entity.public_id
        limits = {"correction_limits": {"USD": 0}}
        tenants.change_billing_entity(issuer, changes=limits, actor=STAFF, at=NOW)
    worlds.send(world.organization, [worlds.event("late", worlds.BILLED - timedelta(days=3))])
    billing.heal_usage(organization_id=world.id, actor=STAFF, at=NOW)
    return world


def listed(platform: Api, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = platform.get("corrections", query).json()["data"]
    return found


def upcoming(api: Api, world: World) -> int:
    path = f"subscriptions/{world.subscription.public_id}/upcoming-invoice"
    return int(api.get(path).json()["total"])


def test_what_waits_is_listed_with_the_line_it_corrects(platform: Api, waiting: World) -> None:
    rows = listed(platform, organization="acme", status="waiting")
    assert {row["invoice"] for row in rows} == {waiting.second_invoice}
    assert all(row["amount"] - row["amount_before"] == row["difference"] for row in rows)
    assert sum(row["difference"] for row in rows) == 1_50
    assert listed(platform, status="approved") == []


def test_an_approved_difference_goes_on_the_next_invoice(
    api: Api, platform: Api, waiting: World
) -> None:
    before = upcoming(api, waiting)
    for row in listed(platform, status="waiting"):
        path = f"corrections/{row['id']}/approve"
        done = platform.post(path, {"reason": "Seen"}).json()
        assert (done["status"], done["reason"]) == ("approved", "Seen")
        again = platform.post(path, {"reason": "Seen"}).json()
        assert (again["status"], again["code"]) == (409, "correction_decided")
    assert upcoming(api, waiting) == before + 1_50


def test_a_rejected_difference_is_not_billed(api: Api, platform: Api, waiting: World) -> None:
    before = upcoming(api, waiting)
    for row in listed(platform, status="waiting"):
        path = f"corrections/{row['id']}/reject"
        refused = platform.post(path, {"reason": " "}).json()
        assert (refused["status"], refused["param"]) == (400, "reason")
        done = platform.post(path, {"reason": "Our fault"}).json()
        assert (done["status"], done["decided_at"]) == ("rejected", "2023-12-10T12:00:00Z")
    assert upcoming(api, waiting) == before
    assert listed(platform, status="waiting") == []
