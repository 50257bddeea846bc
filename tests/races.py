"""Several at once: threads that start together, each with a database connection of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from django.db import connections

T = TypeVar("T")


def at_once(count: int, act: Callable[[], T]) -> list[T]:
    """Call `act` from that many threads at the same moment; return their answers.

    Needs a database where transactions commit (`committed_db`).
    """
    barrier = Barrier(count)

    def once(_: int) -> T:
        barrier.wait()
        try:
            return act()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(once, range(count)))
