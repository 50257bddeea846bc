from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError

from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import Forbidden, Invalid, NotFound
from apps.invoicing import books, selectors
from apps.invoicing.errors import NotPayable, Overpayment
from apps.payments import services
from apps.payments.models import Payment
from apps.payments.services import ReferenceUsed
from apps.tenants import roles
from apps.tenants.models import Organization
from tests.conftest import STAFF, make_organization
from tests.invoicing import world
from tests.invoicing.world import NOW, day
from tests.races import at_once


def billed(slug: str = "acme") -> Organization:
    """An organization that owes 50.00 on CH-000001."""
    world.load()
    organization = make_organization(slug)
    world.subscribe(organization, start=day(1, 1))
    world.bill(day(1, 1))
    return organization


def pay(
    organization: Organization, amount: str, reference: str = "", actor: Actor = STAFF
) -> Payment:
    with rls.tenant_scope(organization.pk):
        return services.record_payment(
            "CH-000001", amount=Decimal(amount), reference=reference, actor=actor, at=NOW
        )


def test_partial_payments_add_up_to_paid(db: None) -> None:
    organization = billed()
    pay(organization, "20.00", "B-1")
    with rls.tenant_scope(organization.pk):
        assert selectors.get("CH-000001").status == "open"
    pay(organization, "30.00", "B-2")
    with rls.tenant_scope(organization.pk):
        row = selectors.get("CH-000001")
        assert (row.status, row.amount_paid, row.paid_at) == ("paid", 50_00, NOW)
        assert selectors.balances(organization.pk) == {
            ("receivable", "USD"): 0,
            ("cash", "USD"): 50_00,
            ("revenue", "USD"): -50_00,
        }
    assert books.verify().hold


@pytest.mark.parametrize(
    ("amount", "error"),
    [
        ("50.01", Overpayment),
        ("0", Invalid),
        ("-1", Invalid),
        ("1.005", Invalid),
        ("99999999999999999999", Invalid),
    ],
)
def test_a_refused_payment_changes_nothing(db: None, amount: str, error: type[Exception]) -> None:
    organization = billed()
    with pytest.raises(error):
        pay(organization, amount)
    with rls.tenant_scope(organization.pk):
        assert not Payment.objects.exists()
        assert selectors.get("CH-000001").amount_paid == 0


def test_a_reference_counts_once(db: None) -> None:
    organization = billed()
    pay(organization, "20.00", "B-1")
    with pytest.raises(ReferenceUsed):
        pay(organization, "20.00", "B-1")
    with rls.tenant_scope(organization.pk):
        assert selectors.get("CH-000001").amount_paid == 20_00


def test_a_paid_invoice_takes_no_more(db: None) -> None:
    organization = billed()
    pay(organization, "50.00")
    with pytest.raises(NotPayable):
        pay(organization, "1.00")


def test_eight_clicks_at_once_pay_once(committed_db: str) -> None:
    organization = billed()

    def click() -> bool:
        try:
            pay(organization, "50.00")
        except (NotPayable, Overpayment):
            return False
        return True

    assert sum(at_once(8, click)) == 1
    with rls.tenant_scope(organization.pk):
        assert Payment.objects.count() == 1


def test_owners_do_not_record_payments(db: None) -> None:
    organization = billed()
    owner = Actor("user", "usr_x", "OWNER", organization.pk, roles.capabilities_of("OWNER"))
    with pytest.raises(Forbidden):
        pay(organization, "50.00", actor=owner)


def test_a_stranger_finds_no_invoice(db: None) -> None:
    billed()
    stranger = make_organization("stranger")
    with pytest.raises(NotFound):
        pay(stranger, "50.00")


def test_the_database_keeps_payments_as_they_were(db: None) -> None:
    organization = billed()
    payment = pay(organization, "20.00")
    with pytest.raises(DatabaseError), rls.tenant_scope(organization.pk):
        Payment.objects.filter(pk=payment.pk).update(amount=1)


def test_a_payment_of_the_future_is_refused(db: None) -> None:
    organization = billed()
    with rls.tenant_scope(organization.pk), pytest.raises(Invalid, match="in the future"):
        services.record_payment(
            "CH-000001",
            amount=Decimal("1.00"),
            actor=STAFF,
            at=NOW,
            received_at=NOW + timedelta(days=1),
        )


def test_a_payment_may_come_before_its_invoice_but_not_a_year_before(db: None) -> None:
    organization = billed()

    def receive(days_before: int) -> None:
        with rls.tenant_scope(organization.pk):
            services.record_payment(
                "CH-000001",
                amount=Decimal("1.00"),
                actor=STAFF,
                at=NOW,
                received_at=day(1, 1) - timedelta(days=days_before),
            )

    with pytest.raises(Invalid, match="at most a year before its invoice") as refusal:
        receive(367)
    assert refusal.value.param == "received_at"
    receive(366)
    with rls.tenant_scope(organization.pk):
        assert Payment.objects.get().amount == 1_00
