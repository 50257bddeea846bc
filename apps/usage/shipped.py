"""Reading events of which most are in ClickHouse: those from there, the rest from PostgreSQL.

What is shipped is a prefix of the order of transactions: blocks up to the last one that a row of
`UsageShipment` names. All of those transactions had ended when they were shipped, so every
statement after that sees their events, and both sides may be asked one after the other. Only what
is not shipped can move in between: a void that comes then is noticed by its `stamp`, and the
question put again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from apps.core import rls
from apps.engine.decimals import EXACT
from apps.usage import clickhouse, counting, filtering
from apps.usage.clickhouse import Asked, Rule, Sight, Totals
from apps.usage.errors import EventStoreUnavailable
from apps.usage.models import Meter, UsageEpoch
from apps.usage.store import PostgreSQLStore, Rows, Windows, rows

HOUR = timedelta(hours=1)
LAST_ID, LAST_XID = 2**63 - 1, 2**64 - 1
ATTEMPTS = 20

# How far events are shipped. Until the first backfill was done, nothing is read from there.
BOUNDARY = f"""SELECT s.number, s.until::text, x.base_event_id,
  coalesce(y.base_event_id, {LAST_ID}), y.number IS NULL
FROM usage_shipment s
JOIN usage_epoch x ON x.number = s.epoch
LEFT JOIN usage_epoch y ON y.number = s.epoch + 1
WHERE EXISTS (SELECT FROM usage_shipment WHERE complete)
ORDER BY s.number DESC LIMIT 1"""  # noqa: S608 - constants

# Two bounds on the transaction, for the planner: see counting.tail().
UNSHIPPED = """({0}.xid >= %(lowest)s::xid8 AND {0}.xid < '18446744073709551615'::xid8
    AND {0}.id + 0 > %(shipped_base)s
    AND ({0}.id + 0 > %(shipped_next_base)s OR {0}.xid >= %(shipped_until)s::xid8))"""
UNSHIPPED_EVENTS = f"""unshipped AS MATERIALIZED (
  SELECT {counting.EVENT} FROM usage_event e
  WHERE e.organization_id = ANY (%(organizations)s::bigint[]) AND {UNSHIPPED.format("e")}
), """  # noqa: S608 - constants
VOIDS = f"""FROM usage_event v WHERE v.organization_id = ANY (%(organizations)s::bigint[])
    AND v.voids_id IS NOT NULL AND {UNSHIPPED.format("v")}"""

# What ClickHouse has to be told before it is asked, and what must still hold afterwards: the
# events voided by events that it does not have, and the hours whose buckets cannot be read.
STAMP = f"""ARRAY(SELECT v.voids_id {VOIDS} ORDER BY 1),
  ARRAY(SELECT DISTINCT concat_ws(' ', organization_id, extract(epoch FROM hour)::bigint, type)
    FROM gone ORDER BY 1)"""  # noqa: S608 - constants
BEFORE = f"WITH {counting.EPOCH}, {counting.tail(counting.ALL_EVENTS)} SELECT {STAMP}"
MEASURE = counting.measure(
    "unshipped",
    ctes=UNSHIPPED_EVENTS,
    values="""
      UNION ALL SELECT s.value
      FROM unnest(%(seen_by)s::bigint[], %(seen)s::uuid[]) AS s (position, value)
      WHERE s.position = m.position""",
    latest="t.latest",
    stamp=f", {STAMP}",
)
RECOUNT = counting.recount(
    "unshipped",
    ctes=UNSHIPPED_EVENTS,
    latest="t.latest",
    different="array_agg(DISTINCT distinct_value) FILTER (WHERE distinct_value IS NOT NULL)",
)
READINGS = counting.readings("unshipped", ctes=UNSHIPPED_EVENTS)
HOURS = counting.hours_of_events("unshipped", ctes=UNSHIPPED_EVENTS)
EVENTS = counting.events(UNSHIPPED.format("e"))
UNSHIPPED_VOIDS = f"SELECT v.organization_id, v.voids_id, v.id, v.xid::text {VOIDS}"


class Boundary(NamedTuple):
    """How far events are shipped: up to `block`, which ends before transaction `until`."""

    block: int
    until: str
    base: int
    next_base: int
    is_current: bool

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of UNSHIPPED."""
        return {
            "lowest": self.until if self.is_current else "0",
            "shipped_until": self.until,
            "shipped_base": self.base,
            "shipped_next_base": self.next_base,
        }


class _Span(NamedTuple):
    """One window of a want or of a claim, as `_Spans.windows` gives them."""

    organization_id: int
    meter: int
    start: datetime
    end: datetime
    asked: filtering.Document
    whole_from: datetime
    whole_to: datetime


class _Touched(NamedTuple):
    """An hour whose events stand for its bucket, because a void in the tail is about one of it."""

    organization_id: int
    hour: datetime
    event_type: str


