"""Seats up and down again under discounts: nobody makes money of it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from apps.core import rls
from apps.invoicing import books, services
from apps.invoicing.document import Document
from apps.invoicing.models import CreditGrant
from apps.subscriptions import services as subscriptions
from apps.subscriptions.changes import Behaviour, ChangeQuantity
from apps.subscriptions.facts import SubscriptionFacts
from apps.tenants import selectors as tenants
from tests.conftest import STAFF
from tests.invoicing.world import day
from tests.scenarios import shop


@pytest.fixture
def facts(committed_db: str) -> SubscriptionFacts:
    shop.open_shop()
    shop.coupon("half", 50)
    facts = shop.buy(shop.customer("acme"), "world", day(6, 1), seats=3)
    shop.bill(day(6, 1))
    return facts


def redeem(facts: SubscriptionFacts, number: int) -> None:
    with rls.tenant_scope(facts.organization_id):
        subscriptions.apply_discount(
            facts.organization_id,
            code="half",
            subscription_id=facts.public_id,
            actor=STAFF,
            at=day(6, number),
        )


def seats(facts: SubscriptionFacts, count: int, number: int, behaviour: Behaviour) -> None:
    with rls.tenant_scope(facts.organization_id):
        services.change_subscription(
            facts.public_id,
            wish=ChangeQuantity(Decimal(count)),
            behaviour=behaviour,
            actor=STAFF,
            at=day(6, number),
        )


def documents(facts: SubscriptionFacts) -> list[Document]:
    with rls.ops_scope("story: whose"):
        acme = tenants.organization(facts.organization_id)
    return shop.invoices(acme)


def paid_out(facts: SubscriptionFacts) -> int:
    with rls.tenant_scope(facts.organization_id):
        return sum(CreditGrant.objects.values_list("remaining", flat=True))


def test_up_and_down_on_one_invoice(facts: SubscriptionFacts) -> None:
    redeem(facts, 2)
    seats(facts, 903, 11, Behaviour.NEXT_INVOICE)
    seats(facts, 3, 21, Behaviour.NEXT_INVOICE)
    shop.bill(day(7, 1))
    # 900 seats of 10.00 for ten of thirty days are 3,000.00; July is 20.00 + 30.00, all of it half
    last = documents(facts)[-1]
    assert (last.subtotal, last.discount, last.total) == (3_050_00, 1_525_00, 1_525_00)
    assert paid_out(facts) == 0
    assert books.verify().hold


def test_up_and_down_at_once_gives_back_what_was_billed(facts: SubscriptionFacts) -> None:
    seats(facts, 903, 11, Behaviour.NOW)
    redeem(facts, 12)
    seats(facts, 3, 13, Behaviour.NOW)
    before = paid_out(facts)
    seats(facts, 903, 14, Behaviour.NOW)
    seats(facts, 3, 15, Behaviour.NOW)
    bought = [d for d in documents(facts) if d.subtotal > 0]
    assert paid_out(facts) <= sum(d.total + max(0, d.credits_total) for d in bought)
    assert before <= bought[1].total
    assert books.verify().hold


def test_credit_for_an_unpaid_invoice_pays_the_next_one(facts: SubscriptionFacts) -> None:
    seats(facts, 903, 11, Behaviour.NOW)
    seats(facts, 3, 21, Behaviour.NOW)
    # nobody paid; 900 seats of 10.00 cost 6,000.00 for 20 of 30 days, and 3,000.00 for ten go back
    june, more, back = documents(facts)
    assert (june.amount_due, more.amount_due) == (50_00, 6_000_00)
    assert (back.subtotal, back.total, paid_out(facts)) == (-3_000_00, 0, 3_000_00)
    shop.bill(day(7, 1))
    *before, july = documents(facts)
    assert (july.subtotal, july.credits_total, july.amount_due) == (50_00, 50_00, 0)
    # what was issued stays due; less the credit it is what was used: 50.00 + 3,000.00 + 50.00
    due = sum(document.amount_due for document in before)
    assert (due, paid_out(facts)) == (6_050_00, 2_950_00)
    assert due - paid_out(facts) == 50_00 + 3_000_00 + 50_00
    assert books.verify().hold
