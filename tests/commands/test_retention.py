"""Raw usage goes by command, and the commands say what is proven how."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.core import clock
from tests.commands.shell import run, run_json
from tests.conftest import make_organization
from tests.invoicing import world
from tests.invoicing.world import day

# Events are dated by the database when they come: retention is asked for from the future.
LATER = clock.now() + timedelta(days=500)


@pytest.fixture
def acme(committed_db: str) -> str:
    """30 requests of January, billed; one of February, which is not."""
    world.load()
    organization = make_organization("acme")
    world.subscribe(organization, start=day(1, 1))
    world.use(organization, *world.hourly(day(1, 5), 30))
    world.use(organization, day(2, 5))
    world.roll_up()
    world.bill(day(2, 1))
    return "acme"


def test_a_dry_run_says_what_would_go(acme: str) -> None:
    with clock.frozen(LATER):
        told = run("prune_usage", "--older-than", "400", "--dry-run")
    assert (told.code, "2026-02-01" in told.out) == (0, True)
    assert "Nothing was changed." in told.err
    assert len(run_json("explain_invoice", "CH-000002", "--events")["lines"][1]["events"]) == 30


def test_what_went_is_told_by_every_command(acme: str) -> None:
    with clock.frozen(LATER):
        [told] = run_json("prune_usage", "--older-than", "400", "--organization", acme)
        assert (told["organization"], told["lines"], told["events"]) == (acme, 2, 30)
        proven = run("verify_books")
    assert proven.code == 0
    assert f"Sealed on {LATER:%Y-%m-%d}: 2 lines of acme, proven from the seal" in proven.err
    assert run_json("verify_books")["sealed"][0]["lines"] == 2
    explained = run("explain_invoice", "CH-000002", "--events")
    assert f"gone by retention. It was proven from them and sealed on {LATER:%Y-%m-%d}" in (
        explained.err
    )
    assert run("explain_invoice", "CH-000002", "--hours").code == 1
    assert run("heal_usage", "--everything").code == 0
    assert run("rebuild_usage").out.strip() == "The buckets were right."


def test_a_cutoff_that_is_too_young_is_refused(acme: str) -> None:
    told = run("prune_usage", "--older-than", "64")
    assert (told.code, "30 days" in told.err) == (1, True)


def test_a_number_of_days_or_a_date_is_needed(acme: str) -> None:
    assert run("prune_usage", "--older-than", "some").code != 0
    assert run("prune_usage").code != 0
