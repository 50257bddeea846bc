"""Progressive billing: thresholds within a period, and what is left at its end."""

from __future__ import annotations

from decimal import Decimal

import pytest

from apps.core import rls
from apps.invoicing import books, selectors, services
from apps.invoicing.outlook import outlook
from apps.invoicing.so_far import usage_so_far
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.plans.offers import CouponRules
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions import services as agreements
from apps.tenants import services as tenants
from apps.tenants.models import Organization
from apps.usage import services as usage
from tests.conftest import STAFF
from tests.invoicing import world
from tests.invoicing.world import day
from tests.races import at_once
from tests.scenarios import shop

CATALOG = """\
currency: USD
applications: [{slug: shop, name: Shop}]
meters: [{key: calls, event_type: call, aggregation: count}]
plans:
  - code: stepped
    application: shop
    name: Stepped
    interval: month
    thresholds: {USD: {amounts: ["10.00"], step: "20.00"}}
    prices:
      - {key: base, type: flat, amount: "5.00"}
      - {key: calls, type: metered, meter: calls, model: per_unit, unit_amount: "1.00"}
"""


@pytest.fixture
def acme(committed_db: str) -> Organization:
    with rls.ops_scope("test: a plan with thresholds"):
        plans.load_catalog(parse_catalog(CATALOG, source="stepped"), actor=STAFF, at=shop.OPENED)
    row = shop.customer("acme")
    shop.buy(row, "stepped", day(6, 1))
    shop.bill(day(6, 1))
    return row


def passed(month: int, number: int) -> list[int]:
    made = services.bill_thresholds(actor=STAFF, at=day(month, number))
    return [row.total for row in made]


def test_usage_is_billed_when_it_passes_a_threshold(acme: Organization) -> None:
    shop.call(acme, day(6, 2), 9, at=day(6, 3))
    assert passed(6, 3) == []
    shop.call(acme, day(6, 4), 3, at=day(6, 5))
    # 12.00 have passed 10.00, and all of it is billed
    assert passed(6, 5) == [12_00]
    assert passed(6, 5) == []
    shop.call(acme, day(6, 6), 20, at=day(6, 7))
    # 32.00 have passed 10.00 + 20.00; 12.00 of it are billed
    assert passed(6, 7) == [20_00]
    shop.call(acme, day(6, 8), 4, at=day(6, 9))
    shop.bill(day(7, 1))
    # 36 calls of June, 32 of which are billed, and July's base
    assert [document.total for document in shop.invoices(acme)] == [5_00, 12_00, 20_00, 9_00]
    assert books.verify().hold


def test_usage_billed_before_its_item_came_to_an_end_is_still_proven(acme: Organization) -> None:
    shop.call(acme, day(6, 2), 12, at=day(6, 3))
    assert passed(6, 5) == [12_00]
    with rls.tenant_scope(acme.pk):
        (facts,) = subscriptions.of_organization(acme.pk)
        agreements.cancel(facts.public_id, when="now", actor=STAFF, at=day(6, 11))
    shop.bill(day(6, 11))
    # the 12 calls of June are billed, and two thirds of its base come back: −3.33
    assert shop.invoices(acme)[-1].credits_total == -3_33
    assert books.verify().hold


def test_usage_taken_back_is_given_back_at_what_was_paid_for_it(acme: Organization) -> None:
    shop.coupon("tenth", 10)
    with rls.tenant_scope(acme.pk):
        agreements.apply_discount(acme.pk, code="tenth", actor=STAFF, at=day(6, 2))
    shop.call(acme, day(6, 2), 12, at=day(6, 3))
    # 12.00 less a tenth
    assert passed(6, 5) == [10_80]
    take_back(acme, 12, of=12)
    shop.bill(day(7, 1))
    # July's base less a tenth is 4.50; of June's 10.80 nothing was used, so 6.30 are kept
    document = shop.invoices(acme)[-1]
    assert [one.amount for one in document.credits] == [-6_30]
    assert sorted(line.amount for line in document.lines) == [-10_80, 5_00]
    assert books.verify().findings == ()


