"""Void invoices: not while another one gives back what they billed."""

from __future__ import annotations

import pytest

from apps.core import rls
from apps.invoicing import books, services
from apps.invoicing.errors import NotVoidable
from apps.plans import selectors as plans
from apps.subscriptions.changes import Behaviour, ChangePlan
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.invoicing.world import day
from tests.scenarios import shop

HALF = day(6, 16)


@pytest.fixture
def upgraded(committed_db: str) -> Organization:
    """June of the basic plan on CH-000001; its rest given back for the pro plan's on CH-000002."""
    shop.open_shop()
    acme = shop.customer("acme")
    facts = shop.buy(acme, "basic", day(6, 1))
    shop.bill(day(6, 1))
    with rls.ops_scope("test: the plan"):
        wish = ChangePlan(plans.current_version("pro").public_id)
    with rls.tenant_scope(acme.pk):
        services.change_subscription(
            facts.public_id, wish=wish, behaviour=Behaviour.NOW, actor=STAFF, at=HALF
        )
    return acme


def void(organization: Organization, number: str) -> str:
    with rls.tenant_scope(organization.pk):
        return services.void_invoice(number, reason="wrong", actor=STAFF, at=day(6, 17)).status


def test_what_another_invoice_gives_back_is_not_voided(upgraded: Organization) -> None:
    with pytest.raises(NotVoidable, match="CH-000002 gives back what invoice CH-000001 billed"):
        void(upgraded, "CH-000001")
    assert books.verify().hold


def test_the_later_of_two_is_voided_and_then_the_earlier(upgraded: Organization) -> None:
    assert void(upgraded, "CH-000002") == "void"
    assert void(upgraded, "CH-000001") == "void"
    assert books.verify().hold


def test_credit_for_another_period_is_in_nobodys_way(upgraded: Organization) -> None:
    shop.bill(day(7, 1))
    # 50.00 for July; what was given back is of June
    assert void(upgraded, "CH-000003") == "void"
    assert books.verify().hold
