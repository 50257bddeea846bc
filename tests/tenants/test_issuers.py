"""Issuers of invoices: several, each with numbers and rules of its own."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from apps.audit.models import AuditEntry
from apps.core.actor import Actor
from apps.core.errors import Forbidden, Invalid, NotFound
from apps.engine.money import Money
from apps.tenants import roles, selectors, services
from apps.tenants.models import BillingEntity
from tests.conftest import AT, STAFF

FINANCE = Actor("staff", "usr_1", "Finance", None, roles.STAFF_CAPABILITIES["Finance"])


def define(slug: str = "emea", **options: Any) -> BillingEntity:
    wanted = {"legal_name": "Acme EMEA", "invoice_prefix": "EM", **options}
    return services.define_billing_entity(slug, **wanted, actor=STAFF, at=AT)


def test_the_first_issuer_has_series_for_invoices_and_credit_notes(ops: None) -> None:
    first = BillingEntity.objects.get()
    assert (first.invoice_prefix, first.credit_note_prefix) == ("CH", "CH-CN")
    assert (first.hold_factor, first.max_items_per_day, first.max_months_ahead) == (
        Decimal(10),
        100,
        13,
    )
    assert (first.grace_days, first.late_usage, first.tax_rounding) == (0, "correct", "per_line")


def test_an_issuer_is_defined_once_and_then_brought_up_to_date(ops: None) -> None:
    first = define(grace_days=3)
    for _ in range(2):
        again = define(grace_days=5, hold_factor=None)
    assert (again.pk, again.grace_days, again.hold_factor) == (first.pk, 5, None)
    assert again.credit_note_prefix == "EM-CN"
    updated, created = AuditEntry.objects.filter(organization_id=None).order_by("-id")[:2]
    assert (updated.action, updated.after) == (
        "billing_entity.updated",
        {"fields": ["grace_days", "hold_factor"]},
    )
    assert (created.action, created.target) == ("billing_entity.created", first.public_id)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("legal_name", " "),
        ("invoice_prefix", "em"),
        ("invoice_prefix", "CH"),
        ("invoice_prefix", "CH-CN"),
        ("credit_note_prefix", "CH"),
        ("credit_note_prefix", "CH-CN"),
        ("credit_note_prefix", "EM"),
        ("credit_note_prefix", ""),
        ("country", "ZZ"),
        ("email", "nobody"),
        ("grace_days", -1),
        ("grace_days", 91),
        ("grace_days", True),
        ("payment_terms_days", 366),
        ("max_items_per_day", 0),
        ("max_months_ahead", 121),
        ("tax_rounding", "sometimes"),
        ("inclusive_rounding", ""),
        ("late_usage", "ignore"),
        ("tax_registrations", {"ZZ": "1"}),
        ("tax_registrations", {"US-": "1"}),
        ("tax_registrations", {"DE": 7}),
        ("tax_registrations", ["DE"]),
        ("correction_limits", {"XXQ": 1}),
        ("correction_limits", {"USD": "1"}),
        ("correction_limits", {"USD": -1}),
        ("correction_limits", {"USD": True}),
        ("hold_factor", "0.5"),
        ("hold_factor", "NaN"),
        ("hold_factor", "2.005"),
        ("hold_factor", "1000000"),
        ("created_at", None),
    ],
)
def test_a_malformed_rule_names_itself_and_nothing_is_made(
    ops: None, field: str, value: Any
) -> None:
    with pytest.raises(Invalid) as refusal:
        define(**{field: value})
    assert refusal.value.param == field
    assert [one.slug for one in BillingEntity.objects.all()] == ["default"]


def test_a_refused_change_changes_nothing(ops: None) -> None:
    define()
    for changes in ({"grace_days": 1, "invoice_prefix": "CH"}, {"slug": "other"}):
        with pytest.raises(Invalid):
            services.change_billing_entity(
                BillingEntity.objects.get(slug="emea").public_id,
                changes=changes,
                actor=STAFF,
                at=AT,
            )
    kept = BillingEntity.objects.get(slug="emea")
    assert (kept.grace_days, kept.invoice_prefix) == (0, "EM")


def test_places_of_registration_are_kept_in_capitals(ops: None) -> None:
    places = {"de": "DE136695976", "us-ca": "", "EU": "IE6388047V"}
    assert define(tax_registrations=places).tax_registrations == {
        "DE": "DE136695976",
        "US-CA": "",
        "EU": "IE6388047V",
    }


def test_a_factor_is_exact(ops: None) -> None:
    define(hold_factor="2.50")
    found = selectors.billing_entity("emea")
    assert found is not None
    assert found.hold_factor == Decimal("2.50")
    assert selectors.billing_entity(found.public_id) == found


@pytest.mark.parametrize(
    ("limits", "correction", "reviewed"),
    [
        ({}, 1_000_000_00, False),
        ({"USD": 100_00}, 100_00, False),
        ({"USD": 100_00}, 100_01, True),
        ({"USD": 100_00}, -100_01, True),
        ({"EUR": 0}, 1, False),
        ({"USD": 0}, -1, True),
    ],
)
def test_corrections_above_the_limit_are_reviewed(
    limits: dict[str, int], correction: int, reviewed: bool
) -> None:
    entity = BillingEntity(correction_limits=limits)
    assert entity.must_review(Money(correction, "USD")) is reviewed


def test_only_who_runs_the_platform_changes_issuers(ops: None) -> None:
    first = BillingEntity.objects.get()
    with pytest.raises(Forbidden):
        services.define_billing_entity(
            "emea", legal_name="x", invoice_prefix="EM", actor=FINANCE, at=AT
        )
    with pytest.raises(Forbidden):
        services.change_billing_entity(
            first.public_id, changes={"grace_days": 1}, actor=FINANCE, at=AT
        )
    assert BillingEntity.objects.get().grace_days == 0


def test_an_unknown_issuer_is_not_found(ops: None) -> None:
    with pytest.raises(NotFound):
        services.change_billing_entity("be_none", changes={}, actor=STAFF, at=AT)
