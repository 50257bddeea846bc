"""The database wrapper that applies the row-level scope at every BEGIN."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from hashlib import blake2b
from typing import Any

from django.db.backends.postgresql import base
from psycopg import Cursor, OperationalError, pq
from psycopg.errors import error_from_result as psycopg_error

from apps.core import rls
from apps.core.postgres import arrays, loaders

# Acknowledged is stored, whatever the server's configuration says.
DURABLE = "SET LOCAL synchronous_commit = on; "
NOT_PREPARED = b"26000"  # SQLSTATE
OK = {pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK}


@cache
def _name_of(sql: str) -> bytes:
    return f"hot_{blake2b(sql.encode(), digest_size=8).hexdigest()}".encode()


class PreparedCursor(Cursor[tuple[Any, ...]]):
    """Has the server bind the parameters, and plan a statement once for a connection.

    Django's own cursors write them into the text, to be planned anew every time.
    """

    def execute(self, query: Any, params: Any = None, **options: Any) -> PreparedCursor:
        """Run the statement, prepared."""
        return super().execute(query, params, **{**options, "prepare": True})


class BoundCursor(Cursor[tuple[Any, ...]]):
    """Has the server bind the parameters, and plan the statement for them each time.

    A megabyte of rows that is quoted into the text is read three times more on its way.
    """

    def execute(self, query: Any, params: Any = None, **options: Any) -> BoundCursor:
        """Run the statement, not prepared."""
        return super().execute(query, params, **{**options, "prepare": False})


class DatabaseWrapper(base.DatabaseWrapper):
    """PostgreSQL with the scope of `apps.core.rls` sent in the same message as BEGIN."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Connect; what goes by the thousand is read and sent in ways of the house."""
        connection = super().get_new_connection(conn_params)
        arrays.register(connection)
        loaders.register(connection)
        return connection

    def set_autocommit(
        self, autocommit: bool, force_begin_transaction_with_broken_autocommit: bool = False
    ) -> None:
        """Leave autocommit: the outermost `atomic` begins, with its scope."""
        super().set_autocommit(autocommit, force_begin_transaction_with_broken_autocommit)
        if not autocommit:
            self._send("BEGIN; " + DURABLE + rls.current().sql())

    def prepared_cursor(self) -> Any:
        """Return a cursor for the statements of hot paths, whose texts are always the same."""
        return self._cursor_of(PreparedCursor)

    def bound_cursor(self) -> Any:
        """Return a cursor for statements with large parameters."""
        return self._cursor_of(BoundCursor)

    def _cursor_of(self, kind: type[Cursor[tuple[Any, ...]]]) -> Any:
        self.close_if_health_check_failed()
        self.ensure_connection()
        with self.wrap_database_errors:
            return self._prepare_cursor(kind(self.connection))  # type: ignore[attr-defined]

    def run_prepared(self, sql: str, parameters: Sequence[str | None]) -> list[bytes | None]:
        """Return the fields of a statement's one row, as text, with nothing in between.

        libpq alone costs a third of what a cursor does. The statement is prepared the first time on
        a connection, unless nothing may be (a pooler that forgets): then it is planned every time.
        """
        self.close_if_health_check_failed()
        self.ensure_connection()
        values = [None if value is None else value.encode() for value in parameters]
        with self.wrap_database_errors:
            result = self._answer(sql, values)
            if result.status != pq.ExecStatus.TUPLES_OK:
                raise psycopg_error(result)
        return [result.get_value(0, column) for column in range(result.nfields)]

    def _answer(self, sql: str, values: Sequence[bytes | None]) -> Any:
        connection, pgconn = self.connection, self.connection.pgconn
        # In a transaction a statement that is not there would abort it; and a pooler forgets them.
        idle = pgconn.transaction_status == pq.TransactionStatus.IDLE
        if not idle or connection.prepare_threshold is None:
            return pgconn.exec_params(sql.encode(), values)
        name = _name_of(sql)
        result = pgconn.exec_prepared(name, values)
        if result.error_field(pq.DiagnosticField.SQLSTATE) != NOT_PREPARED:
            return result
        made = pgconn.prepare(name, sql.encode())  # new here, or psycopg has dropped all there were
        return pgconn.exec_prepared(name, values) if made.status in OK else made

    def apply_scope(self) -> None:
        """Apply the scope of this context to the transaction that is open."""
        self._send(rls.current().sql())

    def in_failed_transaction(self) -> bool:
        """Tell whether the open transaction can only be rolled back."""
        if self.connection is None or self.connection.closed:
            return True
        return bool(self.connection.pgconn.transaction_status != pq.TransactionStatus.INTRANS)

    def _send(self, sql: str) -> None:
        # One round trip without psycopg's preparation: measured at a third of the cost.
        with self.wrap_database_errors:
            result = self.connection.pgconn.exec_(sql.encode())
            if result.status not in OK:
                raise OperationalError(result.error_message.decode(errors="replace"))
