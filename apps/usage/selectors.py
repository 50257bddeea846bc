"""Questions about usage: measurements with their evidence, recounts, and what does not add up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection
from django.db.models import Count, Sum

from apps.core import statements
from apps.core.snapshots import Snapshot
from apps.engine.aggregation import Aggregation
from apps.engine.calendar import Cycle, Interval, Unit, zone
from apps.engine.decimals import EXACT, ZERO, plain
from apps.engine.period import utc
from apps.engine.values import value_class
from apps.usage import clickhouse, counting, filtering
from apps.usage.blocks import boundary
from apps.usage.checking import PLACES, PUBLIC_ID, PUBLIC_PREFIX, MeterRule, dedupe_key
from apps.usage.errors import (
    TooManyGroups,
    UnknownEpoch,
    UnknownEvent,
    UnknownMeter,
    UsageNotReady,
)
from apps.usage.filtering import Values
from apps.usage.models import (
    EARLIEST,
    Event,
    Meter,
    PrunedEvent,
    RejectedEvent,
    UsageEpoch,
    UsageShipment,
)
from apps.usage.shipped import event_store
from apps.usage.store import rows as _rows

HOUR = timedelta(hours=1)
CALENDAR = {"day": Unit.DAY, "month": Unit.MONTH}
ORIGIN = datetime(2000, 1, 1, tzinfo=UTC)
NOT_READY = (
    "The database comes from a dump and its usage is not rebuilt yet. The worker does that by"
    " itself within seconds; `rebuild_usage` does it now."
)
GroupKey = tuple[str | None, ...]  # a value of each dimension, None where events have none
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
    dimensions: tuple[str, ...] = ()
    filter: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class MeterShape:
    """What has to be known of a meter before it is measured; its meaning never changes."""

    id: int
    key: str
    aggregation: str
    dimensions: tuple[str, ...]


@value_class(frozen=True, slots=True)
class Want:
    """What to measure: a meter over [start, end), any instants, to the microsecond.

    Counts the events that have one of the values in every dimension of `include`, without those to
    which all of one combination of `exclude` applies (see `filtering`). Dimensions are paths in the
    event's data; those of the meter are read from buckets, others from the events themselves.
    `meter` spares a look at the meter where it is known from the same transaction.
    """

    meter_key: str
    start: datetime
    end: datetime
    include: Values = field(default_factory=dict, hash=False)
    exclude: Sequence[Values] = field(default=(), hash=False)
    meter: MeterShape | None = field(default=None, compare=False)

    @classmethod
    def filtered(
        cls, meter_key: str, start: datetime, end: datetime, document: filtering.Document
    ) -> Want:
        """Return what was wanted, from the filter that its evidence keeps."""
        include, exclude = document.get("include", {}), document.get("exclude", ())
        return cls(meter_key, start, end, include, exclude)

    @property
    def filter(self) -> filtering.Document:
        """The filter in its one form, for evidence; {} without one."""
        return filtering.document(self.include, self.exclude)


@value_class(frozen=True, slots=True)
class Measured:
    """A quantity, and the evidence that lets anybody count it again.

    `event_count` counts the events of the meter's type in the window, `value_count` those with a
    value the meter reads; voided events are in neither. A weighted sum is made of all events
    before `end`, so it counts them all. `hash` (32 hex digits) is the same for the same events in
    any order. `epoch` and `snapshot` say which transactions were visible, `filter` which events
    were asked for.
    """

    quantity: Decimal
    event_count: int
    value_count: int
    hash: str
    epoch: int
    snapshot: str
    filter: filtering.Document = field(default_factory=dict, hash=False)

    def evidence(self) -> dict[str, object]:
        """Return what a line keeps of it, as plain values; the filter only where there is one."""
        kept: dict[str, object] = {
            "events": self.event_count,
            "values": self.value_count,
            "hash": self.hash,
            "epoch": self.epoch,
            "snapshot": self.snapshot,
        }
        return {**kept, "filter": self.filter} if self.filter else kept


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
    slice: Mapping[str, str | None] = field(default_factory=dict, hash=False)

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
    public_id: str = ""
    voids_id: int | None = None
    voided: bool = False


@dataclass(frozen=True, slots=True)
class EvidenceEvent:
    """An event under a measurement: counted by it, voided since, or late (it came since).

    `value` is the number at the meter's path, None where there is none.
    """

    id: int
    public_id: str
    source: str
    key: str
    type: str
    occurred_at: datetime
    received_at: datetime
    value: Decimal | None
    data: Mapping[str, Any] = field(hash=False)
    status: str


class HourOfUse(NamedTuple):
    """An hour (UTC) of a measurement: how many events it counted, and the sum of their values."""

    hour: datetime
    events: int
    total: Decimal


class History(NamedTuple):
    """How a meter aggregates, and what it counted by hours (UTC)."""

    kind: Aggregation
    hours: dict[datetime, Decimal]


class Mark(NamedTuple):
    """A moment in the order of transactions: what a snapshot of an epoch could see."""

    epoch: int
    snapshot: str


@dataclass(frozen=True, slots=True)
class Pulse:
    """A moment of one epoch, and the organizations whose usage another moment did not see."""

    epoch: int
    epoch_started_at: datetime
    snapshot: Snapshot
    changed: frozenset[int]


class ChangedDay(NamedTuple):
    """A day (UTC) of which a meter's events came or were voided; a level changes all later ones."""

    organization_id: int
    meter_key: str
    day: datetime
    carries: bool