class _Void(NamedTuple):
    """An event that is not shipped and voids another one."""

    organization_id: int
    voids_id: int
    id: int
    xid: int


def boundary() -> Boundary | None:
    """Return how far events are shipped; None before a backfill was done."""
    found = rows(BOUNDARY, {})
    return Boundary(*found[0]) if found else None


class ClickHouseStore:
    """Reads what is shipped from ClickHouse and the rest from PostgreSQL."""

    def __init__(self) -> None:
        self.kept = PostgreSQLStore()

    def measure(self, windows: Windows) -> Rows:
        """Measure: buckets and what is not shipped in PostgreSQL, shipped edges in ClickHouse.

        Raises EventStoreUnavailable.
        """
        shipped = boundary()
        if shipped is None:
            return self.kept.measure(windows)
        parameters = {**windows, **shipped.parameters()}
        [before] = rows(BEFORE, parameters) or [(None, None)]
        for _ in range(ATTEMPTS):
            found = _shipped_parts(windows, shipped.block, *before)
            measured = rows(MEASURE, {**parameters, **_seen(found)})
            if not measured or measured[0][-2:] == before:
                return [_with(row[:-2], found.get(n)) for n, row in enumerate(measured)]
            before = measured[0][-2:]
        raise EventStoreUnavailable("Events are voided faster than they are counted; try again.")

    def recount(self, claims: Windows) -> Rows:
        """Recount: what a claim saw of the events on both sides. Raises EventStoreUnavailable."""
        shipped = boundary()
        if shipped is None:
            return self.kept.recount(claims)
        kept = rows(RECOUNT, {**claims, **shipped.parameters()})
        if len(kept) != len(claims["epochs"]):
            return kept  # an epoch is unknown
        asked = [
            replace(one, known=row[10] or ())
            for one, row in zip(_claims(claims, shipped), kept, strict=True)
        ]
        return [_both(row, one) for row, one in zip(kept, clickhouse.totals(asked), strict=True)]

    def readings(self, claim: Windows) -> Rows:
        """Read what one claim counted on both sides."""
        shipped = boundary()
        if shipped is None:
            return self.kept.readings(claim)
        kept = rows(READINGS, {**claim, **shipped.parameters()})
        found = [row for asked in _claims(claim, shipped) for row in clickhouse.readings(asked)]
        return sorted([*kept, *found], key=lambda row: (row[1], row[0]))

    def hours(self, claim: Windows) -> Rows:
        """Add up the hours of both sides."""
        shipped = boundary()
        if shipped is None:
            return self.kept.hours(claim)
        hours: dict[datetime, tuple[int, Decimal]] = {}
        kept = rows(HOURS, {**claim, **shipped.parameters()})
        found = [row for asked in _claims(claim, shipped) for row in clickhouse.hours(asked)]
        for hour, events, total in [*kept, *found]:
            before = hours.get(hour, (0, Decimal(0)))
            hours[hour] = (before[0] + events, EXACT.add(before[1], total))
        return [(hour, *hours[hour]) for hour in sorted(hours)]

    def events(self, claim: Windows) -> Rows:
        """Merge a page of both sides."""
        shipped = boundary()
        if shipped is None:
            return self.kept.events(claim)
        kept = rows(EVENTS, {**claim, **shipped.parameters()})
        voided = [one.voids_id for one in _unshipped_voids(claim, shipped)]
        after = None if claim["after_id"] is None else (claim["after_at"], claim["after_id"])
        found = [
            row
            for asked in _claims(claim, shipped)
            for row in clickhouse.events(
                asked, voided_now=voided, after=after, limit=claim["limit"]
            )
        ]
        ordered = sorted([*kept, *found], key=lambda row: (row[1], row[0]))
        return ordered[: claim["limit"]]

    def time_of(self, organization_id: int, event_id: int) -> datetime | None:
        """Look the event up, in PostgreSQL first."""
        kept = self.kept.time_of(organization_id, event_id)
        shipped = boundary()
        if kept is not None or shipped is None or not _visible(organization_id):
            return kept
        return clickhouse.time_of(organization_id, event_id, block=shipped.block)


# --- what ClickHouse is asked -------------------------------------------------------------------
def _visible(organization_id: int) -> bool:
    """Tell whether the scope shows the organization: what row-level security decides elsewhere."""
    scope = rls.current()
    return scope.ops or scope.organization_id == organization_id


def _spans(windows: Windows) -> list[_Span]:
    names = ("organizations", "meters", "starts", "ends", "filters", "whole_from", "whole_to")
    columns = zip(*(windows[name] for name in names), strict=True)
    return [
        _Span(organization_id, meter, start, end, json.loads(asked or "{}"), *whole)
        for organization_id, meter, start, end, asked, *whole in columns
    ]


