"""Several prices on one meter: each card counts what its price takes, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.test import Client

from apps.core import clock, rls
from apps.invoicing.outlook import outlook
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions import services as subscriptions
from apps.usage import services as usage
from apps.usage.checking import NewEvent
from tests.conftest import STAFF
from tests.portal import world
from tests.portal.conftest import signed_in
from tests.portal.test_money_pages import text
from tests.portal.world import Customer, load, make_customer

DAY = datetime(2023, 12, 4, tzinfo=UTC)
PAYMENTS = (("eu", "business", "100"), ("eu", "basic", "20"), ("us", "basic", "3"))


def _customer(days_before: int) -> tuple[Customer, str]:
    """A payment processor's customer with a payment for each of three prices; 14 days are free."""
    load("payments")
    customer = make_customer(plan="")
    with rls.ops_scope("test: a subscription"):
        facts = subscriptions.subscribe(
            customer.organization.pk,
            plan="payments-standard",
            start=DAY - timedelta(days=days_before),
            actor=STAFF,
            at=DAY,
        )
    events = [
        NewEvent(
            "test",
            card + grade,
            "payment",
            DAY,
            {"amount": Decimal(said), "card": card, "grade": grade},
        )
        for card, grade, said in PAYMENTS
    ]
    with rls.tenant_scope(customer.organization.pk):
        usage.ingest(customer.organization.pk, events=events, actor=STAFF, at=world.NOW)
    return customer, facts.public_id


@pytest.fixture(params=[20, 3], ids=["billed", "trial"])
def customer(request: pytest.FixtureRequest, db: None) -> Iterator[tuple[Customer, str]]:
    with clock.frozen(world.NOW):
        yield _customer(request.param)


def test_a_payment_is_counted_by_one_price_only(customer: tuple[Customer, str]) -> None:
    organization = customer[0].organization
    with rls.tenant_scope(organization.pk):
        facts = subscription_selectors.get(customer[1])
        found = {one.gauge.key: one.gauge for one in outlook(facts, at=world.NOW).items}
    counted = {key: (one.quantity, one.event_count) for key, one in found.items()}
    assert counted["eu_business_cards"] == (Decimal(100), 1)
    assert counted["eu_cards"] == (Decimal(20), 1)
    assert counted["cards"] == (Decimal(3), 1)


def test_days_and_groups_of_a_card_are_those_of_its_price(customer: tuple[Customer, str]) -> None:
    page = text(signed_in(customer[0].owner), "usage/?by=card")
    assert "4 Dec 2023 20 1" in page
    assert "4 Dec 2023 123 3" not in page
    assert "eu 20 1" in page
    assert "us 3 1" in page
    assert "eu 120 2" not in page


def test_the_file_of_a_card_is_that_of_its_price(customer: tuple[Customer, str]) -> None:
    client: Client = signed_in(customer[0].owner)
    page = client.get("/portal/usage/").content.decode()
    address = f"/portal/usage/{customer[1]}/paid_amount.csv?"
    assert f"{address}period=current&grain=day&by=&amp;price=eu_cards" in page
    day = "2023-12-04T00:00:00Z,2023-12-05T00:00:00Z,paid_amount,"
    assert f"{day}20,1" in client.get(f"{address}price=eu_cards").content.decode()
    assert f"{day}123,3" in client.get(address).content.decode()
    assert client.get(f"{address}price=base").status_code == 404