class ShippingState(NamedTuple):
    """How many events were shipped to ClickHouse, how many rows it has, and whether it is read.

    It may have more rows for a while (a block that was written twice), never fewer. Of `thin`
    blocks PostgreSQL need not have the rows any more.
    """

    blocks: int
    events: int
    there: int
    is_read: bool
    thin: int


class EventReading(NamedTuple):
    """What one event says to a meter, for prices that charge event by event.

    `value` is the number at the meter's path, None where there is none. Numbers in `data` are int
    or Decimal, exact.
    """

    event_id: int
    occurred_at: datetime
    value: Decimal | None
    data: Mapping[str, Any]


Rules = Mapping[str, Sequence[MeterRule]]
_rules: dict[str, tuple[list[tuple[Any, ...]], Rules]] = {}


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
        raise UnknownMeter.among([one.key for one in meters()], key)
    return found


def meter_rules() -> Rules:
    """Return what the meters read from an event, by its type; types without a meter are left out.

    Read once for a process, and anew when a meter came: the meaning of one never changes, and no
    two databases have the same public ids.
    """
    version = statements.rows("SELECT count(*), max(public_id) FROM usage_meter")
    known = _rules.get("known")
    if known is None or known[0] != version:
        known = _rules["known"] = (version, _read_rules())
    return known[1]


def _read_rules() -> Rules:
    found: dict[str, list[MeterRule]] = {}
    for row in Meter.objects.order_by("key"):
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
        dimensions=tuple(row.dimensions),
        filter=row.filter,
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
    spans = _Spans(wants)
    rows = event_store().measure(spans.windows())
    if len(rows) != len(spans):
        raise UsageNotReady(NOT_READY)
    return spans.measured(rows)


def measure_groups(
    organization_id: int,
    wants: Sequence[Want],
    by: Sequence[str],
    *,
    chosen: Sequence[GroupKey] | None = None,
    most: int,
) -> list[dict[GroupKey | None, Measured]]:
    """Measure by groups: for each want what every combination of values of `by` comes to.

    None is the key of all groups together, also of those that are not `chosen`. All of it is of one
    moment. `by` are dimensions of the meters; without any there are no groups. Raises as `measure`,
    and TooManyGroups above `most` windows of groups.
    """
    if not by:
        return [{None: one} for one in measure(organization_id, wants)]
    spans = _Spans([(organization_id, want) for want in wants], by=by)
    said = None if chosen is None else [_said(by, key) for key in chosen]
    asked = {"chosen": said, "most": most + 1}
    rows = event_store().groups({**spans.windows(), **asked}, by)
    if not rows:
        raise UsageNotReady(NOT_READY)
    if len(rows) > most:
        raise TooManyGroups("There are too many groups: group by less, or take a shorter window.")
    return spans.measured_groups(rows, by)


def _said(by: Sequence[str], key: GroupKey) -> str:
    return json.dumps(dict(zip(by, key, strict=True)))


