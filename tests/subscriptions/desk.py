"""A desk for stories about changes: two sizes of one plan, a yearly one, an add-on, and coupons."""

from __future__ import annotations

from datetime import datetime

from apps.core import rls
from apps.invoicing import services as invoicing
from apps.plans import catalog
from apps.plans import services as plans
from apps.subscriptions import selectors, services
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.invoicing import world
from tests.invoicing.world import day

CATALOG = """
currency: USD
applications: [{slug: desk, name: Desk}, {slug: other, name: Other}]
meters: [{key: calls, event_type: ai.request, aggregation: count}]
plans:
  - code: small
    application: desk
    name: Small
    interval: month
    prices:
      - {key: base, type: flat, amount: "30.00"}
      - {key: seats, type: licensed, model: per_unit, unit_amount: "10.00"}
      - {key: calls, type: metered, meter: calls, model: per_unit, unit_amount: "1.00"}
  - code: large
    application: desk
    name: Large
    interval: month
    prices:
      - {key: setup, type: one_time, amount: "99.00"}
      - {key: base, type: flat, amount: "60.00"}
      - {key: seats, type: licensed, model: per_unit, unit_amount: "20.00"}
      - {key: calls, type: metered, meter: calls, model: per_unit, unit_amount: "0.50"}
  - code: yearly
    application: desk
    name: Yearly
    interval: year
    prices:
      - {key: base, type: flat, amount: "300.00"}
      - {key: seats, type: licensed, model: per_unit, unit_amount: "100.00"}
  - code: support
    application: desk
    name: Support
    kind: add_on
    interval: month
    prices:
      - {key: support, type: flat, amount: "15.00"}
  - code: tried
    application: desk
    name: Tried
    interval: month
    trial: true
    prices: [{key: base, type: flat, amount: "30.00"}]
  - {code: taster, application: desk, name: Taster, interval: month, trial: true, prices: []}
  - code: guarded
    application: desk
    name: Guarded
    interval: month
    trial: true
    trial_requires_card: true
    prices: [{key: base, type: flat, amount: "30.00"}]
  - code: elsewhere
    application: other
    name: Elsewhere
    interval: month
    prices: [{key: base, type: flat, amount: "5.00"}]
coupons:
  - {code: launch, name: Launch, percent: 20, months: 3, max_redemptions: 1}
  - {code: newcomer, name: Newcomer, percent: 10, duration: forever, first_time_only: true,
     stackable: false}
  - {code: once-only, name: Once, percent: 50, duration: once, max_per_organization: 1,
     plans: [small]}
  - {code: alone, name: Alone, percent: 5, duration: forever, stackable: false}
  - {code: gentle, name: Gentle, percent: 5, duration: forever}
  - {code: ample, name: Ample, percent: 5, duration: forever, minimum_amounts: {USD: "100.00"}}
  - {code: season, name: Season, percent: 20, months: 3}
promotion_codes:
  - {code: LAUNCH20, coupon: launch}
  - {code: SEASON20, coupon: season}
  - {code: AMPLE5, coupon: ample}
"""


def load() -> None:
    """Load the catalogue."""
    with rls.ops_scope("test: load the catalogue"):
        plans.load_catalog(catalog.parse_catalog(CATALOG, source="desk"), actor=STAFF, at=day(1, 1))


def subscribed(
    organization: Organization, plan: str = "small", *, seats: int | None = 2
) -> SubscriptionFacts:
    """Subscribe on 1 June and bill that day: 30.00 and two seats of 10.00 unless said."""
    facts = world.subscribe(organization, plan, start=day(6, 1), at=day(6, 1), seats=seats)
    bill(day(6, 1))
    return facts


def bill(as_of: datetime) -> None:
    """Bill what is due; nobody may be parked."""
    report = invoicing.bill_due(as_of=as_of, actor=STAFF, at=as_of)
    assert not report.parked, report.parked


def now(organization: Organization, facts: SubscriptionFacts) -> SubscriptionFacts:
    """Return the facts as they stand."""
    with rls.tenant_scope(organization.pk):
        return selectors.get(facts.public_id)


def lines(organization: Organization) -> list[list[tuple[str, str, int]]]:
    """Return every invoice's lines as (key, reason, amount), without those of no usage."""
    return [
        [
            (line.key, line.reason, line.amount)
            for line in invoice.lines
            if (line.reason, line.amount) != ("usage", 0)
        ]
        for invoice in world.invoices(organization)
    ]


__all__ = ["STAFF", "bill", "day", "lines", "load", "now", "services", "subscribed"]
