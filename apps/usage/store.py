"""Where raw events are read: one interface, and PostgreSQL's side of it.

`shipped.ClickHouseStore` is the other one. Both answer with the same rows for the same question:
windows come as columns (`organizations`, `meters`, `starts`, …, see `counting.WANTS`), those of
claims with `epochs` and `snapshots`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from apps.core import bulk, statements
from apps.usage import counting
from apps.usage.errors import EventStoreUnavailable, UnknownEvent, UsageSealed
from apps.usage.models import Event

Windows = Mapping[str, Any]
Rows = list[tuple[Any, ...]]
GONE = """SELECT max(s.until), (SELECT max(occurred_until) FROM usage_shipment)
FROM unnest(%(organizations)s::bigint[], %(since)s::timestamptz[]) AS n (organization_id, since)
JOIN usage_seal s ON s.organization_id = n.organization_id AND s.until > n.since"""


ALTERED = """SELECT id, organization_id, source, key, type, occurred_at FROM usage_event
WHERE (%(organization)s::bigint IS NULL OR organization_id = %(organization)s::bigint)
  AND digest <> usage_event_digest(
    organization_id, source, key, type, occurred_at, received_at, data, voids_id)
ORDER BY id"""
COUNT = """SELECT count(*) FROM usage_event e
WHERE e.organization_id = %(organization)s
  AND e.occurred_at >= %(since)s AND e.occurred_at < %(until)s"""
THINNED = """SELECT max(occurred_until), max(last_event_id) FROM usage_shipment
HAVING max(occurred_until) IS NOT NULL"""
AWAY = "Raw events of before {:%Y-%m-%dT%H:%MZ} are in ClickHouse alone; CLICKHOUSE_URL says where."

# One probe of an index for each: there are many rows and few organizations.
OWNERS = """WITH RECURSIVE found AS (
  SELECT min(organization_id) AS id FROM {table}
  UNION ALL
  SELECT (SELECT min(organization_id) FROM {table} t WHERE t.organization_id > f.id)
  FROM found f WHERE f.id IS NOT NULL
)
SELECT id FROM found WHERE id IS NOT NULL"""


class Thinned(NamedTuple):
    """How far PostgreSQL is thinned: what occurred up to `until`, or is numbered up to `last_id`,
    may be in ClickHouse alone.
    """

    until: datetime
    last_id: int


class Piece(NamedTuple):
    """A part of all buckets: the statements that make them, with their parameters."""

    making: counting.Making
    parameters: Mapping[str, Any]


class Touched(NamedTuple):
    """An hour (UTC) of an organization's events of one type, whose buckets are made anew."""

    organization_id: int
    event_type: str
    hour: datetime


class Hours(NamedTuple):
    """The hours of a piece, as columns."""

    organizations: list[int]
    types: list[str]
    hours: list[datetime]

    @classmethod
    def of(cls, touched: Iterable[Touched]) -> Hours:
        """Return these hours."""
        columns = zip(*touched, strict=True)
        return cls(*(list(column) for column in columns))


class EventStore(Protocol):
    """What answers questions that need raw events."""

    def measure(self, windows: Windows) -> Rows:
        """Return the rows of counting.MEASURE; none where no epoch is in force."""
        ...

    def recount(self, claims: Windows) -> Rows:
        """Return the rows of counting.RECOUNT; fewer where an epoch is unknown."""
        ...

    def readings(self, claim: Windows) -> Rows:
        """Return the rows of counting.READINGS for one claim."""
        ...

    def events(self, claim: Windows) -> Rows:
        """Return the rows of counting.EVENTS for a page of one claim."""
        ...

    def hours(self, claim: Windows) -> Rows:
        """Return the rows of counting.HOURS_OF_EVENTS for one claim."""
        ...

    def time_of(self, organization_id: int, event_id: int) -> datetime | None:
        """Return when an organization's event occurred; None when there is no such event."""
        ...

    def groups(self, windows: Windows, by: Sequence[str]) -> Rows:
        """Return the rows of counting.GROUPS; none where no epoch is in force.

        `windows` say in `chosen` and `most` which groups, as JSON texts, and how many.
        """
        ...

    def pieces(self, organization_id: int | None, meter_id: int | None) -> Iterator[Piece]:
        """Return what makes all buckets of one organization or meter (None: of all)."""
        ...

    def hourly(self, touched: Sequence[Touched]) -> Iterator[Piece]:
        """Return what makes the buckets of these hours that do not add up."""
        ...

    def differences(self, organization_id: int | None, meter_id: int | None) -> tuple[Rows, Rows]:
        """Return the buckets, and the hours of different values, that events do not make so."""
        ...

    def altered(self, organization_id: int | None) -> Rows:
        """Return (id, organization, source, key, type, time) of events whose digest is not theirs,
        by id; None: of all organizations.
        """
        ...

    def count(self, organization_id: int, since: datetime, until: datetime) -> int:
        """Return how many events occurred from `since` to before `until`, voided ones too."""
        ...

    def has_type(self, event_type: str) -> bool:
        """Tell whether there is an event of this type."""
        ...

    def by_number(self, organization_id: int, numbers: Sequence[int]) -> list[Event]:
        """Return those of these events that are no longer in PostgreSQL, as rows of it."""
        ...

    def data_of(self, organization_id: int, event_id: int) -> str:
        """Return an event's data as it was stored. Raises UnknownEvent."""
        ...

    def latest(
        self, organization_id: int, *, before_id: int | None, event_type: str, limit: int
    ) -> list[tuple[Event, bool]]:
        """Return events, the last received first, with whether each is voided."""
        ...


