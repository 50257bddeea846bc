"""A world of customers to bill, built through the services, and known by heart.

Customers live in three zones and start on the 1st, the 15th or the 31st. Each buys every plan and
uses it: some events lie on the first instant of a period and some on its last microsecond.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from apps.core import rls
from apps.core.actor import operator
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.subscriptions import services as subscriptions
from apps.tenants import services as tenants
from apps.usage import services as usage
from apps.usage.checking import NewEvent
from tests.prove.billing_oracle import Agreement, Reading, boundary

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ACTOR = operator("prove")
ZONES = ("UTC", "America/New_York", "Asia/Kolkata")
DAYS = (1, 31, 15)
MONTHS_OF_USE = 8
CATALOG = """\
currency: USD
applications:
  - {slug: desk, name: Desk}
  - {slug: wire, name: Wire}
  - {slug: mill, name: Mill}
  - {slug: vault, name: Vault}
meters:
  - {key: calls, event_type: call, aggregation: count}
  - {key: tokens, event_type: call, aggregation: sum, value: tokens}
  - {key: bytes, event_type: call, aggregation: sum, value: bytes}
plans:
  - {code: desk, application: desk, name: Desk, interval: month, prices: [
      {key: base, type: flat, amount: "29.00"},
      {key: seats, type: licensed, model: per_unit, unit_amount: "12.50", included: 3}]}
  - {code: wire, application: wire, name: Wire, interval: month, prices: [
      {key: base, type: flat, amount: "10.00"},
      {key: calls, type: metered, meter: calls, model: per_unit, unit_amount: "0.0375",
       included: 20}]}
  - {code: mill, application: mill, name: Mill, interval: month, prices: [
      {key: base, type: flat, amount: "5.00"},
      {key: tokens, type: metered, meter: tokens, model: graduated, tiers: [
        {up_to: 1000, unit_amount: "0.0015"}, {up_to: null, unit_amount: "0.00105"}]}]}
  - {code: vault, application: vault, name: Vault, interval: month, prices: [
      {key: base, type: flat, amount: "99.00"},
      {key: bytes, type: metered, meter: bytes, model: package, package_size: 7,
       unit_amount: "0.333"}]}
"""
PLANS = ("desk", "wire", "mill", "vault")


@dataclass(frozen=True, slots=True)
class World:
    """What was sold to whom, by the subscription's public id."""

    agreements: dict[str, Agreement]
    organizations: tuple[int, ...]


def build(customers: int, seed: int) -> World:
    """Fill the database that Django is pointed at, and return what it must lead to."""
    chance = random.Random(seed)
    with rls.ops_scope("prove: catalogue"):
        document = parse_catalog(CATALOG, source="prove.yaml")
        plans.load_catalog(document, actor=ACTOR, at=NOW)
    agreements: dict[str, Agreement] = {}
    organizations = []
    for number in range(customers):
        with rls.ops_scope("prove: a customer"):
            organization_id = _customer(number, chance, agreements)
        organizations.append(organization_id)
    return World(agreements, tuple(organizations))


def _customer(number: int, chance: random.Random, agreements: dict[str, Agreement]) -> int:
    zone, day = ZONES[number % 3], DAYS[number // 3 % 3]
    organization = tenants.create_organization(
        f"customer-{number}", name=f"Customer {number}", timezone=zone, actor=ACTOR, at=NOW
    )
    start = datetime(2023, 1, day, tzinfo=ZoneInfo(zone))
    readings = _readings(start, chance)
    _use(organization.pk, readings)
    for plan in PLANS:
        seats = chance.randint(4, 40) if plan == "desk" else None
        facts = subscriptions.subscribe(
            organization.pk, plan=plan, start=start, seats=seats, actor=ACTOR, at=NOW
        )
        agreements[facts.public_id] = Agreement(plan, start, seats or 0, readings)
    return int(organization.pk)


def _readings(start: datetime, chance: random.Random) -> tuple[Reading, ...]:
    found: list[Reading] = []
    for month in range(MONTHS_OF_USE):
        first, end = boundary(start, month), boundary(start, month + 1)
        last = end - timedelta(microseconds=1)
        times = [first, last, *(first + (last - first) * chance.random() for _ in range(20))]
        found += [
            Reading(at, chance.randint(0, 150), chance.randint(0, 60))
            for at in times[: chance.randint(2, len(times))]
        ]
    return tuple(found)


def _use(organization_id: int, readings: tuple[Reading, ...]) -> None:
    events = [
        NewEvent(
            source="prove",
            key=f"call-{number}",
            type="call",
            occurred_at=reading.at,
            data={"tokens": reading.tokens, "bytes": reading.bytes},
        )
        for number, reading in enumerate(readings)
    ]
    outcome = usage.ingest(organization_id, events=events, actor=ACTOR, at=NOW)
    assert outcome.accepted == len(events), outcome
