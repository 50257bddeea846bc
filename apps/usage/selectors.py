"""Questions about usage: measurements with their evidence, recounts, and what does not add up."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from django.db import connection

from apps.engine.aggregation import Aggregation
from apps.engine.calendar import Cycle, Interval, Unit, zone
from apps.engine.decimals import plain
from apps.usage import counting
from apps.usage.checking import MeterRule
from apps.usage.errors import UnknownEpoch, UnknownMeter, UsageNotReady
from apps.usage.models import Event, Meter, RejectedEvent, UsageEpoch

HOUR = timedelta(hours=1)
ORIGIN = datetime(2000, 1, 1, tzinfo=UTC)
NOT_READY = (
    "The database comes from a dump and its usage is not rebuilt yet. The worker does that by"
    " itself within seconds; `rebuild_usage` does it now."
)
SNAPSHOT = re.compile(r"[0-9]{1,20}:[0-9]{1,20}:([0-9]{1,20}(,[0-9]{1,20})*)?")


@dataclass(frozen=True, slots=True)
class MeterFacts:
    """A meter, for the rooms above. `value` is the path in the event's data, dots go deeper."""

    id: int
    public_id: str
    key: str
    event_type: str
    aggregation: Aggregation
    value: str
    unit: str
    description: str
    allow_negative: bool


@dataclass(frozen=True, slots=True)
class Want:
    """What to measure: a meter over [start, end), any instants, to the microsecond."""

    meter_key: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Measured:
    """A quantity, and the evidence that lets anybody count it again.

    `event_count` counts the events of the meter's type in the window, `value_count` those with a
    value the meter reads. `hash` (32 hex digits) is the same for the same events in any order.
    `epoch` and `snapshot` say which transactions were visible.
    """

    quantity: Decimal
    event_count: int
    value_count: int
    hash: str
    epoch: int
    snapshot: str

    def evidence(self) -> dict[str, object]:
        """Return what a line keeps of it, as plain values."""
        return {
            "events": self.event_count,
            "values": self.value_count,
            "hash": self.hash,
            "epoch": self.epoch,
            "snapshot": self.snapshot,
        }


@dataclass(frozen=True, slots=True)
class Claim:
    """A measurement that was made: what was wanted, and the epoch and snapshot it was made in."""

    want: Want
    epoch: int
    snapshot: str


@dataclass(frozen=True, slots=True)
class AlteredEvent:
    """An event whose content no longer has the digest it was stored with."""

    id: int
    organization_id: int
    source: str
    key: str
    type: str
    occurred_at: datetime

    def __str__(self) -> str:
        return f"event {self.id} ({self.type} '{self.key}' of {self.source}) was altered"


@dataclass(frozen=True, slots=True)
class BucketDifference:
    """A bucket that is not what the events of its hour make of it.

    Counts and totals as stored and as counted now; where only the values of a unique_count meter
    differ, the totals are numbers of different values.
    """

    organization_id: int
    meter_key: str
    hour: datetime
    stored_events: int
    counted_events: int
    stored_total: Decimal
    counted_total: Decimal
    stored_hash: str = ""
    counted_hash: str = ""

    def __str__(self) -> str:
        return (
            f"bucket {self.meter_key} {self.hour:%Y-%m-%dT%H:%MZ} of organization"
            f" {self.organization_id}: {self.stored_events} events, {plain(self.stored_total)}"
            f" stored; {self.counted_events} events, {plain(self.counted_total)} counted"
        )


@dataclass(frozen=True, slots=True)
class Point:
    """One cell of a series: the quantity over [start, end)."""

    start: datetime
    end: datetime
    quantity: Decimal
    event_count: int


@dataclass(frozen=True, slots=True)
class EventFacts:
    """An event, for lists."""

    id: int
    source: str
    key: str
    type: str
    occurred_at: datetime
    received_at: datetime
    data: Mapping[str, Any] = field(hash=False)


# --- meters -------------------------------------------------------------------------------------
def meters() -> list[MeterFacts]:
    """Return all meters by key."""
    return [_facts(row) for row in Meter.objects.order_by("key")]


