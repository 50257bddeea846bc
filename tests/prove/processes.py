"""Worker processes that may be killed at any moment, and what they leave behind."""

from __future__ import annotations

import mmap
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from django.db import connections

MISTAKE = 70  # sysexits' "internal software error": the worker itself failed


@dataclass(slots=True)
class Worker:
    """A forked process. Forking a prepared parent costs a hundredth of starting Python anew."""

    pid: int
    status: int | None = None

    def kill(self) -> bool:
        """Kill it with SIGKILL and wait; tell whether it died of that and not on its own before."""
        if self.ended():
            return False
        os.kill(self.pid, signal.SIGKILL)
        return self.wait() == -signal.SIGKILL

    def ended(self) -> bool:
        """Tell whether it has ended, without waiting."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def held(self) -> bool:
        """Wait until it stops itself (SIGSTOP); tell whether it did and not end before."""
        if self.status is None:
            _, status = os.waitpid(self.pid, os.WUNTRACED)
            if os.WIFSTOPPED(status):
                return True
            self.status = os.waitstatus_to_exitcode(status)
        return False

    def go_on(self) -> None:
        """Let it go on after it stopped itself."""
        os.kill(self.pid, signal.SIGCONT)

    def wait(self) -> int:
        """Wait for its end and return its exit status, negative for a signal."""
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status


def start(work: Callable[[], None]) -> Worker:
    """Run `work` in a forked process that ends with it."""
    connections.close_all()  # a shared socket would mix up two conversations
    pid = os.fork()
    if pid:
        return Worker(pid)
    status = MISTAKE
    try:
        work()
        status = 0
    except BaseException:  # noqa: BLE001 - nothing may escape into the parent's code
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


class Log:
    """Short texts that survive the death of the process that wrote them: an append-only file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)

    def write(self, text: str) -> None:
        """Add a line; one write, so lines of several processes do not mix."""
        os.write(self._file, f"{text}\n".encode())

    def size(self) -> int:
        """Return how many bytes are in it: it grows with every line."""
        return os.fstat(self._file).st_size

    def read(self) -> list[str]:
        """Return the lines so far."""
        with open(self._path, encoding="utf-8") as file:
            return file.read().splitlines()


class Board:
    """A few bytes that a worker and its parent share: where the worker is right now."""

    def __init__(self, places: int) -> None:
        self._bytes = mmap.mmap(-1, places)

    def put(self, place: int, value: int) -> None:
        """Say where this worker is."""
        self._bytes[place] = value

    def get(self, place: int) -> int:
        """Return where that worker is, or was when it died."""
        return self._bytes[place]


class Tally:
    """Whole numbers that workers and their parent share: how far each of them is."""

    def __init__(self, places: int) -> None:
        self._numbers = memoryview(mmap.mmap(-1, 8 * places)).cast("q")

    def put(self, place: int, value: int) -> None:
        """Say how far this worker is."""
        self._numbers[place] = value

    def total(self) -> int:
        """Return how far all of them are together."""
        return sum(self._numbers)