def _key(by: Sequence[str], said: str | None) -> GroupKey | None:
    return None if said is None else tuple(json.loads(said)[name] for name in by)


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
    spans = _Spans([(organization_id, claim.want) for organization_id, claim in claims])
    rows = event_store().recount(_claimed(spans, [claim for _, claim in claims]))
    if len(rows) != len(spans):
        raise UnknownEpoch("A measurement names an epoch that this database does not know.")
    return spans.measured(rows)


def readings(organization_id: int, asked: Want | Claim) -> list[EventReading]:
    """Return the events that a measurement counts one by one, by time and then as they came.

    Of a Claim: exactly those that it counted, whatever came since. Of a Want: those of this moment.
    Only for prices that charge event by event: it reads every one of them.
    """
    if isinstance(asked, Want):
        [now] = measure(organization_id, [asked])
        asked = Claim(asked, now.epoch, now.snapshot)
    spans = _Spans([(organization_id, asked.want)], levels=False)
    rows = event_store().readings(_claimed(spans, [asked]))
    return [
        EventReading(
            event_id, at, None if number is None else Decimal(plain(number)), read_data(data)
        )
        for event_id, at, number, data in rows
    ]


def evidence_events(
    organization_id: int, claim: Claim, *, after: EvidenceEvent | int | None = None, limit: int = 50
) -> list[EvidenceEvent]:
    """Return a page of the events under a measurement, by time and then as they came.

    Those that it counted, also when they were voided since, and those that came since. `after` is
    the last one of the page before, or its integer id. Raises UnknownEpoch, UnknownMeter.
    """
    parameters = _one_claim(organization_id, claim) | {
        "limit": limit,
        **_after(organization_id, after),
    }
    return [_evidence(row) for row in event_store().events(parameters)]


def hours_of(organization_id: int, claim: Claim) -> list[HourOfUse]:
    """Return the hours over which the events that a measurement counted spread."""
    rows = event_store().hours(_one_claim(organization_id, claim))
    return [HourOfUse(hour, events, Decimal(plain(total))) for hour, events, total in rows]


def _one_claim(organization_id: int, claim: Claim) -> dict[str, Any]:
    want = claim.want
    if get_meter(want.meter_key).aggregation is Aggregation.WEIGHTED_SUM:
        want = replace(want, start=EARLIEST)  # the level is made of everything before, too
    return _claimed(_Spans([(organization_id, want)], levels=False), [claim])


def _after(organization_id: int, last: EvidenceEvent | int | None) -> dict[str, Any]:
    if isinstance(last, int):
        at = event_store().time_of(organization_id, last)
        return {"after_id": None if at is None else last, "after_at": at}
    if last is None:
        return {"after_id": None, "after_at": None}
    return {"after_id": last.id, "after_at": last.occurred_at}


def _evidence(row: tuple[Any, ...]) -> EvidenceEvent:
    event_id, occurred, received, source, key, kind, known_as, data, number, counted, stands = row
    return EvidenceEvent(
        id=event_id,
        public_id=f"{PUBLIC_PREFIX}{known_as.replace('-', '')}",
        source=source,
        key=key,
        type=kind,
        occurred_at=occurred,
        received_at=received,
        value=None if number is None else Decimal(plain(number)),
        data=read_data(data),
        status="late" if not counted else "counted" if stands else "voided",
    )


def mark() -> Mark:
    """Return what this moment can see. Raises UsageNotReady after a restore until it is rebuilt."""
    rows = _rows(counting.MARK, {})
    if not rows:
        raise UsageNotReady(NOT_READY)
    return Mark(*rows[0])


def changed_since(then: Mark) -> list[ChangedDay] | None:
    """Return the days of which events came or were voided since; needs the ops scope.

    None when everything may have changed: the mark is of another epoch, and transactions of two
    clusters have no common order; or what came since has left PostgreSQL by thinning.
    """
    if mark().epoch != then.epoch or _rows(counting.THINNED_SINCE, then._asdict())[0][0]:
        return None
    return [ChangedDay(*row) for row in _rows(counting.CHANGED, then._asdict())]


