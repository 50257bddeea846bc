"""A maker of maps: tiles with a hard limit, exports with a soft one, and prepaid routes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from apps.core import rls
from apps.entitlements import selectors, services
from apps.entitlements.selectors import Decision, ReservationFacts
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.subscriptions import services as subscriptions
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants.models import Organization
from apps.usage import services as usage
from apps.usage.checking import NewEvent
from tests.conftest import STAFF

START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
CATALOG = """
currency: USD
applications: [{slug: maps, name: Maps}, {slug: routes, name: Routes}]
features:
  - {key: tiles, kind: limit, meter: tiles}
  - {key: exports, kind: limit, meter: exported}
  - {key: viewers, kind: limit, meter: viewers}
  - {key: styles, kind: limit}
  - {key: offline, kind: switch}
  - {key: support, kind: config}
  - {key: history, kind: switch}
meters:
  - {key: tiles, event_type: tile, aggregation: count, unit: tile}
  - {key: exported, event_type: export, aggregation: sum, value: file.megabytes, unit: MB}
  - {key: viewers, event_type: tile, aggregation: unique_count, value: who}
plans:
  - code: maps
    application: maps
    name: Maps
    interval: month
    currencies: [JPY]
    prices:
      - {key: base, type: flat, amount: "10.00", currencies: {JPY: {amount: 1500}}}
      - {key: tiles, type: metered, meter: tiles, model: graduated, included: 10,
         tiers: [{up_to: 90, unit_amount: "0.50"}, {up_to: null, unit_amount: "0.25"}],
         currencies: {JPY: {tiers: [{up_to: 90, unit_amount: "70"}, {up_to: null, unit_amount: "35.5"}]}}}
      - {key: exports, type: metered, meter: exported, model: per_unit, unit_amount: "0.02",
         currencies: {JPY: {unit_amount: "3"}}}
    entitlements:
      tiles: 100
      exports: {value: 50, reset: day, on_limit: warn}
      viewers: {value: 2, reset: none, on_limit: allow}
      styles: 3
      offline: true
      history: false
      support: standard
  - code: maps-more
    application: maps
    kind: add_on
    name: More tiles
    interval: month
    currencies: [JPY]
    prices: [{key: more, type: flat, amount: "5.00", currencies: {JPY: {amount: 700}}}]
    entitlements: {tiles: 20, history: true}
  - code: maps-try
    application: maps
    name: Try it
    interval: month
    trial: true
    prices: [{key: base, type: flat, amount: "10.00"},
      {key: tiles, type: metered, meter: tiles, model: per_unit, unit_amount: "0.50"}]
    entitlements: {tiles: 5}
  - code: routes
    application: routes
    name: Routes
    interval: month
    prices: [{key: tiles, type: metered, meter: tiles, model: per_unit, unit_amount: "2.00"}]
    entitlements: {tiles: {value: 1000, prepaid: true}}
"""  # noqa: E501 - a catalogue as it is written


def seen(*values: object) -> tuple[object, ...]:
    """Return what was found, to be held against plain numbers."""
    return values


def load() -> None:
    """Put it on sale."""
    with rls.ops_scope("test: catalogue"):
        plans.load_catalog(parse_catalog(CATALOG, source="maps.yaml"), actor=STAFF, at=START)


def subscribe(
    organization: Organization,
    plan: str = "maps",
    *,
    start: datetime = START,
) -> SubscriptionFacts:
    """Sign the agreement."""
    with rls.tenant_scope(organization.pk):
        return subscriptions.subscribe(
            organization.pk, plan=plan, start=start, actor=STAFF, at=start
        )


def use(organization: Organization, count: int, *, at: datetime = NOW, who: str = "me") -> None:
    """Draw so many tiles."""
    events = [
        NewEvent("test", f"{at.isoformat()}-{who}-{n}", "tile", at, {"who": who})
        for n in range(count)
    ]
    with rls.tenant_scope(organization.pk):
        outcome = usage.ingest(organization.pk, events=events, actor=STAFF, at=at)
    assert outcome.accepted == count


def export(organization: Organization, megabytes: str, *, at: datetime = NOW) -> None:
    """Export a file."""
    data = {"file": {"megabytes": Decimal(megabytes)}}
    event = NewEvent("test", f"export-{at.isoformat()}-{megabytes}", "export", at, data)
    with rls.tenant_scope(organization.pk):
        assert usage.ingest(organization.pk, events=[event], actor=STAFF, at=at).accepted == 1


def check(
    organization: Organization, feature: str, amount: object = 1, *, at: datetime = NOW
) -> Decision:
    """Ask."""
    with rls.tenant_scope(organization.pk):
        return selectors.decide(organization.pk, feature, Decimal(str(amount)), at=at)


def reserve(
    organization: Organization,
    amount: object = 1,
    *,
    feature: str = "tiles",
    at: datetime = NOW,
    minutes: int = 5,
    key: str = "",
) -> ReservationFacts:
    """Set aside."""
    with rls.tenant_scope(organization.pk):
        return services.reserve(
            organization.pk,
            feature=feature,
            amount=Decimal(str(amount)),
            expires_in=timedelta(minutes=minutes),
            key=key,
            actor=STAFF,
            at=at,
        )


def commit(
    organization: Organization,
    reserved: ReservationFacts,
    amount: object = None,
    *,
    at: datetime = NOW,
    **options: object,
) -> ReservationFacts:
    """Use it."""
    used = None if amount is None else Decimal(str(amount))
    with rls.tenant_scope(organization.pk):
        return services.commit(reserved.public_id, amount=used, actor=STAFF, at=at, **options)  # type: ignore[arg-type]


def release(
    organization: Organization, reserved: ReservationFacts, *, at: datetime = NOW
) -> ReservationFacts:
    """Give it back."""
    with rls.tenant_scope(organization.pk):
        return services.release(reserved.public_id, actor=STAFF, at=at)


def cap(
    organization: Organization,
    amount: str,
    *,
    on_limit: str = "block",
    subscription: str = "",
    currency: str = "",
) -> None:
    """Bound what usage may cost."""
    with rls.tenant_scope(organization.pk):
        services.set_spend_cap(
            organization.pk,
            amount=Decimal(amount),
            on_limit=on_limit,
            subscription_id=subscription,
            currency=currency,
            actor=STAFF,
            at=NOW,
        )
