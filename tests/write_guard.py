"""A room writes its own rows only: checked on every statement of every test."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from django.db import connection

WRITE = re.compile(r'\b(?:INSERT INTO|UPDATE|DELETE FROM)\s+"?([a-z]+)_', re.IGNORECASE)
# The kernel's `bulk.insert` and `statements.rows` write for whoever calls them, as Django does.
ROOM = re.compile(r"/apps/(?!core/(?:bulk|statements)\.py)([a-z]+)/")
# Django's own rows, which its own code writes on behalf of whoever signs in.
FRAMEWORK = {"django", "auth", "djstripe", "pg"}
# allauth's rows are written by the room that people belong to.
KEPT_BY = dict.fromkeys(["account", "mfa", "socialaccount", "usersessions"], "tenants")


class TrespassError(AssertionError):
    """A room wrote another room's rows."""


@contextlib.contextmanager
def rooms_write_only_their_own() -> Iterator[None]:
    """Raise TrespassError for a write whose nearest room on the stack is not the table's."""
    with connection.execute_wrapper(_guard):
        yield


def _guard(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
    for owner in {name.lower() for name in WRITE.findall(str(sql))} - FRAMEWORK:
        room = _nearest_room(sys._getframe())
        if room not in {None, KEPT_BY.get(owner, owner)}:
            raise TrespassError(f"{room} wrote {owner}'s rows: {str(sql)[:120]}")
    return execute(sql, params, many, context)


def _nearest_room(frame: FrameType | None) -> str | None:
    while frame is not None:
        if frame.f_code.co_name == "update_last_login":  # Django notes who signed in
            return None
        if match := ROOM.search(frame.f_code.co_filename):
            return match.group(1)
        frame = frame.f_back
    return None
