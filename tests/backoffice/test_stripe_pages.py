"""What staff see of Stripe: the inbox, the calls, and the copies of its objects."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client

from apps.backoffice.admin.mirror import SCREENS
from apps.core import rls
from apps.payments import mirror, services
from apps.payments.models import ProviderCall, ProviderEvent
from tests.backoffice.conftest import speak_with_stripe
from tests.backoffice.pages import page, rows, text, url
from tests.payments.shop import open_shop
from tests.worlds import World

# Kinds that the shop has nothing of: a row of the least there can be.
BARE = ("checkout.session", "dispute", "subscription", "subscription_schedule")


@pytest.fixture
def copies(world: World) -> Iterator[None]:
    """A copy of every kind of object."""
    with open_shop() as shop:
        shop.catalogue()
        shop.sale()
        services.backfill_events()
        services.handle_events()
        with rls.ops_scope("test: bare copies"):
            for kind in BARE:
                said = {"id": f"{kind}_1", "object": kind, "status": "open"}
                row = mirror.MODELS[kind](id=f"{kind}_1", stripe_data=said)
                for name in ("customer", "charge", "payment_intent"):
                    setattr(row, name, mirror.MODELS[name].objects.get())
                row.save()
        yield


@pytest.fixture
def spoken(world: World) -> World:
    """A call that is stuck, and an event that was given up."""
    with rls.ops_scope("test: speak"):
        speak_with_stripe(world.id)
    return world


def test_the_copies_have_lists_and_pages_that_open(support: Client, copies: None) -> None:
    for model in SCREENS:
        assert support.get(url(model)).status_code == 200, model
        assert support.get(url(model), {"q": "in_1"}).status_code == 200, model
        found = rows(model)
        assert found, model
        for row in found:
            shown = support.get(page(row))
            assert shown.status_code == 200, row.id
            assert row.id in text(shown)


def test_an_invoice_of_stripe_shows_what_it_comes_to(support: Client, copies: None) -> None:
    invoices = mirror.MODELS["invoice"]
    assert "50.00 USD" in text(support.get(url(invoices)))
    assert "40.00" not in text(support.get(url(invoices)))
    shown = text(support.get(page(rows(invoices)[0])))
    assert "&quot;amount&quot;: 4000" in shown


def test_the_copies_cannot_be_written_through_the_pages(admin: Client, copies: None) -> None:
    for model in SCREENS:
        row = rows(model)[0]
        assert admin.post(page(row), {"livemode": "on"}).status_code == 403
        assert admin.post(url(model, "delete", row.pk)).status_code == 403
        assert admin.get(url(model, "add")).status_code == 403


def test_owners_see_no_copies(owner: Client, copies: None) -> None:
    for model in SCREENS:
        assert owner.get(url(model))["Location"].startswith("/admin/login/")


def test_finance_has_an_event_handled_again(finance: Client, spoken: World) -> None:
    (row,) = rows(ProviderEvent)
    assert "LookupError: nobody knows it" in text(finance.get(page(row)))
    assert finance.get(url(ProviderEvent, "handle", row.pk)).status_code == 200
    assert finance.post(url(ProviderEvent, "handle", row.pk)).status_code == 302
    (row,) = rows(ProviderEvent)
    assert (row.state, row.tries, row.error) == ("pending", 0, "")


def test_events_are_handled_again_by_the_dozen(finance: Client, spoken: World) -> None:
    (row,) = rows(ProviderEvent)
    chosen = {"action": "handle_selected", "_selected_action": [row.pk]}
    assert finance.post(url(ProviderEvent), chosen).status_code == 302
    assert rows(ProviderEvent)[0].state == "pending"


def test_support_has_nothing_handled_again(support: Client, spoken: World) -> None:
    (row,) = rows(ProviderEvent)
    assert support.post(url(ProviderEvent, "handle", row.pk)).status_code == 403
    (call,) = rows(ProviderCall)
    assert support.post(url(ProviderCall, "retry", call.pk)).status_code == 403
    assert rows(ProviderEvent)[0].state == "dead"


def test_a_call_that_is_stuck_is_tried_with_the_next_key(finance: Client, spoken: World) -> None:
    (call,) = rows(ProviderCall)
    assert call.key.endswith(":1")
    assert finance.post(url(ProviderCall, "retry", call.pk)).status_code == 302
    (call,) = rows(ProviderCall)
    assert (call.state, call.key[-2:]) == ("pending", ":2")