def test_a_discount_is_no_part_of_what_was_billed_under_way(acme: Organization) -> None:
    shop.coupon("tenth", 10)
    with rls.tenant_scope(acme.pk):
        agreements.apply_discount(acme.pk, code="tenth", actor=STAFF, at=day(6, 2))
    shop.call(acme, day(6, 2), 12, at=day(6, 3))
    passed(6, 5)
    shop.call(acme, day(6, 6), 3, at=day(6, 7))
    with rls.tenant_scope(acme.pk):
        [facts] = subscriptions.of_organization(acme.pk, live=True)
        [calls] = outlook(facts, at=day(6, 8)).items
        [so_far] = usage_so_far([facts], at=day(6, 8))
        # 15.00, 12.00 of which are billed, less a tenth
        assert (calls.gauge.amount, calls.billed) == (15_00, 12_00)
        assert (so_far.cost().amount, so_far.unbilled()) == (15_00, 3_00)


def test_what_is_used_again_after_it_was_given_back_costs_what_it_did(acme: Organization) -> None:
    shop.coupon("tenth", 10)
    with rls.tenant_scope(acme.pk):
        agreements.apply_discount(acme.pk, code="tenth", actor=STAFF, at=day(6, 2))
    shop.call(acme, day(6, 2), 12, at=day(6, 3))
    passed(6, 5)
    take_back(acme, 12, of=12)
    shop.bill(day(7, 1))
    shop.call(acme, day(6, 20), 5, at=day(7, 2))
    services.heal_usage(actor=STAFF, at=day(7, 3))
    shop.bill(day(8, 1))
    # 5 calls of June less a tenth and August's base less a tenth
    assert shop.invoices(acme)[-1].subtotal == 4_50 + 5_00
    assert books.verify().findings == ()


def test_a_minimum_waits_for_the_end_of_the_period(committed_db: str) -> None:
    catalog = CATALOG.replace('"1.00"}', '"1.00", minimum_amount: "50.00"}')
    with rls.ops_scope("test: a plan with a minimum"):
        plans.load_catalog(parse_catalog(catalog, source="stepped"), actor=STAFF, at=shop.OPENED)
    row = shop.customer("acme")
    shop.buy(row, "stepped", day(6, 1))
    shop.bill(day(6, 1))
    shop.call(row, day(6, 2), 12, at=day(6, 3))
    assert passed(6, 5) == [12_00]
    shop.bill(day(7, 1))
    # what 50.00 lack beyond the 12.00, and July's base
    assert shop.invoices(row)[-1].total == 38_00 + 5_00
    assert books.verify().findings == ()


def take_back(organization: Organization, count: int, *, of: int) -> None:
    """Void the first calls of a series of so many."""
    for minute in range(count):
        with rls.tenant_scope(organization.pk):
            usage.void_event(
                organization.pk,
                event=f"060200{minute:02}-{of}",
                source="shop",
                actor=STAFF,
                at=day(6, 6),
            )


def test_two_watchers_bill_a_threshold_once(acme: Organization) -> None:
    shop.call(acme, day(6, 2), 15, at=day(6, 3))
    world.roll_up()
    made = at_once(2, lambda: services.bill_thresholds(actor=STAFF, at=day(6, 3)))
    assert sorted(len(found) for found in made) == [0, 1]
    assert books.verify().hold


def hold(row: Organization) -> None:
    with rls.ops_scope("test: review"):
        tenants.change_billing_terms(
            row.pk, changes={"invoice_hold": True}, actor=STAFF, at=day(6, 1)
        )


def held(row: Organization) -> str:
    with rls.tenant_scope(row.pk):
        return selectors.latest(row.pk, draft=True).public_id


