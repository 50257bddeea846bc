"""The sandbox's memory: one sqlite file of its own, so that a foreign system stays foreign.

An object is a row with its JSON; fields whose names begin with an underscore are ours and never
shown. One request is one transaction. The connection is shared under a lock: Stripe's stand-in
serves one request at a time.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Body = dict[str, Any]

_TABLES = """
CREATE TABLE IF NOT EXISTS objects (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    due INTEGER,
    clock TEXT,
    deleted INTEGER NOT NULL DEFAULT 0,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS objects_by_kind ON objects (kind, seq);
CREATE INDEX IF NOT EXISTS objects_due ON objects (due, seq) WHERE due IS NOT NULL;
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    request_id TEXT NOT NULL,
    at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS deliveries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    event TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    due REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'waiting',
    answer TEXT
);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (state, due);
CREATE INDEX IF NOT EXISTS deliveries_by_event ON deliveries (event);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
# What objects are looked up by, beside their kind.
_LOOKUPS = (
    "customer",
    "invoice",
    "subscription",
    "payment_intent",
    "charge",
    "product",
    "_invoice",
    "_subscription",
    "type",
)


class Store:
    """Objects, saved answers, deliveries and notes in one file, or in memory (`:memory:`)."""

    def __init__(self, path: Path | str = ":memory:") -> None:
        self.lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_TABLES)
        for name in _LOOKUPS:
            self._connection.execute(
                f"CREATE INDEX IF NOT EXISTS objects_by_{name} ON objects "
                f"(kind, json_extract(body, '$.{name}'), seq)"
            )

    def close(self) -> None:
        """Close the file."""
        with self.lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the store; commit at the end, roll back on any exception."""
        with self.lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what the block wrote when it raises; the transaction goes on."""
        self._connection.execute("SAVEPOINT step")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK TO step")
            self._connection.execute("RELEASE step")
            raise
        self._connection.execute("RELEASE step")

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Undo, at the end of the block, everything that was written in it."""
        self._connection.execute("SAVEPOINT rehearsal")
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK TO rehearsal")
            self._connection.execute("RELEASE rehearsal")

    # --- objects ---------------------------------------------------------------------------------

    def read(self, identity: str) -> Body | None:
        """Return an object, or its tombstone, by id."""
        row = self._one("SELECT body FROM objects WHERE id = ?", identity)
        return json.loads(row["body"]) if row else None

    def write(self, body: Body) -> None:
        """Store an object under its id; a new one is the youngest."""
        self._connection.execute(
            "INSERT INTO objects (id, kind, due, clock, deleted, body) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET due = excluded.due, clock = excluded.clock,"
            " deleted = excluded.deleted, body = excluded.body",
            (
                body["id"],
                body["object"],
                body.get("_due"),
                body.get("_clock"),
                bool(body.get("deleted")),
                json.dumps(body, separators=(",", ":")),
            ),
        )

    def forget(self, identity: str) -> None:
        """Remove an object without a trace."""
        self._connection.execute("DELETE FROM objects WHERE id = ?", (identity,))

    def select(
        self,
        kind: str,
        where: Mapping[str, Any],
        *,
        after: str | None = None,
        before: str | None = None,
        limit: int = -1,
        oldest_first: bool = False,
    ) -> list[str]:
        """Return the ids of objects of a kind whose fields have these values, youngest first.

        A field may be a path (`parent.subscription_details.subscription`); a value may be a mapping
        of `gt`, `gte`, `lt`, `lte`. `after` and `before` are ids in the order of the answer;
        `before` gives those nearest to it.
        """
        conditions, values = _conditions(kind, where)
        for other, sign in ((after, "<"), (before, ">")):
            if other is not None:
                place = "(SELECT seq FROM objects WHERE id = ?)"
                conditions.append(f"seq {sign} {place}")
                values.append(other)
        order = "ASC" if oldest_first or before is not None else "DESC"
        # Only our own names become part of the statement; values are bound.
        statement = f"SELECT id FROM objects WHERE {' AND '.join(conditions)}"  # noqa: S608
        rows = self._all(f"{statement} ORDER BY seq {order} LIMIT ?", *values, limit)
        found = [str(row["id"]) for row in rows]
        return found[::-1] if before is not None else found

    def earliest_due(self, clock: str | None, until: int) -> str | None:
        """Return the object that is due first on this clock, at `until` or before."""
        row = self._one(
            "SELECT id FROM objects WHERE due <= ? AND clock IS ? ORDER BY due, seq LIMIT 1",
            until,
            clock,
        )
        return str(row["id"]) if row else None

    def upcoming(self, limit: int = 20) -> list[str]:
        """Return the objects that are due next on the global clock, the first first."""
        rows = self._all(
            "SELECT id FROM objects WHERE due IS NOT NULL AND clock IS NULL AND NOT deleted"
            " ORDER BY due, seq LIMIT ?",
            limit,
        )
        return [str(row["id"]) for row in rows]

    # --- saved answers ---------------------------------------------------------------------------

    def answer(self, key: str) -> sqlite3.Row | None:
        """Return what was answered to the first request with this key."""
        return self._one("SELECT * FROM answers WHERE key = ?", key)

    def save_answer(self, key: str, fingerprint: str, answer: tuple[int, str, str, int]) -> None:
        """Keep (status, body, request id, instant) for the next request with this key."""
        self._connection.execute(
            "INSERT OR REPLACE INTO answers (key, fingerprint, status, body, request_id, at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (key, fingerprint, *answer),
        )

    # --- deliveries ------------------------------------------------------------------------------

    def add_delivery(self, event: str, endpoint: str, due: float) -> None:
        """Plan to tell an endpoint of an event at an instant of real time."""
        self._connection.execute(
            "INSERT INTO deliveries (event, endpoint, due) VALUES (?, ?, ?)", (event, endpoint, due)
        )

    def take_deliveries(
        self, until: float, *, again_at: float, limit: int = 100
    ) -> list[sqlite3.Row]:
        """Return the deliveries that wait and are due, the earliest first.

        They are the caller's until `again_at`; then somebody else may take them, because the
        caller has died.
        """
        with self.transaction():
            found = self._all(
                "SELECT * FROM deliveries WHERE state = 'waiting' AND due <= ?"
                " ORDER BY due, number LIMIT ?",
                until,
                limit,
            )
            taken = [(again_at, row["number"]) for row in found]
            self._connection.executemany("UPDATE deliveries SET due = ? WHERE number = ?", taken)
        return found

    def settle_delivery(
        self, number: int, *, state: str, answer: str, due: float, attempts: int
    ) -> None:
        """Record how a delivery went."""
        self._connection.execute(
            "UPDATE deliveries SET state = ?, answer = ?, due = ?, attempts = ? WHERE number = ?",
            (state, answer, due, attempts, number),
        )

    def deliveries_of(self, event: str) -> list[sqlite3.Row]:
        """Return all deliveries of an event."""
        return self._all("SELECT * FROM deliveries WHERE event = ? ORDER BY number", event)

    def recent_deliveries(self, limit: int = 50) -> list[sqlite3.Row]:
        """Return the youngest deliveries."""
        return self._all("SELECT * FROM deliveries ORDER BY number DESC LIMIT ?", limit)

    def waiting_deliveries(self, event: str | None = None) -> int:
        """Return how many deliveries wait, of one event or of all."""
        row = self._one(
            "SELECT count(*) AS found FROM deliveries"
            " WHERE state = 'waiting' AND (event = ? OR ? IS NULL)",
            event,
            event,
        )
        return int(row["found"]) if row else 0

    # --- notes -----------------------------------------------------------------------------------

    def note(self, name: str, default: Any = None) -> Any:
        """Return a setting of the sandbox."""
        row = self._one("SELECT value FROM notes WHERE name = ?", name)
        return json.loads(row["value"]) if row else default

    def set_note(self, name: str, value: Any) -> None:
        """Keep a setting of the sandbox."""
        self._connection.execute(
            "INSERT OR REPLACE INTO notes (name, value) VALUES (?, ?)", (name, json.dumps(value))
        )

    def _one(self, statement: str, *values: Any) -> sqlite3.Row | None:
        with self.lock:
            row: sqlite3.Row | None = self._connection.execute(statement, values).fetchone()
            return row

    def _all(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        with self.lock:
            return self._connection.execute(statement, values).fetchall()


_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def _conditions(kind: str, where: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
    conditions, values = ["kind = ?", "NOT deleted"], [kind]
    for name, wanted in where.items():
        field = f"json_extract(body, '$.{name}')"
        if isinstance(wanted, Mapping):
            for sign, bound in wanted.items():
                conditions.append(f"{field} {_SIGNS[sign]} ?")
                values.append(bound)
        else:
            conditions.append(f"{field} IS ?" if wanted is None else f"{field} = ?")
            values.append(wanted)
    return conditions, values
