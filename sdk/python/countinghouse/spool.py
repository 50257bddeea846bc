"""A queue in files, so that what was tracked outlives its process.

Every process appends to segments of its own, `*.events` in one directory, one event a line, and
holds a lock on each. A segment is deleted when all of its events are settled. A process that dies
gives up its locks; the next one to open the directory adopts its segments and sends them from their
beginning: what had been sent before is sent again, under the same ids, and counts once.

What is promised: once `put` has returned, the line survives the end of the process, `kill -9`
included. It does not survive the end of the machine: nothing waits for the disk.
"""

from __future__ import annotations

import fcntl
import logging
import os
import uuid
from collections import deque
from pathlib import Path

from countinghouse.errors import SpoolFailed
from countinghouse.events import LARGEST
from countinghouse.queues import Taken

SEGMENT_SIZE = 4_000_000  # bytes, after which the next segment is begun
SUFFIX = ".events"

log = logging.getLogger("countinghouse")


class _Segment:
    """An open and locked file: what was read of it, and how many of its lines are not settled."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor
        self.size = self.offset = 0  # bytes: written, and taken
        self.left = 0  # lines that are not settled, the taken ones among them

    def append(self, line: bytes) -> None:
        """Write a line whole or not at all."""
        text = line + b"\n"
        try:
            written = os.write(self.descriptor, text)
            if written != len(text):
                os.ftruncate(self.descriptor, self.size)
                raise SpoolFailed(f"{self.path}: the disk is full")
        except OSError as error:
            raise SpoolFailed(f"{self.path}: {error}") from error
        self.size += len(text)
        self.left += 1

    def read(self, count: int, size: int) -> list[bytes]:
        """Return the next lines and move on: at most `count`, of about `size` bytes."""
        found = os.pread(self.descriptor, max(size, LARGEST + 1), self.offset)
        lines = found[: found.rfind(b"\n") + 1].splitlines(keepends=True)[:count]
        fitting, total = 0, 0
        for line in lines:
            total += len(line)
            if fitting and total > size:
                break
            fitting += 1
        lines = lines[:fitting]
        self.offset += sum(map(len, lines))
        return [line[:-1] for line in lines]

    def adopt(self) -> None:
        """Take over the lines of somebody who died.

        Half a line at the end was never promised, and a machine that died may leave NULs behind.
        """
        content = self.path.read_bytes()
        found = (line.strip(b"\0") for line in content.split(b"\n")[:-1])
        lines = [line + b"\n" for line in found if 0 < len(line) <= LARGEST]
        whole = b"".join(lines)
        if whole != content:
            log.warning("%s was damaged; its %s whole lines are sent", self.path, len(lines))
            self._repair(whole, is_beginning=content.startswith(whole))
        self.size, self.left = len(whole), len(lines)

    def _repair(self, whole: bytes, *, is_beginning: bool) -> None:
        os.ftruncate(self.descriptor, len(whole) if is_beginning else 0)
        if not is_beginning:
            os.write(self.descriptor, whole)

    def empty(self) -> None:
        """Begin again in the same file."""
        os.ftruncate(self.descriptor, 0)
        self.size = self.offset = 0

    def remove(self) -> None:
        """Delete the file and give up its lock, in this order: nobody can adopt it between."""
        self.path.unlink(missing_ok=True)  # somebody may have tidied up
        os.close(self.descriptor)


class Spool:
    """A queue in a directory, which many processes may share. POSIX only."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory)
        self._segments: deque[_Segment] = deque()
        self._active: _Segment | None = None
        self._waiting = 0
        self._adopted = False

    def __len__(self) -> int:
        return self._waiting

    def open(self) -> None:
        """Make the directory and adopt what the dead left in it. Raises SpoolFailed."""
        if self._adopted:
            return
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            for path in sorted(self._directory.glob(f"*{SUFFIX}")):
                self._adopt(path)
        except OSError as error:
            raise SpoolFailed(f"{self._directory}: {error}") from error
        self._adopted = True

    def _adopt(self, path: Path) -> None:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            return  # its owner has just finished with it
        segment = _Segment(path, descriptor)
        if not _locked(descriptor) or os.fstat(descriptor).st_nlink == 0:
            os.close(descriptor)  # its owner lives, or has finished with it
            return
        segment.adopt()
        if segment.left:
            self._segments.append(segment)
            self._waiting += segment.left
        else:
            segment.remove()

    def put(self, line: bytes) -> None:
        """Write a line. Raises SpoolFailed when it could not be written."""
        if self._active is None or self._active.size >= SEGMENT_SIZE:
            self._active = self._begin()
            self._segments.append(self._active)
        self._active.append(line)
        self._waiting += 1

    def _begin(self) -> _Segment:
        """Begin a segment; it gets its name once it is locked, or another process adopted it."""
        path = self._directory / f"{os.getpid()}-{uuid.uuid4().hex}{SUFFIX}"
        hidden = path.with_suffix(".new")
        try:
            descriptor = os.open(hidden, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            hidden.rename(path)
        except OSError as error:
            raise SpoolFailed(f"{path}: {error}") from error
        return _Segment(path, descriptor)

    def take(self, count: int, size: int) -> Taken:
        """Take lines out, all of one segment; they stay in its file until they are done."""
        for segment in self._segments:
            if segment.offset < segment.size:
                lines = segment.read(count, size)
                self._waiting -= len(lines)
                return Taken(lines, segment)
        return Taken(())

    def done(self, taken: Taken) -> None:
        """Settle lines; a file without any others is deleted, or begun again."""
        segment = taken.place
        if not isinstance(segment, _Segment):
            return
        segment.left -= len(taken.lines)
        if segment.left:
            return
        if segment is self._active:
            segment.empty()
        else:
            self._segments.remove(segment)
            segment.remove()

    def close(self, taken: Taken | None) -> int:
        """Leave the files to whoever comes next; nothing is lost."""
        if self._active is not None and not self._active.left:
            self._segments.remove(self._active)
            self._active.remove()
        self.abandon()
        return 0

    def abandon(self) -> None:
        """Close the files. The locks live on where another process shares them."""
        for segment in self._segments:
            os.close(segment.descriptor)
        self._segments, self._active, self._waiting = deque(), None, 0
        self._adopted = False


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
