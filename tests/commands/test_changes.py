from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from apps.core import clock, rls
from apps.core.clock import frozen
from apps.engine.period import iso
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from tests.commands.shell import run, run_json
from tests.conftest import STAFF
from tests.invoicing.world import day
from tests.subscriptions import desk


@pytest.fixture
def acme(db: None) -> str:
    """An organization on the small plan since today, billed; its slug."""
    with rls.ops_scope("test: load the catalogue"):
        catalog = parse_catalog(desk.CATALOG, source="desk")
        plans.load_catalog(catalog, actor=STAFF, at=day(1, 1))
    run("create_organization", "acme", "--name", "Acme")
    run_json("subscribe", "acme", "small")
    run_json("bill_due")
    return "acme"


def test_a_change_of_plan_is_shown_before_it_is_made(acme: str) -> None:
    shown = run_json("change_plan", acme, "large", "--behaviour", "next_period", "--dry-run")
    assert {line["key"]: line["amount"] for line in shown["lines"]}["base"] == 60_00
    assert run_json("change_plan", acme, "large", "--behaviour", "next_period")["plan"] == "small"
    assert run_json("change_plan", acme, "large", "--behaviour", "reset")["plan"] == "large"


@pytest.mark.parametrize("behaviour", ["now", "reset"])
def test_a_dry_run_shows_the_invoice_that_the_change_then_makes(acme: str, behaviour: str) -> None:
    words = ("change_plan", acme, "large", "--behaviour", behaviour)
    with frozen(clock.now()):  # a share of time is as long as nothing happens between the two
        shown = run_json(*words, "--dry-run")
        told = run(*words, "--dry-run")
        assert "Billed now" in told.out
        assert "at once." in told.err
        run_json(*words)
    billed = run_json("show_invoice", acme)
    for name in ("subtotal", "total", "currency"):
        assert shown[name] == billed[name]
    assert said(shown) == said(billed)


def said(invoice: dict[str, Any]) -> list[tuple[str, str, int]]:
    return [(line["key"], line["reason"], line["amount"]) for line in invoice["lines"]]


def test_an_unknown_plan_is_refused_in_one_line(acme: str) -> None:
    refused = run("change_plan", acme, "nothing")
    assert refused.code == 1
    assert "There is no plan 'nothing'" in refused.err


def test_a_pause_comes_with_the_period_or_now(acme: str) -> None:
    assert run_json("pause_subscription", acme)["pause_at"] is not None
    assert run_json("resume_subscription", acme)["status"] == "active"
    run_json("pause_subscription", acme, "--now", "--no-proration")
    run_json("bill_due")
    assert run_json("resume_subscription", acme, "--keep-cycle")["status"] == "active"


def test_a_subscription_ends_now_when_that_is_said(acme: str) -> None:
    assert run_json("cancel_subscription", acme, "--now")["cancel_at"] is not None
    run_json("bill_due")
    assert "no such live subscription" in run("cancel_subscription", acme).err


def test_a_coupon_is_redeemed_and_taken_away(acme: str) -> None:
    found = run_json("apply_coupon", acme, "LAUNCH20")
    assert (found["coupon"], found["promotion_code"]) == ("launch", "LAUNCH20")
    gone = run_json("apply_coupon", acme, found["id"], "--remove")
    assert gone["removed_at"] is not None
    assert "used up" in run("apply_coupon", acme, "launch", "--everything").err


def test_a_coupon_that_needs_a_larger_bill_is_refused(acme: str) -> None:
    refused = run("apply_coupon", acme, "AMPLE5")
    assert refused.code == 1
    assert "needs a bill of 100.00 USD or more" in refused.err


def test_a_change_that_is_billed_now_cuts_its_invoice(acme: str) -> None:
    made = run("change_plan", acme, "large", "--behaviour", "now")
    assert made.code == 0
    assert "invoice CH-000002 was cut" in made.err
    billed = run_json("show_invoice", acme, "--latest")
    assert {line["reason"] for line in billed["lines"]} == {"ended", "started", "one_time"}


def test_a_quoted_change_costs_what_was_quoted_or_is_not_made(acme: str) -> None:
    quote = run_json("preview_change", acme, "--add", "support", "--behaviour", "now")
    assert (quote["bills_now"], quote["now"]["total"]) == (True, quote["amount"])
    wish = ("change_subscription", acme, "--add", "support", "--behaviour", "now")
    quoted_at = ("--quoted-at", quote["at"])
    moved = run(*wish, "--quoted", "1", *quoted_at)
    assert (moved.code, "look at it again" in moved.err) == (1, True)
    made = run_json(*wish, "--quoted", str(quote["amount"]), *quoted_at)
    assert run_json("show_invoice", acme, "--number", made["invoice"])["total"] == quote["amount"]


def test_a_price_is_agreed_from_a_day_on_and_called_off(acme: str) -> None:
    wish = ("--price", "base=25.00", "--behaviour", "next_period")
    assert "the next invoice changes by -5.00 USD" in run("preview_change", acme, *wish).err
    [waiting] = run_json("change_subscription", acme, *wish)["scheduled"]
    assert (waiting["action"], waiting["status"]) == ("price", "scheduled")
    [gone] = run_json("list_changes", acme, "--call-off", waiting["id"])
    assert gone["status"] == "canceled"


def test_half_a_quote_is_no_quote(acme: str) -> None:
    refused = run("change_subscription", acme, "--quantity", "3", "--quoted", "5")
    assert "Say --quoted and --quoted-at, or neither." in refused.err


def test_a_trial_lasts_longer(acme: str) -> None:
    run("create_organization", "globex", "--name", "Globex")
    trial = run_json("subscribe", "globex", "tried")
    later = iso(datetime.fromisoformat(trial["trial_end"]) + timedelta(days=7))
    assert "later day" in run("extend_trial", "globex", "--until", "2020-01-01").err
    assert run_json("extend_trial", "globex", "--until", later)["trial_end"] == later


def test_who_left_comes_back(acme: str) -> None:
    assert "no such canceled subscription" in run("reactivate_subscription", acme).err
    run_json("cancel_subscription", acme, "--now", "--no-proration")
    run_json("bill_due")
    assert run_json("reactivate_subscription", acme)["status"] == "active"
