"""What staff do with drafts, charges and invoices that nobody pays."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from apps.core import rls
from apps.invoicing.models import Charge, Invoice
from apps.tenants import services as tenants
from tests.backoffice.pages import acts, again, page, post, rows, text, url
from tests.conftest import STAFF
from tests.worlds import NOW, World


@pytest.fixture
def row(draft: str) -> Any:
    """The draft over 50_00 of the world."""
    return next(one for one in rows(Invoice) if one.public_id == draft)


def open_invoice(world: World) -> Any:
    return next(one for one in rows(Invoice) if one.public_id == world.second_invoice)


def test_a_draft_is_held_with_a_reason_and_approved_with_another(finance: Client, row: Any) -> None:
    assert post(finance, page(row, "hold"), reason="").status_code == 400
    assert post(finance, page(row, "hold"), reason="usage looks odd").status_code == 302
    shown = finance.get(page(row))
    assert "usage looks odd" in text(shown)
    assert {act["title"] for act in shown.context["actions_detail"]} == {
        "Approve", "Draft", "Files",
    }  # fmt: skip
    assert finance.get(page(row, "finalize")).status_code == 409
    assert "usage looks odd" in text(finance.get(page(row, "approve")))
    assert post(finance, page(row, "approve"), reason="checked").status_code == 302
    done = again(row)
    assert (done.status, done.approval_reason) == ("open", "checked")
    assert {"invoice.held", "invoice.approved"} <= {action for _, action, _ in acts()}


def test_what_nobody_holds_is_not_approved(finance: Client, row: Any) -> None:
    assert "It waits for nobody" in text(finance.get(page(row, "approve")))
    assert post(finance, page(row, "approve"), reason="why not").status_code == 409


def test_held_drafts_have_a_tab_of_their_own(finance: Client, row: Any) -> None:
    post(finance, page(row, "hold"), reason="usage looks odd")
    answer = finance.get(url(Invoice), {"show": "held"})
    assert [one.pk for one in answer.context["cl"].result_list] == [row.pk]
    tabs = {tab.title: tab.count for tab in answer.context["tabs"]}
    assert (tabs["Held"], tabs["Draft"], tabs["All"]) == (1, 1, 3)
    assert "In grace" not in tabs


def test_a_draft_is_computed_anew_with_what_came_since(finance: Client, row: Any) -> None:
    with rls.ops_scope("test"):
        tenants.lock(row.organization_id)
    assert post(finance, page(row, "refresh")).status_code == 302
    assert again(row).total == row.total


def test_a_discarded_draft_is_gone_and_its_page_with_it(finance: Client, row: Any) -> None:
    answer = post(finance, page(row, "discard"), reason="billed elsewhere")
    assert answer["Location"] == url(Invoice)
    assert finance.get(page(row)).status_code == 404
    assert ("staff", "invoice.discarded", row.public_id) in acts()


def test_a_final_invoice_is_no_draft_any_more(finance: Client, world: World) -> None:
    final = open_invoice(world)
    for act in ("approve", "hold", "refresh", "discard"):
        assert finance.get(page(final, act)).status_code == 409, act
        assert post(finance, page(final, act), reason="x").status_code == 409, act
    assert again(final).status == "open"


def test_what_nobody_will_pay_is_written_off(finance: Client, world: World) -> None:
    final = open_invoice(world)
    assert post(finance, page(final, "uncollectible"), reason="").status_code == 400
    assert post(finance, page(final, "uncollectible"), reason="insolvent").status_code == 302
    done = again(final)
    assert (done.status, done.written_off) == ("uncollectible", 54_51)
    assert "insolvent" in text(finance.get(page(final)))


def test_why_there_is_no_xml_is_said(support: Client, world: World) -> None:
    answer = support.get(page(open_invoice(world), "xml"))
    assert answer.status_code == 409
    assert "The seller has no" in text(answer)


# --- charges ------------------------------------------------------------------------------------
CHARGE = {"organization": "acme", "name": "Training", "unit_amount": "475.00", "quantity": "2"}


def test_a_charge_waits_and_is_billed_from_its_page(finance: Client, world: World) -> None:
    assert post(finance, url(Charge, "add"), **CHARGE).status_code == 302
    [charge] = rows(Charge)
    assert (charge.amount, charge.currency) == (950_00, "USD")
    assert "waits" in text(finance.get(page(charge)))
    assert post(finance, page(charge, "bill")).status_code == 302
    [made] = [one for one in rows(Invoice) if one.kind == "one_off"]
    assert (made.total, made.status) == (950_00, "open")
    assert finance.get(page(charge, "withdraw")).status_code == 409
    assert "475 USD" in text(finance.get(page(made)))


def test_a_charge_is_withdrawn(finance: Client, world: World) -> None:
    post(finance, url(Charge, "add"), **CHARGE)
    [charge] = rows(Charge)
    assert post(finance, page(charge, "withdraw")).status_code == 302
    assert again(charge).withdrawn_at == NOW
    assert post(finance, page(charge, "bill")).status_code == 409


def test_a_charge_of_a_strangers_subscription_is_refused(finance: Client, world: World) -> None:
    with rls.ops_scope("test"):
        tenants.create_organization("globex", name="Globex", actor=STAFF, at=NOW)
    answers = {**CHARGE, "organization": "globex", "subscription": world.subscription.public_id}
    assert post(finance, url(Charge, "add"), **answers).status_code == 404
    assert not rows(Charge)


def test_a_line_finer_than_its_currency_is_refused(finance: Client, world: World) -> None:
    answers = {"organization": "acme", "lines": "Training day = 950.001"}
    refused = post(finance, url(Invoice, "create"), **answers)
    assert refused.status_code == 400
    assert "Training day" in text(refused)
    assert not rows(Charge)


def test_an_invoice_of_its_own_bills_its_lines_at_once(finance: Client, world: World) -> None:
    lines = "Training day = 950.00\n2 x Travel = 60.20"
    answers = {"organization": "acme", "lines": lines, "memo": "Order 7", "due_in_days": "30"}
    assert post(finance, url(Invoice, "create"), **answers).status_code == 302
    [made] = [one for one in rows(Invoice) if one.kind == "one_off"]
    assert (made.total, made.status, made.memo) == (1070_40, "open", "Order 7")
    assert (made.due_at - made.issued_at).days == 30


@pytest.mark.parametrize("line", ["Training", "Training=", "=5", "Training = lots", "Free = 0"])
def test_a_line_that_says_no_amount_is_refused(finance: Client, world: World, line: str) -> None:
    answers = {"organization": "acme", "lines": line}
    assert post(finance, url(Invoice, "create"), **answers).status_code == 400
    assert not rows(Charge)
    assert len(rows(Invoice)) == 2
