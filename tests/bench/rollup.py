"""`rollup`: what rolling up costs the ingest of batches of 1,000 events.

The worker comes by every five seconds. Ten batches are less than one client sends in a second, so
where the cost matters it never finds fewer. The limit is ingest alone, the typical implementation
an ORM upsert per event and meter in the event's transaction.
"""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import F

from apps.core import clock, rls
from apps.tenants.models import Organization
from apps.usage import cloudevents, services
from apps.usage.checking import NewEvent
from apps.usage.models import Meter, UsageBucket
from tests.bench.timing import Result, rate, result
from tests.prove.world import ACTOR

BATCH, BATCHES, ROUNDS, ONE_BY_ONE = 1000, 10, 5, 100
ZERO = Decimal()


def measure() -> Result:
    """Store and roll up, store alone, and upsert, in turns."""
    with rls.ops_scope("bench: whose usage"):
        organization_id = int(Organization.objects.order_by("pk")[0].pk)
    _roll_up()
    rolled, alone, upserted = [], [], []
    for _ in range(ROUNDS + 1):
        with_roll_up, without = _rolled(organization_id)
        rolled.append(with_roll_up)
        alone.append(without)
        upserted.append(_upserted(organization_id))
    return result("rollup", "events/s", rolled[1:], alone[1:], upserted[1:])


def _body() -> bytes:
    at = clock.now() - timedelta(hours=3)
    return json.dumps(
        [
            {
                "specversion": "1.0",
                "id": str(uuid.uuid4()),
                "source": "bench",
                "type": "ai.request",
                "time": (at + timedelta(seconds=number)).isoformat(),
                "data": {"context_tokens": number * 7, "generated_tokens": number},
            }
            for number in range(BATCH)
        ]
    ).encode()


def _events() -> list[NewEvent]:
    read = [cloudevents.read(json.dumps(raw).encode()) for raw in json.loads(_body())]
    return [event for event in read if isinstance(event, NewEvent)]


def _rolled(organization_id: int) -> tuple[float, float]:
    """Return the rates of the same ingest: with the roll-up of what it stored, and alone."""
    batches = [_events() for _ in range(BATCHES)]
    alone = rate(BATCHES * BATCH, lambda: _ingest(organization_id, batches))
    together = 1 / (1 / alone + 1 / rate(BATCHES * BATCH, _roll_up))
    return together, alone


def _ingest(organization_id: int, batches: list[list[NewEvent]]) -> None:
    for events in batches:
        with rls.tenant_scope(organization_id):
            services.ingest(organization_id, events=events, actor=ACTOR, at=clock.now())


def _roll_up() -> None:
    with rls.ops_scope("bench: roll up"):
        services.roll_up(clock.now())


def _upserted(organization_id: int) -> float:
    """Return the rate of ingest with an ORM upsert per event and meter in its transaction."""
    events = _events()[:ONE_BY_ONE]
    meters = [*Meter.objects.filter(event_type="ai.request")]

    def work() -> None:
        with rls.ops_scope("bench: the typical way"):
            services.ingest(organization_id, events=events, actor=ACTOR, at=clock.now())
            for event in events:
                assert isinstance(event.occurred_at, datetime)
                for meter in meters:
                    _upsert(organization_id, meter, event)
            transaction.set_rollback(True)

    return rate(ONE_BY_ONE, work)


def _upsert(organization_id: int, meter: Meter, event: NewEvent) -> None:
    assert event.occurred_at is not None
    value = Decimal(str(event.data.get(meter.value, 0)))
    hour = event.occurred_at.replace(minute=0, second=0, microsecond=0) - timedelta(days=400)
    row, _ = UsageBucket.objects.get_or_create(
        organization_id=organization_id,
        meter=meter,
        hour=hour,
        defaults={
            "event_count": 0,
            "value_count": 0,
            "total": ZERO,
            "lane_a": ZERO,
            "lane_b": ZERO,
        },
    )
    UsageBucket.objects.filter(pk=row.pk).update(
        event_count=F("event_count") + 1, total=F("total") + value
    )
