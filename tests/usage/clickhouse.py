"""A ClickHouse of the test's own: chdb, its embedded engine, with a database for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest
from django.conf import settings
from django.db import connection

from apps.core import rls
from apps.usage import services
from apps.usage.services import Shipped
from tests.conftest import AT

_numbers = count(1)
_eager: list[bool] = []


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
        _eager.clear()
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


def can_ship() -> bool:
    """Tell whether shipping may commit: ClickHouse is on and no transaction is open."""
    return bool(settings.CLICKHOUSE_URL) and not connection.in_atomic_block


def be_eager() -> None:
    """Have events rolled up and shipped as soon as they are taken, until the store is closed."""
    _eager.append(True)


def is_eager() -> bool:
    """Tell whether what was taken is to be rolled up and shipped now."""
    return bool(_eager) and can_ship()


def settle() -> None:
    """Roll up and ship what is committed."""
    with rls.ops_scope("test"):
        services.roll_up(AT)
    ship()
