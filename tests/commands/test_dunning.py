"""Dunning by command, on a database where transactions commit."""

from __future__ import annotations

import pytest

from apps.core import clock
from apps.tenants.models import Organization
from tests.commands.shell import run, run_json
from tests.dunning import world
from tests.dunning.world import billed, history
from tests.invoicing.world import day

NUMBER = "CH-000001"


@pytest.fixture
def acme(committed_db: str) -> Organization:
    world.open_shop()
    return billed()[0]


def test_who_has_not_paid_is_asked(acme: Organization) -> None:
    with clock.frozen(day(1, 16, 9)):
        done = run_json("run_dunning", "--organization", "acme")
        assert done == {"begun": 1, "resumed": 0, "steps": 2, "failed": []}
        again = run("run_dunning")
        assert (again.code, "0 runs begun" in again.err) == (0, True)
    assert history(acme) == ["begun", "reminder", "past_due"]


def test_what_would_be_done_is_shown_and_nothing_is(acme: Organization) -> None:
    with clock.frozen(day(1, 15)):
        steps = run_json("preview_dunning", NUMBER)
        assert [(one["at"], one["step"]) for one in steps][:2] == [
            ("2026-01-16T09:00:00Z", "1d remind reminder"),
            ("2026-01-16T09:00:00Z", "1d past_due"),
        ]
        assert steps[0]["mail"]["subject"] == "Reminder: $20.00 for invoice CH-000001"
        shown = run("preview_dunning", NUMBER, "--because", "failed", "--mails").out
        assert "=== Last reminder: $20.00 for invoice CH-000001" in shown
        assert run("preview_dunning", NUMBER, "--campaign", "Nothing").code == 1
        assert run("preview_dunning", "nothing").code == 1
        assert run_json("run_dunning")["begun"] == 1


def test_a_test_clock_takes_dunning_along(committed_db: str) -> None:
    world.open_shop()
    with clock.frozen(day(1, 1)):
        acme, _ = billed()
        made = run_json("test_clock", "create", "spring", "--now", "2026-01-01T00:00:00Z")
        assert run("test_clock", "attach", made["id"], "acme").code == 0
        assert run_json("run_dunning")["begun"] == 0
        done = run_json("advance_clock", made["id"], "--to", "2026-02-06T00:00:00Z")
    asked = {stop["at"]: stop["dunning_steps"] for stop in done["stops"] if stop["dunning_steps"]}
    assert asked == {
        "2026-01-16T09:00:00Z": 2,
        "2026-01-22T09:00:00Z": 1,
        "2026-01-29T09:00:00Z": 1,
        "2026-02-05T09:00:00Z": 2,
    }
    assert world.status(acme) == "unpaid"
