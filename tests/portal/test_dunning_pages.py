"""What customers see of an invoice that is not paid: on every page, and on its own."""

from __future__ import annotations

from datetime import datetime

import pytest

from apps.core import clock, rls
from apps.dunning import selectors, services
from tests.conftest import STAFF
from tests.invoicing.world import day
from tests.portal import world
from tests.portal.conftest import signed_in
from tests.portal.test_money_pages import text
from tests.portal.world import Customer

# CH-000002 of 1 December is due on the 15th.
NUMBER = "CH-000002"


def ask(at: datetime) -> None:
    done = services.run_dunning(actor=STAFF, at=at)
    assert not done.failed, done.failed


@pytest.fixture
def late(acme: Customer) -> Customer:
    ask(day(12, 16, 9, year=2023))
    return acme


def page(customer: Customer, path: str, role: str = "OWNER") -> str:
    with clock.frozen(day(12, 16, 12, year=2023)):
        return text(signed_in(customer.users[role]), path)


@pytest.mark.parametrize("path", ["", "usage/", "team/", "security/"])
def test_what_is_past_due_stands_on_every_page(late: Customer, path: str) -> None:
    shown = page(late, path)
    assert f"for invoice {NUMBER} were due on 15 Dec 2023 and are not paid yet." in shown
    assert "Without payment, access ends on 5 Jan 2024, 09:00 UTC." in shown
    assert "See the invoice" in shown


def test_who_sees_no_amounts_is_told_without_them(late: Customer) -> None:
    shown = page(late, "", role="MEMBER")
    assert "An invoice is not paid: whoever manages billing can pay it." in shown
    assert "Without payment, access ends on 5 Jan 2024, 09:00 UTC." in shown
    assert NUMBER not in shown


def test_nobody_is_told_before_anything_has_come_of_it(acme: Customer) -> None:
    assert "is not paid" not in page(acme, "")


def test_the_invoice_says_what_comes_next(late: Customer) -> None:
    shown = page(late, f"invoices/{NUMBER}/")
    assert "22 Dec 2023, 09:00: a reminder by e-mail" in shown
    assert "5 Jan 2024, 09:00: access ends" in shown


def test_a_pause_is_said_instead(late: Customer) -> None:
    owner = late.organization.pk
    with rls.tenant_scope(owner):
        run = selectors.runs(owner)[0]
        services.pause_run(
            run.public_id, reason="pays on the 20th", until=day(12, 20, year=2023),
            actor=STAFF, at=day(12, 16, 10, year=2023),
        )  # fmt: skip
    assert "No reminder comes before 20 Dec 2023." in page(late, f"invoices/{NUMBER}/")


def test_what_is_paid_is_said_no_more(late: Customer) -> None:
    with rls.tenant_scope(late.organization.pk):
        due = selectors.notice(late.organization.pk, at=day(12, 16, year=2023))
        assert due is not None
        amount = due.invoice.amount_due
    world.pay(due.run.number, f"{amount // 100}.{amount % 100:02}")
    ask(day(12, 23, 9, year=2023))
    assert "not paid yet" not in page(late, "")
