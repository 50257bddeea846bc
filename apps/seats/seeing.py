"""Who was seen, kept in the process and written for many at once.

A thread of its own writes what has gathered every minute, and once more when the process ends. A
process that is killed loses at most that minute: a person is then seen with the next login.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from django.db import connection

from apps.seats.services.seeing import note_seen

GRAIN = timedelta(minutes=5)
"""Who was seen later than this before is not written again."""
PAUSE = 60.0  # seconds from one writing to the next
log = logging.getLogger(__name__)


class Book:
    """Who was seen since the last writing; safe to use by all threads of a process."""

    def __init__(
        self, write: Callable[[Mapping[int, datetime]], int], *, pause: float = PAUSE
    ) -> None:
        self._write, self._pause = write, pause
        self._seen: dict[int, datetime] = {}
        self._lock = threading.Lock()
        self._writer: threading.Thread | None = None

    def note(self, key: int, at: datetime, *, before: datetime | None) -> None:
        """Note that a seat was used; `before` is when it was last written that it was."""
        if before is not None and at - before < GRAIN:
            return
        with self._lock:
            self._seen[key] = at
            if self._writer is None or not self._writer.is_alive():
                # A child of a fork has no threads: whoever notes first there starts one.
                self._writer = threading.Thread(target=self._keep_writing, daemon=True)
                self._writer.start()

    def flush(self) -> int:
        """Write what has gathered; return how many. What cannot be written is kept."""
        with self._lock:
            seen, self._seen = self._seen, {}
        try:
            return self._write(seen) if seen else 0
        except Exception:
            with self._lock:
                self._seen = {**seen, **self._seen}
            raise

    def _keep_writing(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._pause):
            try:
                self.flush()
            except Exception:  # the database is away: what was seen is kept and tried again
                log.warning("seats_seen_not_written", exc_info=True)
            finally:
                connection.close()


def _last_writing() -> None:
    try:
        BOOK.flush()
    except Exception:  # nothing can be kept any more: who comes again is seen again
        log.warning("seats_seen_not_written", exc_info=True)


BOOK = Book(note_seen)
atexit.register(_last_writing)
