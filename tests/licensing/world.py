"""A maker of device consoles whose customers run them at home, by licences."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from apps.core import clock, outbox, rls
from apps.entitlements import services as entitlements
from apps.licensing import selectors, services
from apps.licensing.models import SigningKey
from apps.licensing.selectors import LicenseFacts, Verdict
from apps.plans import services as plans
from apps.plans.catalog import read_catalog
from apps.plans.content import Value
from apps.subscriptions import services as subscriptions
from apps.subscriptions.selectors import SubscriptionFacts
from apps.subscriptions.services import rows
from apps.tenants.models import Organization
from tests.conftest import STAFF

START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY, WEEK = timedelta(days=1), timedelta(days=7)


def load() -> None:
    """Put the shipped plans on sale."""
    with rls.ops_scope("test: catalogue"):
        plans.load_catalog(read_catalog("licences"), actor=STAFF, at=START)


def subscribe(
    organization: Organization, plan: str = "professional", *, start: datetime = START
) -> SubscriptionFacts:
    """Sign the agreement."""
    with rls.tenant_scope(organization.pk):
        return subscriptions.subscribe(
            organization.pk, plan=plan, start=start, actor=STAFF, at=start
        )


def change_plan(subscription: SubscriptionFacts, plan: str, *, at: datetime = NOW) -> None:
    """Move to another plan now, and let everybody hear of it."""
    with rls.tenant_scope(subscription.organization_id):
        subscriptions.change_plan(subscription.public_id, plan=plan, actor=STAFF, at=at)
    hear(at)


def go(subscription: SubscriptionFacts, *states: str, at: datetime = NOW) -> None:
    """Bring the subscription through these states, and let everybody hear of it."""
    with rls.tenant_scope(subscription.organization_id):
        for state in states:
            rows.go(subscriptions.lock(subscription.id), state, actor=STAFF, at=at)
    hear(at)


def hear(at: datetime) -> None:
    """Let everybody hear what happened."""
    with clock.frozen(at):
        outbox.deliver_due()


def override(
    subscription: SubscriptionFacts, feature: str, value: Value, *, at: datetime = NOW
) -> None:
    """Agree something beside the plan."""
    with rls.tenant_scope(subscription.organization_id):
        entitlements.override_entitlement(
            subscription.public_id, feature=feature, value=value, reason="x", actor=STAFF, at=at
        )


def fetch(
    organization: Organization, instance: str = "", *, at: datetime = NOW, application: str = ""
) -> LicenseFacts:
    """Ask for the licence that holds."""
    with rls.tenant_scope(organization.pk):
        return services.current_license(
            organization.pk, application=application, instance=instance, actor=STAFF, at=at
        )


def issue(
    organization: Organization, instance: str = "", *, at: datetime = NOW, application: str = ""
) -> LicenseFacts:
    """Have one signed."""
    with rls.tenant_scope(organization.pk):
        return services.issue_license(
            organization.pk, application=application, instance=instance, actor=STAFF, at=at
        )


def revoke(found: LicenseFacts, *, at: datetime = NOW) -> None:
    """Take it back."""
    with rls.tenant_scope(found.organization_id):
        services.revoke_license(found.public_id, actor=STAFF, at=at)


def judge(
    organization: Organization, token: str, *, at: datetime = NOW, instance: str = ""
) -> Verdict:
    """Have it verified."""
    with rls.tenant_scope(organization.pk):
        return selectors.judge(token, at=at, organization_id=organization.pk, instance=instance)


def terms(organization: Organization, **said: Any) -> None:
    """Agree other terms."""
    usual = {"lifetime_days": 7, "grace_days": 3, "bound": False, **said}
    with rls.ops_scope("test: terms"):
        services.set_license_terms(organization.pk, **usual, actor=STAFF, at=NOW)


def rotate(*, at: datetime = NOW, **options: Any) -> SigningKey:
    """Let the next key sign."""
    with rls.ops_scope("test: rotate"):
        return services.rotate_signing_key(**options, actor=STAFF, at=at)


def keys() -> list[SigningKey]:
    """Every key, the newest first."""
    with rls.ops_scope("test: keys"):
        return list(selectors.signing_keys())
