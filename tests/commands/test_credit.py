"""Credit, credit notes, refunds and payments taken back, by the commands."""

from __future__ import annotations

import pytest

from tests.commands.shell import run, run_json

pytestmark = pytest.mark.django_db

# November's base fee, billed in advance; the fixture's second invoice is larger.
FIRST, NOTE = "CH-000001", "CH-CN-000001"


def test_granted_credit_is_withdrawn(acme: str) -> None:
    made = run_json("grant_credit", acme, "12.50", "--name", "Welcome", "--source", "T-7")
    assert (made["name"], made["remaining"], made["kind"]) == ("Welcome", 12_50, "promotional")
    same = ("grant_credit", acme, "12.50", "--name", "Welcome", "--source", "T-7")
    assert run_json(*same)["id"] == made["id"]
    assert "was there already" in run(*same).err
    other = run("grant_credit", acme, "99", "--source", "T-7")
    assert (other.code, other.out) == (1, "")
    assert "other terms (name, amount)" in other.err
    gone = run("void_credit", made["id"], "--reason", "granted twice")
    assert (gone.code, gone.err.strip()) == (0, "12.50 USD of Welcome was withdrawn.")
    again = run("void_credit", made["id"], "--reason", "granted twice")
    assert (again.code, again.out) == (1, "")


def test_credit_that_has_ended_is_taken_out_once(acme: str) -> None:
    run_json("grant_credit", acme, "5", "--expires", "2999-01-01")
    assert run_json("expire_credit") == {"expired": 0}
    assert run_json("expire_credit", "--as-of", "2999-01-01") == {"expired": 0}  # not yet


def test_bought_credit_is_an_invoice(acme: str) -> None:
    made = run_json("buy_credit", acme, "500", "--source", "D-9")
    assert (made["status"], made["total"], made["amount_due"]) == ("open", 500_00, 500_00)
    assert run_json("buy_credit", acme, "500", "--source", "D-9")["id"] == made["id"]
    assert run("buy_credit", acme, "500", "--kind", "commitment").code == 1


def test_bought_credit_that_is_held_says_what_to_do(acme: str) -> None:
    run("set_billing_terms", acme, "--hold")
    result = run("buy_credit", acme, "500")
    assert "It is held, not issued: Every invoice of this customer is reviewed. Run" in result.err
    words = result.err.split("Run ")[1].split()[:2]
    assert words[0] == "approve_invoice"
    assert run(*words, "--reason", "seen").code == 0


def test_a_recharge_is_set_and_stopped(acme: str) -> None:
    [rule] = run_json("set_recharge", acme, "--threshold", "20", "--amount", "100")
    assert (rule["threshold"], rule["amount"], rule["monthly_cap"]) == (20_00, 100_00, None)
    [rule] = run_json(
        "set_recharge", acme, "--threshold", "5", "--amount", "50", "--monthly-cap", "80"
    )
    assert (rule["threshold"], rule["monthly_cap"]) == (5_00, 80_00)
    assert run("set_recharge", acme, "--off", "--threshold", "5", "--amount", "1").code == 1
    assert run("set_recharge", acme).code == 1
    capped = run("set_recharge", acme, "--threshold", "5", "--amount", "50", "--monthly-cap", "30")
    assert "below one recharge: it buys 30.00 USD a month" in capped.err
    assert run_json("set_recharge", acme, "--off") == []


def test_a_note_takes_back_a_line_by_its_position_and_is_paid_back(billed: str) -> None:
    run_json("record_payment", FIRST, "--amount", "50")
    made = run_json(
        "issue_credit_note", FIRST, "--reason", "other", "--line", "1=10", "--refund", "4"
    )
    assert (made["number"], made["invoice"], made["total"]) == (NOTE, FIRST, 10_00)
    assert (made["offset"], made["credit"], made["refund"]) == (0, 6_00, 4_00)
    refund = run_json("record_refund", NOTE, "--reference", "SEPA 1")
    assert (refund["amount"], refund["credit_note"]) == (4_00, NOTE)
    assert run("record_refund", NOTE).code == 1
    too_much = run("issue_credit_note", FIRST, "--reason", "other", "--total", "40.01")
    assert (too_much.code, too_much.out) == (1, "")
    whole = run_json("issue_credit_note", FIRST, "--reason", "other")
    assert whole["total"] == 40_00
    assert run("verify_books").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--line", "1=1000"),
            "1000.00 USD is more than is left of line 1 of CH-000001, Base fee: 50.00 USD.",
        ),
        (("--line", "1=-1"), "A credit of -1.00 USD takes nothing back."),
        (("--line", "1=1.005"), "1.005 has more decimals than USD."),
        (("--total", "1000"), "1000.00 USD is more than is left of the lines on CH-000001."),
    ],
)
def test_a_note_that_takes_too_much_is_refused_in_a_sentence(
    billed: str, words: tuple[str, ...], said: str
) -> None:
    refused = run("issue_credit_note", FIRST, "--reason", "other", *words)
    assert (refused.code, refused.err) == (1, said)


def test_more_than_is_due_is_kept_and_taken_back(billed: str) -> None:
    assert run("record_payment", FIRST, "--amount", "60").code == 1
    paid = run_json("record_payment", FIRST, "--amount", "60", "--keep-excess")
    assert (paid["excess"], paid["invoice_status"]) == (10_00, "paid")
    back = run_json("reverse_payment", paid["id"], "--reason", "wrong invoice")
    assert (back["reverses"], back["amount"]) == (paid["id"], -60_00)
    assert (back["invoice_status"], back["amount_due"]) == ("open", 50_00)
    assert run("reverse_payment", paid["id"], "--reason", "again").code == 1
    assert run("verify_books").code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("void_credit", "cg_nothing", "--reason", "x"),
        ("issue_credit_note", "CH-999999", "--reason", "other"),
        ("record_refund", "CH-CN-999999"),
        ("reverse_payment", "pay_nothing", "--reason", "x"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(db: None, words: tuple[str, ...]) -> None:
    result = run(*words)
    assert (result.code, result.out) == (1, "")
    assert "\n" not in result.err
