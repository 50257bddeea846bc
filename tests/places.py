"""Directories for servers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def place() -> Iterator[Path]:
    """Yield a directory that is gone afterwards.

    Not pytest's own: every pytest that root starts closes those of all the others to the account
    that runs PostgreSQL.
    """
    with tempfile.TemporaryDirectory(prefix="countinghouse-") as path:
        yield Path(path)
