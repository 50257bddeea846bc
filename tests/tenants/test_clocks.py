"""Test clocks: a sandbox's own time, forward only."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import DatabaseError, transaction

from apps.audit.models import AuditEntry
from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import Conflict, Forbidden, NotFound
from apps.core.models import OutboxEvent
from apps.tenants import roles, selectors, services
from apps.tenants.errors import ClockGoesBack, SandboxOnly
from apps.tenants.models import Organization, TestClock
from tests.conftest import AT, STAFF

LATER = AT + timedelta(days=31)
FINANCE = Actor("staff", "usr_1", "Finance", None, roles.STAFF_CAPABILITIES["Finance"])


@pytest.fixture
def clock(ops: None) -> TestClock:
    return services.create_test_clock("spring", now=AT, actor=STAFF, at=AT)


def attach(organization: Organization, clock: TestClock) -> None:
    services.attach_test_clock(organization.pk, clock=clock.public_id, actor=STAFF, at=AT)


def test_an_organization_lives_by_its_clock_and_others_by_the_real_one(
    clock: TestClock, organization: Organization, other_organization: Organization
) -> None:
    attach(organization, clock)
    services.set_test_clock(clock.public_id, to=LATER, actor=STAFF, at=AT)
    assert selectors.now_for(organization.pk, AT) == LATER
    assert selectors.now_for(other_organization.pk, AT) == AT
    assert selectors.clocked_organizations() == {organization.pk: LATER}
    assert selectors.organizations_on_clock(clock.pk) == [organization]


def test_an_organization_learns_its_time_in_its_own_scope(
    clock: TestClock, organization: Organization
) -> None:
    attach(organization, clock)
    services.set_test_clock(clock.public_id, to=LATER, actor=STAFF, at=AT)
    with rls.tenant_scope(organization.pk):
        assert selectors.now_for(organization.pk, AT) == LATER


def test_a_clock_never_goes_back(clock: TestClock) -> None:
    services.set_test_clock(clock.public_id, to=LATER, actor=STAFF, at=AT)
    with pytest.raises(ClockGoesBack):
        services.set_test_clock(clock.public_id, to=AT, actor=STAFF, at=AT)
    with pytest.raises(DatabaseError, match="never goes back"), transaction.atomic():
        TestClock.objects.update(now=AT)
    clock.refresh_from_db()
    assert clock.now == LATER


def test_a_move_is_told_once_and_recorded(clock: TestClock) -> None:
    for _ in range(2):
        services.set_test_clock(clock.public_id, to=LATER, actor=STAFF, at=AT)
    (told,) = OutboxEvent.objects.filter(name="tenants.TestClockMoved")
    assert told.payload == {
        "clock_id": clock.public_id,
        "before": AT.isoformat(),
        "now": LATER.isoformat(),
    }
    recorded = AuditEntry.objects.filter(target=clock.public_id).order_by("id")
    assert [entry.action for entry in recorded] == ["test_clock.created", "test_clock.moved"]


def test_an_organization_keeps_its_clock(clock: TestClock, organization: Organization) -> None:
    other = services.create_test_clock("autumn", now=LATER, actor=STAFF, at=AT)
    for _ in range(2):  # the same one again is no change
        attach(organization, clock)
    with pytest.raises(Conflict):
        attach(organization, other)
    with pytest.raises(DatabaseError, match="keeps its test clock"), transaction.atomic():
        Organization.objects.update(test_clock=None)
    organization.refresh_from_db()
    assert organization.test_clock == clock


def test_payer_and_organization_live_by_one_clock(
    clock: TestClock, organization: Organization, other_organization: Organization
) -> None:
    attach(organization, clock)
    with pytest.raises(Conflict):
        _paid_by(organization, other_organization)
    attach(other_organization, clock)
    _paid_by(organization, other_organization)
    organization.refresh_from_db()
    assert organization.parent == other_organization


def test_who_has_a_payer_is_attached_no_more(
    clock: TestClock, organization: Organization, other_organization: Organization
) -> None:
    _paid_by(organization, other_organization)
    for one in (organization, other_organization):
        with pytest.raises(Conflict):
            attach(one, clock)
    assert selectors.clocked_organizations() == {}


def _paid_by(organization: Organization, payer: Organization) -> None:
    services.change_billing_terms(
        organization.pk, changes={"parent": payer.slug}, actor=STAFF, at=AT
    )


@pytest.mark.parametrize("setting", ["PRODUCTION", "STRIPE_LIVE_MODE"])
def test_time_is_never_moved_where_invoices_are_real(
    clock: TestClock, organization: Organization, settings: LazySettings, setting: str
) -> None:
    setattr(settings, setting, True)
    with pytest.raises(SandboxOnly):
        services.create_test_clock("autumn", now=AT, actor=STAFF, at=AT)
    with pytest.raises(SandboxOnly):
        attach(organization, clock)
    with pytest.raises(SandboxOnly):
        services.set_test_clock(clock.public_id, to=LATER, actor=STAFF, at=AT)
    assert list(TestClock.objects.values_list("now", flat=True)) == [AT]
    assert selectors.clocked_organizations() == {}


def test_only_who_runs_the_platform_moves_time(clock: TestClock) -> None:
    acts: list[Any] = [
        lambda: services.create_test_clock("autumn", now=AT, actor=FINANCE, at=AT),
        lambda: services.set_test_clock(clock.public_id, to=LATER, actor=FINANCE, at=AT),
    ]
    for act in acts:
        with pytest.raises(Forbidden):
            act()
    assert list(TestClock.objects.values_list("now", flat=True)) == [AT]


def test_an_unknown_clock_is_not_found(organization: Organization, ops: None) -> None:
    with pytest.raises(NotFound):
        services.attach_test_clock(organization.pk, clock="clk_none", actor=STAFF, at=AT)
