"""Staff look at what late usage changed, and decide."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.test import Client

from apps.core import rls
from apps.invoicing import services as invoicing
from apps.invoicing.models import Correction
from apps.tenants import services as tenants
from apps.tenants.models import BillingEntity
from tests import worlds
from tests.backoffice.pages import page, post, text, url
from tests.conftest import STAFF
from tests.worlds import NOW, World


@pytest.fixture
def waiting(world: World) -> Correction:
    """A November request that came in December, too much to go out unseen."""
    with rls.ops_scope("test"):
        issuer = BillingEntity.objects.get()
        limits = {"correction_limits": {"USD": 0}}
        tenants.change_billing_entity(issuer.public_id, changes=limits, actor=STAFF, at=NOW)
    late = [worlds.event(f"late-{n}", datetime(2023, 11, 20, n, tzinfo=UTC)) for n in range(20)]
    worlds.send(world.organization, late)
    invoicing.heal_usage(actor=STAFF, at=NOW)
    with rls.ops_scope("test"):
        return Correction.objects.filter(status="waiting").select_related("line__invoice")[0]


def test_the_list_and_the_page_tell_both_amounts(waiting: Correction, support: Client) -> None:
    listed = text(support.get(url(Correction)))
    assert waiting.line.name in listed
    assert str(waiting.line.invoice.number) in listed
    shown = support.get(page(waiting))
    assert shown.status_code == 200
    assert "Comes to now" in text(shown)


def test_finance_approves_with_a_reason(waiting: Correction, finance: Client) -> None:
    assert post(finance, page(waiting, "approve"), reason="").status_code == 400
    assert post(finance, page(waiting, "approve"), reason="as agreed").status_code == 302
    with rls.ops_scope("test"):
        waiting.refresh_from_db()
    assert (waiting.status, waiting.reason) == ("approved", "as agreed")
    assert finance.get(page(waiting, "reject")).status_code == 409


def test_support_decides_nothing(waiting: Correction, support: Client) -> None:
    assert post(support, page(waiting, "reject"), reason="no").status_code == 403
    with rls.ops_scope("test"):
        waiting.refresh_from_db()
    assert waiting.status == "waiting"
