"""Late usage, revenue and the ledger by command, on a database where transactions commit."""

from __future__ import annotations

import csv
import io

import pytest

from apps.core import clock
from tests.commands.shell import run, run_json
from tests.conftest import make_organization
from tests.invoicing import world
from tests.invoicing.world import NOW, day


@pytest.fixture
def acme(committed_db: str) -> str:
    """30 requests of January billed, and 2 that came late; it is June 2026."""
    world.load()
    organization = make_organization("acme")
    world.subscribe(organization, start=day(1, 1), at=day(1, 1))
    world.use(organization, *world.hourly(day(1, 5), 30))
    world.bill(day(1, 1), at=day(1, 1))
    world.bill(day(2, 1), at=day(2, 1))
    world.use(organization, *world.hourly(day(1, 20), 2), tokens=0)
    return "acme"


def test_a_line_leads_to_its_hours_and_events(acme: str) -> None:
    told = run_json("explain_invoice", "CH-000002", "--line", "2", "--hours", "--events")
    (line,) = told["lines"]
    assert (line["key"], len(line["hours"]), line["hours"][0]["events"]) == ("requests", 30, 1)
    statuses = [event["status"] for event in line["events"]]
    assert statuses == ["counted"] * 30 + ["late"] * 2
    page = run_json("explain_invoice", "CH-000002", "--line", "2", "--events", "--limit", "20")
    (first,) = page["lines"]
    after = first["events"][-1]["id"]
    rest = run_json("explain_invoice", "CH-000002", "--line", "2", "--events", "--after", after)
    assert first["more"] is True
    assert [*first["events"], *rest["lines"][0]["events"]] == line["events"]
    assert "late" in run("explain_invoice", "CH-000002", "--events", "--hours").out


def test_late_usage_is_reviewed_decided_and_billed(acme: str) -> None:
    with clock.frozen(NOW):
        found = run_json("heal_usage")
        assert [(one["key"], one["difference"]) for one in found["corrections"]] == [
            ("requests", 10),
            ("tokens", 0),
        ]
        assert run_json("heal_usage", "--everything")["corrections"] == []
        (approved,) = run_json("review_corrections", "--status", "approved")
        assert (approved["amount_before"], approved["amount"]) == (1_00, 1_10)
        refused = run("reject_correction", approved["id"], "--reason", "late")
        assert (refused.code, refused.err) == (
            1,
            "This correction is approved and waits for no decision.",
        )
        assert run("bill_due", "--as-of", "2026-03-01").code == 0
        explained = run("explain_invoice", "CH-000003", "--line", "4").out
        assert explained.startswith("4. Requests: $0.10"), explained
        assert "Less $1.00 billed before" in explained
        assert run_json("verify_books", "--jobs", "2")["ok"] is True


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("revenue_schedule", "--from", "2026-03", "--to", "2026-01"), "--from is after --to"),
        (("export_ledger", "--from", "2026-03-01", "--to", "2026-01-01"), "is not before --to"),
        (("export_ledger", "--from", "2026-03-01", "--to", "2026-03-01"), "is not before --to"),
        (("verify_books", "--jobs", "0"), "no number of processes"),
        (("verify_books", "--jobs", "-2"), "no number of processes"),
    ],
)
def test_a_span_or_a_share_of_nothing_is_refused(words: tuple[str, ...], why: str) -> None:
    refused = run(*words)
    assert (refused.code, refused.out, why in refused.err) == (1, "", True), refused


def test_revenue_is_earned_and_exported(acme: str) -> None:
    with clock.frozen(NOW):
        earned = run_json("recognize_revenue", "--month", "2026-02")
        assert earned == {"invoices": 2, "totals": {"USD": 100_00}}
        told = run_json("revenue_schedule", "--from", "2026-01", "--to", "2026-03")
        assert [(one["month"], one["earned"], one["deferred"]) for one in told] == [
            ("2026-01", 52_80, 0),
            ("2026-02", 50_00, 0),
            ("2026-03", 0, 0),
        ]
        assert run("recognize_revenue", "--month", "2026-06").code == 1
    rows = list(csv.DictReader(io.StringIO(run("export_ledger", "--account", "revenue=8400").out)))
    assert {row["account"] for row in rows} == {"1200", "8400", "2400"}
    owed = [row["debit"] for row in rows if row["account"] == "1200"]
    assert owed == ["50.00", "52.80"]
