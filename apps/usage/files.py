"""Files of events: CloudEvents one a line, or CSV, compressed or not, of any size.

Everything streams. What cannot be read as an event is yielded all the same, with the reason.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import Protocol

from apps.core.errors import Invalid
from apps.usage import cloudevents
from apps.usage.checking import NewEvent, Refusal, Unread

CHUNK = 1024 * 1024
LINE_LIMIT = 1024 * 1024
STDIN = "-"
GZIP = b"\x1f\x8b"
BOM = b"\xef\xbb\xbf"
ROW_SOURCE = "ingest_usage"
# What JSON would call a number: 007 stays a text.
NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,12})?")


Peekable = BufferedReader | BufferedRandom


class Stream(Protocol):
    """Bytes to read from: a file, or what comes out of gzip."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes."""

    def readline(self, size: int = -1, /) -> bytes:
        """Return up to the next end of a line, or `size` bytes."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place."""


class UnreadableFile(Invalid):
    """The file cannot be opened, is damaged, or lacks a column."""

    code = "unreadable_file"


@dataclass(frozen=True, slots=True)
class Line:
    """A line: its number from 1, its bytes, and whether it was too long and is cut."""

    number: int
    raw: bytes
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Columns:
    """What a CSV row means: its event type, and the columns of time, values and id.

    `data` names values by column. Without `key` the id is made from `content_hash` (the whole file,
    decompressed), the type and the row's number.
    """

    type: str
    time: str
    data: Mapping[str, str] = field(hash=False)
    key: str | None = None
    subject: str = ""
    source: str = ROW_SOURCE
    content_hash: str = ""


def with_hash(columns: Columns, content_hash: str) -> Columns:
    """Return the columns with the file's hash, for ids made from it."""
    return replace(columns, content_hash=content_hash)


@contextlib.contextmanager
def opened(path: str, *, twice: bool = False) -> Iterator[Stream]:
    """Open a file, or stdin for `-`, decompressed. `twice` makes stdin seekable by a copy on disk.

    Raises UnreadableFile, also while it is read.
    """
    try:
        with _raw(path, twice) as raw, _decompressed(raw) as stream:
            yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnreadableFile(
            f"{path} is damaged: {error}. What came before it is stored."
        ) from error
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror or error}.") from error


@contextlib.contextmanager
def _raw(path: str, twice: bool) -> Iterator[Peekable]:
    if path != STDIN:
        with Path(path).open("rb") as file:
            yield file
        return
    with open(sys.stdin.fileno(), "rb", closefd=False) as stdin:
        if not twice:
            yield stdin
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(stdin, copy, CHUNK)
            copy.seek(0)
            yield copy


@contextlib.contextmanager
def _decompressed(raw: Peekable) -> Iterator[Stream]:
    if raw.peek(2)[:2] != GZIP:
        yield raw
        return
    with gzip.open(raw) as stream:
        yield stream


def content_hash(stream: Stream) -> str:
    """Return the SHA-256 of a stream in hex, and rewind it."""
    digest = hashlib.sha256()
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
    stream.seek(0)
    return digest.hexdigest()


def lines(stream: Stream) -> Iterator[Line]:
    """Yield the lines; one that is longer than a mebibyte is cut, its rest is skipped."""
    number = 0
    while raw := stream.readline(LINE_LIMIT):
        number += 1
        cut = len(raw) == LINE_LIMIT and not raw.endswith(b"\n")
        while cut and (rest := stream.readline(LINE_LIMIT)) and not rest.endswith(b"\n"):
            pass
        yield Line(number, raw.removeprefix(BOM) if number == 1 else raw, cut)


def json_events(stream: Stream) -> Iterator[NewEvent | Unread]:
    """Yield the CloudEvents of a file with one a line; blank lines are skipped."""
    for line in lines(stream):
        if line.cut:
            reason = f"The line is longer than {LINE_LIMIT} bytes; its beginning is kept."
            refusal = Refusal("too_large", reason)
            yield Unread(refusal, cloudevents.text_of(line.raw), line.number)
        elif line.raw.strip():
            yield cloudevents.read(line.raw, line=line.number)