class PostgreSQLStore:
    """Reads every event where it was committed.

    Raises UsageSealed where retention may have taken some, and EventStoreUnavailable where they
    were thinned out: what is in ClickHouse alone only that can answer.
    """

    def measure(self, windows: Windows) -> Rows:
        """Measure in one statement."""
        found = rows(counting.MEASURE, windows)
        refuse_gone(windows)
        return found

    def recount(self, claims: Windows) -> Rows:
        """Recount in one statement."""
        return _of_claims(counting.RECOUNT, claims)

    def readings(self, claim: Windows) -> Rows:
        """Read what one claim counted."""
        return _of_claims(counting.READINGS, claim)

    def events(self, claim: Windows) -> Rows:
        """Read a page of what stands under one claim."""
        return _of_claims(counting.EVENTS, claim)

    def hours(self, claim: Windows) -> Rows:
        """Count by hours."""
        return _of_claims(counting.HOURS_OF_EVENTS, claim)

    def time_of(self, organization_id: int, event_id: int) -> datetime | None:
        """Look the event up."""
        found = rows(
            "SELECT occurred_at FROM usage_event"
            " WHERE organization_id = %(organization)s AND id = %(event)s",
            {"organization": organization_id, "event": event_id},
        )
        return found[0][0] if found else None

    def groups(self, windows: Windows, by: Sequence[str]) -> Rows:
        """Measure by groups in one statement."""
        found = rows(counting.GROUPS, {**windows, "dimensions": list(by)})
        refuse_gone(windows)
        return found

    def pieces(self, organization_id: int | None, meter_id: int | None) -> Iterator[Piece]:
        """Make all of them in one statement."""
        refuse_thinned()
        yield Piece(counting.MAKING, {"organization": organization_id, "meter": meter_id})

    def hourly(self, touched: Sequence[Touched]) -> Iterator[Piece]:
        """Make all of them in one statement."""
        refuse_thinned(min(one.hour for one in touched))
        yield Piece(counting.MAKING, Hours.of(touched)._asdict())

    def differences(self, organization_id: int | None, meter_id: int | None) -> tuple[Rows, Rows]:
        """Compare in two statements."""
        [piece] = self.pieces(organization_id, meter_id)
        return (
            rows(piece.making.differences, piece.parameters),
            rows(piece.making.value_differences, piece.parameters),
        )

    def altered(self, organization_id: int | None) -> Rows:
        """Make every digest again."""
        refuse_thinned()
        return rows(ALTERED, {"organization": organization_id})

    def count(self, organization_id: int, since: datetime, until: datetime) -> int:
        """Count them."""
        refuse_thinned(since)
        asked = {"organization": organization_id, "since": since, "until": until}
        return int(rows(COUNT, asked)[0][0])

    def has_type(self, event_type: str) -> bool:
        """Look one up."""
        return Event.objects.filter(type=event_type).exists() or thinned() is not None

    def by_number(self, organization_id: int, numbers: Sequence[int]) -> list[Event]:
        """Return none: they went by retention."""
        if numbers:
            refuse_thinned()
        return []

    def data_of(self, organization_id: int, event_id: int) -> str:
        """Look it up."""
        found = data_here(organization_id, event_id)
        if found is None:
            refuse_thinned()
            raise UnknownEvent("There is no such event.")
        return found

    def latest(
        self, organization_id: int, *, before_id: int | None, event_type: str, limit: int
    ) -> list[tuple[Event, bool]]:
        """Read the end of the table."""
        found = latest_here(
            organization_id, before_id=before_id, event_type=event_type, limit=limit
        )
        if not holds_the_latest(found, limit):
            refuse_thinned()
        return found


