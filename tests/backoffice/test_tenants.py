"""Issuers, terms, tax ids and test clocks in the admin."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.conf import LazySettings
from django.test import Client

from apps.core import rls
from apps.tenants import services
from apps.tenants.models import BillingEntity, Organization, TestClock
from tests.backoffice.pages import acts, again, page, post, rows, text, url
from tests.conftest import STAFF, make_organization
from tests.worlds import NOW, World


def test_an_issuer_is_created_and_a_second_of_its_name_is_refused(
    admin: Client, world: World
) -> None:
    answers = {
        "slug": "emea",
        "legal_name": "Acme EMEA",
        "invoice_prefix": "EM",
        "country": "IE",
        "tax_id": "IE6388047V",
    }
    assert post(admin, url(BillingEntity, "create"), **answers).status_code == 302
    made = next(row for row in rows(BillingEntity) if row.slug == "emea")
    assert (made.credit_note_prefix, made.country) == ("EM-CN", "IE")
    assert ("staff", "billing_entity.created", made.public_id) in acts()
    refused = post(admin, url(BillingEntity, "create"), **{**answers, "legal_name": "Other"})
    assert refused.status_code == 409
    assert again(made).legal_name == "Acme EMEA"


def test_rules_are_written_as_tables_and_kept_exact(admin: Client, world: World) -> None:
    (entity,) = rows(BillingEntity)
    form = admin.get(page(entity, "edit")).context["form"]
    answers = {
        **form.initial,
        "tax_registrations": "de DE136695976\nEU",
        "correction_limits": "USD 100.00\njpy 5000",
        "hold_factor": "2.5",
    }
    assert post(admin, page(entity, "edit"), **answers).status_code == 302
    kept = again(entity)
    assert kept.tax_registrations == {"DE": "DE136695976", "EU": ""}
    assert kept.correction_limits == {"USD": 100_00, "JPY": 5000}
    shown = admin.get(page(entity, "edit")).content.decode()
    assert "JPY 5000\nUSD 100.00" in shown
    for broken in ("USD ten", "USD 1.005", "XXQ 1"):
        refused = post(admin, page(entity, "edit"), **{**answers, "correction_limits": broken})
        assert refused.status_code == 400
    assert again(entity).correction_limits == kept.correction_limits


def test_finance_changes_billing_terms(finance: Client, world: World) -> None:
    other = make_organization("globex")
    address = page(world.organization, "terms")
    form = finance.get(address).context["form"]
    answers = {**form.initial, "parent": other.slug, "invoice_hold": "on"}
    assert post(finance, address, **answers).status_code == 302
    kept = again(world.organization)
    assert (kept.parent_id, kept.invoice_hold) == (other.pk, True)
    ring = {**answers, "parent": world.organization.slug}
    assert post(finance, page(other, "terms"), **ring).status_code == 409
    assert again(other).parent_id is None


def test_a_tax_id_is_judged_again(admin: Client, world: World) -> None:
    assert admin.get(page(world.organization, "recheck_tax_id")).status_code == 409
    with rls.ops_scope("test"):
        services.update_organization(
            world.id,
            changes={"country": "DE", "tax_id": "DE136695976"},
            actor=STAFF,
            at=NOW,
        )
        Organization.objects.filter(pk=world.id).update(tax_id_status="unreachable")
    assert post(admin, page(world.organization, "recheck_tax_id")).status_code == 302
    assert again(world.organization).tax_id_status == "valid_format"
    assert "Well-formed" in text(admin.get(page(world.organization)))


def test_a_test_clock_is_made_attached_and_set(admin: Client, world: World) -> None:
    made = post(admin, url(TestClock, "create"), name="spring", now="2026-03-01T00:00")
    assert made.status_code == 302
    (clock,) = rows(TestClock)
    attached = post(admin, page(world.organization, "attach_clock"), clock=clock.public_id)
    assert attached.status_code == 302
    assert post(admin, page(clock, "set_time"), to="2026-04-01T00:00").status_code == 302
    assert again(clock).now == datetime(2026, 4, 1, tzinfo=UTC)
    assert post(admin, page(clock, "set_time"), to="2026-03-01T00:00").status_code == 409
    assert again(world.organization).test_clock_id == clock.pk
    assert world.organization.name in text(admin.get(page(clock)))
    assert admin.get(page(world.organization, "attach_clock")).status_code == 409


@pytest.mark.parametrize("name", ["create", "edit"])
def test_finance_changes_no_issuer(finance: Client, world: World, name: str) -> None:
    (entity,) = rows(BillingEntity)
    address = url(BillingEntity, name) if name == "create" else page(entity, name)
    assert post(finance, address, slug="x").status_code == 403
    assert len(rows(BillingEntity)) == 1


def test_a_production_system_makes_no_clock(
    admin: Client, world: World, settings: LazySettings
) -> None:
    settings.PRODUCTION = True
    refused = post(admin, url(TestClock, "create"), name="spring", now="2026-03-01T00:00")
    assert refused.status_code == 403
    assert rows(TestClock) == []
