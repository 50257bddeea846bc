"""A customer that uses a meter steadily, hour after hour, and what is found when it does not."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

from apps.core import rls
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.subscriptions import services as subscriptions
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants.models import Organization
from apps.usage import services as usage
from apps.usage.checking import NewEvent
from apps.usage.models import UsageEpoch
from apps.watch import services
from apps.watch.models import Alert, Anomaly
from apps.watch.services import Detected, Evaluated
from tests.conftest import STAFF, make_organization

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OPENED = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 4, 15, 12, tzinfo=UTC)  # a Wednesday
USUAL = 100
CATALOG = """\
currency: USD
applications: [{slug: gateway, name: Gateway}]
meters:
  - {key: calls, event_type: call, aggregation: count}
  - {key: tokens, event_type: answer, aggregation: sum, value: tokens, dimensions: [region, model]}
plans:
  - code: watched
    application: gateway
    name: Watched
    interval: month
    prices:
      - {key: base, type: flat, amount: "50.00"}
      - {key: calls, type: metered, meter: calls, model: per_unit, unit_amount: "0.10",
         included: 100}
      - {key: tokens, type: metered, meter: tokens, model: per_unit, unit_amount: "0.01"}
"""
_keys = count(1)


def open_shop() -> None:
    """Load the catalogue, and judge hours of a single event."""
    with rls.ops_scope("test: a catalogue"):
        plans.load_catalog(parse_catalog(CATALOG, source="watched"), actor=STAFF, at=OPENED)
        services.set_terms(None, least_events=1, actor=STAFF, at=OPENED)


def customer(slug: str = "acme", *, timezone: str = "UTC") -> Organization:
    """Make a customer."""
    return make_organization(slug, timezone=timezone, email=f"billing@{slug}.example")


def subscribe(row: Organization, *, start: datetime) -> SubscriptionFacts:
    """Subscribe it from then on."""
    with rls.tenant_scope(row.pk):
        return subscriptions.subscribe(row.pk, plan="watched", start=start, actor=STAFF, at=start)


def call(row: Organization, times: int, *, at: datetime = NOW - HOUR) -> None:
    """Count that many calls."""
    events = [NewEvent("test", f"c{next(_keys)}", "call", at, {}) for _ in range(times)]
    _ingest(row, events)


def answer(
    row: Organization, tokens: Iterable[tuple[datetime, int]], region: str = "eu", model: str = "s"
) -> None:
    """Count tokens at these times."""
    _ingest(
        row,
        [
            NewEvent(
                "test",
                f"a{next(_keys)}",
                "answer",
                at,
                {"tokens": Decimal(number), "region": region, "model": model},
            )
            for at, number in tokens
        ],
    )


def steadily(row: Organization, start: datetime, end: datetime, *, tokens: int = USUAL) -> None:
    """Use `tokens`, and up to four more or less, in every hour of [start, end)."""
    hours = int((end - start) / HOUR)
    answer(row, [(start + n * HOUR, tokens + (n * 7) % 9 - 4) for n in range(hours)])


def _ingest(row: Organization, events: list[NewEvent]) -> None:
    for first in range(0, len(events), 1000):
        batch = events[first : first + 1000]
        with rls.tenant_scope(row.pk):
            outcome = usage.ingest(row.pk, events=batch, actor=STAFF, at=NOW + 30 * DAY)
        assert outcome.accepted == len(batch), outcome.results


def roll_up() -> None:
    """Put what was counted into the buckets, as after a restore: a roll-up proper leaves out what
    its own transaction has stored, and a test is one transaction.
    """
    with rls.ops_scope("test: roll up"):
        UsageEpoch.objects.update(system_identifier=1)
        assert usage.roll_up(NOW).rebuilt


def detect(at: datetime = NOW, *rows: Organization) -> Detected:
    """Judge what has passed, or the last hour of these organizations."""
    roll_up()
    whose = [row.pk for row in rows] if rows else None
    return services.detect_anomalies(
        actor=STAFF, at=at + timedelta(minutes=6), organization_ids=whose
    )


def evaluate(at: datetime = NOW, *, everything: bool = True) -> Evaluated:
    """Hold the rules against everybody. What changed since shows between transactions only, and a
    test is one.
    """
    return services.evaluate_alerts(actor=STAFF, at=at, everything=everything)


def rule(row: Organization | None, kind: str, **said: object) -> str:
    """Set a rule; return its public id."""
    with rls.ops_scope("test: a rule"):
        made = services.set_rule(
            None if row is None else row.pk,
            kind=kind,
            actor=STAFF,
            at=NOW - DAY,
            **said,  # type: ignore[arg-type]
        )
    return made.public_id


def anomalies() -> list[Anomaly]:
    """Return every anomaly, oldest first."""
    with rls.ops_scope("test"):
        return list(Anomaly.objects.order_by("id"))


def alerts() -> list[Alert]:
    """Return every alert, oldest first."""
    with rls.ops_scope("test"):
        return list(Alert.objects.order_by("id"))