def data_here(organization_id: int, event_id: int) -> str | None:
    """Return the data of an event that PostgreSQL has, as it prints it."""
    found = rows(
        "SELECT data::text FROM usage_event"
        " WHERE organization_id = %(organization)s AND id = %(event)s",
        {"organization": organization_id, "event": event_id},
    )
    return str(found[0][0]) if found else None


def latest_here(
    organization_id: int, *, before_id: int | None, event_type: str, limit: int
) -> list[tuple[Event, bool]]:
    """Return the last events that PostgreSQL has, with whether each is voided."""
    chosen = Event.objects.filter(organization_id=organization_id).order_by("-id")
    if before_id is not None:
        chosen = chosen.filter(id__lt=before_id)
    if event_type:
        chosen = chosen.filter(type=event_type)
    found = list(chosen.defer("digest", "xid")[:limit])
    later = Event.objects.filter(voids__in=[row.pk for row in found])
    voided = set(later.values_list("voids", flat=True))
    return [(row, row.pk in voided) for row in found]


def holds_the_latest(found: Sequence[tuple[Event, bool]], limit: int) -> bool:
    """Tell whether none of the last events can be missing from what PostgreSQL has of them."""
    thin = thinned()
    return thin is None or (len(found) == limit and found[-1][0].pk > thin.last_id)


def thinned() -> Thinned | None:
    """Return how far PostgreSQL is thinned; None where it has all events."""
    found = rows(THINNED, {})
    return Thinned(*found[0]) if found else None


def owners_in(*tables: str) -> list[int]:
    """Return the organizations that have rows in one of these tables of ours."""
    found = [rows(OWNERS.format(table=table), {}) for table in tables]
    return sorted({owner for part in found for (owner,) in part})


def refuse_thinned(since: datetime | None = None) -> None:
    """Raise EventStoreUnavailable when events since then (None: any) are in ClickHouse alone."""
    found = thinned()
    if found is not None and (since is None or since <= found.until):
        raise EventStoreUnavailable(AWAY.format(found.until))


def refuse_gone(windows: Windows) -> None:
    """Raise UsageSealed where an edge of a window needs events that retention may have taken, and
    EventStoreUnavailable where they are in ClickHouse alone.

    To be asked after the windows were measured: a seal stands before the first event goes, so no
    window can have been measured without them that passes here.
    """
    columns = ("organizations", "starts", "ends", "whole_from", "whole_to")
    needed = []
    for organization_id, start, end, whole_from, whole_to in zip(
        *(windows[name] for name in columns), strict=True
    ):
        if start < whole_from or whole_to < end:
            needed.append((organization_id, start if start < whole_from else whole_to))
    _refuse(needed)


def _of_claims(sql: str, claims: Windows) -> Rows:
    found = rows(sql, claims)
    _refuse(list(zip(claims["organizations"], claims["starts"], strict=True)))
    return found


def _refuse(needed: list[tuple[int, datetime]]) -> None:
    """Raise when events since one of these instants may be gone."""
    if not needed:
        return
    organizations, since = zip(*needed, strict=True)
    [(until, thin)] = rows(GONE, {"organizations": list(organizations), "since": list(since)})
    if thin is not None and min(since) <= thin:
        raise EventStoreUnavailable(AWAY.format(thin))
    if until is not None:
        raise UsageSealed(
            f"The events before {until:%Y-%m-%dT%H:%MZ} are gone by retention; whole hours (UTC)"
            " of that time are known, and what was billed of it, from its seal."
        )


def rows(sql: str, parameters: Mapping[str, Any]) -> Rows:
    """Return what a statement finds in PostgreSQL; lists are arrays whose type it names."""
    columns = {
        name: bulk.array(value) if isinstance(value, list) else value
        for name, value in parameters.items()
    }
    return statements.bound(sql, columns)
