"""Usage tracking: events go into a queue at once and to the platform in the background.

Three promises. The application is not slowed down: `track` writes one line to the queue. Nothing
counts twice: an event keeps its id however often it is sent. Nothing is forgotten silently: what
the platform refuses and what the queue drops is counted, logged and, if refused, reported.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import threading
import time as clock
import uuid
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from countinghouse import events
from countinghouse.delivery import Rejected, Settled, deliver
from countinghouse.errors import ClientClosed, QueueFull, UnexpectedAnswer
from countinghouse.queues import Memory, Queue, Taken
from countinghouse.transport import Transport

TIMEOUT = 10.0  # seconds, of flush and close
TIMEOUT_AT_EXIT = 5.0
DROPS_PER_LINE = 10_000  # of the log: an outage would fill it otherwise
MOST_DOUBLINGS = 20

log = logging.getLogger("countinghouse")


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageOptions:
    """How usage is collected and sent. Times are in seconds, sizes in bytes.

    `source` names the application: an event is known by source and id, so all processes that may
    report the same id share it. `when_full` says what `track` does when `max_waiting` events wait:
    forget the oldest, wait, or raise QueueFull. `spool` is a directory in which events outlive
    their process. `on_rejected` is called, in the background, with every event that was refused.
    """

    source: str = "countinghouse-python"
    interval: float = 1.0  # how long an event waits for others
    batch_size: int = 1_000
    batch_bytes: int = 1_000_000
    max_waiting: int = 100_000
    when_full: Literal["drop_oldest", "block", "raise"] = "drop_oldest"
    spool: str | os.PathLike[str] | None = None
    on_rejected: Callable[[Rejected], object] | None = None
    first_delay: float = 0.5  # before the first retry; doubled with every other one
    longest_delay: float = 60.0

    def __post_init__(self) -> None:
        if self.when_full not in {"drop_oldest", "block", "raise"}:
            raise ValueError(f"when_full is drop_oldest, block or raise, not {self.when_full!r}")
        if min(self.batch_size, self.batch_bytes, self.max_waiting) < 1:
            raise ValueError("batch_size, batch_bytes and max_waiting are at least 1")
        if not events.SOURCE.fullmatch(self.source):
            raise ValueError("source must be 1 to 255 characters without blanks")


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the events of this process so far; `waiting` ones may be on their way.

    `tracked` includes what was found in the spool. `dropped` ones are lost.
    """

    tracked: int = 0
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    dropped: int = 0
    waiting: int = 0


