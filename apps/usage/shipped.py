"""Reading events of which most are in ClickHouse: those from there, the rest from PostgreSQL.

What is shipped is a prefix of the order of transactions: blocks up to the last one that a row of
`UsageShipment` names. All of those transactions had ended when they were shipped, so every
statement after that sees their events, and both sides may be asked one after the other. Only what
is not shipped can move in between: a void that comes then is noticed by its `stamp`, and the
question put again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.conf import settings

from apps.engine.aggregation import Aggregation
from apps.engine.decimals import EXACT
from apps.usage import clickhouse, counting, filtering
from apps.usage.blocks import LAST_ID, UNSHIPPED, Boundary, boundary, is_visible
from apps.usage.clickhouse import Asked, Group, Rule, Sight, Totals
from apps.usage.copies import altered_copies, as_row, named
from apps.usage.errors import EventStoreUnavailable
from apps.usage.models import Event, Meter, UsageEpoch
from apps.usage.remaking import owners, piece_of_hours, pieces_of, rule_of, voided_since
from apps.usage.store import (
    ALTERED,
    COUNT,
    EventStore,
    Piece,
    PostgreSQLStore,
    Rows,
    Touched,
    Windows,
    data_here,
    holds_the_latest,
    latest_here,
    rows,
    thinned,
)

HOUR = timedelta(hours=1)
ATTEMPTS = 20

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
GROUPS = counting.groups(
    "unshipped",
    ctes=UNSHIPPED_EVENTS,
    latest="t.latest",
    different="array_agg(DISTINCT value) FILTER (WHERE value IS NOT NULL)",
    stamp=f", {STAMP}",
)
UNSHIPPED_VOIDS = f"SELECT v.organization_id, v.voids_id, v.id, v.xid::text {VOIDS}"


class _Span(NamedTuple):
    """One window of a want or of a claim, as `_Spans.windows` gives them."""

    organization_id: int
    meter: int
    start: datetime
    end: datetime
    asked: filtering.Document
    whole_from: datetime
    whole_to: datetime


class _Void(NamedTuple):
    """An event that is not shipped and voids another one."""

    organization_id: int
    voids_id: int
    id: int
    xid: int


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
        if kept is not None or shipped is None or not is_visible(organization_id):
            return kept
        return clickhouse.time_of(organization_id, event_id, block=shipped.block)

    def groups(self, windows: Windows, by: Sequence[str]) -> Rows:
        """Measure by groups: PostgreSQL first, which says at what it looked."""
        shipped = boundary()
        if shipped is None:
            return self.kept.groups(windows, by)
        kept = rows(GROUPS, {**windows, **shipped.parameters(), "dimensions": list(by)})
        if not kept:
            return []
        places = {row[0]: row for row in kept if row[1] is None}
        here = {(row[0], _group_of(row[1], by)): row[:-2] for row in kept}
        chosen = None
        if windows["chosen"] is not None:
            chosen = [group for text in windows["chosen"] if (group := _group_of(text, by))]
        asked = {
            place: replace(one, known=_values_at(place, here))
            for place, one in _edges_asked(windows, shipped.block, *kept[0][-2:]).items()
        }
        found = clickhouse.groups(asked, by, chosen=chosen)
        merged = [
            _group_row(here.get(key) or _nothing(places[key[0]], key[1], by), found.get(key))
            for key in {**here, **found}
        ]
        return [row for row in merged if row[1] is None or row[6]]

    def pieces(self, organization_id: int | None, meter_id: int | None) -> Iterator[Piece]:
        """Make them organization by organization, months at a time; ClickHouse counts first."""
        shipped = boundary()
        if shipped is None:
            yield from self.kept.pieces(organization_id, meter_id)
            return
        for owner in owners(organization_id, shipped):
            yield from pieces_of(owner, meter_id, shipped)

    def hourly(self, touched: Sequence[Touched]) -> Iterator[Piece]:
        """Make them where the events are: in PostgreSQL, unless it is thinned up to there."""
        thin, shipped = thinned(), boundary()
        gone = [one for one in touched if thin is not None and one.hour <= thin.until]
        if shipped is None or not gone:
            yield from self.kept.hourly(touched)
            return
        for owner in sorted({one.organization_id for one in touched}):
            mine = [one for one in touched if one.organization_id == owner]
            yield piece_of_hours(owner, mine, shipped)

    def differences(self, organization_id: int | None, meter_id: int | None) -> tuple[Rows, Rows]:
        """Compare piece by piece; one that something was taken back in meanwhile, again."""
        shipped = boundary()
        if shipped is None:
            return self.kept.differences(organization_id, meter_id)
        counts: Rows = []
        values: Rows = []
        for owner in owners(organization_id, shipped):
            found = self._differences(owner, meter_id, shipped)
            counts += [row for one, _ in found for row in one]
            values += [row for _, one in found for row in one]
        return counts, values

    def _differences(
        self, owner: int, meter_id: int | None, shipped: Boundary
    ) -> list[tuple[Rows, Rows]]:
        for _ in range(ATTEMPTS):
            before = voided_since(owner, shipped)
            found = [
                (
                    rows(one.making.differences, one.parameters),
                    rows(one.making.value_differences, one.parameters),
                )
                for one in self.pieces(owner, meter_id)
            ]
            if voided_since(owner, shipped) == before:
                return found
        raise EventStoreUnavailable("Events are voided faster than they are compared; try again.")

    def altered(self, organization_id: int | None) -> Rows:
        """Make the digests again, of the rows that are here and of every copy."""
        shipped = boundary()
        if shipped is None:
            return self.kept.altered(organization_id)
        found = {row[0]: row for row in rows(ALTERED, {"organization": organization_id})}
        for owner in owners(organization_id, shipped):
            for page in clickhouse.of_organization(owner, block=shipped.block):
                found.update((one.id, named(one)) for one in altered_copies(page))
        return [found[number] for number in sorted(found)]

    def count(self, organization_id: int, since: datetime, until: datetime) -> int:
        """Count both sides."""
        shipped = boundary()
        if shipped is None:
            return self.kept.count(organization_id, since, until)
        asked = {"organization": organization_id, "since": since, "until": until}
        unshipped = f"{COUNT} AND {UNSHIPPED.format('e')}"
        [(kept,)] = rows(unshipped, {**asked, **shipped.parameters()})
        return int(kept) + clickhouse.count(organization_id, since, until, block=shipped.block)

    def has_type(self, event_type: str) -> bool:
        """Look one up on either side."""
        shipped = boundary()
        if Event.objects.filter(type=event_type).exists() or shipped is None:
            return self.kept.has_type(event_type)
        return clickhouse.has_type(event_type, block=shipped.block)

    def by_number(self, organization_id: int, numbers: Sequence[int]) -> list[Event]:
        """Read them in ClickHouse."""
        shipped = boundary()
        if shipped is None:
            return self.kept.by_number(organization_id, numbers)
        if not is_visible(organization_id):
            return []
        found = clickhouse.by_number(organization_id, numbers, block=shipped.block)
        return [as_row(one) for one in found]

    def data_of(self, organization_id: int, event_id: int) -> str:
        """Look it up, in PostgreSQL first."""
        found = data_here(organization_id, event_id)
        shipped = boundary()
        if found is not None or shipped is None or not is_visible(organization_id):
            return found or self.kept.data_of(organization_id, event_id)
        copies = clickhouse.by_number(organization_id, [event_id], block=shipped.block)
        return copies[0].data if copies else self.kept.data_of(organization_id, event_id)

    def latest(
        self, organization_id: int, *, before_id: int | None, event_type: str, limit: int
    ) -> list[tuple[Event, bool]]:
        """Merge both ends, where PostgreSQL's may lack something."""
        shipped = boundary()
        if shipped is None:
            return self.kept.latest(
                organization_id, before_id=before_id, event_type=event_type, limit=limit
            )
        found = latest_here(
            organization_id, before_id=before_id, event_type=event_type, limit=limit
        )
        if holds_the_latest(found, limit) or not is_visible(organization_id):
            return found
        here = {row.pk for row, _ in found}
        copies = clickhouse.latest(
            organization_id,
            before_id=LAST_ID if before_id is None else before_id,
            event_type=event_type,
            limit=limit,
            block=shipped.block,
        )
        more = [as_row(one) for one in copies if one.id not in here]
        numbers = [row.pk for row in more]
        voided = clickhouse.voided(organization_id, numbers, block=shipped.block)
        later = Event.objects.filter(organization_id=organization_id, voids__in=numbers)
        voided.update(number for (number,) in later.values_list("voids") if number is not None)
        found += [(row, row.pk in voided) for row in more]
        return sorted(found, key=lambda one: -one[0].pk)[:limit]


