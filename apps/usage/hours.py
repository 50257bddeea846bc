"""Usage hour by hour and across organizations, from the buckets: for what looks at all of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection

from apps.usage.models import UsageBucket

# Two probes of an index for each pair: nothing is scanned, however many buckets there are.
SERIES = """SELECT o.id, m.id, first.hour, last.hour
FROM unnest(%(organizations)s::bigint[]) AS o (id) CROSS JOIN usage_meter m
CROSS JOIN LATERAL (SELECT b.hour FROM usage_bucket b
  WHERE b.organization_id = o.id AND b.meter_id = m.id ORDER BY b.hour DESC LIMIT 1) last
CROSS JOIN LATERAL (SELECT b.hour FROM usage_bucket b
  WHERE b.organization_id = o.id AND b.meter_id = m.id ORDER BY b.hour LIMIT 1) first
WHERE last.hour >= %(since)s
ORDER BY o.id, m.id"""
HOURS = """SELECT s.organization, s.meter, b.hour, sum(b.event_count)::bigint, sum(b.total)
FROM unnest(%(organizations)s::bigint[], %(meters)s::bigint[]) AS s (organization, meter)
JOIN usage_bucket b ON b.organization_id = s.organization AND b.meter_id = s.meter
  AND b.hour = ANY (%(hours)s::timestamptz[])
GROUP BY 1, 2, 3"""


class Series(NamedTuple):
    """One organization's usage of one meter, with the first and the last hour (UTC) of it."""

    organization_id: int
    meter_id: int
    first_hour: datetime
    last_hour: datetime


class Hour(NamedTuple):
    """What an hour counted: its events, and the sum of their values."""

    events: int
    total: Decimal


class Slice(NamedTuple):
    """What an hour counted of one combination of the meter's dimensions."""

    hour: datetime
    values: dict[str, str | None]
    events: int
    total: Decimal


SILENT = Hour(0, Decimal(0))


def series(organization_ids: Iterable[int], *, since: datetime) -> list[Series]:
    """Return what these organizations used since then, in one statement; needs the ops scope."""
    asked: dict[str, Any] = {"organizations": list(organization_ids), "since": since}
    with connection.cursor() as cursor:
        cursor.execute(SERIES, asked)
        return [Series(*row) for row in cursor.fetchall()]


def hours(
    pairs: Sequence[tuple[int, int]], wanted: Collection[datetime]
) -> dict[tuple[int, int], dict[datetime, Hour]]:
    """Return these hours of many (organization, meter) in one statement; silent ones are absent.

    Counts what is rolled up, so an hour that ended seconds ago may still grow.
    """
    found: dict[tuple[int, int], dict[datetime, Hour]] = defaultdict(dict)
    columns: dict[str, Any] = {
        "organizations": [organization for organization, _ in pairs],
        "meters": [meter for _, meter in pairs],
        "hours": sorted(wanted),
    }
    with connection.cursor() as cursor:
        cursor.execute(HOURS, columns)
        for organization, meter, hour, events, total in cursor.fetchall():
            found[organization, meter][hour] = Hour(events, total)
    return found


def slices(organization_id: int, meter_id: int, wanted: Collection[datetime]) -> list[Slice]:
    """Return these hours of one meter by the values of its dimensions."""
    rows = UsageBucket.objects.filter(
        organization_id=organization_id, meter_id=meter_id, hour__in=list(wanted)
    )
    columns = rows.values_list("hour", "slice", "event_count", "total")
    return [Slice(*row) for row in columns.order_by("hour", "id")]