def csv_events(stream: Stream, columns: Columns) -> Iterator[NewEvent | Unread]:
    """Yield the rows of a CSV file as events; the header is row 1.

    Raises UnreadableFile when the header lacks a column.
    """
    records = _records(stream)
    header = next(records, None)
    if header is None or header.fields is None:
        raise UnreadableFile("The CSV file has no header.")
    shape = _Shape(columns, [name.strip() for name in header.fields])
    for record in records:
        if record.fields != []:
            yield shape.event(record)


@dataclass(frozen=True, slots=True)
class _Record:
    """A row of a CSV file: its number, its text, and its fields (None: it has none to tell)."""

    number: int
    text: str
    fields: list[str] | None
    problem: str = ""


def _records(stream: Stream) -> Iterator[_Record]:
    taken: list[Line] = []
    reader = csv.reader(_texts(stream, taken), strict=True)
    number = 0
    while True:
        number += 1
        taken.clear()
        try:
            fields: list[str] | None = next(reader)
            problem = ""
        except StopIteration:
            return
        except csv.Error as error:
            fields, problem = None, f"The row is no CSV: {error}."
        if any(line.cut for line in taken):
            fields, problem = None, f"A line is longer than {LINE_LIMIT} bytes."
        if fields is not None and any(_is_torn(text) for text in fields):
            fields, problem = None, "The row is not UTF-8."
        text = cloudevents.text_of(b"".join(line.raw for line in taken)) if problem else ""
        yield _Record(number, text, fields, problem)


def _texts(stream: Stream, taken: list[Line]) -> Iterator[str]:
    for line in lines(stream):
        taken.append(line)
        yield line.raw.decode("utf-8", "surrogateescape")


def _is_torn(text: str) -> bool:
    """Tell whether bytes that are not UTF-8 went into the text."""
    return not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text)


class _Shape:
    """Makes events of rows with a given header."""

    def __init__(self, columns: Columns, header: Sequence[str]) -> None:
        self.columns, self.width = columns, len(header)
        self.time = _find(columns.time, header)
        self.key = None if columns.key is None else _find(columns.key, header)
        self.data = [(name, _find(column, header)) for name, column in columns.data.items()]

    def event(self, record: _Record) -> NewEvent | Unread:
        """Return a row as an event, or why it is none."""
        fields = record.fields
        if fields is None:
            return Unread(Refusal("malformed", record.problem), record.text, record.number)
        if len(fields) != self.width:
            reason = f"The row has {len(fields)} fields, the header {self.width}."
            text = cloudevents.text_of(",".join(fields).encode("utf-8", "backslashreplace"))
            return Unread(Refusal("malformed", reason), text, record.number)
        time = fields[self.time].strip()
        event = NewEvent(
            source=self.columns.source,
            key=self._key(record.number, fields),
            type=self.columns.type,
            occurred_at=cloudevents.parse_time(time),
            data=self._data(fields),
            line=record.number,
            subject=self.columns.subject,
        )
        return event if event.occurred_at else _with_payload(event, time)

    def _key(self, number: int, fields: Sequence[str]) -> str:
        if self.key is not None:
            return fields[self.key].strip()
        text = f"{self.columns.content_hash}\n{self.columns.type}\n{number}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _data(self, fields: Sequence[str]) -> dict[str, object]:
        cells = ((name, fields[place].strip()) for name, place in self.data)
        return {name: _cell(text) for name, text in cells if text}


def _with_payload(event: NewEvent, time: str) -> NewEvent:
    """Return the event with what it came as: the text of a time that could not be read is in it."""
    return NewEvent(
        source=event.source,
        key=event.key,
        type=event.type,
        occurred_at=None,
        data=event.data,
        payload=cloudevents.write(event, time=time),
        line=event.line,
        subject=event.subject,
    )


def _find(column: str, header: Sequence[str]) -> int:
    if header.count(column) != 1:
        problem = "no column" if column not in header else "more than one column"
        raise UnreadableFile(f"The CSV file has {problem} '{column}'; it has {', '.join(header)}.")
    return header.index(column)


def _cell(text: str) -> object:
    """Return a cell as JSON would hold it: a number, or else its text."""
    if not NUMBER.fullmatch(text):
        return text
    return Decimal(text) if "." in text else int(text)