class Usage:
    """Collects events and sends them; safe to share between threads, and across a fork.

    A forked process begins with an empty queue: what the parent tracked, the parent sends.
    """

    def __init__(self, transport: Transport, options: UsageOptions) -> None:
        self._transport, self._options = transport, options
        self._queue = _queue(options)
        self._closed = False
        self._begin()
        _living.add(self)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._counts = Counts()
        self._taken: Taken | None = None  # the batch on its way
        self._first_taken = 0  # the number of its first event
        self._room = self._options.max_waiting
        self._since = 0.0  # when the oldest waiting event came, roughly
        self._urgent = 0  # events with a smaller number do not wait for others
        self._hurry = False  # try again at once
        self._ended = False

    def track(
        self,
        type: str,  # noqa: A002 - the event's own word
        *,
        organization: str = "",
        data: Mapping[str, object] | None = None,
        id: str = "",  # noqa: A002 - the event's own word
        time: datetime | None = None,
    ) -> str:
        """Report that something was used, and return the event's id.

        `organization` is the customer's id, slug or external id; empty for that of the API key.
        Whoever may report the same thing again gives it an `id`: it counts once. `time` is now
        unless given. Raises InvalidEvent for what can never be an event, ClientClosed, QueueFull
        and SpoolFailed where the options ask for them; never because of the network.
        """
        name = id or uuid.uuid4().hex
        source = self._options.source
        line = events.write(
            type, source=source, organization=organization, data=data, id=name, time=time
        )
        with self._changed:
            self._check_open()
            self._open()
            self._start()
            self._make_room()
            self._put(line)
        return name

    def _put(self, line: bytes) -> None:
        self._queue.put(line)
        self._add(tracked=1)
        if len(self._queue) == 1:
            self._since = clock.monotonic()
            self._changed.notify_all()
        elif len(self._queue) == self._options.batch_size:
            self._changed.notify_all()

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed("The client was closed.")

    def _open(self) -> None:
        """Count what earlier processes left in the spool, the first time; it needs no new room."""
        before = len(self._queue)
        self._queue.open()
        if found := len(self._queue) - before:
            self._add(tracked=found)
            self._room += found
            log.info("%s events of earlier processes were found in the spool", found)

    def _make_room(self) -> None:
        while len(self._queue) >= self._room:
            if self._options.when_full == "drop_oldest":
                self._drop_oldest()
            elif self._options.when_full == "raise" or self._thread is threading.current_thread():
                # The sender's own callback may track: it would wait for itself.
                raise QueueFull(f"{len(self._queue)} events wait already.")
            else:
                self._changed.wait()
                self._check_open()

    def _drop_oldest(self) -> None:
        self._queue.done(self._queue.take(1, events.LARGEST))
        if self._counts.dropped % DROPS_PER_LINE == 0:
            log.error("The queue is full: the oldest events are lost, %s so far", self._counts)
        self._add(dropped=1)

    def _add(self, **more: int) -> None:
        known = {name: getattr(self._counts, name) + number for name, number in more.items()}
        self._counts = replace(self._counts, **known)

    @property
    def counts(self) -> Counts:
        """What became of the events so far."""
        with self._changed:
            taken = len(self._taken.lines) if self._taken else 0
            return replace(self._counts, waiting=len(self._queue) + taken)

    def flush(self, timeout: float = TIMEOUT) -> bool:
        """Send what was tracked before this call; tell whether all of it is settled in time."""
        with self._changed:
            self._check_open()
            self._open()
            return self._settled_within(timeout)

    def _settled_within(self, timeout: float) -> bool:
        mark = self._urgent = self._counts.tracked
        if self._oldest() >= mark:
            return True
        self._start()
        self._hurry = True
        self._changed.notify_all()
        return self._changed.wait_for(lambda: self._oldest() >= mark, timeout)

    def _oldest(self) -> int:
        """Return the number of the oldest event that is not settled; they settle in order."""
        if self._taken is not None:
            return self._first_taken
        return self._counts.tracked - len(self._queue)

    def close(self, timeout: float = TIMEOUT) -> bool:
        """Send what waits, for at most `timeout` seconds, and stop; tell whether all was sent.

        What is left then stays in the spool for the next process; without one it is lost. Called
        at the exit of Python. Closing again does nothing.
        """
        with self._changed:
            if self._ended:
                return True
            self._closed = True
            sent = self._settled_within(timeout)
            self._ended = True
            left = self.counts.waiting
            lost = self._queue.close(self._taken)
            self._add(dropped=lost)
            self._changed.notify_all()
        if lost:
            log.error("%s events were not sent before the end and are lost", lost)
        elif left:
            log.warning("%s events were not sent before the end and stay in the spool", left)
        return sent

    def _start(self) -> None:
        """Start the sender, in this process: a fork does not copy threads."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._send, name="countinghouse-usage", daemon=True
            )
            self._thread.start()

    def _send(self) -> None:
        while (taken := self._next()) is not None:
            self._deliver(taken)
        self._transport.close()

    def _next(self) -> Taken | None:
        """Wait for a batch and take it; None at the end."""
        with self._changed:
            while not self._ended and not self._is_due():
                self._changed.wait(self._patience())
            if self._ended:
                return None
            self._first_taken = self._counts.tracked - len(self._queue)
            options = self._options
            self._taken = self._queue.take(options.batch_size, options.batch_bytes)
            self._since = clock.monotonic()
            self._changed.notify_all()  # there is room
            return self._taken

    def _is_due(self) -> bool:
        waiting = len(self._queue)
        if not waiting:
            return False
        urgent = self._counts.tracked - waiting < self._urgent
        return urgent or waiting >= self._options.batch_size or self._patience() == 0

    def _patience(self) -> float | None:
        """Return the seconds that the oldest event may still wait; None without one."""
        if not len(self._queue):
            return None
        return max(self._since + self._options.interval - clock.monotonic(), 0)

    def _deliver(self, taken: Taken) -> None:
        """Send a batch until it is settled, with the same ids every time, or the end has come."""
        failures = 0
        while not self._ended:
            try:
                settled = deliver(self._transport, taken.lines)
            except Exception as error:  # noqa: BLE001 - whatever it is, the events are not lost
                failures += 1
                self._pause(failures, error)
            else:
                self._report(settled)
                self._settle(taken, settled)
                return

    def _pause(self, failures: int, error: Exception) -> None:
        doubled: float = self._options.first_delay * 2 ** min(failures - 1, MOST_DOUBLINGS)
        delay = min(doubled, self._options.longest_delay)
        delay *= random.uniform(0.5, 1)  # noqa: S311 - so that not all come back at once
        if isinstance(error, UnexpectedAnswer):
            delay = max(delay, error.retry_after)
        log.warning("Usage was not sent (%s), attempt %s; again in %.1f s", error, failures, delay)
        with self._changed:
            self._changed.wait_for(lambda: self._hurry or self._ended, delay)
            self._hurry = False

    def _report(self, settled: Settled) -> None:
        for one in settled.rejected:
            log.error("An event was rejected: %s %s %s", one.code, one.detail, one.event.get("id"))
            if self._options.on_rejected is None:
                continue
            try:
                self._options.on_rejected(one)
            except Exception:
                log.exception("on_rejected failed")

    def _settle(self, taken: Taken, settled: Settled) -> None:
        with self._changed:
            if self._ended:
                return  # too late: the files may belong to somebody else
            self._queue.done(taken)
            self._taken = None
            self._hurry = False
            rejected = len(settled.rejected)
            self._add(accepted=settled.accepted, duplicate=settled.duplicate, rejected=rejected)
            self._changed.notify_all()

    def _after_fork(self) -> None:
        """Begin anew in the child; locks, thread, connection and files are the parent's."""
        self._queue.abandon()
        self._transport.forget()
        self._begin()


def _queue(options: UsageOptions) -> Queue:
    if options.spool is None:
        return Memory()
    from countinghouse.spool import Spool  # noqa: PLC0415 - needs fcntl, which Windows lacks

    return Spool(options.spool)


_living: weakref.WeakSet[Usage] = weakref.WeakSet()


def _begin_anew() -> None:
    for usage in list(_living):
        usage._after_fork()


def _close_all() -> None:
    for usage in list(_living):
        usage.close(TIMEOUT_AT_EXIT)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
atexit.register(_close_all)
