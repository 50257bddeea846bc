"""Usage as rows of a file, and files that spreadsheets open without running anything."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

from apps.engine.decimals import plain
from apps.engine.period import iso
from apps.usage.breakdown import Breakdown, Group
from apps.usage.selectors import Point

# What makes a cell a formula, also behind blanks (OWASP, "CSV Injection").
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
Row = Sequence[object]


def columns_of(by: Sequence[str]) -> list[str]:
    """Return the names of the columns of usage grouped by these dimensions."""
    return ["start", "end", "meter", *map(harmless, by), "quantity", "events"]


def rows_of(found: Breakdown) -> Iterator[Row]:
    """Return a row for every cell of every group; without a series for the whole window.

    A missing value is an empty cell. What was asked for by groups has no row for the total.
    """
    whole = Group((), found.total.quantity, found.total.event_count, found.points)
    for group in found.groups if found.by else (whole,):
        yield from _rows(found, group)


def _rows(found: Breakdown, group: Group) -> Iterator[Row]:
    period = found.period
    points = group.points or (Point(period.start, period.end, group.quantity, group.event_count),)
    values = ["" if value is None else harmless(value) for value in group.values]
    for point in points:
        yield [
            iso(point.start),
            iso(point.end),
            found.meter.key,
            *values,
            plain(point.quantity),
            point.event_count,
        ]


def harmless(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: with an apostrophe in front.

    Only for what others may have written; numbers of our own keep their minus.
    """
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text


def csv_text(columns: Row, rows: Iterable[Row]) -> str:
    """Return rows under their columns as CSV (RFC 4180)."""
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(columns)
    writer.writerows(rows)
    return written.getvalue()
