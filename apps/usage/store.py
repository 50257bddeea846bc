"""Where raw events are read: one interface, and PostgreSQL's side of it.

`shipped.ClickHouseStore` is the other one. Both answer with the same rows for the same question:
windows come as columns (`organizations`, `meters`, `starts`, …, see `counting.WANTS`), those of
claims with `epochs` and `snapshots`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from django.db import connection

from apps.core import bulk
from apps.usage import counting

Windows = Mapping[str, Any]
Rows = list[tuple[Any, ...]]


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
    """Reads every event where it was committed."""

    def measure(self, windows: Windows) -> Rows:
        """Measure in one statement."""
        return rows(counting.MEASURE, windows)

    def recount(self, claims: Windows) -> Rows:
        """Recount in one statement."""
        return rows(counting.RECOUNT, claims)

    def readings(self, claim: Windows) -> Rows:
        """Read what one claim counted."""
        return rows(counting.READINGS, claim)

    def events(self, claim: Windows) -> Rows:
        """Read a page of what stands under one claim."""
        return rows(counting.EVENTS, claim)

    def hours(self, claim: Windows) -> Rows:
        """Count by hours."""
        return rows(counting.HOURS_OF_EVENTS, claim)

    def time_of(self, organization_id: int, event_id: int) -> datetime | None:
        """Look the event up."""
        found = rows(
            "SELECT occurred_at FROM usage_event"
            " WHERE organization_id = %(organization)s AND id = %(event)s",
            {"organization": organization_id, "event": event_id},
        )
        return found[0][0] if found else None


def rows(sql: str, parameters: Mapping[str, Any]) -> Rows:
    """Return what a statement finds in PostgreSQL; lists are arrays whose type it names."""
    columns = {
        name: bulk.array(value) if isinstance(value, list) else value
        for name, value in parameters.items()
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, columns)
        return list(cursor.fetchall())
