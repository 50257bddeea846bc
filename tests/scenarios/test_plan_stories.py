"""Stories of plans: better ones, smaller ones, years with a leap day, moving house."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from apps.core import rls
from apps.invoicing import books
from apps.subscriptions import services as subscriptions
from apps.subscriptions.services import Behaviour
from apps.tenants import services as tenants
from tests.conftest import STAFF
from tests.invoicing.world import day
from tests.scenarios import shop


@pytest.fixture(autouse=True)
def _shop(db: None) -> None:
    shop.open_shop()


def test_an_upgrade_in_the_middle_of_june() -> None:
    acme = shop.customer("acme")
    facts = shop.buy(acme, "basic", day(6, 1))
    shop.bill(day(6, 1))
    with rls.tenant_scope(acme.pk):
        subscriptions.change_plan(facts.public_id, plan="pro", actor=STAFF, at=day(6, 16))
    shop.bill(day(7, 1))
    june, july = shop.invoices(acme)
    assert june.total == 20_00
    # 15 of 30 days are left: half of 20.00 comes back, half of 50.00 is owed, and 50.00 for July
    assert shop.lines(july) == [
        ("base ended", -10_00),
        ("base recurring", 50_00),
        ("base started", 25_00),
    ]
    assert july.total == 65_00
    assert books.verify().hold


def test_a_downgrade_waits_for_the_next_period() -> None:
    acme = shop.customer("acme")
    facts = shop.buy(acme, "pro", day(6, 1))
    shop.bill(day(6, 1))
    with rls.tenant_scope(acme.pk):
        subscriptions.change_plan(
            facts.public_id,
            plan="basic",
            behaviour=Behaviour.NEXT_PERIOD,
            actor=STAFF,
            at=day(6, 11),
        )
    shop.bill(day(7, 1))
    # June was paid for and is used up; July costs what basic costs
    assert [document.total for document in shop.invoices(acme)] == [50_00, 20_00]
    assert books.verify().hold


def test_who_changes_again_before_the_bill_is_made_changes_what_came_before() -> None:
    acme = shop.customer("acme")
    facts = shop.buy(acme, "pro", day(6, 1))
    shop.bill(day(6, 1))
    with rls.tenant_scope(acme.pk):
        subscriptions.change_plan(
            facts.public_id,
            plan="basic",
            behaviour=Behaviour.NEXT_PERIOD,
            actor=STAFF,
            at=day(6, 10),
        )
        # 1 July has passed, and its invoice is not made yet
        subscriptions.change_plan(facts.public_id, plan="metered", actor=STAFF, at=day(7, 3))
    shop.bill(day(8, 1))
    # July began as basic; 29 of its 31 days come back (18.71) and are owed for the other plan
    june, july, august = shop.invoices(acme)
    assert (june.total, july.total) == (50_00, 20_00)
    assert shop.lines(august) == [
        ("base ended", -18_71),
        ("base recurring", 20_00),
        ("base started", 18_71),
        ("calls usage", 0),
    ]
    assert books.verify().hold


def test_a_downgrade_at_once_is_credit_that_pays_the_next_months() -> None:
    acme = shop.customer("acme")
    facts = shop.buy(acme, "pro", day(6, 1))
    shop.bill(day(6, 1))
    with rls.tenant_scope(acme.pk):
        subscriptions.change_plan(
            facts.public_id, plan="basic", behaviour=Behaviour.RESET, actor=STAFF, at=day(6, 4)
        )
    shop.bill(day(8, 4))
    # 27 of 30 days of 50.00 come back, 45.00; basic begins anew with 20.00: 25.00 stay as credit,
    # which pays all of 4 July and the first 5.00 of 4 August
    sums = [(d.issued_at, d.subtotal, d.total) for d in shop.invoices(acme)]
    assert sums == [
        (day(6, 1), 50_00, 50_00),
        (day(6, 4), -25_00, 0),
        (day(7, 4), 20_00, 0),
        (day(8, 4), 20_00, 15_00),
    ]
    assert books.verify().hold


def test_a_year_that_begins_on_a_leap_day_comes_back_to_it() -> None:
    acme = shop.customer("acme")
    shop.buy(acme, "yearly", day(2, 29, year=2020))
    shop.bill(day(3, 1, year=2024))
    documents = shop.invoices(acme)
    assert [f"{document.issued_at:%Y-%m-%d}" for document in documents] == [
        "2020-02-29",
        "2021-02-28",
        "2022-02-28",
        "2023-02-28",
        "2024-02-29",
    ]
    assert {document.total for document in documents} == {366_00}


def test_a_year_over_a_leap_day_has_366_days() -> None:
    acme = shop.customer("acme")
    facts = shop.buy(acme, "yearly", day(3, 1, year=2023))
    shop.bill(day(3, 1, year=2023))
    with rls.tenant_scope(acme.pk):
        subscriptions.cancel(facts.public_id, when="now", actor=STAFF, at=day(2, 20, year=2024))
    shop.bill(day(2, 20, year=2024))
    # 10 of 366 days are left, the 29th of February among them: 10.00 of 366.00
    first, last = shop.invoices(acme)
    assert (first.total, last.subtotal) == (366_00, -10_00)
    assert books.verify().hold


def test_who_moves_keeps_the_clock_of_the_agreement() -> None:
    new_york, berlin = ZoneInfo("America/New_York"), ZoneInfo("Europe/Berlin")
    acme = shop.customer("acme", timezone="America/New_York")
    facts = shop.buy(acme, "basic", datetime(2026, 3, 1, tzinfo=new_york))
    with rls.ops_scope("story: a move"):
        tenants.update_organization(
            acme.pk, changes={"timezone": "Europe/Berlin"}, actor=STAFF, at=day(3, 5)
        )
    shop.bill(day(4, 2))
    # clocks went forward on 8 March: midnight in New York is 04:00 in UTC from then on
    assert [document.issued_at.astimezone(UTC) for document in shop.invoices(acme)] == [
        day(3, 1, 5),
        day(4, 1, 4),
    ]
    with rls.tenant_scope(acme.pk):
        subscriptions.cancel(facts.public_id, when="now", actor=STAFF, at=day(4, 10))
    shop.bill(day(4, 10))
    # what is bought after the move keeps the new clock; Berlin is at UTC+2 until 25 October
    again = shop.buy(acme, "basic", datetime(2026, 4, 15, tzinfo=berlin))
    assert again.timezone == "Europe/Berlin"
    assert again.agreement.cycle.boundary(1) == day(5, 14, 22)
    assert again.agreement.cycle.boundary(7) == day(11, 14, 23)
    assert books.verify().hold


def test_31_january_is_the_last_of_every_month() -> None:
    acme = shop.customer("acme")
    facts = shop.buy(acme, "basic", day(1, 31))
    shop.bill(day(2, 1))
    with rls.tenant_scope(acme.pk):
        # 14 of the 28 days from 31 January to 28 February are left: −10.00 and 25.00
        subscriptions.change_plan(facts.public_id, plan="pro", actor=STAFF, at=day(2, 14))
    shop.bill(day(5, 31))
    told = [(f"{d.issued_at:%m-%d}", d.total) for d in shop.invoices(acme)]
    assert told == [
        ("01-31", 20_00),
        ("02-28", 65_00),
        ("03-31", 50_00),
        ("04-30", 50_00),
        ("05-31", 50_00),
    ]
    assert books.verify().hold