def pulse(seen: Mapping[int, Snapshot]) -> Pulse:
    """Return this moment, and which organizations got events since each one's snapshot.

    One statement, whatever their number; the scope must show them all. Snapshots of another epoch
    have no meaning here: the caller compares. Raises UsageNotReady after a restore until it is
    rebuilt.
    """
    organizations = {"organizations": list(seen), "snapshots": [str(one) for one in seen.values()]}
    rows = _rows(counting.PULSE, organizations)
    if not rows:
        raise UsageNotReady(NOT_READY)
    epoch, started_at, snapshot, changed = rows[0]
    return Pulse(epoch, started_at, Snapshot.parse(snapshot), frozenset(changed))


def _claimed(spans: _Spans, claims: Sequence[Claim]) -> dict[str, Any]:
    if not all(SNAPSHOT.fullmatch(claim.snapshot) for claim in claims):
        raise UnknownEpoch("The snapshot of a measurement cannot be read.")
    windows = spans.windows()
    windows["epochs"] = [claims[owner].epoch for owner in spans.owners]
    windows["snapshots"] = [claims[owner].snapshot for owner in spans.owners]
    return windows


def usage_series(
    organization_id: int,
    meter_key: str,
    start: datetime,
    end: datetime,
    *,
    grain: str,
    timezone: str,
) -> list[Point]:
    """Return the usage of [start, end) cut into local hours, days or months, as `grain` says.

    The cells tile the window without gap or overlap; the first and the last may be shorter. Each
    cell stands alone: the days' unique counts and maxima do not add up to the month's.
    """
    whole = [Want(meter_key, start, end)]
    [series] = usage_series_of(organization_id, whole, grain=grain, timezone=timezone)
    return series


def usage_series_of(
    organization_id: int, wants: Sequence[Want], *, grain: str, timezone: str
) -> list[list[Point]]:
    """Return `usage_series` of many wants, in their order, measured in one statement."""
    cells = [cells_of(one.start, one.end, grain=grain, timezone=timezone) for one in wants]
    parts = [
        replace(one, start=start, end=end)
        for one, cut in zip(wants, cells, strict=True)
        for start, end in cut
    ]
    measured = iter(measure(organization_id, parts))
    return [
        [
            Point(start, end, found.quantity, found.event_count)
            for (start, end), found in zip(cut, measured, strict=False)
        ]
        for cut in cells
    ]


def hours_so_far(wants: Sequence[tuple[int, Want]]) -> list[History]:
    """Return what each hour (UTC) of the wants counted, from what is rolled up, in one statement.

    For estimates: of counts and sums only, without the last seconds, and whole hours at the edges.
    """
    if not wants:
        return []
    spans = _Spans(wants, levels=False)
    found = [History(kind, {}) for kind in spans.kinds]
    for position, hour, counted in _rows(counting.HOURS_SO_FAR, spans.windows()):
        found[position].hours[hour] = Decimal(plain(Decimal(counted)))
    return found


def cells_of(
    start: datetime, end: datetime, *, grain: str, timezone: str
) -> list[tuple[datetime, datetime]]:
    """Return the cells, (start, end) each, that tile [start, end); see `usage_series`."""
    edges = [start, *_cuts(start, end, grain, timezone), end]
    return [(a, b) for a, b in pairwise(edges) if a < b]


def _cuts(start: datetime, end: datetime, grain: str, timezone: str) -> list[datetime]:
    """Return the boundaries strictly inside the window."""
    local = start.astimezone(zone(timezone))
    if grain in CALENDAR:
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        anchor = midnight.replace(day=1) if grain == "month" else midnight
        cuts = Cycle(anchor, Interval(CALENDAR[grain]), timezone).boundaries_between(start, end)
        return [cut for cut in cuts if start < cut]
    if grain != "hour":
        raise ValueError(f"a series has the grain hour, day or month, not {grain!r}")
    first = local.replace(minute=0, second=0, microsecond=0).astimezone(UTC)
    hours = int((end - first) / HOUR) + 1
    return [cut for k in range(hours + 1) if start < (cut := first + k * HOUR) < end]


class _Span(NamedTuple):
    """A window that is counted in one go, and the part of it that whole hours (UTC) fill."""

    organization_id: int
    meter: int
    start: datetime
    end: datetime
    filter: str | None
    whole_from: datetime
    whole_to: datetime


