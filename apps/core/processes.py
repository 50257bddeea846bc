"""A pool of processes for work that one core is too slow for: month ends, proofs of long books."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

import django
from django.db import connections


def available() -> int:
    """Return how many processes can work at once here: the cores that this one may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextmanager
def pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Give work to `jobs` processes; what they are given must be known by name, as for pickle.

    Call it outside any transaction, from a process with one thread: on Linux they are forks of this
    one, ready at once, while starting Python anew would take the time of a thousand invoices. What
    waits when the context ends by an error is called off.
    """
    connections.close_all()  # a fork would share this one's connection to the database
    method = "fork" if sys.platform == "linux" else "spawn"
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin) as executor:
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def _begin() -> None:
    django.setup()  # nothing new in a fork
    connections.close_all()