def find_meter(key: str) -> MeterFacts | None:
    """Return the meter with this key."""
    row = Meter.objects.filter(key=key).first()
    return None if row is None else _facts(row)


def get_meter(key: str) -> MeterFacts:
    """Return the meter with this key, or raise UnknownMeter."""
    found = find_meter(key)
    if found is None:
        raise UnknownMeter(
            f"There is no meter '{key}'; load_catalog defines meters.", param="meter"
        )
    return found


def meter_rules(event_types: Iterable[str]) -> dict[str, list[MeterRule]]:
    """Return what the meters of these event types read; types without a meter are left out."""
    found: dict[str, list[MeterRule]] = {}
    rows = Meter.objects.filter(event_type__in=set(event_types)).order_by("key")
    for row in rows:
        rules = found.setdefault(row.event_type, [])
        if row.value:
            path = row.value.split(".")
            rules.append(MeterRule(row.key, row.aggregation, path, row.allow_negative))
    return found


def _facts(row: Meter) -> MeterFacts:
    return MeterFacts(
        id=row.pk,
        public_id=row.public_id,
        key=row.key,
        event_type=row.event_type,
        aggregation=Aggregation(row.aggregation),
        value=row.value,
        unit=row.unit,
        description=row.description,
        allow_negative=row.allow_negative,
    )


# --- measuring ----------------------------------------------------------------------------------
def measure(organization_id: int, wants: Sequence[Want]) -> list[Measured]:
    """Measure an organization's usage, exactly and up to this moment, in the order of the wants.

    Counts what the statement sees: everything committed, and what the running transaction itself
    has stored. Raises UnknownMeter, and UsageNotReady after a restore until it is rebuilt.
    """
    return measure_all([(organization_id, want) for want in wants])


def measure_all(wants: Sequence[tuple[int, Want]]) -> list[Measured]:
    """Measure for many organizations in one statement; the scope must show them all."""
    if not wants:
        return []
    rows = _rows(counting.MEASURE, _windows(wants))
    if len(rows) != len(wants):
        raise UsageNotReady(NOT_READY)
    return [_measured(row) for row in rows]


def recount(organization_id: int, want: Want, epoch: int, snapshot: str) -> Measured:
    """Count again, from the events alone, exactly what a measurement counted then.

    Later events change nothing, nor does a restore. Raises UnknownMeter, and UnknownEpoch when the
    evidence is not of this database.
    """
    return recount_all([(organization_id, Claim(want, epoch, snapshot))])[0]


def recount_all(claims: Sequence[tuple[int, Claim]]) -> list[Measured]:
    """Recount many measurements in one statement, in their order."""
    if not claims:
        return []
    if not all(SNAPSHOT.fullmatch(claim.snapshot) for _, claim in claims):
        raise UnknownEpoch("The snapshot of a measurement cannot be read.")
    windows = _windows([(organization_id, claim.want) for organization_id, claim in claims])
    windows["epochs"] = [claim.epoch for _, claim in claims]
    windows["snapshots"] = [claim.snapshot for _, claim in claims]
    rows = _rows(counting.RECOUNT, windows)
    if len(rows) != len(claims):
        raise UnknownEpoch("A measurement names an epoch that this database does not know.")
    return [_measured(row) for row in rows]


def usage_series(
    organization_id: int,
    meter_key: str,
    start: datetime,
    end: datetime,
    *,
    grain: str,
    timezone: str,
) -> list[Point]:
    """Return the usage of [start, end) cut into local hours or days (`grain` hour | day).

    The cells tile the window without gap or overlap; the first and the last may be shorter. Each
    cell stands alone: the days' unique counts and maxima do not add up to the month's.
    """
    series = usage_series_of(
        organization_id, [meter_key], start, end, grain=grain, timezone=timezone
    )
    return series[meter_key]


