"""Statements of hot paths: prepared once for a connection, then only bound and run."""

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
