"""Progressive billing: thresholds within a period, and what is left at its end."""

from __future__ import annotations

import pytest

from apps.core import rls
from apps.invoicing import books, services
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.tenants.models import Organization
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


def test_two_watchers_bill_a_threshold_once(acme: Organization) -> None:
    shop.call(acme, day(6, 2), 15, at=day(6, 3))
    world.roll_up()
    made = at_once(2, lambda: services.bill_thresholds(actor=STAFF, at=day(6, 3)))
    assert sorted(len(found) for found in made) == [0, 1]
    assert books.verify().hold
