"""Scripted faults: what a network and a busy Stripe do to a caller, on command."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "error_before",  # 500, nothing done, nothing remembered
    "error_after",  # done and remembered, but a 502 comes back; the same key then gets the answer
    "sticky_error",  # nothing done, and the key answers 500 for ever
    "sticky_after",  # done, and the key answers 500 for ever: look it up by metadata
    "reset_before",  # the connection breaks before anything is done
    "reset_after",  # the connection breaks after it is done: a timeout after the commit
    "busy",  # 429 rate_limit
    "locked",  # 429 lock_timeout: another request holds the object
    "outage",  # 503, nothing done
]
BEFORE = frozenset({"error_before", "reset_before", "busy", "locked", "outage"})


@dataclass(slots=True)
class Fault:
    """One fault: which requests it hits, and how often. `times=None` until it is cleared.

    `operation` is a regular expression on `POST /v1/invoices/in_…/pay`; `skip` lets so many of
    these requests pass first.
    """

    kind: Kind
    operation: str = ".*"
    times: int | None = 1
    skip: int = 0
    hits: int = field(default=0, init=False)

    def strikes(self, request: str) -> bool:
        """Tell whether this request is hit, and count it."""
        if self.times is not None and self.hits >= self.times:
            return False
        if not re.fullmatch(self.operation, request):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.hits += 1
        return True


class Script:
    """The faults that are still to come, in order; each request is hit by one at most."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        """Add a fault."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Forget all faults: the outage is over."""
        with self._lock:
            self._faults.clear()

    def strike(self, method: str, path: str) -> Kind | None:
        """Return the fault that hits this request."""
        with self._lock:
            struck = (each.kind for each in self._faults if each.strikes(f"{method} {path}"))
            return next(struck, None)
