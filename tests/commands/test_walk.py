"""From an organization to a payment, by the commands whose names and formats are fixed."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from django.core.management import call_command

from apps.core import rls
from apps.invoicing.models import Invoice
from apps.subscriptions import selectors as subscriptions
from apps.tenants import selectors as tenants
from tests.commands.shell import run, run_json
from tests.invoicing import world

pytestmark = pytest.mark.django_db

BASE, DECEMBER = 50_00, 50_00 + 0 + 11_50 + 2
AS_OF = ("--as-of", "2023-12-01T00:00:00Z")


def test_an_organization_prints_its_id_and_slug(db: None) -> None:
    made = run_json("create_organization", "acme", "--name", "Acme", "--country", "DE")
    assert re.fullmatch(r"org_[0-9a-z]{26}", made["id"])
    assert (made["slug"], made["currency"], made["timezone"], made["country"]) == (
        "acme",
        "USD",
        "UTC",
        "DE",
    )


def test_the_same_slug_twice_is_refused_in_one_line(acme: str) -> None:
    refused = run("create_organization", acme, "--name", "Again")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == "The slug 'acme' is taken; choose another."


def test_subscribing_cuts_no_invoice(acme: str) -> None:
    assert run("show_invoice", acme).code == 1
    with rls.ops_scope("test"):
        assert not Invoice.objects.exists()


def test_seats_are_told_in_all_and_the_included_ones_are_free(db: None) -> None:
    run("load_catalog", "gateway")
    run("create_organization", "acme", "--name", "Acme")
    start = ("--start", "2023-11-01T00:00:00Z")
    made = run_json("subscribe", "acme", "gateway", "--seats", "5", *start)
    assert made["quantities"] == {"seats": 5}
    [first] = run_json("bill_due", "--as-of", "2023-11-01T00:00:00Z")["issued"]
    assert first["total"] == 50_00 + 2 * 12_00


def test_more_seats_from_now_on_are_told_in_all(acme: str) -> None:
    assert run_json("change_quantity", acme, "8")["quantities"] == {"seats": 8}


def test_a_price_agreed_with_a_customer_is_told_by_its_key(acme: str) -> None:
    world.load()
    asked = run("subscribe", acme, "bespoke", "--start", "2023-11-01T00:00:00Z")
    assert "agreed amount of 'base'" in asked.err
    agreed = ("--start", "2023-11-01T00:00:00Z", "--price", "base=1250.50")
    assert run_json("subscribe", acme, "bespoke", *agreed)["plan"] == "bespoke"
    issued = run_json("bill_due", "--as-of", "2023-11-01T00:00:00Z")["issued"]
    assert {one["total"] for one in issued} == {BASE, 1250_50}


def test_a_run_reports_what_it_issued_in_minor_units(acme: str) -> None:
    report = run_json("bill_due", *AS_OF)
    assert [(one["organization"], one["total"], one["currency"]) for one in report["issued"]] == [
        ("acme", BASE, "USD"),
        ("acme", DECEMBER, "USD"),
    ]
    assert report["parked"] == []
    assert report["totals"] == {"USD": BASE + DECEMBER}


def test_a_second_run_issues_nothing(billed: str) -> None:
    assert run_json("bill_due", *AS_OF) == {"issued": [], "count": 0, "parked": [], "totals": {}}


def test_nothing_is_billed_ahead_of_time(acme: str) -> None:
    refused = run("bill_due", "--as-of", "2199-01-01T00:00:00Z")
    assert refused.code == 1
    assert "ahead of time" in refused.err
    assert run("show_invoice", acme).code == 1


def test_the_invoice_in_json_has_the_fixed_shape(billed: str) -> None:
    shown = run_json("show_invoice", billed, "--latest")
    assert shown["number"] == "CH-000002"
    assert (shown["status"], shown["currency"], shown["total"]) == ("open", "USD", DECEMBER)
    assert shown["period"] == {"start": "2023-11-01T00:00:00Z", "end": "2024-01-01T00:00:00Z"}
    assert [(line["key"], line["quantity"], line["amount"]) for line in shown["lines"]] == [
        ("base", 1, 50_00),
        ("ai_requests", 6, 0),
        ("context_tokens", 9_000_000, 11_50),
        ("generated_tokens", 2_100, 2),
    ]
    assert shown["lines"][2]["explanation"]["steps"][1]["units"] == "4000000"


def test_an_invoice_is_found_by_its_number(billed: str) -> None:
    assert run_json("show_invoice", billed, "--number", "CH-000001")["total"] == BASE


def test_somebody_elses_number_is_unknown(billed: str) -> None:
    run("create_organization", "other", "--name", "Other")
    refused = run("show_invoice", "other", "--number", "CH-000001")
    assert (refused.code, refused.err) == (1, "There is no invoice 'CH-000001'.")


def test_the_table_shows_names_as_they_are(billed: str) -> None:
    shown = run("show_invoice", billed)
    assert "Context tokens" in shown.out
    assert "9000000" in shown.out


def test_the_pdf_goes_to_a_pipe_or_a_file_and_is_the_same(billed: str, tmp_path: Path) -> None:
    raw = io.BytesIO()
    pipe = io.TextIOWrapper(raw, encoding="utf-8")
    call_command("show_invoice", billed, "--format", "pdf", stdout=pipe)
    run("show_invoice", billed, "--format", "pdf", "--output", str(tmp_path / "invoice.pdf"))
    assert raw.getvalue().startswith(b"%PDF-")
    assert (tmp_path / "invoice.pdf").read_bytes() == raw.getvalue()


def test_json_can_go_to_a_file(billed: str, tmp_path: Path) -> None:
    file = tmp_path / "invoice.json"
    assert run("show_invoice", billed, "--format", "json", "--output", str(file)).out == ""
    assert '"CH-000002"' in file.read_text(encoding="utf-8")


def test_what_comes_next_is_shown_and_not_issued(billed: str) -> None:
    shown = run_json("show_invoice", billed, "--upcoming")
    assert (shown["number"], shown["status"], shown["total"]) == (None, "upcoming", BASE)
    assert run_json("show_invoice", billed)["number"] == "CH-000002"


def test_a_draft_is_shown_only_when_asked_for_and_can_be_issued(acme: str) -> None:
    report = run_json("bill_due", "--as-of", "2023-11-01T00:00:00Z", "--keep-drafts")
    assert report["issued"][0]["number"] is None
    assert run("show_invoice", acme).code == 1
    draft = run_json("show_invoice", acme, "--draft")
    assert (draft["status"], draft["number"]) == ("draft", None)
    issued = run_json("finalize_invoice", draft["id"])
    assert (issued["status"], issued["number"]) == ("open", "CH-000001")


def test_the_explanation_shows_every_step(billed: str) -> None:
    text = run("explain_invoice", "CH-000002").out
    for said in ("above 5,000,000", "6 events counted", "Packages of 1,000", "included"):
        assert said in text, said


def test_one_line_can_be_explained_by_itself(billed: str) -> None:
    told = run_json("explain_invoice", "CH-000002", "--line", "3")
    [line] = told["lines"]
    assert (line["line"], line["key"]) == (3, "context_tokens")
    assert line["explanation"]["amount_minor"] == line["amount"]
    assert run("explain_invoice", "CH-000002", "--line", "9").code == 1


def test_payments_add_up_and_never_exceed_what_is_due(billed: str) -> None:
    first = run_json(
        "record_payment", "CH-000001", "--amount", "20.00", "--reference", "bank line 1"
    )
    assert (first["invoice_status"], first["amount_due"]) == ("open", 30_00)
    twice = run("record_payment", "CH-000001", "--amount", "1.00", "--reference", "bank line 1")
    assert "recorded on CH-000001 already" in twice.err
    more = run("record_payment", "CH-000001", "--amount", "30.01")
    assert "30.00 USD is due" in more.err
    finer = run("record_payment", "CH-000001", "--amount", "0.001")
    assert (twice.code, more.code, finer.code) == (1, 1, 1)
    last = run_json("record_payment", "CH-000001", "--amount", "30")
    assert (last["invoice_status"], last["amount_due"]) == ("paid", 0)


def test_a_void_invoice_is_billed_again_only_by_the_command(billed: str) -> None:
    assert run_json("void_invoice", "CH-000002", "--reason", "wrong")["status"] == "void"
    assert run_json("bill_due", *AS_OF)["issued"] == []
    again = run_json("rebill_invoice", "CH-000002")
    assert (again["number"], again["total"]) == ("CH-000003", DECEMBER)
    assert run("rebill_invoice", "CH-000002").code == 1


def test_a_key_stands_alone_on_stdout_and_works(acme: str) -> None:
    made = run("create_api_key", acme, "--scopes", "usage:write,invoices:read")
    key = made.out.strip()
    assert made.out == f"{key}\n"
    assert re.fullmatch(r"bk_test_[0-9a-z]{44}", key)
    assert key not in made.err
    holder = tenants.key_holder(key)
    assert holder is not None
    assert holder.actor.capabilities == {"write_usage", "view_invoices"}


def test_a_key_is_for_an_organization_or_for_the_platform(acme: str) -> None:
    assert run("create_api_key", "--scopes", "usage:read").code == 1
    assert run("create_api_key", acme, "--platform", "--scopes", "usage:read").code == 1
    platform = run("create_api_key", "--platform", "--scopes", "organizations:write")
    holder = tenants.key_holder(platform.out.strip())
    assert holder is not None
    assert holder.actor.organization_id is None


def test_an_unknown_scope_makes_no_key(acme: str) -> None:
    refused = run("create_api_key", acme, "--scopes", "everything")
    assert (refused.code, refused.out) == (1, "")
    assert "'everything' is none" in refused.err


def test_a_cancelled_subscription_can_go_on(acme: str) -> None:
    assert run_json("cancel_subscription", acme, "--reason", "dear")["cancel_at"] is not None
    assert run_json("cancel_subscription", acme, "--undo")["cancel_at"] is None


def test_a_paused_subscription_is_taken_up(db: None) -> None:
    world.load()
    run_json("create_organization", "hooli", "--name", "Hooli")
    start, collection = "2026-01-01T00:00:00Z", "stripe_invoice"
    run_json("subscribe", "hooli", "trial", "--start", start, "--collection", collection)
    run_json("bill_due", "--as-of", "2026-02-01T00:00:00Z")
    resumed = run_json("resume_subscription", "hooli")
    assert (resumed["status"], resumed["collection"]) == ("active", "manual")
    refused = run("resume_subscription", "hooli")
    assert (refused.code, "Only a paused" in refused.err) == (1, True)


def test_which_subscription_must_be_said_when_there_are_several(acme: str) -> None:
    run("load_catalog", "licences")
    run_json("subscribe", acme, "starter")
    asked = run("cancel_subscription", acme)
    assert asked.code == 1
    assert "say --subscription" in asked.err
    assert run_json("cancel_subscription", acme, "--subscription", "devices")["plan"] == "starter"


def test_an_external_id_is_mapped_once(acme: str) -> None:
    first = run_json("map_external_id", acme, "gateway", "cust_1")
    assert run_json("map_external_id", acme, "gateway", "cust_1") == first
    assert run("map_external_id", acme, "nowhere", "cust_1").code == 1


def test_a_member_and_staff_can_sign_in(acme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEW_USER_PASSWORD", "correct-horse-battery")
    member = run_json("create_user", "jo@acme.example", "--organization", acme, "--role", "OWNER")
    staff = run_json("create_user", "kim@example.com", "--groups", "Finance")
    assert (member["role"], staff["groups"]) == ("OWNER", ["Finance"])
    again = run("create_user", "jo@acme.example")
    assert (again.code, again.err) == (1, "jo@acme.example has an account; sign in with it.")


def test_a_weak_password_makes_no_user(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEW_USER_PASSWORD", "12345")
    assert run("create_user", "jo@acme.example").code == 1


def test_the_audit_record_holds_and_the_outbox_empties(billed: str) -> None:
    assert run_json("verify_audit")["ok"] is True
    run("deliver_outbox")
    assert run_json("deliver_outbox") == {"tried": 0, "retried": 0, "pending": 0, "dead": 0}


def test_what_cannot_be_billed_is_set_aside_and_comes_back_when_released(acme: str) -> None:
    obstacle = _draft_in_the_way(acme)
    failed = run("bill_due", *AS_OF, "--format", "json")
    assert failed.code == 1
    assert len(failed.json["parked"]) == 1
    assert run_json("bill_due", *AS_OF)["issued"] == []
    [waiting] = run_json("release_parked")["parked"]
    assert (waiting["released"], run("release_parked", "park_unknown").code) == (False, 1)
    with rls.ops_scope("test: clear the way"):
        obstacle.delete()
    assert run_json("release_parked", waiting["id"])["parked"][0]["released"] is True
    assert len(run_json("bill_due", *AS_OF)["issued"]) == 2
    assert run_json("release_parked") == {"parked": []}


def _draft_in_the_way(slug: str) -> Invoice:
    """Write a draft for the first boundary behind billing's back: the database takes no second."""
    start, end = world.day(11, 1, year=2023), world.day(12, 1, year=2023)
    with rls.ops_scope("test: a draft is in the way"):
        organization = tenants.get_organization(slug)
        [facts] = subscriptions.of_organization(organization.pk)
        return Invoice.objects.create(
            organization_id=organization.pk,
            billing_entity_id=organization.billing_entity_id,
            subscription_id=facts.id,
            currency="USD",
            timezone="UTC",
            boundary_at=start,
            period=(start, end),
            issued_at=start,
            due_at=end,
        )


@pytest.mark.parametrize("command", ["show_invoice", "cancel_subscription"])
def test_an_unknown_organization_is_one_sentence(db: None, command: str) -> None:
    refused = run(command, "nobody")
    assert refused.code == 1
    assert refused.err.startswith("There is no organization 'nobody'")
