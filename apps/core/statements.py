"""Statements of our own: prepared once a connection, with large parameters, or holding rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Model

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def rows(sql: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Return the rows of a statement that is run again and again, in the open transaction.

    Its text must always be the same: every other one is another plan that the server keeps.
    """
    wrapper: Any = connection
    with wrapper.prepared_cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def bound(sql: str, parameters: Mapping[str, Any] | Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return the rows of a statement whose parameters are long, in the open transaction.

    They travel beside its text, which may differ each time, and it is planned for them.
    """
    wrapper: Any = connection
    with wrapper.bound_cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall()) if cursor.description else []


def hold(model: type[Model], key: int) -> None:
    """Keep a row from being locked until the transaction ends; many may hold it at once."""
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT FROM {table} WHERE id = %s FOR KEY SHARE", [key])


def one_row(sql: str, parameters: Sequence[str | None]) -> list[str | None]:
    """Return the fields of a statement's one row, as PostgreSQL writes them, in one round trip.

    For what is asked thousands of times a second: no scope is opened and no type is adapted, so the
    statement calls a function that may see what it needs, and casts its parameters (`$1::bigint`)
    itself.
    """
    wrapper: Any = connection
    fields = wrapper.run_prepared(sql, parameters)
    return [None if field is None else field.decode() for field in fields]


def instant(microseconds: str | None) -> datetime | None:
    """Return the instant that a field of `one_row` names, in microseconds since 1970."""
    return None if microseconds is None else EPOCH + int(microseconds) * MICROSECOND
