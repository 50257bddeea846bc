"""Where events wait for their turn: in memory here, in files in `countinghouse.spool`."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Taken(NamedTuple):
    """Events on their way; `place` is the queue's own note of where they came from."""

    lines: Sequence[bytes]
    place: object = None


class Queue(Protocol):
    """Lines that leave in the order in which they came. Its user holds a lock."""

    def __len__(self) -> int:
        """Return how many lines wait; taken ones do not."""

    def open(self) -> None:
        """Take over what earlier processes left, once."""

    def put(self, line: bytes) -> None:
        """Add a line."""

    def take(self, count: int, size: int) -> Taken:
        """Take lines out: at most `count`, and of at most `size` bytes but at least one."""

    def done(self, taken: Taken) -> None:
        """Forget lines that were taken, for good."""

    def close(self, taken: Taken | None) -> int:
        """Let go of everything; return how many lines, `taken` ones included, are lost by it."""

    def abandon(self) -> None:
        """Let go of everything after a fork: it is the parent's."""


class Memory:
    """A queue that ends with its process."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._lines)

    def open(self) -> None:
        """Nothing to do: nobody can leave anything here."""

    def put(self, line: bytes) -> None:
        """Add a line."""
        self._lines.append(line)

    def take(self, count: int, size: int) -> Taken:
        """Take lines out: at most `count`, and of at most `size` bytes but at least one."""
        found: list[bytes] = []
        while self._lines and len(found) < count:
            size -= len(self._lines[0]) + 1
            if found and size < 0:
                break
            found.append(self._lines.popleft())
        return Taken(found)

    def done(self, taken: Taken) -> None:
        """Nothing to do: what was taken is no longer here."""

    def close(self, taken: Taken | None) -> int:
        """Forget everything and return how much that was."""
        lost = len(self._lines) + (len(taken.lines) if taken else 0)
        self._lines.clear()
        return lost

    def abandon(self) -> None:
        """Forget what the parent will send."""
        self._lines = deque()
