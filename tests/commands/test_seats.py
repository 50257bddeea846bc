"""Seats from the shell: assigned, asked about, bought, given on, revoked."""

from __future__ import annotations

import pytest

from tests.commands.shell import run, run_json

pytestmark = pytest.mark.django_db


def test_a_seat_is_assigned_listed_given_on_and_revoked(acme: str) -> None:
    made = run_json("assign_seat", acme, "one@acme.example")
    assert (made["person"], made["status"]) == ("one@acme.example", "invited")
    assert [one["id"] for one in run_json("list_seats", acme)] == [made["id"]]
    given = run_json("revoke_seat", acme, made["id"], "--to", "two@acme.example")
    assert given["person"] == "two@acme.example"
    gone = run_json("revoke_seat", acme, given["id"])
    assert (gone["status"], gone["because"]) == ("released", "revoked")
    assert run_json("list_seats", acme) == []
    assert len(run_json("list_seats", acme, "--all")) == 2


def test_one_too_many_is_refused_until_more_are_bought(acme: str) -> None:
    bought = run_json("buy_seats", acme, "1", "--dry-run")["bought"]
    for number in range(bought):
        assert run("assign_seat", acme, f"guest-{number}@acme.example").code == 0
    refused = run("assign_seat", acme, "late@acme.example")
    assert (refused.code, refused.out) == (1, "")
    assert f"All {bought} seats" in refused.err
    more = run_json("buy_seats", acme, "1", "--behaviour", "next_invoice")
    assert (more["bought"], more["assigned"]) == (bought + 1, bought)
    assert run("assign_seat", acme, "late@acme.example").code == 0


def test_what_a_product_is_answered_is_the_exit_code(acme: str) -> None:
    asked = run("verify_seat", "hospital", "user_1", "--application", "gateway", "--format", "json")
    assert (asked.code, asked.json["reason"]) == (1, "unknown_organization")
