"""Limits in the portal: bars and caps for who may see them, changed by who manages billing."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.test import Client

from apps.core import rls
from apps.entitlements import services
from apps.entitlements.models import SpendCap
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.subscriptions.models import Subscription
from tests.conftest import STAFF
from tests.portal.conftest import signed_in
from tests.portal.test_money_pages import text
from tests.portal.world import NOW, Customer

PAGE = "/portal/usage/limits/"
LIMIT = """\
features: [{key: limited, kind: limit, meter: limited, name: Limited things}]
meters: [{key: limited, event_type: limited.thing, aggregation: count}]
"""


@pytest.fixture
def owner(acme: Customer) -> Client:
    return signed_in(acme.owner)


def caps(customer: Customer) -> list[tuple[int, str]]:
    with rls.tenant_scope(customer.organization.pk):
        return [(row.amount, row.on_limit) for row in SpendCap.objects.all()]


def limit(customer: Customer) -> None:
    with rls.ops_scope("test"):
        plans.load_catalog(parse_catalog(LIMIT, source="limit.yaml"), actor=STAFF, at=NOW)
        facts = Subscription.objects.filter(organization=customer.organization)[0]
        services.override_entitlement(
            facts.public_id, feature="limited", value=40, reason="x", actor=STAFF, at=NOW
        )
        services.reserve(
            customer.organization.pk, feature="limited", amount=Decimal(10), actor=STAFF, at=NOW
        )


def test_a_limit_is_shown_with_what_is_left_and_set_aside(acme: Customer, owner: Client) -> None:
    limit(acme)
    shown = text(owner, "usage/limits/")
    for said in ("Limited things", "30 of 40 left", "10 set aside", "counts anew"):
        assert said in shown


def test_a_cap_is_set_shown_and_removed(acme: Customer, owner: Client) -> None:
    answered = owner.post(f"{PAGE}cap/", {"amount": "150", "on_limit": "block"})
    assert answered.status_code == 302
    assert caps(acme) == [(150_00, "block")]
    assert "150.00 spent" in text(owner, "usage/limits/")
    with rls.tenant_scope(acme.organization.pk):
        [row] = SpendCap.objects.all()
    assert owner.post(f"{PAGE}cap/{row.public_id}/remove/").status_code == 302
    assert caps(acme) == []


@pytest.mark.parametrize("amount", ["", "-1", "0.001", "much"])
def test_an_amount_that_is_none_changes_nothing(acme: Customer, owner: Client, amount: str) -> None:
    answered = owner.post(f"{PAGE}cap/", {"amount": amount, "on_limit": "block"})
    assert answered.status_code == 422
    assert caps(acme) == []


def test_a_stranger_s_cap_is_not_found(acme: Customer, stranger: Customer, owner: Client) -> None:
    signed_in(stranger.owner).post(f"{PAGE}cap/", {"amount": "9", "on_limit": "warn"})
    with rls.tenant_scope(stranger.organization.pk):
        [row] = SpendCap.objects.all()
    assert owner.post(f"{PAGE}cap/{row.public_id}/remove/").status_code == 404
    assert caps(stranger) == [(9_00, "warn")]