class _Spans:
    """The windows that wants take to measure: one each, and two where a level is carried over.

    A level's area over [start, end) is that over [EARLIEST, end) less that over [EARLIEST, start),
    so nothing but sums over windows is needed.
    """

    def __init__(
        self, wants: Sequence[tuple[int, Want]], *, levels: bool = True, by: Sequence[str] = ()
    ) -> None:
        self.wants = [want for _, want in wants]
        known = _meters(self.wants)
        self.kinds = [Aggregation(known[want.meter_key].aggregation) for want in self.wants]
        self.owners: list[int] = []
        self.spans: list[_Span] = []
        for position, (organization_id, want) in enumerate(wants):
            meter = known[want.meter_key]
            for start, end in _parts(want, meter, levels=levels):
                self.owners.append(position)
                self.spans.append(_span(organization_id, want, meter, start, end, by))

    def __len__(self) -> int:
        return len(self.spans)

    def windows(self) -> dict[str, Any]:
        """Return the windows as columns."""
        columns = [list(column) for column in zip(*self.spans, strict=True)]
        names = ("organizations", "meters", "starts", "ends", "filters", "whole_from", "whole_to")
        return dict(zip(names, columns, strict=True))

    def measured(self, rows: Sequence[tuple[Any, ...]]) -> list[Measured]:
        """Return one measurement for each want from the rows of its windows."""
        found: dict[int, list[_Counted]] = {}
        for owner, row in zip(self.owners, rows, strict=True):
            found.setdefault(owner, []).append(_Counted(*row))
        return [_measured(want, found[position]) for position, want in enumerate(self.wants)]

    def measured_groups(
        self, rows: Sequence[tuple[Any, ...]], by: Sequence[str]
    ) -> list[dict[GroupKey | None, Measured]]:
        """Return the groups of each want from the rows of its windows' groups."""
        found: list[dict[int, dict[GroupKey | None, _Counted]]] = [{} for _ in self.wants]
        for position, said, *counted in rows:
            windows = found[self.owners[position]]
            windows.setdefault(position, {})[_key(by, said)] = _Counted(*counted)
        return [
            _grouped(want, [*windows.values()])
            for want, windows in zip(self.wants, found, strict=True)
        ]


def _parts(want: Want, meter: MeterShape, *, levels: bool) -> list[tuple[datetime, datetime]]:
    if want.end < want.start:
        raise ValueError(f"the window of {want.meter_key} ends before it starts")
    if levels and meter.aggregation == Meter.Kind.WEIGHTED_SUM:
        return [(EARLIEST, want.end), (EARLIEST, want.start)]
    return [(want.start, want.end)]


def _span(
    organization_id: int,
    want: Want,
    meter: MeterShape,
    start: datetime,
    end: datetime,
    by: Sequence[str],
) -> _Span:
    asked = want.filter
    named = {*filtering.paths(asked), *by}
    # Values of a unique_count are kept for all slices together.
    in_buckets = not named or (
        meter.aggregation != Meter.Kind.UNIQUE_COUNT and named <= {*meter.dimensions}
    )
    whole_from, whole_to = _hours(utc(start), utc(end)) if in_buckets else (end, end)
    text = json.dumps(asked) if asked else None
    return _Span(organization_id, meter.id, start, end, text, whole_from, whole_to)


def _meters(wants: Iterable[Want]) -> dict[str, MeterShape]:
    """Return the meters by key; those that the wants know are not read."""
    found = {want.meter_key: want.meter for want in wants if want.meter is not None}
    keys = {want.meter_key for want in wants} - found.keys()
    if keys:
        rows = Meter.objects.filter(key__in=keys)
        for meter_id, key, kind, dimensions in rows.values_list(
            "id", "key", "aggregation", "dimensions"
        ):
            found[key] = MeterShape(meter_id, key, kind, tuple(dimensions))
    if missing := keys - found.keys():
        raise UnknownMeter.among([one.key for one in meters()], min(missing))
    return found


