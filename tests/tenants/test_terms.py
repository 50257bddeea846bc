"""How an organization is billed: its issuer, its payer, its tax."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from apps.audit import selectors as audit
from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import Conflict, Forbidden, Invalid, NotFound
from apps.tenants import roles, selectors, services
from apps.tenants.errors import PayerRing
from apps.tenants.models import BillingEntity, Organization
from tests.conftest import AT, STAFF, make_organization

FINANCE = Actor("staff", "usr_1", "Finance", None, roles.STAFF_CAPABILITIES["Finance"])
Status = Organization.TaxIdStatus


def change(organization: Organization, **changes: Any) -> Organization:
    return services.change_billing_terms(organization.pk, changes=changes, actor=STAFF, at=AT)


def owner_of(organization: Organization) -> Actor:
    return Actor("user", "usr_2", "OWNER", organization.pk, roles.capabilities_of("OWNER"))


def test_finance_changes_terms_and_the_record_says_which(
    organization: Organization, ops: None
) -> None:
    changes = {"invoice_hold": True, "invoice_grouping": "consolidated"}
    for _ in range(2):
        services.change_billing_terms(organization.pk, changes=changes, actor=FINANCE, at=AT)
    organization.refresh_from_db()
    assert (organization.invoice_hold, organization.invoice_grouping) == (True, "consolidated")
    last, created = audit.latest(organization.pk)
    assert last.after == {"fields": ["invoice_grouping", "invoice_hold"]}
    assert created.action == "organization.created"


def test_owners_exempt_themselves_from_nothing(organization: Organization) -> None:
    actor, changes = owner_of(organization), {"tax_exemption": "exempt"}
    with rls.tenant_scope(organization.pk):
        with pytest.raises(Forbidden):
            services.change_billing_terms(organization.pk, changes=changes, actor=actor, at=AT)
        with pytest.raises(Invalid):
            services.update_organization(organization.pk, changes=changes, actor=actor, at=AT)
        organization.refresh_from_db()
    assert organization.tax_exemption == "none"


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("tax_exemption", "always", Invalid),
        ("invoice_grouping", "yearly", Invalid),
        ("billing_entity", "nobody", NotFound),
        ("parent", "nobody", NotFound),
        ("test_clock", None, Invalid),
    ],
)
def test_a_malformed_term_names_itself(
    organization: Organization, ops: None, field: str, value: object, error: type[Invalid]
) -> None:
    with pytest.raises(error) as refusal:
        change(organization, **{field: value})
    assert refusal.value.param == field
    assert len(audit.latest(organization.pk)) == 1


def test_an_exemption_says_why(organization: Organization, ops: None) -> None:
    for reason in ({}, {"tax_exemption_reason": " "}):
        with pytest.raises(Invalid) as refusal:
            change(organization, tax_exemption="exempt", **reason)
        assert refusal.value.param == "tax_exemption_reason"
    organization.refresh_from_db()
    assert organization.tax_exemption == "none"
    change(organization, tax_exemption="exempt", tax_exemption_reason="VATEX-EU-132")
    with pytest.raises(Invalid):
        change(organization, tax_exemption_reason="")
    change(organization, tax_exemption="none", tax_exemption_reason="")


def test_nobody_pays_in_a_currency_of_their_own(ops: None) -> None:
    child, payer = make_organization("one"), make_organization("two", currency="EUR")
    with pytest.raises(Conflict, match="is billed in EUR") as refusal:
        change(child, parent=payer.slug)
    child.refresh_from_db()
    assert (refusal.value.param, child.parent) == ("parent", None)


def test_nobody_pays_for_themselves_by_way_of_others(ops: None) -> None:
    first, second, third = (make_organization(slug) for slug in ("one", "two", "three"))
    change(first, parent="two")
    change(second, parent=third.public_id)
    for payer in ("one", "two", "three"):
        with pytest.raises(PayerRing):
            change(third, parent=payer)
    third.refresh_from_db()
    assert third.parent is None
    assert selectors.payers_above(first.pk) == {first.pk, second.pk, third.pk}
    assert selectors.paid_for_by(third.pk) == [second]


def test_the_database_refuses_a_ring_of_payers_too(ops: None) -> None:
    first, second = make_organization("one"), make_organization("two")
    change(first, parent="two")
    with pytest.raises(DatabaseError, match="pay for itself"), transaction.atomic():
        Organization.objects.filter(pk=second.pk).update(parent=first)


def test_a_tenant_chooses_no_payer_past_the_services(
    organization: Organization, other_organization: Organization
) -> None:
    with (
        rls.tenant_scope(organization.pk),
        pytest.raises(DatabaseError, match="only staff choose who pays"),
        transaction.atomic(),
    ):
        Organization.objects.filter(pk=organization.pk).update(parent=other_organization.pk)


def test_two_who_take_each_other_for_payer_at_once_close_no_ring(committed_db: str) -> None:
    first, second = make_organization("one"), make_organization("two")
    start = threading.Barrier(2)
    refused: list[Exception] = []

    def take(organization: Organization, payer: Organization) -> None:
        try:
            with rls.ops_scope("test"):
                start.wait()
                Organization.objects.filter(pk=organization.pk).update(parent=payer)
        except DatabaseError as error:
            refused.append(error)
        finally:
            connection.close()

    threads = [
        threading.Thread(target=take, args=pair) for pair in ((first, second), (second, first))
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    with rls.ops_scope("test"):
        assert Organization.objects.filter(parent__isnull=False).count() == 1
    assert len(refused) == 1


def test_a_payer_is_taken_back(ops: None) -> None:
    child = make_organization("one")
    make_organization("two")
    change(child, parent="two")
    change(child, parent="")
    child.refresh_from_db()
    assert child.parent is None


def test_an_organization_moves_to_another_issuer(organization: Organization, ops: None) -> None:
    services.define_billing_entity(
        "emea", legal_name="Acme EMEA", invoice_prefix="EM", actor=STAFF, at=AT
    )
    change(organization, billing_entity="emea")
    assert selectors.organization(organization.pk).billing_entity.slug == "emea"
    made = services.create_organization(
        "initech", name="Initech", billing_entity="emea", actor=STAFF, at=AT
    )
    assert made.billing_entity == BillingEntity.objects.get(slug="emea")


@pytest.mark.parametrize(
    ("country", "tax_id", "status"),
    [
        ("DE", "DE136695976", Status.VALID_FORMAT),
        ("DE", "DE136695978", Status.INVALID),
        ("FR", "DE136695976", Status.INVALID),
        ("US", "12-3456789", Status.UNCHECKED),
    ],
)
def test_a_tax_id_is_judged_by_its_form_when_it_is_saved(
    organization: Organization, country: str, tax_id: str, status: str
) -> None:
    changes = {"country": country, "tax_id": tax_id}
    with rls.tenant_scope(organization.pk):
        row = services.update_organization(organization.pk, changes=changes, actor=STAFF, at=AT)
        row.refresh_from_db()
    assert row.tax_id_status == status
    assert row.tax_id_checked_at == (None if status == Status.UNCHECKED else AT)


def test_another_country_judges_the_tax_id_anew(organization: Organization) -> None:
    with rls.tenant_scope(organization.pk):
        for changes in ({"country": "DE", "tax_id": "DE136695976"}, {"country": "FR"}):
            services.update_organization(organization.pk, changes=changes, actor=STAFF, at=AT)
        organization.refresh_from_db()
    assert organization.tax_id_status == Status.INVALID


def test_codes_of_regions_are_kept_in_capitals_and_names_as_written(
    organization: Organization,
) -> None:
    with rls.tenant_scope(organization.pk):
        for written, kept in ((" ca ", "CA"), ("Bavaria", "Bavaria")):
            row = services.update_organization(
                organization.pk, changes={"region": written}, actor=STAFF, at=AT
            )
            assert row.region == kept
