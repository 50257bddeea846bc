from __future__ import annotations

import pytest
from django.db import DatabaseError, transaction

from apps.audit import selectors as audit
from apps.core import rls
from apps.core.errors import Invalid
from apps.tenants import roles, services
from apps.tenants.errors import SlugTaken
from apps.tenants.models import Organization
from tests.conftest import AT, STAFF, make_organization


def test_a_new_organization_is_recorded_in_the_audit(organization: Organization) -> None:
    with rls.tenant_scope(organization.pk):
        (entry,) = audit.latest(organization.pk)
    assert (entry.action, entry.target) == ("organization.created", organization.public_id)


def test_a_taken_slug_is_refused_and_changes_nothing(organization: Organization, ops: None) -> None:
    with pytest.raises(SlugTaken):
        services.create_organization("acme", name="Again", actor=STAFF, at=AT)
    assert Organization.objects.count() == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("currency", "XXQ"), ("timezone", "Mars/Olympus"), ("country", "ZZ"), ("email", "nobody")],
)
def test_a_malformed_field_names_itself(ops: None, field: str, value: str) -> None:
    with pytest.raises(Invalid) as refusal:
        services.create_organization("acme", name="Acme", actor=STAFF, at=AT, **{field: value})
    assert refusal.value.param == field
    assert not Organization.objects.exists()


def test_a_stranger_is_invisible(
    organization: Organization, other_organization: Organization
) -> None:
    with rls.tenant_scope(organization.pk):
        assert list(Organization.objects.values_list("slug", flat=True)) == ["acme"]


def test_without_a_scope_nothing_is_seen_and_nothing_written(organization: Organization) -> None:
    assert not Organization.objects.exists()
    with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
        Organization.objects.create(slug="x", name="X", billing_entity_id=1)


def test_slugs_are_lower_case_words(db: None) -> None:
    with pytest.raises(Invalid):
        make_organization("No Spaces")


def test_a_change_that_changes_nothing_is_not_recorded(organization: Organization) -> None:
    with rls.tenant_scope(organization.pk):
        services.update_organization(organization.pk, changes={"name": "Acme"}, actor=STAFF, at=AT)
        assert len(audit.latest(organization.pk)) == 1


def test_the_audit_says_which_fields_changed_and_not_what_they_say(
    organization: Organization,
) -> None:
    with rls.tenant_scope(organization.pk):
        services.update_organization(
            organization.pk, changes={"legal_name": "Acme Inc."}, actor=STAFF, at=AT
        )
        assert audit.latest(organization.pk)[0].after == {"fields": ["legal_name"]}


def test_an_organizations_key_never_acts_for_the_platform() -> None:
    own = roles.capabilities_of_scopes(["organizations:write"], platform=False)
    platform = roles.capabilities_of_scopes(["organizations:write"], platform=True)
    assert "manage_platform" not in own
    assert platform - own == {"manage_platform", "manage_terms"}
