"""Buckets of events on both sides: ClickHouse counts what it has by hour, PostgreSQL adds its own.

Organization by organization, and months at a time: what is in the making fits into memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec

from apps.core import rls
from apps.engine.aggregation import Aggregation
from apps.usage import clickhouse, counting
from apps.usage.blocks import UNSHIPPED, Boundary, is_visible
from apps.usage.clickhouse import Asked, Hourly, Rule
from apps.usage.models import EARLIEST, LATEST, Meter, UsageSeal
from apps.usage.store import Hours, Piece, Touched, owners_in, rows

HOUR, MICROSECOND = timedelta(hours=1), timedelta(microseconds=1)
PIECE = 500_000  # events whose buckets are made in one go, or the month that has more

# Buckets of one organization from one hour to before another, of what is not shipped.
MAKING = counting.making(
    f"{UNSHIPPED.format('e')}"
    " AND e.occurred_at >= %(since)s::timestamptz AND e.occurred_at < %(until)s::timestamptz",
    bucket="e.hour >= %(since)s::timestamptz AND e.hour < %(until)s::timestamptz",
    elsewhere=True,
)
# What is rolled up and takes back something shipped.
VOIDED_SINCE = f"""WITH {counting.EPOCH}
SELECT v.voids_id FROM usage_event v CROSS JOIN epoch x
WHERE v.organization_id = %(organization)s AND v.voids_id IS NOT NULL
  AND {UNSHIPPED.format("v")} AND {counting.UP.format("v")} ORDER BY 1"""  # noqa: S608

_json = msgspec.json.Encoder(decimal_format="number")


def rule_of(meter: Meter) -> Rule:
    """Return what a meter reads."""
    return Rule(
        meter.event_type, meter.aggregation, meter.value, meter.allow_negative, meter.filter
    )


def owners(organization_id: int | None, shipped: Boundary) -> list[int]:
    """Return whose buckets there are or should be: one, or those that the scope shows."""
    if organization_id is not None:
        return [organization_id] if is_visible(organization_id) else []
    there = clickhouse.organizations(block=shipped.block) if rls.current().ops else []
    return sorted({*there, *owners_in("usage_bucket", "usage_event")})


def voided_since(organization_id: int, shipped: Boundary) -> list[int]:
    """Return what is taken back by events that are rolled up and not shipped."""
    asked = {"organization": organization_id, **shipped.parameters()}
    return [voids_id for (voids_id,) in rows(VOIDED_SINCE, asked)]


def pieces_of(owner: int, meter_id: int | None, shipped: Boundary) -> Iterator[Piece]:
    """Return what makes an organization's buckets of one meter, or (None) of all."""
    chosen = Meter.objects.all() if meter_id is None else Meter.objects.filter(pk=meter_id)
    meters, voided = list(chosen), voided_since(owner, shipped)
    for since, until in _spans(owner, shipped):
        windows = {one: [(since, until)] for one in meters}
        span = {"organization": owner, "meter": meter_id, "since": since, "until": until}
        yield _piece(span, _counted(owner, windows, shipped, voided), shipped)


def piece_of_hours(owner: int, touched: Sequence[Touched], shipped: Boundary) -> Piece:
    """Return what makes the buckets of some hours whose meters do not add up."""
    windows = defaultdict(list)
    for one in touched:
        windows[one.event_type].append((one.hour, one.hour + HOUR))
    meters = Meter.objects.filter(event_type__in=windows).exclude(aggregation__in=counting.ADDITIVE)
    asked = {one: windows[one.event_type] for one in meters}
    span = {"since": EARLIEST, "until": LATEST, **Hours.of(touched)._asdict()}
    counted = _counted(owner, asked, shipped, voided_since(owner, shipped))
    return _piece(span, counted, shipped)


def _piece(span: Mapping[str, Any], counted: tuple[str, str], shipped: Boundary) -> Piece:
    buckets, values = counted
    return Piece(MAKING, {**shipped.parameters(), **span, "buckets": buckets, "values": values})


def _spans(organization_id: int, shipped: Boundary) -> list[tuple[datetime, datetime]]:
    """Return spans of whole months that tile the open time, none of them with too much in it."""
    seals = UsageSeal.objects.filter(organization_id=organization_id).order_by("-until")
    since = seals.values_list("until", flat=True).first() or EARLIEST
    edges, held = [since], 0
    for month, events in clickhouse.months(organization_id, block=shipped.block):
        if held and held + events > PIECE and month > since:
            edges.append(month)
            held = 0
        held += events
    return list(pairwise([*edges, LATEST]))


def _counted(
    owner: int,
    windows: Mapping[Meter, Sequence[tuple[datetime, datetime]]],
    shipped: Boundary,
    voided: Sequence[int],
) -> tuple[str, str]:
    """Return what the shipped events make: rows of buckets and of different values, as JSON."""
    buckets: list[dict[str, Any]] = []
    values: list[dict[str, Any]] = []
    for meter, spans in windows.items():
        asked = Asked(owner, rule_of(meter), spans, {}, shipped.block, voided)
        hourly = clickhouse.buckets(asked, meter.dimensions)
        buckets += [_bucket(owner, meter, one) for one in hourly]
        if meter.aggregation == Aggregation.UNIQUE_COUNT:
            values += [
                {"organization_id": owner, "meter_id": meter.pk, "hour": hour, "value": value}
                for hour, value in clickhouse.values(asked)
            ]
    return _json.encode(buckets).decode(), _json.encode(values).decode()


def _bucket(owner: int, meter: Meter, one: Hourly) -> dict[str, Any]:
    """Return a row of usage_bucket, with what its meter reads and nothing else."""
    kind, totals = Aggregation(meter.aggregation), one.totals
    latest = totals.latest if kind is Aggregation.LATEST else None
    return {
        "organization_id": owner,
        "meter_id": meter.pk,
        "hour": one.hour,
        "slice": dict(zip(meter.dimensions, one.group, strict=True)),
        "event_count": totals.events,
        "value_count": totals.values,
        "total": totals.total,
        "maximum": totals.maximum if kind is Aggregation.MAX else None,
        "minimum": totals.minimum if kind is Aggregation.MIN else None,
        "moment": totals.moment if kind is Aggregation.WEIGHTED_SUM else 0,
        "latest_at": latest and EARLIEST + int(latest[0] * 1_000_000) * MICROSECOND,
        "latest_id": latest and int(latest[1]),
        "latest_value": latest and latest[2],
        "lane_a": str(totals.lane_a),
        "lane_b": str(totals.lane_b),
    }
