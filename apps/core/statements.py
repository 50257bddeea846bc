"""Statements of hot paths: prepared once for a connection, or with large parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection


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
