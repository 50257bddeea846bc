"""What a request left behind in the open transaction, whoever may see it.

PostgreSQL counts for every table how many rows the transaction wrote, those that were rolled back
too. Where nothing was written that is proof enough; where something was, the tables are compared
with what they are without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from django.db import connection, transaction

from apps.core import rls

WRITTEN = """SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables
WHERE schemaname = 'public' AND n_tup_ins + n_tup_upd + n_tup_del > 0"""
CONTENT = 'SELECT count(*), md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM "{}" t'


class Traces:
    """What was written since somebody looked last."""

    def __init__(self) -> None:
        self._counts: Mapping[str, int] = _counts()

    @contextmanager
    def undone(self) -> Iterator[list[str]]:
        """Take back whatever is written in the context, and name the tables that it changed.

        The list is filled when the context ends; it stays empty for what was rolled back before.
        """
        changed: list[str] = []
        mark = transaction.savepoint()
        try:
            yield changed
        finally:
            if written := self._written():
                after = _content(written)
                transaction.savepoint_rollback(mark)
                before = _content(written)
                changed += [table for table in written if before[table] != after[table]]
            else:
                transaction.savepoint_rollback(mark)

    def _written(self) -> list[str]:
        before, self._counts = self._counts, _counts()
        return sorted(table for table, rows in self._counts.items() if before.get(table) != rows)


def _counts() -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(WRITTEN)
        return dict(cursor.fetchall())


def _content(tables: list[str]) -> dict[str, object]:
    """Return what is in the tables, as the staff's scope sees it: all of it."""
    found = {}
    with rls.ops_scope("prove: what is there"), connection.cursor() as cursor:
        for table in tables:
            cursor.execute(CONTENT.format(table))
            found[table] = cursor.fetchone()
    return found
