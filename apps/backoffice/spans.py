"""Spans of time as people type them: 90d, 2 weeks, 1 month, 1y."""

from __future__ import annotations

import argparse
import re
from datetime import datetime

from apps.engine.calendar import Interval, Unit

SPAN = re.compile(r"(?P<count>[1-9][0-9]{0,3})\s*(?P<unit>[a-z]+)")
UNITS = {
    name: unit
    for unit, names in {
        Unit.DAY: ("d", "day", "days"),
        Unit.WEEK: ("w", "week", "weeks"),
        Unit.MONTH: ("m", "month", "months"),
        Unit.QUARTER: ("q", "quarter", "quarters"),
        Unit.YEAR: ("y", "year", "years"),
    }.items()
    for name in names
}


def span(text: str) -> Interval:
    """Read a span for argparse."""
    match = SPAN.fullmatch(text.strip().lower())
    if match is None or match["unit"] not in UNITS:
        raise argparse.ArgumentTypeError(f"'{text}' is no span of time; write 90d or 1 month")
    return Interval(UNITS[match["unit"]], int(match["count"]))


def later(moment: datetime, by: Interval) -> datetime:
    """Return the instant that much later, by the calendar of UTC."""
    return by.after(moment, 1)


def earlier(moment: datetime, by: Interval) -> datetime:
    """Return the instant that much earlier, by the calendar of UTC."""
    return by.after(moment, -1)
