"""Python's collector of cycles, held back where it costs more than it finds.

It walks everything that is alive whenever so many objects more were made than freed. A chunk of
hundreds of invoices makes hundreds of thousands that live until its commit: it was looked through
tens of times, at two fifths of the whole run, and nothing was found.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_back() -> Iterator[None]:
    """Let no cycle be collected inside; what was left over is collected soon after.

    For work of bounded size: what it leaves in cycles stays in memory until it ends. The collector
    is the process's own, so other threads wait for it too.
    """
    if not gc.isenabled():  # somebody else holds it back, and lets it go
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
