"""Overrides, spend caps and reservations on the staff's pages: each act ends in its service."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.test import Client

from apps.core import rls
from apps.entitlements import selectors
from apps.entitlements.models import Override, Reservation, SpendCap
from tests.backoffice.conftest import limit
from tests.backoffice.pages import again, page, post, rows, text, url
from tests.worlds import NOW, World


@pytest.fixture
def limited(world: World) -> World:
    with rls.ops_scope("test"):
        limit(world)
    return world


def test_an_override_is_agreed_and_ended(admin: Client, limited: World) -> None:
    answers = {
        "subscription": limited.subscription.public_id,
        "feature": "max_devices",
        "value": "unlimited",
        "reset": "period",
        "on_limit": "block",
        "reason": "a fair",
    }
    post(admin, url(Override, "override"), **answers)
    made = rows(Override)[0]
    assert (made.feature.key, made.value, made.reason) == ("max_devices", None, "a fair")
    with rls.tenant_scope(limited.id):
        found = selectors.decide(limited.id, "max_devices", Decimal(10_000), at=NOW)
    assert found.allowed


def test_a_value_that_does_not_suit_is_refused_with_its_reason(
    admin: Client, limited: World
) -> None:
    answers = {
        "subscription": limited.subscription.public_id,
        "feature": "max_devices",
        "value": "many",
        "reset": "period",
        "on_limit": "block",
        "reason": "a fair",
    }
    assert "says nothing" in text(post(admin, url(Override, "override"), **answers))
    assert len(rows(Override)) == 1


def test_a_cap_is_set_shown_and_removed(admin: Client, limited: World) -> None:
    answers = {"organization": "acme", "amount": "120.50", "on_limit": "warn"}
    post(admin, url(SpendCap, "set_cap"), **answers)
    [row] = rows(SpendCap)
    assert (row.amount, row.on_limit) == (120_50, "warn")
    assert "120.50" in text(admin.get(page(row)))
    post(admin, page(row, "remove"))
    assert rows(SpendCap) == []


def test_a_reservation_is_released(admin: Client, limited: World) -> None:
    [row] = rows(Reservation)
    post(admin, page(row, "release"))
    assert again(row).status == "released"


@pytest.mark.parametrize("what", ["override", "set_cap"])
def test_support_looks_and_changes_nothing(support: Client, limited: World, what: str) -> None:
    model = Override if what == "override" else SpendCap
    assert support.get(url(model, what)).status_code in {302, 403}
