"""What staff agree with one subscription holds in place of the plan's, for its time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from apps.audit import selectors as audit
from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import Forbidden, Invalid, NotFound
from apps.entitlements import selectors, services
from apps.entitlements.errors import UnknownFeature
from apps.entitlements.models import Override
from apps.entitlements.selectors import OverrideFacts, Reason
from apps.plans.content import Value
from apps.plans.selectors import GrantRules
from apps.subscriptions.models import Subscription
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.entitlements.maps import NOW, check, seen, use

HOUR = timedelta(hours=1)


def run(statement: str) -> None:
    """Write past the services, as a mistake in a console would."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def override(
    organization: Organization, feature: str, value: Value, *, hours: int = 0, **options: object
) -> OverrideFacts:
    with rls.ops_scope("test: staff"):
        [facts] = Subscription.objects.filter(organization=organization)
        return services.override_entitlement(
            facts.public_id,
            feature=feature,
            value=value,
            reason=str(options.pop("reason", "agreed on the phone")),
            actor=STAFF,
            at=NOW + hours * HOUR,
            **options,  # type: ignore[arg-type]
        )


def test_an_override_holds_from_now_until_its_end(drawer: Organization) -> None:
    override(drawer, "tiles", 500, until=NOW + 2 * HOUR)
    assert check(drawer, "tiles", at=NOW - HOUR).limit == 100
    assert check(drawer, "tiles").limit == 500
    assert check(drawer, "tiles", at=NOW + 2 * HOUR).limit == 100


def test_an_override_brings_its_own_rules(drawer: Organization) -> None:
    use(drawer, 30, at=NOW - 24 * HOUR)
    override(drawer, "tiles", 20, rules=GrantRules(reset="day", on_limit="warn"))
    found = check(drawer, "tiles", 21)
    assert seen(found.allowed, found.used, found.limit) == (True, 0, 20)


def test_an_override_grants_what_the_plan_does_not(drawer: Organization) -> None:
    override(drawer, "history", True)
    assert check(drawer, "history").allowed
    override(drawer, "offline", False)
    assert check(drawer, "offline").reason == Reason.NOT_INCLUDED


def test_the_next_override_takes_the_place_of_the_last(drawer: Organization) -> None:
    first = override(drawer, "tiles", 500)
    assert override(drawer, "tiles", 500, hours=1) == first
    override(drawer, "tiles", None, hours=2)
    assert check(drawer, "tiles", at=NOW + HOUR).limit == 500
    assert check(drawer, "tiles", 10_000, at=NOW + 2 * HOUR).allowed
    with rls.tenant_scope(drawer.pk):
        assert len(selectors.overrides_of(drawer.pk)) == 2


def test_an_ended_override_leaves_the_plan_s_word(drawer: Organization) -> None:
    made = override(drawer, "tiles", 500)
    with rls.ops_scope("test: staff"):
        for hours in (1, 2):
            services.end_override(made.public_id, actor=STAFF, at=NOW + hours * HOUR)
        told = [one.action for one in audit.latest(drawer.pk, target=made.public_id)]
    assert check(drawer, "tiles", at=NOW + HOUR).limit == 100
    assert told == ["entitlement.restored", "entitlement.overridden"]


@pytest.mark.parametrize(
    ("feature", "value", "options", "error"),
    [
        ("none_such", 1, {}, UnknownFeature),
        ("tiles", True, {}, Invalid),
        ("tiles", "many", {}, Invalid),
        ("tiles", -1, {}, Invalid),
        ("offline", 1, {}, Invalid),
        ("support", None, {}, Invalid),
        ("styles", 3, {"rules": GrantRules(reset="day")}, Invalid),
        ("tiles", 1, {"until": NOW}, Invalid),
        ("tiles", 1, {"reason": " "}, Invalid),
    ],
)
def test_overrides_that_make_no_sense_are_refused(
    drawer: Organization, feature: str, value: Value, options: dict[str, Any], error: type
) -> None:
    with pytest.raises(error):
        override(drawer, feature, value, **options)
    with rls.tenant_scope(drawer.pk):
        assert not Override.objects.exists()


def test_overrides_are_for_staff(drawer: Organization) -> None:
    owner = Actor("user", "u", "owner", drawer.pk, frozenset({"manage_billing"}))
    with rls.tenant_scope(drawer.pk):
        [facts] = Subscription.objects.all()
        with pytest.raises(Forbidden):
            services.override_entitlement(
                facts.public_id, feature="tiles", value=None, reason="me", actor=owner, at=NOW
            )
        with pytest.raises(NotFound):
            services.end_override("ovr_none", actor=STAFF, at=NOW)


def test_the_database_refuses_two_at_one_instant(drawer: Organization) -> None:
    override(drawer, "tiles", 500)
    copy = """
        INSERT INTO entitlements_override (public_id, organization_id, subscription_id, feature_id,
          value, reset, on_limit, prepaid, during, reason, set_by)
        SELECT 'ovr_copy', organization_id, subscription_id, feature_id, value, reset, on_limit,
          prepaid, during, reason, set_by FROM entitlements_override"""
    with rls.ops_scope("test"), pytest.raises(DatabaseError, match="one_override_at_an_instant"):
        run(copy)
