"""Waiting for others, and not for long: they queue behind whoever waits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import OperationalError
from psycopg.errors import LockNotAvailable

from apps.usage.store import rows

PATIENCE = "5s"
WRITERS = "SELECT usage_hold_events()"
# Voids hold it together, whoever takes what they may void alone.
THIN = "hashtextextended('usage.thin', 0)"


class TooBusyError(Exception):
    """Others took longer than is waited for; the transaction is of no use any more."""


def wait(sql: str, parameters: Mapping[str, Any] | None = None) -> None:
    """Run a statement that takes a lock until the commit. Raises TooBusyError."""
    rows("SELECT set_config('lock_timeout', %(patience)s, true)", {"patience": PATIENCE})
    try:
        rows(sql, parameters or {})
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise
        raise TooBusyError from error
