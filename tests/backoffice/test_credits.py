"""A negative sum becomes credit: nobody owes it, nobody is late with it, and pages say so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.test import Client

from apps.core import clock, rls
from apps.invoicing.models import Invoice
from apps.subscriptions import services as subscriptions
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
        assert (invoice.total, invoice.status, invoice.credits < 0) == (0, "paid", True)
        yield client, invoice


def test_a_credit_is_neither_open_nor_past_due(credit: tuple[Client, Invoice]) -> None:
    client, invoice = credit
    tabs = {tab.title: tab.count for tab in client.get(url(Invoice)).context["tabs"]}
    assert (tabs["All"], tabs["Open"], tabs["Past due"]) == (3, 2, 2)
    for tab in ("open", "past_due"):
        assert invoice not in client.get(url(Invoice), {"show": tab}).context["cl"].result_list


def test_an_invoice_says_what_it_left_as_credit(credit: tuple[Client, Invoice]) -> None:
    client, invoice = credit
    assert "Kept as your credit" in text(client.get(page(invoice)))
    refused = client.get(page(invoice, "void"))
    assert refused.status_code == 409
