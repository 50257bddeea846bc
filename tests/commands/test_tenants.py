"""Issuers, terms, tax ids and test clocks at the terminal."""

from __future__ import annotations

from django.conf import LazySettings

from apps.core import rls
from apps.tenants import services
from apps.tenants.models import TestClock
from tests.commands.shell import run, run_json
from tests.conftest import AT, STAFF, make_organization
from tests.tenants.register import running


def test_an_issuer_is_defined_and_brought_up_to_date(db: None) -> None:
    named = ("emea", "--name", "Acme EMEA", "--prefix", "EM", "--country", "ie")
    made = run_json("define_billing_entity", *named)
    again = run_json(
        "define_billing_entity", *named,
        "--set", "hold_factor=2.5", "--set", "city=Cork", "--set", 'tax_registrations={"DE": "X"}',
    )  # fmt: skip
    assert again == made
    assert (made["invoice_prefix"], made["credit_note_prefix"]) == ("EM", "EM-CN")
    assert made["country"] == "IE"


def test_a_rule_that_is_none_is_refused_in_one_line(db: None) -> None:
    named = ("emea", "--name", "Acme EMEA", "--prefix", "EM")
    refused = run("define_billing_entity", *named, "--set", "grace_days=none")
    assert (refused.code, refused.out, refused.err) == (1, "", "Grace is 0 to 90 days.")


def test_terms_are_set_and_what_is_left_out_stays(db: None) -> None:
    make_organization("acme")
    make_organization("lab")
    run("define_billing_entity", "emea", "--name", "Acme EMEA", "--prefix", "EM")
    run("set_billing_terms", "lab", "--payer", "acme", "--hold")
    assert run_json("set_billing_terms", "lab", "--issuer", "emea") == {
        "organization": "lab",
        "issuer": "emea",
        "payer": "acme",
        "exemption": "none",
        "grouping": "per_application",
        "hold": True,
    }
    assert run("set_billing_terms", "acme", "--payer", "lab").code == 1
    assert run_json("set_billing_terms", "lab", "--payer", "", "--no-hold")["payer"] is None


def test_a_tax_id_is_checked_in_the_register(committed_db: str, settings: LazySettings) -> None:
    row = make_organization("acme", country="DE")
    with rls.tenant_scope(row.pk):
        services.update_organization(row.pk, changes={"tax_id": "DE136695976"}, actor=STAFF, at=AT)
    assert run_json("check_tax_id", "acme")["status"] == "valid_format"
    with running() as register:
        settings.VIES_URL = register.url
        assert run_json("check_tax_id", "acme")["status"] == "verified"
        register.says(isValid=False, userError="INVALID")
        refused = run("check_tax_id", "acme", "--format", "json")
    assert (refused.code, refused.json["status"]) == (1, "invalid")


def test_a_clock_is_made_attached_and_set_forward(db: None) -> None:
    make_organization("acme")
    made = run_json("test_clock", "create", "spring", "--now", "2026-03-01")
    clock = made["id"]
    assert made == {
        "id": clock,
        "name": "spring",
        "now": "2026-03-01T00:00:00+00:00",
        "organizations": [],
    }
    run("test_clock", "attach", clock, "acme")
    run("test_clock", "set", clock, "--to", "2026-04-01T00:00:00Z")
    shown = run_json("test_clock", "show", clock)
    assert (shown["now"], shown["organizations"]) == ("2026-04-01T00:00:00+00:00", ["acme"])
    back = run("test_clock", "set", clock, "--to", "2026-03-01")
    assert (back.code, back.out) == (1, "")
    assert "only goes forward" in back.err
    assert run("test_clock", "show", "clk_none").err == "There is no test clock 'clk_none'."


def test_a_production_system_has_no_test_clocks(db: None, settings: LazySettings) -> None:
    settings.PRODUCTION = True
    refused = run("test_clock", "create", "spring")
    assert refused.code == 1
    assert "in a sandbox only" in refused.err
    assert not TestClock.objects.exists()
