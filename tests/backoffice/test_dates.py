from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client

from apps.core import clock, rls
from apps.invoicing.models import Invoice
from tests import worlds
from tests.backoffice.conftest import browser
from tests.backoffice.pages import page, text, url
from tests.worlds import NOW


@pytest.fixture
def western(db: None) -> Iterator[tuple[Client, Invoice]]:
    """A customer in Bogota, where it is 30 November when UTC's December begins."""
    with clock.frozen(NOW):
        worlds.gateway_world("lake", timezone="America/Bogota")
        client = browser(worlds.make_staff("staff@house.example", "Admin"))
        with rls.ops_scope("test"):
            invoice = Invoice.objects.select_related("organization").latest("issued_at")
        yield client, invoice


def test_dates_of_an_invoice_are_those_on_the_document(western: tuple[Client, Invoice]) -> None:
    client, invoice = western
    issued = 'title="2023-12-01 00:00:00 UTC" class="whitespace-nowrap">2023-11-30</time>'
    due = 'title="2023-12-15 00:00:00 UTC" class="whitespace-nowrap">2023-12-14</time>'
    for address in (url(Invoice), page(invoice), page(invoice.organization)):
        shown = text(client.get(address))
        assert issued in shown, address
        assert due in shown, address
    assert issued in text(client.get("/admin/"))
    assert "America/Bogota" in text(client.get(page(invoice)))
