"""A small world for stories about money: one catalogue, one organization, days written short."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.db import connection

from apps.core import rls
from apps.invoicing import selectors, services
from apps.invoicing.document import Document
from apps.invoicing.models import Invoice
from apps.invoicing.services import BillingReport
from apps.plans import catalog
from apps.plans import services as plans
from apps.subscriptions import services as subscriptions
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants.models import Organization
from apps.usage import services as usage
from apps.usage.checking import NewEvent
from tests.conftest import STAFF

NOW = datetime(2026, 6, 15, tzinfo=UTC)

CATALOG = """
currency: USD
applications:
  - {slug: gateway, name: AI Gateway}
  - {slug: trialware, name: Trialware}
  - {slug: sampler, name: Sampler}
features: [{key: max_devices, kind: limit}]
meters:
  - {key: requests, event_type: ai.request, aggregation: count}
  - {key: tokens, event_type: ai.request, aggregation: sum, value: tokens}
plans:
  - code: gateway
    application: gateway
    name: Gateway
    interval: month
    prices:
      - {key: base, type: flat, amount: "50.00"}
      - {key: seats, type: licensed, model: per_unit, unit_amount: "12.00", included: 3}
      - {key: requests, type: metered, meter: requests, model: per_unit, unit_amount: "0.05",
         included: 10}
      - {key: tokens, type: metered, meter: tokens, model: package, package_size: 1000,
         unit_amount: "0.60"}
  - code: trial
    application: trialware
    name: Trialware
    interval: month
    trial_days: 14
    prices:
      - {key: base, type: flat, amount: "29.00"}
      - {key: requests, type: metered, meter: requests, model: per_unit, unit_amount: "1.00"}
  - {code: trial-only, application: sampler, name: Try it, interval: month, trial_days: 14,
     prices: []}
  - {code: negotiated, application: sampler, name: By agreement, interval: month, custom: true}
  - code: bespoke
    application: trialware
    name: Bespoke
    custom: true
    interval: year
    prices:
      - {key: base, type: flat, amount: "1000.00"}
"""


def day(month: int, number: int, hour: int = 0, year: int = 2026) -> datetime:
    """Return an instant in UTC."""
    return datetime(year, month, number, hour, tzinfo=UTC)


def load() -> None:
    """Load the catalogue of this world."""
    with rls.ops_scope("test: load the catalogue"):
        plans.load_catalog(catalog.parse_catalog(CATALOG, source="world"), actor=STAFF, at=NOW)


def subscribe(
    organization: Organization,
    plan: str = "gateway",
    *,
    start: datetime,
    at: datetime = NOW,
    seats: int | None = None,
    collection: str = "manual",
    agreed: dict[str, Decimal] | None = None,
) -> SubscriptionFacts:
    """Subscribe through the service, in the organization's scope."""
    with rls.tenant_scope(organization.pk):
        return subscriptions.subscribe(
            organization.pk,
            plan=plan,
            start=start,
            seats=seats,
            collection=collection,
            agreed=agreed,
            actor=STAFF,
            at=at,
        )


def use(organization: Organization, *times: datetime, tokens: int = 100) -> None:
    """Ingest one request at each of the times."""
    events = [
        NewEvent(
            "test",
            f"{time.isoformat()}-{n}".replace("+00:00", "Z"),
            "ai.request",
            time,
            {"tokens": tokens},
        )
        for n, time in enumerate(times)
    ]
    with rls.tenant_scope(organization.pk):
        outcome = usage.ingest(organization.pk, events=events, actor=STAFF, at=NOW)
    assert outcome.accepted == len(events)


def roll_up() -> None:
    """Roll up everything committed; waits for transactions of other tests on the same server."""
    for _ in range(300):
        with rls.ops_scope("test: roll up"):
            usage.roll_up(at=NOW)
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT NOT EXISTS (SELECT FROM usage_event e, usage_epoch x"
                    " WHERE e.xid >= x.watermark AND e.id > x.base_event_id)"
                )
                if cursor.fetchone()[0]:
                    return
        time.sleep(0.1)
    raise TimeoutError("a transaction of another test kept the roll-up waiting for 30 s")


def hourly(start: datetime, count: int) -> list[datetime]:
    """Return `count` instants, an hour apart."""
    return [start + timedelta(hours=n) for n in range(count)]


def bill(as_of: datetime, *, at: datetime = NOW, scheduled: bool = False) -> BillingReport:
    """Run the billing up to an instant."""
    return services.bill_due(as_of=as_of, actor=STAFF, at=at, scheduled=scheduled)


def occupy(organization: Organization, facts: SubscriptionFacts, at: datetime) -> None:
    """Put another invoice in the way of a boundary, so that it cannot be billed."""
    with rls.tenant_scope(organization.pk):
        Invoice.objects.create(
            organization_id=organization.pk,
            billing_entity_id=organization.billing_entity_id,
            subscription_id=facts.id,
            currency="USD",
            timezone="UTC",
            boundary_at=at,
            period=(at, at + timedelta(days=31)),
            issued_at=at,
            due_at=at + timedelta(days=14),
        )


def invoices(organization: Organization) -> list[Document]:
    """Return the organization's invoices, oldest number first."""
    with rls.tenant_scope(organization.pk):
        rows = selectors.of_organization(organization.pk)
        return [selectors.document(row) for row in sorted(rows, key=lambda row: row.pk)]


def amounts(document: Document) -> dict[str, int]:
    """Return the lines' amounts by key (the kind is added for corrections)."""
    return {
        line.key if line.kind != "proration" else f"{line.key} {line.reason}": line.amount
        for line in document.lines
    }
