"""Drafts, charges, invoices of their own and thresholds, from the shell."""

from __future__ import annotations

from typing import Any

import pytest

from apps.core import rls
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from tests.commands.shell import run, run_json
from tests.conftest import STAFF
from tests.invoicing.world import day
from tests.subscriptions import desk


@pytest.fixture
def acme(db: None) -> str:
    """An organization on the small plan since today, not billed yet; its slug."""
    with rls.ops_scope("test: load the catalogue"):
        catalog = parse_catalog(desk.CATALOG, source="desk")
        plans.load_catalog(catalog, actor=STAFF, at=day(1, 1))
    run("create_organization", "acme", "--name", "Acme")
    run_json("subscribe", "acme", "small")
    return "acme"


@pytest.fixture
def draft(acme: str) -> str:
    """A draft of 30_00; its id."""
    [made] = run_json("bill_due", "--keep-drafts")["issued"]
    assert (made["number"], made["total"]) == (None, 30_00)
    return str(made["id"])


def shown(invoice: str) -> Any:
    return run_json("show_invoice", "acme", "--number", invoice)


def test_a_held_draft_goes_out_only_when_it_is_approved(draft: str) -> None:
    assert run("hold_invoice", draft, "--reason", "looks odd").code == 0
    assert (shown(draft)["status"], shown(draft)["hold_reason"]) == ("draft", "looks odd")
    refused = run("finalize_invoice", draft)
    assert (refused.code, "waits for approval: looks odd" in refused.err) == (1, True)
    approved = run("approve_invoice", draft, "--reason", "checked")
    assert "CH-000001 is approved and issued: 30.00 USD." in approved.err
    assert shown(draft)["status"] == "open"
    assert "is final already" in run("hold_invoice", draft, "--reason", "late").err


def test_what_a_refreshed_draft_comes_to_is_said(draft: str) -> None:
    assert "comes to 30.00 USD now" in run("refresh_draft", draft).err


def test_a_discarded_draft_is_gone(draft: str) -> None:
    assert run_json("discard_draft", draft, "--reason", "not yet") is None
    assert "There is no invoice" in run("show_invoice", "acme", "--number", draft).err


def test_a_run_says_who_is_held_and_why(acme: str) -> None:
    run("set_billing_terms", acme, "--hold")
    result = run("bill_due")
    assert "Every invoice of this customer is reviewed." in result.out
    assert "0 invoices, 1 held for review" in result.err


def test_a_run_says_what_is_in_grace(acme: str) -> None:
    terms = ("--name", "House", "--prefix", "CH", "--set", "grace_days=3")
    assert run("define_billing_entity", "default", *terms).code == 0
    result = run("bill_due")
    assert "In grace" in result.out
    assert "0 invoices, 1 draft" in result.err
    draft = run_json("show_invoice", acme, "--draft")
    assert (draft["total"], draft["hold_reason"]) == (30_00, None)
    assert draft["grace_until"] is not None


def test_an_open_invoice_is_given_up(draft: str) -> None:
    run("finalize_invoice", draft)
    assert "30.00 USD is written off" in run("mark_uncollectible", draft, "--reason", "broke").err
    assert shown(draft)["status"] == "uncollectible"


def test_charges_wait_for_the_next_invoice_or_are_billed_at_once(acme: str) -> None:
    charge = run_json("add_charge", acme, "Training", "475.00", "--quantity", "2")
    assert (charge["amount"], charge["currency"]) == (950_00, "USD")
    made = run_json("create_invoice", acme, "--charge", charge["id"], "--item", "Travel=120.40")
    assert (made["kind"], made["total"], made["status"]) == ("one_off", 1070_40, "open")
    assert "is billed already" in run("create_invoice", acme, "--charge", charge["id"]).err
    assert "stands on an invoice" in run("withdraw_charge", acme, charge["id"]).err