def _rules(spans: Iterable[_Span]) -> dict[int, Rule]:
    found = Meter.objects.in_bulk({span.meter for span in spans})
    return {
        key: Rule(m.event_type, m.aggregation, m.value, m.allow_negative, m.filter)
        for key, m in found.items()
    }


def _shipped_parts(
    windows: Windows, block: int, voided: Sequence[int], touched: Sequence[str]
) -> dict[int, Totals]:
    """Return what ClickHouse has to add, by the place of the window; most need nothing."""
    spans = _spans(windows)
    rules = _rules(spans)
    hours = [_read_touched(text) for text in touched]
    asked = {
        place: Asked(span.organization_id, rules[span.meter], parts, span.asked, block, voided)
        for place, span in enumerate(spans)
        if _visible(span.organization_id)
        and (parts := [*_edges(span), *_again(span, rules[span.meter], hours)])
    }
    return dict(zip(asked, clickhouse.totals(list(asked.values())), strict=True))


def _edges(span: _Span) -> Iterator[tuple[datetime, datetime]]:
    for start, end in ((span.start, span.whole_from), (span.whole_to, span.end)):
        if start < end:
            yield start, end


def _again(
    span: _Span, rule: Rule, touched: Iterable[_Touched]
) -> Iterator[tuple[datetime, datetime]]:
    """Return the whole hours whose events stand for the bucket."""
    if rule.aggregation in counting.ADDITIVE:
        return
    for one in touched:
        mine = (one.organization_id, one.event_type) == (span.organization_id, rule.event_type)
        if mine and span.whole_from <= one.hour < span.whole_to:
            yield one.hour, one.hour + HOUR


def _read_touched(text: str) -> _Touched:
    organization_id, seconds, event_type = text.split(" ", 2)
    return _Touched(int(organization_id), datetime.fromtimestamp(int(seconds), UTC), event_type)


def _claims(claims: Windows, shipped: Boundary) -> list[Asked]:
    """Return the questions for what claims saw of the shipped events."""
    spans, voids = _spans(claims), _unshipped_voids(claims, shipped)
    rules, bases = _rules(spans), dict(UsageEpoch.objects.values_list("number", "base_event_id"))
    found = []
    for span, epoch, snapshot in zip(spans, claims["epochs"], claims["snapshots"], strict=True):
        sight = _sight(snapshot, bases[epoch], bases.get(epoch + 1, LAST_ID))
        voided = [one.voids_id for one in voids if sight.sees(one.id, one.xid)]
        windows = [(span.start, span.end)] if _visible(span.organization_id) else []
        found.append(
            Asked(
                span.organization_id,
                rules[span.meter],
                windows,
                span.asked,
                shipped.block,
                voided,
                sight,
            )
        )
    return found


def _unshipped_voids(windows: Windows, shipped: Boundary) -> list[_Void]:
    found = rows(UNSHIPPED_VOIDS, {**windows, **shipped.parameters()})
    return [_Void(owner, target, event_id, int(xid)) for owner, target, event_id, xid in found]


def _sight(snapshot: str, base: int, next_base: int) -> Sight:
    _, xmax, running = snapshot.split(":")
    ids = tuple(int(xid) for xid in running.split(",") if xid)
    return Sight(base, next_base, int(xmax), ids)


# --- both sides together ------------------------------------------------------------------------
def _seen(found: dict[int, Totals]) -> dict[str, Any]:
    """Return the different values that ClickHouse saw, for the statement to join with its own."""
    pairs = [(place + 1, value) for place, one in found.items() for value in one.seen]
    return {"seen_by": [place for place, _ in pairs], "seen": [value for _, value in pairs]}


def _both(row: tuple[Any, ...], shipped: Totals) -> tuple[Any, ...]:
    """Return a row of RECOUNT with what ClickHouse counted; values seen by both count once."""
    different = shipped.different + len(row[10] or ()) - len(shipped.seen)
    return _with((*row[:10], different, *row[11:]), shipped)


def _with(row: tuple[Any, ...], shipped: Totals | None) -> tuple[Any, ...]:
    """Return a row of MEASURE or RECOUNT (see `_Counted`) with what ClickHouse counted added."""
    epoch, snapshot, own, kind, *counted = row
    events, values, total, maximum, minimum, latest, different, moment, lane_a, lane_b = counted
    more = shipped or Totals()
    last = max(_known(latest and tuple(latest), more.latest), default=None)
    return (
        *(epoch, snapshot, own, kind),
        events + more.events,
        values + more.values,
        EXACT.add(total, more.total),  # Python's own sum would keep 28 digits
        max(_known(maximum, more.maximum), default=None),
        min(_known(minimum, more.minimum), default=None),
        last and last[2],
        different,
        EXACT.add(moment, more.moment),
        EXACT.add(lane_a, more.lane_a),
        EXACT.add(lane_b, more.lane_b),
    )


def _known(*values: Any) -> list[Any]:
    return [value for value in values if value is not None]
