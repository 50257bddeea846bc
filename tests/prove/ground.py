"""The ground that harnesses stand on: databases to spoil, and a server to crash."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import psycopg
from django.db import connections

from apps.core import cluster, embedded
from tests import database


def sweep() -> None:
    """Drop what runs left behind that were killed themselves; only one runs at a time."""
    admin = database.urls_of_server().admin
    with psycopg.connect(admin, autocommit=True) as connection:
        found = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'test\\_%'")
        names = [name for (name,) in found.fetchall()]
    for name in names:
        if not name.startswith(f"test_{os.environ['TEST_RUN']}_"):
            embedded.drop_database(admin, name)


def here() -> str:
    """Return the name of the database that Django is pointed at."""
    return str(connections["default"].settings_dict["NAME"])


def use(name: str) -> None:
    """Point this process's Django, and the processes that it starts, at a database."""
    for alias in connections:
        connections[alias].close()
        connections[alias].settings_dict["NAME"] = name
    urls = database.urls_of_server()
    os.environ["DATABASE_URL"] = database.named(urls.app, name)
    os.environ["DATABASE_OWNER_URL"] = database.named(urls.owner, name)


@contextlib.contextmanager
def copy_of(original: str, name: str) -> Iterator[str]:
    """Use a copy of a database for as long as the context lasts, then the original again."""
    with spare(original, name):
        use(name)
        try:
            yield name
        finally:
            use(original)


@contextlib.contextmanager
def spare(original: str, name: str) -> Iterator[str]:
    """Keep a copy of a database for as long as the context lasts, for other processes to use.

    Nobody may be connected to the original while it is copied.
    """
    connections.close_all()
    admin = database.urls_of_server().admin
    embedded.drop_database(admin, name)
    embedded.create_database(admin, name, template=original)
    # A copied sequence takes its next values for logged, which they are in the original only: a
    # crash would give them out again. After a checkpoint it logs them anew.
    spoil("CHECKPOINT")
    try:
        yield name
    finally:
        embedded.drop_database(admin, name)


def superuser(name: str | None = None) -> psycopg.Connection[tuple[Any, ...]]:
    """Connect as the server's superuser, whom nothing is hidden from."""
    url = database.named(database.urls_of_server().admin, name or here())
    return psycopg.connect(url, autocommit=True)


def ask(query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Return the rows of a query, as superuser."""
    with superuser() as connection:
        return connection.execute(query.encode(), parameters or None).fetchall()


def somebody_waits() -> bool:
    """Tell whether somebody waits for a lock here."""
    waiting = "SELECT FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
    return bool(ask(waiting, here()))


def spoil(*statements: str) -> None:
    """Run statements as superuser: what a mutant takes away from the database."""
    with superuser() as connection:
        for statement in statements:
            connection.execute(statement.encode())


def crash() -> None:
    """Stop the server as a power cut would, and start it again: it recovers from its log.

    SIGQUIT is PostgreSQL's immediate shutdown. It is the harness's own server, under `.data/prove`.
    """
    connections.close_all()
    pgdata = database.DATA_DIR / "postgres"
    os.kill(int(cluster._pid_file(pgdata)[0]), signal.SIGQUIT)
    while cluster._is_running(pgdata):
        time.sleep(0.01)
    cluster._started(pgdata)