# Most customers have the same months. In UTC: of another zone, two instants an hour apart may be
# equal.
@lru_cache(maxsize=1024)
def _hours(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """Return the part of the window that whole hours (UTC) fill, empty where none fits."""
    since, rest = divmod(start - ORIGIN, HOUR)
    first = ORIGIN + (since + bool(rest)) * HOUR
    last = ORIGIN + (end - ORIGIN) // HOUR * HOUR
    first = min(first, end)
    return first, max(first, last)


class _Counted(NamedTuple):
    """A row of counting.MEASURE, RECOUNT or GROUPS."""

    epoch: int
    snapshot: str
    own: str | None
    kind: str
    events: int
    values: int
    total: Decimal
    maximum: Decimal | None
    minimum: Decimal | None
    latest: Decimal | None
    different: int | None
    moment: Decimal
    lane_a: Decimal
    lane_b: Decimal

    def area(self, end: datetime) -> Fraction:
        """Return the sum of value x microseconds up to `end`: what a level adds up to over time."""
        return Fraction(self.total) * _microseconds(end) - Fraction(self.moment)


def _microseconds(moment: datetime) -> int:
    return (moment - EARLIEST) // timedelta(microseconds=1)


def _measured(want: Want, counted: Sequence[_Counted]) -> Measured:
    one = counted[0]
    return Measured(
        quantity=Decimal(plain(_quantity(want, counted))),
        event_count=int(one.events),
        value_count=int(one.values),
        hash=_hash(one.lane_a, one.lane_b),
        epoch=one.epoch,
        snapshot=with_own(one.snapshot, None if one.own is None else int(one.own)),
        filter=want.filter,
    )


def _grouped(
    want: Want, windows: Sequence[Mapping[GroupKey | None, _Counted]]
) -> dict[GroupKey | None, Measured]:
    """Return each group's measurement; where a level had none of it before, it began at nothing."""
    whole = windows[0]
    nothing = whole[None]._replace(events=0, values=0, total=ZERO, moment=ZERO)
    return {
        key: _measured(want, [one, *(window.get(key, nothing) for window in windows[1:])])
        for key, one in whole.items()
    }


COUNTED_AS = {
    Meter.Kind.COUNT.value: "events",
    Meter.Kind.SUM.value: "total",
    Meter.Kind.MAX.value: "maximum",
    Meter.Kind.MIN.value: "minimum",
    Meter.Kind.LATEST.value: "latest",
    Meter.Kind.UNIQUE_COUNT.value: "different",
}


def _quantity(want: Want, counted: Sequence[_Counted]) -> Decimal:
    one = counted[0]
    match one.kind:
        case Meter.Kind.WEIGHTED_SUM:
            return _mean_level(want, one, counted[1])
        case Meter.Kind.AVG:
            values = int(one.values)
            return _rounded(Fraction(one.total) / values) if values else ZERO
    found: Decimal | int | None = getattr(one, COUNTED_AS[one.kind])
    return Decimal(found or 0)


def _mean_level(want: Want, up_to_end: _Counted, up_to_start: _Counted) -> Decimal:
    """Return the level's mean over [start, end): every value moves the level from its time on."""
    length = _microseconds(want.end) - _microseconds(want.start)
    if not length:
        return ZERO
    return _rounded((up_to_end.area(want.end) - up_to_start.area(want.start)) / length)


def _rounded(value: Fraction) -> Decimal:
    """Return a quotient to the 12 places of a quantity, half away from zero."""
    scaled = abs(value) * 10**PLACES
    whole = int(scaled + Fraction(1, 2))
    return Decimal(whole if value >= 0 else -whole).scaleb(-PLACES, EXACT)


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
    """Return the events whose content is not what their digest was made of (None: everybody's).

    Where events are shipped, both the rows that PostgreSQL has and the copies that are read.
    """
    _take_time()
    rows = event_store().altered(organization_id)
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
    buckets, different = event_store().differences(organization_id, meter_id)
    counts = [_bucket_difference(row, keys) for row in buckets]
    known = {(one.organization_id, one.meter_key, one.hour) for one in counts}
    values = [
        BucketDifference(org, keys[meter], hour, stored, counted, Decimal(stored), Decimal(counted))
        for org, meter, hour, stored, counted in different
        if (org, keys[meter], hour) not in known
    ]
    return [*counts, *values]


def _bucket_difference(row: tuple[Any, ...], keys: Mapping[int, str]) -> BucketDifference:
    organization_id, meter_id, hour, piece, stored, counted, stored_total, counted_total, *lanes = (
        row
    )
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
        json.loads(piece),
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


def is_rolled_up() -> bool:
    """Tell whether every event that is seen is in the buckets; needs the ops scope.

    A transaction that is open anywhere in the cluster, be it of another database, holds some back.
    """
    last = epoch()
    if last is None:
        return False
    tail = "SELECT FROM usage_event WHERE id > %(base)s AND xid >= %(mark)s::text::xid8"
    told = {"base": last.base_event_id, "mark": str(last.watermark)}
    return not _rows(f"SELECT EXISTS ({tail})", told)[0][0]


def shipping_state() -> ShippingState:
    """Return how far events are in ClickHouse. Raises EventStoreUnavailable where it is used."""
    shipped = UsageShipment.objects.aggregate(
        blocks=Count("id"), events=Sum("events"), thin=Count("thinning_at")
    )
    there = 0
    if shipped["blocks"] and settings.CLICKHOUSE_URL:
        [(there,)] = clickhouse.rows("SELECT count() FROM usage_event")
    return ShippingState(
        shipped["blocks"], shipped["events"] or 0, there, boundary() is not None, shipped["thin"]
    )


# --- events -------------------------------------------------------------------------------------
def find_event(organization_id: int, name: str, *, source: str = "") -> Event | None:
    """Return the organization's event with this public id, or with this id within `source`."""
    known_as = dedupe_key(source, name) if source else name.removeprefix(PUBLIC_PREFIX)
    if not source and not is_public(name):
        return None
    row = Event.objects.filter(organization_id=organization_id, dedupe_key=known_as).first()
    return row or next(iter(gone_events(organization_id, [known_as])), None)


def gone_events(organization_id: int, dedupe_keys: Sequence[str]) -> list[Event]:
    """Return those of these events that PostgreSQL has only the keys of, from where they are."""
    kept = PrunedEvent.objects.filter(
        organization_id=organization_id, dedupe_key__in=list(dedupe_keys)
    )
    numbers = list(kept.values_list("pk", flat=True))
    return event_store().by_number(organization_id, numbers) if numbers else []


def get_event(organization_id: int, name: str, *, source: str = "") -> Event:
    """Return what `find_event` finds, or raise UnknownEvent."""
    found = find_event(organization_id, name, source=source)
    if found is None:
        raise UnknownEvent("There is no such event; give its public id, or its source and its id.")
    return found


def is_public(name: str) -> bool:
    """Tell whether a name is an event's public id."""
    return PUBLIC_ID.fullmatch(name) is not None


def exact_data(event: Event) -> Mapping[str, Any]:
    """Return an event's data with exact numbers: the row's own have become binary ones."""
    return read_data(data_text(event))


def data_text(event: Event) -> str:
    """Return an event's data as it is stored."""
    return event_store().data_of(event.organization_id, event.pk)


def read_data(text: str) -> Mapping[str, Any]:
    """Read an event's data with exact numbers; ValueError when it is no JSON object."""
    found = json.loads(text, parse_float=Decimal)
    if not isinstance(found, dict):
        raise ValueError("data is a JSON object")
    return found


# --- lists --------------------------------------------------------------------------------------
def latest_events(
    organization_id: int, *, limit: int = 50, before_id: int | None = None, event_type: str = ""
) -> list[EventFacts]:
    """Return events, the last received first; `before_id` continues where a page ended."""
    found = event_store().latest(
        organization_id, before_id=before_id, event_type=event_type, limit=limit
    )
    return [_event_facts(row, voided=voided) for row, voided in found]


def _event_facts(row: Event, *, voided: bool) -> EventFacts:
    return EventFacts(
        id=row.pk,
        source=row.source,
        key=row.key,
        type=row.type,
        occurred_at=row.occurred_at,
        received_at=row.received_at,
        data=row.data,
        public_id=row.public_id,
        voids_id=row.voids_id,
        voided=voided,
    )


def open_rejections(organization_id: int) -> int:
    """Return how many of the organization's events are rejected and not replayed."""
    return RejectedEvent.objects.filter(
        organization_id=organization_id, replayed_at__isnull=True
    ).count()


def _take_time() -> None:
    """Lift the time limit for this transaction: a full count may take minutes."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', '0', true)")
