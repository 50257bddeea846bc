"""A ClickHouse of the test's own: chdb, its embedded engine, with a database for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count

import pytest
from django.conf import settings
from django.db import connection

from apps.core import rls
from apps.usage import clickhouse, services
from apps.usage.models import LATEST
from apps.usage.services import Shipped
from tests.conftest import AT

_numbers = count(1)
_modes: set[str] = set()


@contextmanager
def store() -> Iterator[None]:
    """Keep raw events in ClickHouse for as long as the context lasts."""
    if os.environ.get("REQUIRE_SERVICES") != "1":
        pytest.importorskip("chdb")
    import clickhouse_connect  # noqa: PLC0415 - an extra; chdb takes a second to start

    name = f"test_{os.getpid()}_{next(_numbers)}"
    server = clickhouse_connect.get_client(interface="chdb")
    server.command(f"CREATE DATABASE {name}")
    settings.CLICKHOUSE_URL = f"chdb://memory/{name}"
    try:
        yield
    finally:
        settings.CLICKHOUSE_URL = ""
        _modes.clear()
        server.command(f"DROP DATABASE {name}")
        server.close()


def ship() -> int:
    """Ship what is rolled up; return how many events."""
    events = 0
    while True:
        done = ship_once()
        events += done.events
        if done.complete or done.skipped:
            return events


def ship_once() -> Shipped:
    """Ship one block."""
    with rls.ops_scope("test"):
        return services.ship_events(AT)


def thin() -> int:
    """Let everything go from PostgreSQL that is shipped and may go; return how many rows.

    Nothing goes while the test has a transaction open that stores events.
    """
    events = 0
    while True:
        done = services.thin_block(received_before=LATEST, at=AT + timedelta(days=1))
        events += done.events
        if done.block is None or done.busy:
            return events


def follow(*, eagerly: bool = False, thinning: bool = False) -> None:
    """Ship after every roll-up until the store is closed; eagerly, after everything taken, too.

    And then let the rows go, where the store is to be all that has them.
    """
    _modes.add("follow")
    _modes.update({"eager"} if eagerly else {}, {"thin"} if thinning else {})


def after_roll_up() -> None:
    """Do what was asked for after a roll-up."""
    if follows():
        ship()
        if "thin" in _modes:
            thin()


def follows(*, eagerly: bool = False) -> bool:
    """Tell whether to ship now: asked for, and no transaction is open."""
    return ("eager" if eagerly else "follow") in _modes and not connection.in_atomic_block


def age(transactions: int) -> None:
    """Make everything shipped bear numbers of a cluster that has seen so many transactions more."""
    if not settings.CLICKHOUSE_URL:
        return
    clickhouse.prepare()
    for table in ("usage_event", "usage_void"):
        clickhouse.command(
            f"ALTER TABLE {table} UPDATE xid = xid + {{more:UInt64}} WHERE true"
            " SETTINGS mutations_sync = 2",
            {"more": transactions},
        )


def settle() -> None:
    """Roll up and ship what is committed."""
    with rls.ops_scope("test"):
        services.roll_up(AT)
    after_roll_up()
