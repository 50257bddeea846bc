"""What a licence says, how long, and when another takes its place."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import jwt
import pytest

from apps.audit.models import AuditEntry
from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import Forbidden, Invalid, NotFound
from apps.licensing import services
from apps.licensing.errors import (
    ApplicationNeeded,
    InstanceBlocked,
    InstanceNeeded,
    NotLicensed,
    UnknownLicense,
)
from apps.licensing.models import Instance, License
from apps.licensing.selectors import Standing
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.subscriptions import services as subscriptions
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.licensing import world
from tests.licensing.world import DAY, NOW, START, WEEK, fetch, issue, judge

SECOND = """\
currency: USD
applications: [{slug: second, name: Second}]
features: [{key: rooms, kind: limit}]
plans:
  - {code: second, application: second, name: Second, interval: month, prices: [
      {key: base, type: flat, amount: "9.00"}], entitlements: {rooms: 4}}
"""


def test_a_licence_has_the_claims_of_the_former_system_and_the_registered_ones(
    organization: Organization, subscription: SubscriptionFacts
) -> None:
    found = fetch(organization)
    issued = int(NOW.timestamp())
    assert found.claims == {
        "iss": "http://localhost:8000",
        "sub": organization.public_id,
        "jti": found.public_id,
        "iat": issued,
        "nbf": issued - 300,
        "exp": issued + 10 * 86_400,
        "customerId": organization.public_id,
        "customerName": "Acme",
        "plan": "professional",
        "features": {
            "maxDevices": 50,
            "dataRetentionDays": 365,
            "canExportData": True,
            "hasAdvancedAlerts": True,
            "hasApiAccess": True,
            "hasMqttAccess": True,
            "hasCustomBranding": False,
        },
        "limits": {"maxUsers": 10, "maxAlertRules": 100, "maxDashboards": 20},
        "subscription": {"status": "active", "currentPeriodEndsAt": "2026-04-01T00:00:00Z"},
        "issuedAt": issued,
        "expiresAt": issued + 7 * 86_400,
    }
    assert jwt.decode(found.token, options={"verify_signature": False}) == found.claims
    header = jwt.get_unverified_header(found.token)
    assert header == {"alg": "RS256", "typ": "licence+jwt", "kid": world.keys()[0].kid}


def test_no_limit_is_null_and_a_switch_is_a_flag(shop: None, organization: Organization) -> None:
    with rls.tenant_scope(organization.pk):
        subscriptions.subscribe(
            organization.pk,
            plan="enterprise",
            start=START,
            agreed={"base": Decimal("1250.00")},
            actor=STAFF,
            at=START,
        )
    claims = fetch(organization).claims
    assert (claims["features"]["maxDevices"], claims["limits"]["maxUsers"]) == (None, None)
    assert claims["features"]["hasCustomBranding"] is True


def test_asking_again_gets_the_same_one_for_half_of_its_time(
    organization: Organization, subscription: SubscriptionFacts
) -> None:
    first = fetch(organization)
    assert fetch(organization, at=NOW + 3 * DAY).public_id == first.public_id
    fresh = fetch(organization, at=NOW + 4 * DAY)
    assert fresh.public_id != first.public_id
    assert fresh.expires_at == NOW + 11 * DAY
    old = judge(organization, first.token, at=NOW + 4 * DAY)
    assert old.standing == Standing.OK  # superseded, and good until it ends
    assert old.license is not None
    assert old.license.state(NOW + 4 * DAY) == "superseded"


def test_an_upgrade_is_in_the_next_licence_and_the_last_stays_good(
    organization: Organization, subscription: SubscriptionFacts
) -> None:
    first = fetch(organization)
    world.override(subscription, "max_devices", 80)
    fresh = fetch(organization)
    assert (fresh.claims["features"]["maxDevices"], fresh.plan) == (80, "professional")
    assert judge(organization, first.token).standing == Standing.OK


def test_a_downgrade_revokes_what_grants_too_much(
    organization: Organization, subscription: SubscriptionFacts
) -> None:
    first = fetch(organization)
    with rls.tenant_scope(organization.pk):
        subscriptions.change_plan(subscription.public_id, plan="starter", actor=STAFF, at=NOW + DAY)
    seen = judge(organization, first.token, at=NOW + DAY)
    assert (seen.valid, seen.standing) == (False, Standing.OUTDATED)  # before anybody has heard
    world.hear(NOW + DAY)
    assert judge(organization, first.token, at=NOW + DAY).standing == Standing.REVOKED
    fresh = fetch(organization, at=NOW + DAY)
    assert (fresh.plan, fresh.claims["features"]["maxDevices"]) == ("starter", 10)
    assert judge(organization, fresh.token, at=NOW + DAY).standing == Standing.OK


def test_an_unpaid_subscription_loses_its_licence_and_a_paid_one_gets_another(
    organization: Organization, subscription: SubscriptionFacts
) -> None:
    first = fetch(organization)
    world.go(subscription, "past_due")
    late = fetch(organization)
    assert late.claims["subscription"]["status"] == "past_due"
    assert judge(organization, first.token).standing == Standing.OK
    world.go(subscription, "unpaid")
    with pytest.raises(NotLicensed) as refused:
        fetch(organization)
    assert refused.value.extra == {"reason": "unpaid"}
    assert judge(organization, late.token).standing == Standing.REVOKED
    world.go(subscription, "active")
    again = fetch(organization)
    assert (again.public_id != late.public_id, again.claims["subscription"]["status"]) == (
        True,
        "active",
    )
    assert judge(organization, again.token).standing == Standing.OK
    assert judge(organization, late.token).standing == Standing.REVOKED


def test_a_licence_ends_where_the_agreement_does_and_has_no_grace_beyond(
    organization: Organization, subscription: SubscriptionFacts
) -> None:
    at = datetime.fromisoformat("2026-03-28T12:00:00+00:00")
    with rls.tenant_scope(organization.pk):
        subscriptions.cancel(subscription.public_id, actor=STAFF, at=at)
    found = fetch(organization, at=at)
    ends = datetime.fromisoformat("2026-04-01T00:00:00+00:00")
    assert (found.expires_at, found.ends_at) == (ends, ends)
    assert fetch(organization, at=at + 3 * DAY).public_id == found.public_id  # none would be longer


def test_a_bare_trial_ends_with_its_licence(shop: None, organization: Organization) -> None:
    begun = world.subscribe(organization, "trial", start=NOW)
    assert begun.trial_end == NOW + 2 * WEEK
    late = fetch(organization, at=NOW + 13 * DAY)
    assert (late.expires_at, late.ends_at) == (begun.trial_end, begun.trial_end)


def test_grace_lasts_as_long_as_was_agreed(
    organization: Organization, subscription: SubscriptionFacts
) -> None:
    world.terms(organization, lifetime_days=366, grace_days=30)
    found = fetch(organization)
    assert found.expires_at - found.issued_at == 366 * DAY
    assert judge(organization, found.token, at=NOW + 365 * DAY).standing == Standing.OK
    kept = judge(organization, found.token, at=NOW + 366 * DAY)
    assert (kept.valid, kept.standing) == (True, Standing.GRACE)
    over = judge(organization, found.token, at=NOW + 396 * DAY)
    assert (over.valid, over.standing) == (False, Standing.EXPIRED)


@pytest.mark.parametrize(
    "said", [{"lifetime_days": 0}, {"lifetime_days": 367}, {"grace_days": 91}, {"grace_days": -1}]
)
def test_terms_have_bounds(organization: Organization, said: dict[str, int]) -> None:
    with pytest.raises(Invalid):
        world.terms(organization, **said)


def test_usual_terms_come_back_when_the_agreed_ones_are_cleared(
    organization: Organization, subscription: SubscriptionFacts
) -> None:
    world.terms(organization, lifetime_days=30)
    assert (issue(organization).expires_at - NOW).days == 30
    with rls.ops_scope("test: clear"):
        services.clear_license_terms(organization.pk, actor=STAFF, at=NOW)
    assert (issue(organization).expires_at - NOW).days == 7


def test_a_licence_for_an_instance_names_it_as_its_audience(
    organization: Organization, subscription: SubscriptionFacts
) -> None:
    plant = fetch(organization, "plant-1")
    assert plant.claims["aud"] == "plant-1"
    assert fetch(organization, "plant-1", at=NOW + DAY).public_id == plant.public_id
    assert fetch(organization, "plant-2").public_id != plant.public_id
    assert fetch(organization).instance == ""
    assert judge(organization, plant.token, instance="plant-1").standing == Standing.OK
    assert judge(organization, plant.token, instance="plant-2").standing == Standing.WRONG_INSTANCE
    with rls.tenant_scope(organization.pk):
        seen = {row.name: row for row in Instance.objects.all()}
    assert seen["plant-1"].last_seen_at == NOW + DAY
    assert seen["plant-2"].first_seen_at == NOW


def test_bound_licences_are_for_instances_only(
    organization: Organization, subscription: SubscriptionFacts
) -> None:
    anybodys = fetch(organization)
    world.terms(organization, bound=True)
    with pytest.raises(InstanceNeeded):
        fetch(organization)
    assert fetch(organization, "plant").instance == "plant"
    assert judge(organization, anybodys.token).standing == Standing.OK


@pytest.mark.parametrize("name", ["", "two words", "x" * 97, "\x00"])
def test_an_instance_has_a_name_without_blanks(
    organization: Organization, subscription: SubscriptionFacts, name: str
) -> None:
    world.terms(organization, bound=True)
    with pytest.raises((Invalid, InstanceNeeded)):
        fetch(organization, name)
    with rls.tenant_scope(organization.pk):
        assert not License.objects.exists()


def test_a_blocked_instance_gets_nothing_until_it_is_let_in_again(
    organization: Organization, subscription: SubscriptionFacts
) -> None:
    plant, other = fetch(organization, "plant"), fetch(organization, "other")
    with rls.tenant_scope(organization.pk):
        row = Instance.objects.get(name="plant")
        services.block_instance(row.public_id, actor=STAFF, at=NOW)
        services.block_instance(row.public_id, actor=STAFF, at=NOW)
    assert judge(organization, plant.token).standing == Standing.REVOKED
    with pytest.raises(InstanceBlocked):
        fetch(organization, "plant")
    assert fetch(organization, "other").public_id == other.public_id
    with rls.tenant_scope(organization.pk):
        services.unblock_instance(row.public_id, actor=STAFF, at=NOW)
    assert judge(organization, fetch(organization, "plant").token).standing == Standing.OK


def test_a_revoked_licence_is_replaced_with_the_next_request(
    organization: Organization, subscription: SubscriptionFacts
) -> None:
    first = fetch(organization)
    world.revoke(first)
    world.revoke(first, at=NOW + DAY)
    seen = judge(organization, first.token)
    assert seen.license is not None
    assert (seen.standing, seen.license.revoked_at) == (Standing.REVOKED, NOW)
    assert judge(organization, fetch(organization).token).standing == Standing.OK
    with rls.tenant_scope(organization.pk):
        acts = AuditEntry.objects.filter(target=first.public_id).order_by("seq")
        assert [one.action for one in acts] == ["license.issued", "license.revoked"]


def test_without_a_subscription_there_is_nothing_to_license(
    shop: None, organization: Organization
) -> None:
    with pytest.raises(NotLicensed) as refused:
        issue(organization)
    assert refused.value.extra == {"reason": "no_subscription"}
    with rls.tenant_scope(organization.pk):
        assert not License.objects.exists()


def test_with_two_applications_one_is_named(
    organization: Organization, subscription: SubscriptionFacts
) -> None:
    with rls.ops_scope("test: another"):
        plans.load_catalog(parse_catalog(SECOND, source="second"), actor=STAFF, at=START)
    world.subscribe(organization, "second")
    with pytest.raises(ApplicationNeeded) as refused:
        fetch(organization)
    assert refused.value.message == "Say for which application: devices, second."
    second = fetch(organization, application="second")
    assert (second.claims["features"], second.claims["limits"]) == ({}, {"rooms": 4})
    assert fetch(organization, application="devices").plan == "professional"
    with pytest.raises(NotLicensed):
        fetch(organization, application="third")


def test_a_stranger_neither_reads_nor_revokes(
    organization: Organization, subscription: SubscriptionFacts, other_organization: Organization
) -> None:
    mine = fetch(organization)
    stranger = Actor("api_key", "k", "k", other_organization.pk, frozenset({"manage_licences"}))
    with rls.tenant_scope(other_organization.pk), pytest.raises(UnknownLicense):
        services.revoke_license(mine.public_id, actor=stranger, at=NOW)
    with rls.tenant_scope(other_organization.pk), pytest.raises(NotFound):
        services.block_instance("ins_x", actor=stranger, at=NOW)
    assert judge(other_organization, mine.token).standing == Standing.UNKNOWN
    with rls.tenant_scope(organization.pk), pytest.raises(Forbidden):
        services.current_license(organization.pk, actor=stranger, at=NOW)
    assert judge(organization, mine.token).standing == Standing.OK


def test_what_was_signed_never_changes(
    organization: Organization, subscription: SubscriptionFacts
) -> None:
    found = fetch(organization)
    with rls.ops_scope("test: change a fact"), pytest.raises(Exception, match="never changes"):
        License.objects.filter(pk=found.id).update(claims={})