def test_a_held_draft_over_a_threshold_counts_usage_anew(acme: Organization) -> None:
    hold(acme)
    shop.call(acme, day(6, 2), 12, at=day(6, 3))
    services.bill_thresholds(actor=STAFF, at=day(6, 5))
    reference = held(acme)
    shop.call(acme, day(6, 6), 5, at=day(6, 7))
    with rls.tenant_scope(acme.pk):
        row = services.refresh_draft(reference, actor=STAFF, at=day(6, 8))
        assert row is not None
        assert (row.kind, row.total) == ("progressive", 17_00)
        services.approve_invoice(reference, reason="Fine.", actor=STAFF, at=day(6, 8))
    shop.call(acme, day(6, 9), 4, at=day(6, 9))
    shop.bill(day(7, 1))
    # 21 calls of June, 17 of which are billed, and July's base
    assert shop.invoices(acme)[-1].total == 9_00
    assert books.verify().hold


def test_an_earlier_draft_bills_what_a_later_one_leaves(acme: Organization) -> None:
    hold(acme)
    shop.call(acme, day(6, 2), 12, at=day(6, 3))
    services.bill_thresholds(actor=STAFF, at=day(6, 5))
    first = held(acme)
    shop.call(acme, day(6, 6), 20, at=day(6, 7))
    services.bill_thresholds(actor=STAFF, at=day(6, 7))
    assert held(acme) != first
    shop.call(acme, day(6, 8), 1, at=day(6, 9))
    with rls.tenant_scope(acme.pk):
        row = services.refresh_draft(first, actor=STAFF, at=day(6, 9))
    # 33 calls, 20 of which the other draft bills
    assert row is not None
    assert row.total == 13_00


def test_a_draft_over_a_threshold_stands_once_its_period_is_billed(acme: Organization) -> None:
    hold(acme)
    shop.call(acme, day(6, 2), 12, at=day(6, 3))
    services.bill_thresholds(actor=STAFF, at=day(6, 5))
    reference = held(acme)
    shop.call(acme, day(6, 6), 5, at=day(6, 7))
    shop.bill(day(7, 1))
    with rls.tenant_scope(acme.pk):
        row = services.refresh_draft(reference, actor=STAFF, at=day(7, 2))
    assert row is not None
    assert row.total == 12_00


def usage_amounts(organization: Organization) -> list[int]:
    """What the latest invoice says of calls: whatever comes to something."""
    lines = shop.invoices(organization)[-1].lines
    return [line.amount for line in lines if line.key == "calls" and line.amount]


def test_what_a_note_gave_back_already_is_not_given_back_again(acme: Organization) -> None:
    shop.call(acme, day(6, 2), 12, at=day(6, 3))
    assert passed(6, 5) == [12_00]
    with rls.tenant_scope(acme.pk):
        number = str(shop.invoices(acme)[-1].number)
        services.issue_credit_note(
            number, reason="other", total=Decimal("9.00"), actor=STAFF, at=day(6, 5)
        )
    take_back(acme, 12, of=12)
    shop.bill(day(7, 1))
    # 12.00 were billed, 9.00 of it credited: the period comes to nothing, and 3.00 are left
    assert usage_amounts(acme) == [-3_00]
    assert books.verify().findings == ()


def test_what_is_below_the_thresholds_goes_back_as_they_left_it(acme: Organization) -> None:
    with rls.ops_scope("test: a coupon for one invoice"):
        half = CouponRules(code="half", name="Half", percent=Decimal(50))
        plans.define_coupon(half, actor=STAFF, at=shop.OPENED)
    with rls.tenant_scope(acme.pk):
        agreements.apply_discount(acme.pk, code="half", actor=STAFF, at=day(6, 2))
    shop.call(acme, day(6, 2), 12, at=day(6, 3))
    assert passed(6, 5) == [6_00]
    shop.call(acme, day(6, 7), 2, at=day(6, 8))
    shop.bill(day(7, 1))
    assert usage_amounts(acme) == [2_00]
    take_back(acme, 12, of=12)
    services.heal_usage(actor=STAFF, at=day(7, 3))
    shop.bill(day(8, 1))
    # 2 calls at half of 1.00 are left of what 6.00 and 2.00 paid: 1.00 - 8.00
    assert usage_amounts(acme) == [-7_00]
    assert books.verify().findings == ()
