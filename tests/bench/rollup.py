"""`ingest_1000` and `rollup`: batches of 1,000 events, over HTTP without a network.

Ingest's limit is the same request with COPY in the place of the store; the typical implementation
is a DRF serializer and `bulk_create(ignore_conflicts=True)`. The roll-up's limit is ingest alone,
its typical implementation an upsert per event and meter in the event's transaction.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import F
from django.test import Client
from rest_framework import serializers

from apps.core import clock, rls
from apps.plans import services as plans
from apps.plans.catalog import read_catalog
from apps.tenants import services as tenants
from apps.usage import cloudevents, services
from apps.usage.checking import NewEvent
from apps.usage.models import Event, Meter, UsageBucket
from tests.bench.timing import Result, rate, result
from tests.prove.ground import superuser
from tests.prove.world import ACTOR, NOW

BATCH, ROUNDS, ONE_BY_ONE = 1000, 7, 100
ZERO = Decimal()


class EventSerializer(serializers.Serializer[Any]):
    """The typical door: one serializer, many events."""

    id = serializers.CharField(max_length=128)
    source = serializers.CharField(max_length=255)  # type: ignore[assignment]
    type = serializers.CharField(max_length=200)
    time = serializers.DateTimeField()
    data = serializers.JSONField()  # type: ignore[assignment]


def measure() -> list[Result]:
    """Send batches, copy them, and send them the typical way, in turns."""
    organization_id, key = _build()
    ours, limits, typical = [], [], []
    rolled, alone, upserted = [], [], []
    for turn in range(ROUNDS + 1):  # the first one warms up
        ours.append(rate(BATCH, partial(_send, key, _body())))
        limits.append(_copied(key, _body()))
        typical.append(rate(BATCH, partial(_typical, organization_id, _body())))
        _roll_up()
        with_roll_up, without = _rolled(organization_id)
        rolled.append(with_roll_up)
        alone.append(without)
        upserted.append(_upserted(organization_id))
        if turn == 0:
            for rates in (ours, limits, typical, rolled, alone, upserted):
                rates.clear()
    return [
        result("ingest_1000", "events/s", ours, limits, typical),
        result("rollup", "events/s", rolled, alone, upserted),
    ]


def _build() -> tuple[int, str]:
    with rls.ops_scope("bench: a customer"):
        plans.load_catalog(read_catalog("gateway"), actor=ACTOR, at=NOW)
        row = tenants.create_organization("bench", name="Bench", actor=ACTOR, at=NOW)
        key = tenants.create_api_key(
            row.pk, name="bench", scopes=["usage:write"], actor=ACTOR, at=clock.now()
        )
    return int(row.pk), key.secret


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


def _send(key: str, body: bytes) -> None:
    reply = Client().post(
        "/api/v1/events",
        body,
        content_type="application/cloudevents-batch+json",
        headers={"Authorization": f"Bearer {key}"},
    )
    assert reply.status_code == 200, reply.content[:300]


def _copied(key: str, body: bytes) -> float:
    """Return the rate of the same request when COPY stores its events, the same indexes on."""
    with superuser() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS copied (LIKE usage_event INCLUDING ALL)")

        def copy(organization_id: int, *, events: list[NewEvent], **_: object) -> services.Outcome:
            _copy(connection, organization_id, events)
            return services.Outcome((services.EventResult(services.Status.ACCEPTED),) * len(events))

        ours = vars(services)["ingest"]
        vars(services)["ingest"] = copy
        try:
            return rate(BATCH, lambda: _send(key, body))
        finally:
            vars(services)["ingest"] = ours


def _copy(connection: Any, organization_id: int, events: list[NewEvent]) -> None:
    columns = "organization_id, dedupe_key, source, key, type, occurred_at, data, digest"
    with (
        connection.transaction(),
        connection.cursor().copy(f"COPY copied ({columns}) FROM STDIN") as copy,
    ):
        copy.write("".join(_row(organization_id, one) for one in events))


def _row(organization_id: int, event: NewEvent) -> str:
    """Return the event as COPY reads it; nothing in these texts needs escaping."""
    data = msgspec.json.encode(event.data).decode()
    fields = (event.source, event.key, event.type, event.occurred_at, data, "\\\\x" + "78" * 32)
    key = _dedupe_key(event.source, event.key)
    return "\t".join(map(str, (organization_id, key, *fields))) + "\n"


def _dedupe_key(source: str, key: str) -> uuid.UUID:
    """Return what the table's check wants: usage_dedupe_key(source, key)."""
    text = f"{len(source)}:{source}{key}".encode()
    return uuid.UUID(bytes=hashlib.sha256(text).digest()[:16])


def _typical(organization_id: int, body: bytes) -> None:
    door = EventSerializer(data=json.loads(body), many=True)
    door.is_valid(raise_exception=True)
    with rls.tenant_scope(organization_id):
        Event.objects.bulk_create(
            (
                Event(
                    organization_id=organization_id,
                    dedupe_key=_dedupe_key(one["source"], one["id"]),
                    source=one["source"],
                    key=one["id"],
                    type=one["type"],
                    occurred_at=one["time"],
                    data=one["data"],
                    digest=b"x" * 32,
                )
                for one in door.validated_data
            ),
            ignore_conflicts=True,
        )


def _events() -> list[NewEvent]:
    read = [cloudevents.read(json.dumps(raw).encode()) for raw in json.loads(_body())]
    return [event for event in read if isinstance(event, NewEvent)]


def _rolled(organization_id: int) -> tuple[float, float]:
    """Return the rates of the same ingest: with the roll-up of what it stored, and alone."""
    events = _events()
    alone = rate(BATCH, lambda: _ingest(organization_id, events))
    together = 1 / (1 / alone + 1 / rate(BATCH, _roll_up))
    return together, alone


def _ingest(organization_id: int, events: list[NewEvent]) -> None:
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
