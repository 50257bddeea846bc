"""Revenue is earned while it is served, month by month, and the ledger says so to the cent."""

from __future__ import annotations

from decimal import Decimal

import pytest

from apps.core import rls
from apps.core.errors import Invalid
from apps.engine.recognition import Month
from apps.invoicing import books, selectors, services
from apps.invoicing.models import LedgerTransaction
from apps.invoicing.recognition import Earned, revenue_schedule
from apps.tenants.models import Organization
from tests.conftest import STAFF, make_organization
from tests.invoicing import world
from tests.invoicing.world import day
from tests.races import at_once

JANUARY, FEBRUARY, MARCH = Month(2026, 1), Month(2026, 2), Month(2026, 3)


@pytest.fixture
def yearly(organization: Organization) -> Organization:
    """1,200.00 for 2026, issued as the year begins."""
    world.load()
    world.subscribe(
        organization, "bespoke", start=day(1, 1), at=day(1, 1), agreed={"base": Decimal(1200)}
    )
    world.bill(day(1, 1), at=day(1, 1))
    return organization


def balances(organization: Organization) -> dict[str, int]:
    with rls.tenant_scope(organization.pk):
        found = selectors.balances(organization.pk)
    return {account: amount for (account, _), amount in found.items() if amount}


def recognize(month: Month) -> int:
    done = services.recognize_revenue(month, actor=STAFF, at=day(6, 15))
    return done.totals["USD"]


def test_what_is_billed_ahead_is_deferred(yearly: Organization) -> None:
    assert balances(yearly) == {"receivable": 1200_00, "deferred_revenue": -1200_00}
    assert books.verify().findings == ()


def test_what_is_issued_in_the_middle_defers_the_rest(organization: Organization) -> None:
    world.load()
    world.subscribe(organization, start=day(1, 1), at=day(1, 1))
    world.bill(day(1, 1), at=day(1, 11))
    # 10 of 31 days are over: 50.00 × 10/31 = 16.13
    assert balances(organization) == {
        "receivable": 50_00,
        "revenue": -16_13,
        "deferred_revenue": -33_87,
    }
    assert books.verify().findings == ()


def test_months_are_differences_of_running_totals(yearly: Organization) -> None:
    # 1200.00 × 31/365 = 101.92; × 59/365 = 193.97; × 90/365 = 295.89
    assert [recognize(JANUARY), recognize(FEBRUARY), recognize(MARCH)] == [101_92, 92_05, 101_92]
    assert balances(yearly)["revenue"] == -295_89
    assert balances(yearly)["deferred_revenue"] == -904_11
    assert books.verify().findings == ()


def test_a_month_is_booked_once_and_a_missed_one_with_the_next(yearly: Organization) -> None:
    assert recognize(FEBRUARY) == 101_92 + 92_05
    assert recognize(FEBRUARY) == recognize(JANUARY) == 0
    with rls.tenant_scope(yearly.pk):
        booked = LedgerTransaction.objects.filter(kind__startswith="recognized").order_by("id")
        dates = [(row.kind, row.at.date().isoformat()) for row in booked]
    assert dates == [("recognized 2026-01", "2026-01-31"), ("recognized 2026-02", "2026-02-28")]


def test_a_month_that_is_not_over_earns_nothing(yearly: Organization) -> None:
    with pytest.raises(Invalid):
        recognize(Month(2026, 6))
    assert balances(yearly) == {"receivable": 1200_00, "deferred_revenue": -1200_00}


def test_a_void_invoice_takes_back_what_it_earned(yearly: Organization) -> None:
    recognize(JANUARY)
    with rls.tenant_scope(yearly.pk):
        services.void_invoice("CH-000001", reason="wrong", actor=STAFF, at=day(2, 1))
    assert balances(yearly) == {}
    assert recognize(FEBRUARY) == 0
    assert books.verify().findings == ()


def test_a_credit_note_ends_what_is_deferred_in_its_month(yearly: Organization) -> None:
    recognize(JANUARY)
    with rls.tenant_scope(yearly.pk):
        services.issue_credit_note(
            "CH-000001", reason="order_cancellation", actor=STAFF, at=day(2, 10)
        )
    # The note lowers revenue by 1,200.00; the month's end releases the 1,098.08 still deferred.
    assert recognize(FEBRUARY) == 1098_08
    assert balances(yearly) == {}
    assert books.verify().findings == ()


def test_half_a_credit_note_leaves_half_a_schedule(yearly: Organization) -> None:
    with rls.tenant_scope(yearly.pk):
        services.issue_credit_note(
            "CH-000001", reason="other", total=Decimal(600), actor=STAFF, at=day(1, 10)
        )
    # 600.00 × 31/365 = 50.96 earned of what is left
    assert recognize(JANUARY) == 1200_00 - (600_00 - 50_96)
    assert balances(yearly)["revenue"] == -50_96
    assert books.verify().findings == ()


def test_usage_is_earned_when_it_is_billed(organization: Organization) -> None:
    world.load()
    world.subscribe(organization, start=day(1, 1), at=day(1, 1))
    world.use(organization, *world.hourly(day(1, 5), 30))
    world.bill(day(2, 1), at=day(2, 1))
    assert balances(organization)["deferred_revenue"] == -50_00
    assert balances(organization)["revenue"] == -52_80


def test_the_schedule_tells_what_each_month_earns_and_leaves(yearly: Organization) -> None:
    assert revenue_schedule(JANUARY, MARCH, organization_id=yearly.pk) == [
        Earned("USD", JANUARY, 101_92, 1098_08),
        Earned("USD", FEBRUARY, 92_05, 1006_03),
        Earned("USD", MARCH, 101_92, 904_11),
    ]


def test_two_runs_at_once_earn_a_month_once(committed_db: str) -> None:
    world.load()
    organization = make_organization("acme")
    world.subscribe(organization, start=day(1, 1), at=day(1, 1))
    world.bill(day(1, 1), at=day(1, 1))
    assert sorted(at_once(2, lambda: recognize(JANUARY))) == [0, 50_00]
    assert balances(organization) == {"receivable": 50_00, "revenue": -50_00}
