from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.test import Client

from apps.core import clock, rls
from apps.invoicing.models import Invoice, InvoiceLine
from apps.usage import services as usage
from apps.usage.models import UsageBucket
from tests import worlds
from tests.backoffice.conftest import browser
from tests.backoffice.pages import page, rows, url
from tests.worlds import NOW, World

pytestmark = pytest.mark.committed


@pytest.fixture
def committed(committed_db: str) -> Iterator[World]:
    """Acme in a database of its own, its usage rolled up."""
    with clock.frozen(NOW):
        world = worlds.gateway_world("acme")
        _roll_up()
        yield world


def _roll_up() -> None:
    """Roll up until it took something: the server's housekeeping may hold the watermark back."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not rows(UsageBucket):
        with rls.ops_scope("test"):
            usage.roll_up(NOW)


@pytest.fixture
def staff(committed: World) -> Client:
    """Staff who look."""
    return browser(worlds.make_staff("support@house.example", "Support"))


def test_buckets_are_listed_and_shown(staff: Client, committed: World) -> None:
    found = rows(UsageBucket)
    assert found
    assert len(staff.get(url(UsageBucket)).context["cl"].result_list) == len(found)
    assert staff.get(page(found[0])).status_code == 200


def test_events_that_came_late_show_beside_the_count(staff: Client, committed: World) -> None:
    late = worlds.event("late", worlds.START + timedelta(days=3))
    worlds.send(committed.organization, [late])
    with rls.ops_scope("test"):
        line = InvoiceLine.objects.get(
            invoice__public_id=committed.second_invoice, key="ai_requests"
        )
    shown = staff.get(url(Invoice, "usage", line.invoice_id, line.public_id))
    assert shown.context["agrees"]
    assert shown.context["later"] == 1