def usage_series_of(
    organization_id: int,
    meter_keys: Iterable[str],
    start: datetime,
    end: datetime,
    *,
    grain: str,
    timezone: str,
) -> dict[str, list[Point]]:
    """Return `usage_series` of many meters by key, measured in one statement."""
    edges = [start, *_cuts(start, end, grain, timezone), end]
    cells = [(a, b) for a, b in pairwise(edges) if a < b]
    keys = [*dict.fromkeys(meter_keys)]
    measured = iter(measure(organization_id, [Want(key, a, b) for key in keys for a, b in cells]))
    return {
        key: [
            Point(a, b, one.quantity, one.event_count)
            for (a, b), one in zip(cells, measured, strict=False)
        ]
        for key in keys
    }


def _cuts(start: datetime, end: datetime, grain: str, timezone: str) -> list[datetime]:
    """Return the boundaries strictly inside the window."""
    local = start.astimezone(zone(timezone))
    if grain == "day":
        anchor = local.replace(hour=0, minute=0, second=0, microsecond=0)
        cuts = Cycle(anchor, Interval(Unit.DAY), timezone).boundaries_between(start, end)
        return [cut for cut in cuts if start < cut]
    if grain != "hour":
        raise ValueError(f"a series has the grain hour or day, not {grain!r}")
    first = local.replace(minute=0, second=0, microsecond=0).astimezone(UTC)
    hours = int((end - first) / HOUR) + 1
    return [cut for k in range(hours + 1) if start < (cut := first + k * HOUR) < end]


def _windows(wants: Sequence[tuple[int, Want]]) -> dict[str, Any]:
    ids = _meter_ids({want.meter_key for _, want in wants})
    windows = [_hours(want) for _, want in wants]
    return {
        "organizations": [organization_id for organization_id, _ in wants],
        "meters": [ids[want.meter_key] for _, want in wants],
        "starts": [want.start for _, want in wants],
        "ends": [want.end for _, want in wants],
        "whole_from": [first for first, _ in windows],
        "whole_to": [last for _, last in windows],
    }


def _meter_ids(keys: set[str]) -> dict[str, int]:
    found = dict(Meter.objects.filter(key__in=keys).values_list("key", "id"))
    if missing := keys - found.keys():
        raise UnknownMeter(f"There is no meter '{min(missing)}'.", param="meter")
    return found


def _hours(want: Want) -> tuple[datetime, datetime]:
    """Return the part of the window that whole hours (UTC) fill, empty where none fits."""
    if want.end < want.start:
        raise ValueError(f"the window of {want.meter_key} ends before it starts")
    since, rest = divmod(want.start - ORIGIN, HOUR)
    first = ORIGIN + (since + bool(rest)) * HOUR
    last = ORIGIN + (want.end - ORIGIN) // HOUR * HOUR
    first = min(first, want.end)
    return first, max(first, last)


def _measured(row: tuple[Any, ...]) -> Measured:
    epoch, snapshot, own, kind, events, values, total, maximum, latest, different, a, b = row
    quantities = {
        Aggregation.COUNT: events,
        Aggregation.SUM: total,
        Aggregation.MAX: maximum,
        Aggregation.LATEST: latest,
        Aggregation.UNIQUE_COUNT: different,
    }
    return Measured(
        quantity=Decimal(plain(Decimal(quantities[Aggregation(kind)] or 0))),
        event_count=int(events),
        value_count=int(values),
        hash=_hash(a, b),
        epoch=epoch,
        snapshot=with_own(snapshot, None if own is None else int(own)),
    )


def _hash(lane_a: Decimal, lane_b: Decimal) -> str:
    """Return two sums of 64-bit numbers, each modulo 2^64, as 32 hex digits."""
    return "".join(f"{int(lane) % 2**64:016x}" for lane in (lane_a, lane_b))


