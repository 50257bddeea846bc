"""Where raw events are read: one interface, and PostgreSQL's side of it.

`shipped.ClickHouseStore` is the other one. Both answer with the same rows for the same question:
windows come as columns (`organizations`, `meters`, `starts`, …, see `counting.WANTS`), those of
claims with `epochs` and `snapshots`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from apps.core import bulk, statements
from apps.usage import counting
from apps.usage.errors import UsageSealed

Windows = Mapping[str, Any]
Rows = list[tuple[Any, ...]]
GONE = """SELECT max(s.until)
FROM unnest(%(organizations)s::bigint[], %(since)s::timestamptz[]) AS n (organization_id, since)
JOIN usage_seal s ON s.organization_id = n.organization_id AND s.until > n.since"""


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


class PostgreSQLStore:
    """Reads every event where it was committed; UsageSealed where retention may have taken some."""

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


def refuse_gone(windows: Windows) -> None:
    """Raise UsageSealed where an edge of a window needs events that retention may have taken.

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
    """Raise UsageSealed when events since one of these instants may be gone."""
    if not needed:
        return
    organizations, since = zip(*needed, strict=True)
    [(until,)] = rows(GONE, {"organizations": list(organizations), "since": list(since)})
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
