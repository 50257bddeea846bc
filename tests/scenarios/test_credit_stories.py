"""Stories of credit and corrections: what pays instead of money, and what goes back."""

from __future__ import annotations

from decimal import Decimal

import pytest

from apps.core import rls
from apps.invoicing import books
from apps.invoicing import services as invoicing
from apps.payments import services as payments
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.invoicing.world import day
from tests.scenarios import shop


@pytest.fixture(autouse=True)
def _shop(committed_db: str) -> None:
    # What the database checks at the commit is checked in the scope of the commit.
    shop.open_shop()


def pay(organization: Organization, number: str, amount: str) -> None:
    with rls.tenant_scope(organization.pk):
        payments.record_payment(number, amount=Decimal(amount), actor=STAFF, at=day(1, 20))


def test_credit_runs_out_in_the_middle_of_an_invoice() -> None:
    acme = shop.customer("acme")
    shop.buy(acme, "metered", day(1, 1))
    with rls.tenant_scope(acme.pk):
        invoicing.grant_credit(acme.pk, amount=Decimal("50.00"), actor=STAFF, at=day(1, 1))
    shop.bill(day(2, 1))
    shop.call(acme, day(2, 10), 9, at=day(2, 11))
    shop.bill(day(4, 1))
    # 20.00 and 20.00 are paid by credit; 1 March: 20.00 and 9 × 0.50 = 24.50, of which the last
    # 10.00 of credit pay a part; 1 April is paid with money
    sums = [(d.subtotal, d.credits_total, d.total) for d in shop.invoices(acme)]
    assert sums == [
        (20_00, 20_00, 0),
        (20_00, 20_00, 0),
        (24_50, 10_00, 14_50),
        (20_00, 0, 20_00),
    ]
    assert books.verify().hold


def test_usage_that_comes_late_is_billed_with_the_next_invoice() -> None:
    acme = shop.customer("acme")
    shop.buy(acme, "metered", day(1, 1))
    shop.call(acme, day(1, 10), 3, at=day(1, 11))
    shop.bill(day(2, 1))
    before = shop.invoices(acme)
    shop.call(acme, day(1, 20), 7, at=day(2, 5))
    invoicing.heal_usage(actor=STAFF, at=day(2, 6))
    assert shop.invoices(acme) == before
    shop.bill(day(3, 1))
    # January's 3 calls were billed 1.50; with the 7 that came late it is 5.00: 3.50 more
    march = shop.invoices(acme)[2]
    assert shop.lines(march) == [
        ("base recurring", 20_00),
        ("calls usage", 0),
        ("calls usage_corrected", 3_50),
    ]
    assert march.total == 23_50
    assert books.verify().hold


def test_part_of_a_paid_month_goes_back_as_money() -> None:
    shop.sell_from_germany()
    acme = shop.customer("acme", country="DE")
    shop.buy(acme, "basic", day(1, 1))
    shop.bill(day(1, 1))
    pay(acme, "CH-000001", "23.80")
    with rls.tenant_scope(acme.pk):
        # half of 20.00 and of its 3.80 of VAT go back: 10.00 + 1.90
        note = invoicing.issue_credit_note(
            "CH-000001",
            reason="product_unsatisfactory",
            total=Decimal("11.90"),
            split=invoicing.Split(refund=Decimal("11.90")),
            actor=STAFF,
            at=day(1, 21),
        )
        payments.record_refund(note.number, amount=Decimal("11.90"), actor=STAFF, at=day(1, 22))
    assert (note.subtotal, note.tax, note.refunded_amount) == (10_00, 1_90, 11_90)
    assert books.verify().hold


def test_what_is_taken_back_of_an_unpaid_month_is_not_owed_any_more() -> None:
    acme = shop.customer("acme")
    shop.buy(acme, "basic", day(1, 1))
    shop.bill(day(1, 1))
    pay(acme, "CH-000001", "15.00")
    with rls.tenant_scope(acme.pk):
        # 12.00 of 20.00 go back: 5.00 were still due, and 7.00 become credit
        note = invoicing.issue_credit_note(
            "CH-000001", reason="order_change", total=Decimal("12.00"), actor=STAFF, at=day(1, 21)
        )
    assert (note.offset_amount, note.credited_amount) == (5_00, 7_00)
    shop.bill(day(2, 1))
    february = shop.invoices(acme)[1]
    assert (february.subtotal, february.credits_total, february.total) == (20_00, 7_00, 13_00)
    assert books.verify().hold
