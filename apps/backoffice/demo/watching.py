"""What the demo world shows of limits and of watching: something is left, something is used up, an
hour ran wild, and somebody was told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from apps.backoffice.demo.usage import BURSTS
from apps.core.actor import Actor
from apps.engine.entitlements import Behaviour, Reset
from apps.entitlements import services as entitlements
from apps.plans.selectors import GrantRules
from apps.subscriptions.facts import SubscriptionFacts
from apps.tenants.models import Organization
from apps.usage import services as usage
from apps.usage.devices import NewReport
from apps.watch import services

CATALOG = Path(__file__).resolve().parent / "limits.yaml"
ALLOW, WARN, BLOCK = Behaviour.ALLOW, Behaviour.WARN, Behaviour.BLOCK
HOUR = timedelta(hours=1)
SETTLED = timedelta(minutes=6)  # an hour is judged once its last events are rolled up
HOURS_JUDGED = 8  # the wild one, and those behind it until two usual ones end it
DAYS_REPORTED = 14


@dataclass(frozen=True, slots=True)
class Limit:
    """So much of a feature, until it counts anew, and what happens then."""

    feature: str
    value: int
    on_limit: Behaviour
    reset: Reset = Reset.PERIOD


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert rule: a percentage, of a meter or of any, or an amount of the own currency."""

    kind: str
    percent: Decimal | None = None
    amount: Decimal | None = None
    meter: str = ""


@dataclass(frozen=True, slots=True)
class Instance:
    """An installation at a customer's site, and how many devices it began with."""

    name: str
    devices: int


LIMITS: Mapping[str, tuple[Limit, ...]] = {
    "acme": (
        Limit("ai_requests", 5_000, WARN),  # passed, by the hour that ran wild
        Limit("generated_tokens", 2_000_000, BLOCK, Reset.DAY),
    ),
    "globex": (
        Limit("api_calls", 1_000, ALLOW),
        Limit("data_exports", 15, BLOCK),  # used up
    ),
    "initech": (
        Limit("compute_seconds", 1_000_000, BLOCK),
        Limit("transfer_gb", 40, WARN),  # passed
    ),
}
CAPS = {"acme": (Decimal(250), BLOCK), "initech": (Decimal(5), WARN)}
RULES: Mapping[str, tuple[Rule, ...]] = {
    "acme": (
        Rule("percent_of_included", percent=Decimal(80), meter="ai_requests"),  # crossed
        Rule("forecast_amount", amount=Decimal(2_000)),
    ),
    "globex": (Rule("percent_of_included", percent=Decimal(80)),),
    "initech": (Rule("percent_of_included", percent=Decimal(100), meter="transfer_gb"),),  # crossed
    "vandelay": (Rule("credits", amount=Decimal(20)),),  # crossed: the credit is used up
}
INSTANCES = {"initech": (Instance("osaka-1", 12), Instance("tokyo-1", 31))}


def agree(
    organization: Organization, facts: SubscriptionFacts, *, actor: Actor, at: datetime
) -> None:
    """Agree on limits and a spend cap from the subscription's start on, and on alert rules."""
    _limits(organization.slug, facts, actor)
    if organization.slug in CAPS:
        amount, on_limit = CAPS[organization.slug]
        entitlements.set_spend_cap(
            organization.pk, amount=amount, on_limit=on_limit, actor=actor, at=facts.started_at
        )
    for rule in RULES.get(organization.slug, ()):
        services.set_rule(organization.pk, **asdict(rule), actor=actor, at=at)


def _limits(slug: str, facts: SubscriptionFacts, actor: Actor) -> None:
    for one in LIMITS.get(slug, ()):
        entitlements.override_entitlement(
            facts.public_id,
            feature=one.feature,
            value=one.value,
            rules=GrantRules(one.reset, one.on_limit),
            reason="agreed with the contract",
            actor=actor,
            at=facts.started_at,
        )


def report_devices(organization: Organization, *, midnight: datetime, actor: Actor) -> int:
    """Let the organization's instances report every noon; return how many reports that were."""
    instances = INSTANCES.get(organization.slug, ())
    for day in range(DAYS_REPORTED):
        noon = midnight - timedelta(days=DAYS_REPORTED - day) + 12 * HOUR
        for one in instances:
            total = one.devices + day // 5
            report = NewReport(one.name, active=total - day % 3, total=total)
            usage.report_devices(organization.pk, report=report, actor=actor, at=noon)
    return len(instances) * DAYS_REPORTED


def look(
    organizations: Mapping[str, Organization], *, midnight: datetime, actor: Actor, at: datetime
) -> None:
    """Judge the hours that ran wild and those behind them, and hold the rules against usage.

    Opens scopes of its own.
    """
    for slug in BURSTS.keys() & organizations.keys():
        begins = BURSTS[slug].begins(midnight)
        for hour in range(1, HOURS_JUDGED + 1):
            services.detect_anomalies(
                actor=actor,
                at=begins + hour * HOUR + SETTLED,
                organization_ids=[organizations[slug].pk],
            )
    watched = [row.pk for slug, row in organizations.items() if slug in RULES]
    services.evaluate_alerts(actor=actor, at=at, organization_ids=watched)
