"""Single charges: how much they may come to, when they are due, and what comes off them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from apps.core import rls
from apps.core.errors import Conflict, Invalid
from apps.engine.period import Period
from apps.invoicing import services
from apps.invoicing.models import Charge, Invoice
from apps.invoicing.services import NewCharge
from apps.subscriptions import services as subscriptions
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.invoicing.world import NOW, day
from tests.scenarios import shop


@pytest.fixture
def acme(db: None) -> Organization:
    shop.open_shop()
    return shop.customer("acme")


def add(
    organization: Organization, amount: str, quantity: str = "1", subscription: str = ""
) -> Charge:
    new = NewCharge(
        name="Work",
        unit_amount=Decimal(amount),
        quantity=Decimal(quantity),
        subscription=subscription,
    )
    with rls.tenant_scope(organization.pk):
        return services.add_charge(organization.pk, new=new, actor=STAFF, at=NOW)


def bill(charge: Charge, due_in_days: int | None = None) -> Invoice:
    with rls.tenant_scope(charge.organization_id):
        return services.invoice_charges(
            [charge.public_id], actor=STAFF, at=NOW, due_in_days=due_in_days
        )


@pytest.mark.parametrize(
    ("amount", "quantity", "param"),
    [
        ("1000000000000000", "0.001", "unit_amount"),
        ("-1000000000000000", "0.001", "unit_amount"),
        ("NaN", "1", "unit_amount"),
        ("10000000000000", "1", "unit_amount"),
        ("-999999999999999", "999999999999", "unit_amount"),
        ("1", "1000000000000", "quantity"),
        ("1", "Infinity", "quantity"),
        ("1", "0", "quantity"),
    ],
)
def test_a_charge_that_no_invoice_could_bear_is_refused(
    acme: Organization, amount: str, quantity: str, param: str
) -> None:
    with pytest.raises(Invalid) as refused:
        add(acme, amount, quantity)
    assert refused.value.param == param


def test_the_largest_charge_is_billed(acme: Organization) -> None:
    assert bill(add(acme, "9999999999999.99")).subtotal == 9_999_999_999_999_99


def test_a_source_charges_once_and_says_the_same_again(acme: Organization) -> None:
    new = NewCharge(name="Setup", unit_amount=Decimal("99.50"), source="order 7")
    with rls.tenant_scope(acme.pk):
        first = services.add_charge(acme.pk, new=new, actor=STAFF, at=NOW)
        later = NOW + timedelta(days=2)
        assert services.add_charge(acme.pk, new=new, actor=STAFF, at=later) == first
        assert Charge.objects.get().amount == 99_50


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"unit_amount": Decimal("99.51")}, "unit amount, amount"),
        ({"quantity": Decimal(2)}, "quantity, amount"),
        ({"currency": "EUR"}, "currency"),
        ({"name": "Set-up"}, "name"),
        ({"period": Period(day(1, 1), day(1, 2))}, "during"),
    ],
)
def test_a_source_with_other_terms_is_refused(
    acme: Organization, change: dict[str, Any], named: str
) -> None:
    new = NewCharge(name="Setup", unit_amount=Decimal("99.50"), source="order 7")
    with rls.tenant_scope(acme.pk):
        services.add_charge(acme.pk, new=new, actor=STAFF, at=NOW)
        with pytest.raises(Conflict) as refused:
            services.add_charge(acme.pk, new=replace(new, **change), actor=STAFF, at=NOW)
        assert f"({named})" in refused.value.message
        assert Charge.objects.get().amount == 99_50


@pytest.mark.parametrize("days", [-1, 367, 10**9])
def test_an_invoice_is_due_within_a_year(acme: Organization, days: int) -> None:
    with pytest.raises(Invalid, match="0 to 366 days"):
        bill(add(acme, "5"), due_in_days=days)
    with rls.tenant_scope(acme.pk), pytest.raises(Invalid, match="0 to 366 days"):
        services.buy_credit(acme.pk, amount=Decimal(5), due_in_days=days, actor=STAFF, at=NOW)


@pytest.mark.parametrize("days", [0, 366])
def test_the_first_and_the_last_day_to_pay_count(acme: Organization, days: int) -> None:
    made = bill(add(acme, "5"), due_in_days=days)
    assert (made.due_at - made.issued_at).days == days


def test_credit_beyond_what_a_charge_may_be_is_not_sold(acme: Organization) -> None:
    with rls.tenant_scope(acme.pk), pytest.raises(Invalid) as refused:
        services.buy_credit(acme.pk, amount=Decimal(10) ** 17, actor=STAFF, at=NOW)
    assert refused.value.param == "amount"


def test_the_coupon_of_a_subscription_comes_off_its_own_charges_only(acme: Organization) -> None:
    shop.coupon("half", 50)
    facts = shop.buy(acme, "basic", day(6, 1))
    with rls.tenant_scope(acme.pk):
        subscriptions.apply_discount(
            acme.pk, code="half", subscription_id=facts.public_id, actor=STAFF, at=day(6, 1)
        )
    assert bill(add(acme, "100")).total == 100_00
    assert bill(add(acme, "100", subscription=facts.public_id)).total == 50_00
