"""Instants as PostgreSQL writes them, read by the standard library's own parser.

Django's loader takes a text apart by a regular expression, at ten times the cost: a month's end
reads some thirty instants an invoice.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from psycopg.abc import Buffer
from psycopg.postgres import types
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.range import Range, RangeLoader


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


class InstantLoader(TimestamptzLoader):
    """A timestamptz as a datetime in UTC."""

    timezone = UTC  # Django asks, and puts its own in place of another zone's

    def load(self, data: Buffer) -> datetime:
        """Read the text; what is no datetime of Python's is refused as the driver does."""
        try:
            return _instant(bytes(data).decode())
        except ValueError:
            return super().load(data)


class InstantsLoader(RangeLoader[datetime]):
    """A tstzrange as a range of such datetimes; a missing bound is None."""

    subtype_oid = types["timestamptz"].oid

    def load(self, data: Buffer) -> Range[datetime]:
        """Read `["…","…")`; whatever looks otherwise is left to the driver."""
        text = bytes(data).decode()
        lower, comma, upper = text[1:-1].partition(",")
        if not comma:
            return super().load(data)
        try:
            return Range(_bound(lower), _bound(upper), text[0] + text[-1])
        except ValueError:  # of no datetime of Python's: the driver says so
            return super().load(data)


def _bound(text: str) -> datetime | None:
    return _instant(text.strip('"')) if text else None


def register(context: Any) -> None:
    """Have what comes through this connection read so."""
    context.adapters.register_loader("timestamptz", InstantLoader)
    context.adapters.register_loader("tstzrange", InstantsLoader)
