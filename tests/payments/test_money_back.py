"""Money that goes back, comes in excess, or never came."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import DatabaseError, transaction

from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import DomainError, Forbidden, Invalid, NotFound
from apps.invoicing import books, services
from apps.invoicing.errors import NotReversible
from apps.invoicing.models import CreditGrant, CreditNote
from apps.invoicing.services import Split
from apps.payments import services as payments
from apps.payments.errors import AlreadyReversed, ReferenceUsed, RefundTooLarge
from apps.payments.models import Payment, Refund
from apps.tenants import roles
from apps.tenants.models import Organization
from tests.conftest import STAFF, make_organization
from tests.invoicing import money
from tests.invoicing.world import NOW
from tests.races import at_once
from tests.scenarios import shop


@pytest.fixture
def customer(db: None) -> Organization:
    """A customer in Germany, who bears 19 %."""
    shop.open_shop()
    shop.sell_from_germany()
    return shop.customer("acme", currency="EUR", country="DE")


def promised(customer: Organization) -> CreditNote:
    """A note that promises to pay 19.00 of 119.00 back."""
    invoice = money.bill(customer, "100.00")
    money.pay(invoice, "119.00")
    return money.note(invoice, total="19.00", split=Split(refund=Decimal(19)))


def refund(note: CreditNote, amount: str = "", reference: str = "", payment: str = "") -> Refund:
    with rls.tenant_scope(note.organization_id):
        return payments.record_refund(
            note.public_id,
            amount=Decimal(amount) if amount else None,
            reference=reference,
            payment=payment,
            actor=STAFF,
            at=NOW,
        )


def reverse(payment: Payment, reason: str = "wrong invoice", actor: Actor = STAFF) -> Payment:
    with rls.tenant_scope(payment.organization_id):
        return payments.reverse_payment(payment.public_id, reason=reason, actor=actor, at=NOW)


# --- refunds --------------------------------------------------------------------------------------
def test_refunds_add_up_to_what_the_note_promised(customer: Organization) -> None:
    note = promised(customer)
    refund(note, "5.00", "SEPA 1")
    assert money.balances(customer)["customer_credit"] == -14_00
    assert refund(note).amount == 14_00
    assert money.balances(customer) == {
        "cash": 100_00,
        "revenue": -84_03,
        "tax_payable": -15_97,
    }
    with pytest.raises(RefundTooLarge):
        refund(note)
    assert books.verify().hold


def test_a_refund_names_the_payment_that_goes_back(customer: Organization) -> None:
    note = promised(customer)
    with rls.tenant_scope(customer.pk):
        payment = Payment.objects.get()
    assert refund(note, payment=payment.public_id).payment_id == payment.pk
    with pytest.raises(AlreadyReversed):
        reverse(payment)


@pytest.mark.parametrize(
    ("amount", "error"),
    [("19.01", RefundTooLarge), ("0", Invalid), ("-1", Invalid), ("1.005", Invalid)],
)
def test_a_refused_refund_changes_nothing(
    customer: Organization, amount: str, error: type[DomainError]
) -> None:
    note = promised(customer)
    before = money.balances(customer)
    with pytest.raises(error):
        refund(note, amount)
    with rls.tenant_scope(customer.pk):
        assert not Refund.objects.exists()
    assert money.balances(customer) == before


def test_a_refunds_reference_counts_once(customer: Organization) -> None:
    note = promised(customer)
    refund(note, "1.00", "SEPA 1")
    with pytest.raises(ReferenceUsed):
        refund(note, "1.00", "SEPA 1")


def test_a_stranger_finds_no_note_and_owners_pay_nothing_back(customer: Organization) -> None:
    note = promised(customer)
    stranger = make_organization("stranger")
    with rls.tenant_scope(stranger.pk), pytest.raises(NotFound):
        payments.record_refund(note.public_id, actor=STAFF, at=NOW)
    owner = Actor("user", "usr_x", "OWNER", customer.pk, roles.capabilities_of("OWNER"))
    with rls.tenant_scope(customer.pk), pytest.raises(Forbidden):
        payments.record_refund(note.public_id, actor=owner, at=NOW)


def test_the_database_refuses_more_than_was_promised(customer: Organization) -> None:
    row = refund(promised(customer))
    with rls.tenant_scope(customer.pk):
        with pytest.raises(DatabaseError), transaction.atomic():
            Refund.objects.filter(pk=row.pk).update(amount=1)
        row.pk, row.public_id, row.reference = None, "re_another", "another"
        row.amount = 1
        with pytest.raises(DatabaseError, match="pays back"), transaction.atomic():
            row.save(force_insert=True)


def test_two_refunds_at_once_pay_back_once(committed_db: str) -> None:
    shop.open_shop()
    shop.sell_from_germany()
    note = promised(shop.customer("acme", currency="EUR", country="DE"))

    def pay_back() -> bool:
        try:
            refund(note, "19.00")
        except RefundTooLarge:
            return False
        return True

    assert sorted(at_once(2, pay_back)) == [False, True]
    assert books.verify().hold


# --- more than is due -----------------------------------------------------------------------------
def test_what_is_too_much_is_kept_as_credit(customer: Organization) -> None:
    invoice = money.bill(customer, "100.00")
    payment = money.pay(invoice, "150.00", keep_excess=True)
    assert (payment.amount, payment.excess) == (150_00, 31_00)
    after = money.again(invoice)
    assert (after.status, after.amount_paid) == ("paid", 119_00)
    assert money.left(customer) == 31_00
    assert money.bill(customer, "10.00").credits == 11_90
    assert books.verify().hold


# --- payments that never were ---------------------------------------------------------------------
def test_a_payment_taken_back_is_due_again(customer: Organization) -> None:
    invoice = money.bill(customer, "100.00")
    money.pay(invoice, "19.00")
    payment = money.pay(invoice, "100.00")
    before = money.again(invoice)
    assert before.status == "paid"
    reversal = reverse(payment)
    assert (reversal.amount, reversal.reverses_id, reversal.reason) == (
        -100_00, payment.pk, "wrong invoice",
    )  # fmt: skip
    after = money.again(invoice)
    assert (after.status, after.amount_due, after.paid_at) == ("open", 100_00, None)
    assert money.balances(customer)["receivable"] == 100_00
    money.pay(invoice, "100.00")
    assert money.again(invoice).status == "paid"
    assert books.verify().hold


def test_a_payment_is_taken_back_once_and_for_a_reason(customer: Organization) -> None:
    invoice = money.bill(customer, "100.00")
    payment = money.pay(invoice, "19.00")
    with pytest.raises(Invalid):
        reverse(payment, reason=" ")
    reversal = reverse(payment)
    for row in (payment, reversal):
        with pytest.raises(AlreadyReversed):
            reverse(row)
    assert money.again(invoice).amount_paid == 0


def test_the_excess_goes_with_its_payment_unless_it_is_used(customer: Organization) -> None:
    invoice = money.bill(customer, "100.00")
    payment = money.pay(invoice, "150.00", keep_excess=True)
    reverse(payment)
    assert money.left(customer) == 0
    payment = money.pay(invoice, "150.00", keep_excess=True)
    money.bill(customer, "10.00")
    with pytest.raises(NotReversible):
        reverse(payment)
    assert money.again(invoice).status == "paid"
    assert money.left(customer) == 19_10
    assert books.verify().hold


def test_what_a_credit_note_gave_back_stays_paid(customer: Organization) -> None:
    note = promised(customer)
    with rls.tenant_scope(customer.pk):
        payment = Payment.objects.get()
    with pytest.raises(NotReversible):
        reverse(payment)
    assert money.again(note.invoice).status == "paid"


def test_credit_that_was_bought_goes_with_its_payment(customer: Organization) -> None:
    with rls.tenant_scope(customer.pk):
        invoice = services.buy_credit(
            customer.pk, amount=Decimal(50), currency="EUR", actor=STAFF, at=NOW
        )
    reverse(money.pay(invoice, "50.00"))
    assert money.left(customer) == 0
    assert money.balances(customer) == {"receivable": 50_00, "customer_credit": -50_00}
    money.pay(invoice, "50.00")
    assert money.left(customer) == 50_00
    with rls.tenant_scope(customer.pk):
        assert CreditGrant.objects.count() == 2
    assert books.verify().hold


def test_a_payment_of_what_was_given_up_is_lost_again(customer: Organization) -> None:
    invoice = money.bill(customer, "100.00")
    with rls.tenant_scope(customer.pk):
        services.mark_uncollectible(invoice.public_id, reason="gone", actor=STAFF, at=NOW)
    reverse(money.pay(invoice, "19.00"))
    assert money.balances(customer)["write_off"] == 119_00
    assert money.again(invoice).status == "uncollectible"
    reverse(money.pay(invoice, "119.00"))
    # it was paid in full; now it is open and nothing is written off
    assert money.again(invoice).status == "open"
    assert money.balances(customer)["receivable"] == 119_00
    assert books.verify().hold


def test_a_stranger_finds_no_payment_and_owners_take_none_back(customer: Organization) -> None:
    payment = money.pay(money.bill(customer, "100.00"), "19.00")
    stranger = make_organization("stranger")
    with rls.tenant_scope(stranger.pk), pytest.raises(NotFound):
        payments.reverse_payment(payment.public_id, reason="x", actor=STAFF, at=NOW)
    owner = Actor("user", "usr_x", "OWNER", customer.pk, roles.capabilities_of("OWNER"))
    with pytest.raises(Forbidden):
        reverse(payment, actor=owner)


def test_two_reversals_at_once_take_back_once(committed_db: str) -> None:
    shop.open_shop()
    shop.sell_from_germany()
    organization = shop.customer("acme", currency="EUR", country="DE")
    invoice = money.bill(organization, "100.00")
    payment = money.pay(invoice, "119.00")

    def take_back() -> bool:
        try:
            reverse(payment)
        except AlreadyReversed:
            return False
        return True

    assert sorted(at_once(2, take_back)) == [False, True]
    assert money.again(invoice).amount_due == 119_00
    assert books.verify().hold
