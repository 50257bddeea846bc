"""Stripe's calendar: UTC, month ends kept by the day of the anchor."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime

DAY = 86_400
HOUR = 3_600
_FIXED = {"day": DAY, "week": 7 * DAY}


def add_interval(start: int, interval: str, count: int, *, anchor: int | None = None) -> int:
    """Return the instant `count` intervals after `start`.

    Months and years keep the day of `anchor` as far as the month has it: anchored on 31 January,
    28 February is followed by 31 March.
    """
    if interval in _FIXED:
        return start + _FIXED[interval] * count
    then = datetime.fromtimestamp(start, UTC)
    day = datetime.fromtimestamp(start if anchor is None else anchor, UTC).day
    months = then.year * 12 + then.month - 1 + count * (12 if interval == "year" else 1)
    year, month = divmod(months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return int(then.replace(year=year, month=month + 1, day=min(day, last)).timestamp())


def said_day(instant: int) -> str:
    """Return a day as Stripe writes it on lines: `1 Feb 2026`."""
    day = datetime.fromtimestamp(instant, UTC)
    return f"{day.day} {day:%b %Y}"