def event_store() -> EventStore:
    """Return where raw events are read."""
    return ClickHouseStore() if settings.CLICKHOUSE_URL else PostgreSQLStore()


# --- what ClickHouse is asked -------------------------------------------------------------------
def _spans(windows: Windows) -> list[_Span]:
    names = ("organizations", "meters", "starts", "ends", "filters", "whole_from", "whole_to")
    columns = zip(*(windows[name] for name in names), strict=True)
    return [
        _Span(organization_id, meter, start, end, json.loads(asked or "{}"), *whole)
        for organization_id, meter, start, end, asked, *whole in columns
    ]


def _rules(spans: Iterable[_Span]) -> dict[int, Rule]:
    found = Meter.objects.in_bulk({span.meter for span in spans})
    return {key: rule_of(meter) for key, meter in found.items()}


def _shipped_parts(
    windows: Windows, block: int, voided: Sequence[int], touched: Sequence[str]
) -> dict[int, Totals]:
    """Return what ClickHouse has to add, by the place of the window; most need nothing."""
    asked = _edges_asked(windows, block, voided, touched)
    return dict(zip(asked, clickhouse.totals(list(asked.values())), strict=True))


def _edges_asked(
    windows: Windows, block: int, voided: Sequence[int], touched: Sequence[str]
) -> dict[int, Asked]:
    spans = _spans(windows)
    rules = _rules(spans)
    hours = [_read_touched(text) for text in touched]
    return {
        place: Asked(span.organization_id, rules[span.meter], parts, span.asked, block, voided)
        for place, span in enumerate(spans)
        if is_visible(span.organization_id)
        and (parts := [*_edges(span), *_again(span, rules[span.meter], hours)])
    }


