"""The exported ledger is the ledger."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest

from apps.core import rls
from apps.core.errors import Invalid
from apps.engine.money import Money
from apps.engine.recognition import Month
from apps.invoicing import general_ledger, selectors, services
from apps.payments import services as payments
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.invoicing import world
from tests.invoicing.world import day


@pytest.fixture
def booked(organization: Organization) -> Organization:
    """Two months, a payment, a recognized month."""
    world.load()
    world.subscribe(organization, start=day(1, 1), at=day(1, 1))
    world.bill(day(1, 1), at=day(1, 1))
    world.bill(day(2, 1), at=day(2, 1))
    with rls.tenant_scope(organization.pk):
        payments.record_payment(
            "CH-000001", amount=Decimal(20), reference="B-1", actor=STAFF, at=day(2, 3)
        )
    services.recognize_revenue(Month(2026, 1), actor=STAFF, at=day(2, 4))
    return organization


def test_an_export_sums_to_the_ledger(booked: Organization) -> None:
    sums: Counter[str] = Counter()
    for one in general_ledger.postings():
        sums[one.account] += one.debit.minor if one.debit else 0
        sums[one.account] -= one.credit.minor if one.credit else 0
    with rls.tenant_scope(booked.pk):
        balances = selectors.balances(booked.pk)
    assert sums == {general_ledger.CODES[account]: sum_ for (account, _), sum_ in balances.items()}
    assert sums.total() == 0
    assert sums == {"1200": 80_00, "1000": 20_00, "4000": -50_00, "2400": -50_00}


def test_a_span_of_time_has_what_was_booked_in_it(booked: Organization) -> None:
    found = list(general_ledger.postings(day(1, 15), day(2, 1)))
    assert [(str(one.day), one.kind, one.account, one.cells()[5:7]) for one in found] == [
        ("2026-01-31", "recognized 2026-01", "2400", ("50.00", "")),
        ("2026-01-31", "recognized 2026-01", "4000", ("", "50.00")),
    ]
    assert found[0].debit == Money(50_00, "USD")


def test_accounts_have_the_codes_that_are_said(booked: Organization) -> None:
    accounts = general_ledger.codes({"revenue": "8400"})
    found = {one.account for one in general_ledger.postings(accounts=accounts)}
    assert found == {"1200", "1000", "8400", "2400"}
    with pytest.raises(Invalid):
        general_ledger.codes({"petty_cash": "1"})


def test_one_organizations_export_has_nobody_elses(
    booked: Organization, other_organization: Organization
) -> None:
    assert not list(general_ledger.postings(organization_id=other_organization.pk))
    assert list(general_ledger.postings(organization_id=booked.pk))
