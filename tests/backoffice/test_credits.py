from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.test import Client

from apps.backoffice.admin import cells
from apps.core import clock, rls
from apps.invoicing.models import Invoice
from apps.subscriptions import services as subscriptions
from apps.tenants.models import Organization
from tests import worlds
from tests.backoffice.conftest import browser
from tests.backoffice.pages import page, text, url
from tests.conftest import STAFF
from tests.worlds import NOW


@pytest.fixture
def credit(db: None) -> Iterator[tuple[Client, Invoice]]:
    """Two months on, and an invoice of 1 January that gives seats back."""
    with clock.frozen(NOW):
        world = worlds.gateway_world("acme", seats=103)
        with rls.tenant_scope(world.id):
            which = world.subscription.public_id
            subscriptions.change_quantity(which, quantity=0, actor=STAFF, at=NOW)
            subscriptions.cancel(which, actor=STAFF, at=NOW + timedelta(minutes=1))
    later = NOW + timedelta(days=60)
    with clock.frozen(later):
        worlds.bill(later, at=later)
        client = browser(worlds.make_staff("staff@house.example", "Admin"))
        with rls.ops_scope("test"):
            invoice = Invoice.objects.select_related("organization").latest("issued_at")
        assert (invoice.total < 0, invoice.status) == (True, "open")
        assert invoice.due_at < later
        yield client, invoice


def _tabs(client: Client) -> dict[str, tuple[int, str]]:
    shown = client.get(url(Invoice)).context["tabs"]
    return {tab.title: (tab.count, tab.sums) for tab in shown}


def test_a_credit_is_never_open_nor_past_due(credit: tuple[Client, Invoice]) -> None:
    client, invoice = credit
    tabs = _tabs(client)
    assert (tabs["All"][0], tabs["Open"][0], tabs["Past due"][0]) == (3, 2, 2)
    assert tabs["Credit"] == (1, cells.money(invoice.total, "USD"))
    assert tabs["Open"] == tabs["Past due"]
    for tab, count in (("open", 2), ("past_due", 2), ("credit", 1)):
        listed = client.get(url(Invoice), {"show": tab}).context["cl"].result_list
        assert len(listed) == count
        assert (invoice in listed) == (tab == "credit")


def test_a_credit_is_called_one_everywhere(credit: tuple[Client, Invoice]) -> None:
    client, invoice = credit
    shown = text(client.get(page(invoice)))
    assert ">credit<" in "".join(shown.split()).lower()
    assert "pastdue" not in "".join(shown.split()).lower()
    dashboard = client.get("/admin/").context["money"]
    assert [card.title for card in dashboard[:3]] == ["Open", "Past due", "Credit"]


def test_whoever_has_only_credits_owes_nothing(credit: tuple[Client, Invoice]) -> None:
    client, invoice = credit
    with rls.ops_scope("test"):
        owed = Invoice.objects.exclude(pk=invoice.pk)
        references = [row.pk for row in owed]
    for pk in references:
        client.post(url(Invoice, "void", pk), {"reason": "test"})
    assert not client.get(url(Organization), {"balance": "past_due"}).context["cl"].result_list
    assert client.get(url(Organization), {"balance": "none"}).context["cl"].result_list


def test_voiding_a_credit_says_what_is_taken_back(credit: tuple[Client, Invoice]) -> None:
    client, invoice = credit
    shown = text(client.get(page(invoice, "void")))
    assert "The credit of " + cells.money(-invoice.total, "USD") in shown
    assert client.post(page(invoice, "void"), {"reason": "wrong"}).status_code == 302
