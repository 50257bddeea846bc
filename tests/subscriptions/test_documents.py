"""The table of behaviours in docs/algorithms/invoicing.md, told by services and bills."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from apps.core import rls
from apps.invoicing import books
from apps.invoicing import services as invoicing
from apps.plans import selectors as plans
from apps.subscriptions import services
from apps.subscriptions.changes import AddItem, Behaviour, ChangePlan, ChangeQuantity, Wish
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.invoicing import world
from tests.invoicing.world import day
from tests.subscriptions import desk

FILE = Path(__file__).parents[2] / "docs" / "algorithms" / "invoicing.md"
DAYS = (day(6, 16), day(7, 1), day(7, 16))
WISHES: dict[str, Callable[[], Wish]] = {
    "5 seats": lambda: ChangeQuantity(Decimal(5)),
    "0 seats": lambda: ChangeQuantity(Decimal(0)),
    "support added": lambda: AddItem(plans.current_version("support").public_id),
    "by the year": lambda: ChangePlan(plans.current_version("yearly").public_id),
}


def rows() -> list[list[str]]:
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in FILE.read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    return [row for row in cells if row[0] in WISHES]


def test_the_table_has_rows_for_every_wish() -> None:
    assert {row[0] for row in rows()} == WISHES.keys()


@pytest.mark.parametrize("row", rows(), ids=lambda row: " ".join(row[:2]))
def test_a_change_costs_what_the_table_says(organization: Organization, row: list[str]) -> None:
    desk.load()
    facts = desk.subscribed(organization)
    behaviour = Behaviour(row[1])
    with rls.tenant_scope(organization.pk):
        services.change(
            facts.public_id, wish=WISHES[row[0]](), behaviour=behaviour, actor=STAFF, at=DAYS[0]
        )
        if behaviour is Behaviour.NOW:
            invoicing.bill_waiting(facts.id, actor=STAFF, at=DAYS[0])
    desk.bill(DAYS[-1])
    billed = {invoice.issued_at: invoice.total for invoice in world.invoices(organization)[1:]}
    expected = {
        moment: int(Decimal(cell) * 100)
        for moment, cell in zip(DAYS, row[2:], strict=True)
        if cell != "–"
    }
    assert billed == expected
    assert books.verify().hold
