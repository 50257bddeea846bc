"""When people were seen: noted for many at once, never on the way of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from django.db import connection

from apps.core import bulk, rls

NOTE = """
UPDATE seats_seat s SET last_seen_at = given.moment
FROM unnest(%s::bigint[], %s::timestamptz[]) AS given (id, moment)
WHERE s.id = given.id AND s.status = 'active'
  AND (s.last_seen_at IS NULL OR s.last_seen_at < given.moment)
"""


def note_seen(seen: Mapping[int, datetime]) -> int:
    """Note when people were last seen in their seats, by the seats' integer ids; return how many.

    Opens its own scope: the seats may be of many organizations. Safe to repeat; an older moment
    never replaces a later one, and a seat that was released meanwhile stays as it is.
    """
    if not seen:
        return 0
    ordered = sorted(seen.items())  # in one order for everybody: two processes cannot deadlock
    with rls.ops_scope("seats: note who was seen"), connection.cursor() as cursor:
        cursor.execute(
            NOTE,
            [bulk.array(key for key, _ in ordered), bulk.array(moment for _, moment in ordered)],
        )
        return int(cursor.rowcount)