def with_own(snapshot: str, own: int | None) -> str:
    """Return the snapshot with the running transaction `own` made visible in it.

    A statement sees its own transaction's rows; the snapshot (xmin:xmax:running) does not tell.
    Everything from xmax up to `own` had not ended, so it goes to the running ones.
    """
    if own is None:
        return snapshot
    xmin, xmax, running = snapshot.split(":")
    open_ids = {int(xid) for xid in running.split(",") if xid} | set(range(int(xmax), own))
    open_ids.discard(own)
    ordered = sorted(open_ids)
    lowest = min(int(xmin), own)
    return f"{lowest}:{max(int(xmax), own + 1)}:{','.join(map(str, ordered))}"


# --- what does not add up -----------------------------------------------------------------------
def altered_events(organization_id: int | None = None) -> list[AlteredEvent]:
    """Return the events whose content is not what their digest was made of (None: everybody's)."""
    _take_time()
    rows = _rows(
        """SELECT id, organization_id, source, key, type, occurred_at FROM usage_event
        WHERE (%(organization)s::bigint IS NULL OR organization_id = %(organization)s::bigint)
          AND digest <> usage_event_digest(
            organization_id, source, key, type, occurred_at, received_at, data)
        ORDER BY id""",
        {"organization": organization_id},
    )
    return [AlteredEvent(*row) for row in rows]


def bucket_differences(
    organization_id: int | None = None, *, meter_id: int | None = None
) -> list[BucketDifference]:
    """Return the buckets that differ from a recount of the events rolled up into them.

    Events that were added, removed or altered behind the system's back show here. Raises
    UsageNotReady after a restore until the buckets are rebuilt.
    """
    if not is_ready():
        raise UsageNotReady(NOT_READY)
    _take_time()
    keys = dict(Meter.objects.values_list("id", "key"))
    chosen = {"organization": organization_id, "meter": meter_id}
    counts = [_bucket_difference(row, keys) for row in _rows(counting.DIFFERENCES, chosen)]
    known = {(one.organization_id, one.meter_key, one.hour) for one in counts}
    values = [
        BucketDifference(org, keys[meter], hour, stored, counted, Decimal(stored), Decimal(counted))
        for org, meter, hour, stored, counted in _rows(counting.DISTINCT_DIFFERENCES, chosen)
        if (org, keys[meter], hour) not in known
    ]
    return [*counts, *values]


def _bucket_difference(row: tuple[Any, ...], keys: Mapping[int, str]) -> BucketDifference:
    organization_id, meter_id, hour, stored, counted, stored_total, counted_total, *lanes = row
    return BucketDifference(
        organization_id,
        keys[meter_id],
        hour,
        stored,
        counted,
        stored_total,
        counted_total,
        _hash(*lanes[:2]),
        _hash(*lanes[2:]),
    )


def is_ready() -> bool:
    """Tell whether the buckets are this cluster's: not after a restore until they are rebuilt."""
    return epoch() is not None


def epoch() -> UsageEpoch | None:
    """Return the epoch in force; None when it is another cluster's."""
    last = UsageEpoch.objects.order_by("-number").first()
    if (
        last is None
        or last.system_identifier
        != _rows("SELECT system_identifier FROM pg_control_system()", {})[0][0]
    ):
        return None
    return last


# --- lists --------------------------------------------------------------------------------------
def latest_events(
    organization_id: int, *, limit: int = 50, before_id: int | None = None, event_type: str = ""
) -> list[EventFacts]:
    """Return events, the last received first; `before_id` continues where a page ended."""
    rows = Event.objects.filter(organization_id=organization_id).order_by("-id")
    if before_id is not None:
        rows = rows.filter(id__lt=before_id)
    if event_type:
        rows = rows.filter(type=event_type)
    return [
        EventFacts(
            row.pk, row.source, row.key, row.type, row.occurred_at, row.received_at, row.data
        )
        for row in rows.defer("digest", "dedupe_key", "xid")[:limit]
    ]


def open_rejections(organization_id: int) -> int:
    """Return how many of the organization's events are rejected and not replayed."""
    return RejectedEvent.objects.filter(
        organization_id=organization_id, replayed_at__isnull=True
    ).count()


def _rows(sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def _take_time() -> None:
    """Lift the time limit for this transaction: a full count may take minutes."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', '0', true)")