def test_a_charge_of_the_same_source_says_that_it_was_there(acme: str) -> None:
    said = ("add_charge", acme, "Training", "475.00", "--source", "T-9")
    first = run_json(*said)
    again = run(*said)
    assert "T-9 was there already; nothing was charged again." in again.err
    assert first["id"] in again.out
    assert "other terms (unit amount, amount)" in run(*said[:3], "9.00", *said[4:]).err


def test_a_charge_that_was_withdrawn_is_not_billed(acme: str) -> None:
    charge = run_json("add_charge", acme, "Mistake", "5.00", "--subscription", "small")
    assert run_json("withdraw_charge", acme, charge["id"])["withdrawn_at"] is not None
    assert [one["total"] for one in run_json("bill_due")["issued"]] == [30_00]
    assert "Nothing waits" in run("bill_now", acme).err


def test_what_waits_is_billed_before_its_boundary(acme: str) -> None:
    run_json("bill_due")
    run_json("add_charge", acme, "Training", "100.00", "--subscription", "small")
    assert run_json("bill_now", acme)["total"] == 100_00


def test_an_invoice_of_nothing_is_refused(acme: str) -> None:
    assert "Say what is billed" in run("create_invoice", acme).err
    finer = run("create_invoice", acme, "--currency", "JPY", "--item", "Work=100.5")
    assert (finer.code, finer.out) == (1, "")
    assert "Work: 100.5 has more decimals than JPY." in finer.err
    refused = run("create_invoice", acme, "--item", "Sold=0.00")
    assert (refused.code, "comes to nothing" in refused.err) == (1, True)


def test_charges_of_a_void_or_discarded_invoice_are_named_and_can_be_withdrawn(acme: str) -> None:
    made = run_json("create_invoice", acme, "--item", "Training=475.00", "--item", "Travel=20.00")
    said = run("void_invoice", made["number"], "--reason", "wrong price").err
    assert "rebill_invoice" not in said
    assert "CH-000001 is void. Waiting for the next invoice again: Training, 475.00 USD" in said
    assert "; Travel, 20.00 USD (charge_" in said
    draft = run_json("create_invoice", acme, "--item", "Books=9.00", "--draft")["id"]
    said = run("discard_draft", draft, "--reason", "wrong price").err
    assert "The draft is gone. Waiting for the next invoice again: Books, 9.00 USD" in said
    words = said.split("Run ")[1].split()[:3]
    assert words[:2] == ["withdraw_charge", acme]
    assert run(*words).code == 0
    assert [one["total"] for one in run_json("bill_due")["issued"]] == [30_00 + 495_00]


def test_a_void_invoice_of_a_period_can_be_billed_anew(draft: str) -> None:
    run("finalize_invoice", draft)
    said = run("void_invoice", "CH-000001", "--reason", "wrong price").err.strip()
    assert said == "CH-000001 is void; rebill_invoice CH-000001 bills its period anew."


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--start", "2026-03-01"), "Say --start and --end"),
        (("--end", "2026-03-01"), "Say --start and --end"),
        (("--start", "2026-03-01", "--end", "2026-01-01"), "ends before it starts"),
        (("--start", "2026-03-01", "--end", "2026-03-01"), "ends before it starts"),
    ],
)
def test_a_service_has_a_start_and_a_later_end(acme: str, words: tuple[str, ...], why: str) -> None:
    refused = run("add_charge", acme, "Support", "10.00", *words)
    assert (refused.code, refused.out, why in refused.err) == (1, "", True)


def test_thresholds_that_nobody_passed_bill_nothing(acme: str) -> None:
    run_json("bill_due")
    assert run_json("bill_thresholds") == {"issued": [], "count": 0, "parked": [], "totals": {}}


def test_discounts_stand_between_the_lines_and_the_total(acme: str) -> None:
    run_json("bill_due")
    run_json("apply_coupon", acme, "LAUNCH20")
    found = run_json("show_invoice", acme, "--upcoming")
    assert (found["subtotal"], found["discount"], found["total"]) == (30_00, 6_00, 24_00)
    assert found["discounts"] == [{"name": "Launch", "amount": 6_00}]
    assert "-6.00 USD" in run("show_invoice", acme, "--upcoming").out