def _edges(span: _Span) -> Iterator[tuple[datetime, datetime]]:
    for start, end in ((span.start, span.whole_from), (span.whole_to, span.end)):
        if start < end:
            yield start, end


def _again(
    span: _Span, rule: Rule, touched: Iterable[Touched]
) -> Iterator[tuple[datetime, datetime]]:
    """Return the whole hours whose events stand for the bucket."""
    if rule.aggregation in counting.ADDITIVE:
        return
    for one in touched:
        mine = (one.organization_id, one.event_type) == (span.organization_id, rule.event_type)
        if mine and span.whole_from <= one.hour < span.whole_to:
            yield one.hour, one.hour + HOUR


def _read_touched(text: str) -> Touched:
    organization_id, seconds, event_type = text.split(" ", 2)
    return Touched(int(organization_id), event_type, datetime.fromtimestamp(int(seconds), UTC))


def _claims(claims: Windows, shipped: Boundary) -> list[Asked]:
    """Return the questions for what claims saw of the shipped events."""
    spans, voids = _spans(claims), _unshipped_voids(claims, shipped)
    rules, bases = _rules(spans), dict(UsageEpoch.objects.values_list("number", "base_event_id"))
    found = []
    for span, epoch, snapshot in zip(spans, claims["epochs"], claims["snapshots"], strict=True):
        sight = _sight(snapshot, bases[epoch], bases.get(epoch + 1, LAST_ID))
        voided = [one.voids_id for one in voids if sight.sees(one.id, one.xid)]
        windows = [(span.start, span.end)] if is_visible(span.organization_id) else []
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


def _group_of(said: str | None, by: Sequence[str]) -> Group | None:
    if said is None:
        return None
    values = json.loads(said)
    return tuple(values[name] for name in by)


def _values_at(place: int, here: Mapping[tuple[int, Any], tuple[Any, ...]]) -> list[Any]:
    """Return the different values that PostgreSQL saw in all groups of a window together."""
    row = here[place, None]
    return list(row[12] or ())


def _nothing(whole: tuple[Any, ...], group: Group | None, by: Sequence[str]) -> tuple[Any, ...]:
    """Return a row for a group that PostgreSQL has nothing of, beside its window's own row."""
    said = json.dumps(dict(zip(by, group or (), strict=True)))
    zero = Decimal(0)
    different: list[Any] | None = [] if whole[5] == Aggregation.UNIQUE_COUNT else None
    counted = (0, 0, zero, None, None, None, different, zero, zero, zero)
    return (whole[0], said, *whole[2:6], *counted)


def _group_row(row: tuple[Any, ...], shipped: Totals | None) -> tuple[Any, ...]:
    """Return a row of GROUPS with what ClickHouse counted added."""
    place, said, *counted = row
    if row[5] != Aggregation.UNIQUE_COUNT:
        return (place, said, *_with(tuple(counted), shipped))
    found = shipped or Totals()
    here = {one.hex for one in row[12] or ()}  # the window's other groups saw others
    shared = replace(found, seen=[one for one in found.seen if one in here])
    return (place, said, *_both(tuple(counted), shared))


def _known(*values: Any) -> list[Any]:
    return [value for value in values if value is not None]
