"""The forms in which usage events come over HTTP; each is read as CloudEvents.

| form | media type |
|---|---|
| one event | `application/cloudevents+json`, `application/json` |
| one event, its attributes in `ce-` headers (CloudEvents' binary mode) | `application/json` |
| a list of events | `application/cloudevents-batch+json`, `application/json` |
| an event a line | `application/x-ndjson` |
| rows `[id, time, data]` of one source and type | `application/vnd.countinghouse.events+json` |
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeVar
from urllib.parse import unquote

import msgspec
from django.conf import settings

from apps.api.errors import BatchTooLarge, MalformedBody, printable
from apps.api.reading import JSON
from apps.usage import cloudevents
from apps.usage.checking import NewEvent, Refusal, Unread

ONE, MANY = "application/cloudevents+json", "application/cloudevents-batch+json"
LINES, ROWS = "application/x-ndjson", "application/vnd.countinghouse.events+json"
MEDIA_TYPES = (JSON, ONE, MANY, LINES, ROWS)
BINARY = "HTTP_CE_SPECVERSION"  # the header that says that attributes come as headers
ATTRIBUTES = ("specversion", "id", "source", "type", "time", "subject", "voids", "voidssource")
NO_ROW = Refusal("invalid_event", "A row is [id, time] or [id, time, data].")

Read = list[NewEvent | Unread]
T = TypeVar("T")


class Rows(msgspec.Struct, forbid_unknown_fields=True):
    """Events of one source and type: what they share is said once."""

    source: str
    type: str
    events: list[msgspec.Raw]
    subject: str = ""


def read_events(raw: bytes, media_type: str, headers: Mapping[str, str]) -> Read:
    """Return the events of a body; those that cannot be read come with the reason.

    `headers` are the request's as WSGI names them. Raises MalformedBody when the body is not of its
    form at all, and BatchTooLarge before any event is read.
    """
    if media_type == LINES:
        return _lines(raw)
    if media_type == ROWS:
        return _rows(raw)
    if media_type == JSON and BINARY in headers:
        return _one(_from_headers(raw, headers))
    many = raw.lstrip(b" \t\r\n").startswith(b"[")
    if media_type == MANY and not many:
        raise MalformedBody("A batch is a JSON array of events.")
    if media_type == ONE and many:
        raise MalformedBody(f"This is an array; send it as {MANY}.")
    return _many(raw) if many else _one(raw)


def _one(raw: bytes) -> Read:
    if not raw.lstrip(b" \t\r\n").startswith(b"{"):
        raise MalformedBody("Send one event as a JSON object, or several in an array.")
    event = cloudevents.read(raw)
    if isinstance(event, Unread) and event.refusal.code == "malformed":
        raise MalformedBody(printable(event.refusal.reason))
    return [event]


def _many(raw: bytes) -> Read:
    pieces = _bounded(_decoded(raw, list[msgspec.Raw]))
    return cloudevents.read_all([bytes(piece) for piece in pieces], raw)


def _lines(raw: bytes) -> Read:
    found = [(number, line) for number, line in enumerate(raw.split(b"\n"), 1) if line.strip()]
    _bounded(found)
    numbers, lines = [number for number, _ in found], [line for _, line in found]
    return cloudevents.read_all(lines, raw, lines=numbers)


def _rows(raw: bytes) -> Read:
    """Read rows as the CloudEvents that they stand for, which is also how refused ones are kept."""
    batch = _decoded(raw, Rows)
    rows = [bytes(row) for row in _bounded(batch.events)]
    _refuse_doubled(raw, rows, batch)
    head = _head({"source": batch.source, "type": batch.type, "subject": batch.subject})
    pieces = [_piece(row, head) for row in rows]
    whole = [piece for piece in pieces if piece]
    events = iter(cloudevents.read_all(whole, b"".join(whole)))
    return [
        next(events) if piece else Unread(NO_ROW, cloudevents.text_of(row))
        for piece, row in zip(pieces, rows, strict=True)
    ]


def _refuse_doubled(raw: bytes, rows: Sequence[bytes], batch: Rows) -> None:
    """Refuse what the rows share when it is said twice; the rows speak for themselves."""
    outside = raw.count(b'":') - sum(row.count(b'":') for row in rows)
    if outside == 3 + bool(batch.subject):
        return  # source, type and events
    names = [name for name, _ in json.loads(raw, object_pairs_hook=list)]
    if len(set(names)) != len(names):
        raise MalformedBody("A key stands twice in one object.")


def _piece(row: bytes, head: bytes) -> bytes:
    """Return the row as a CloudEvent; nothing when it is no row."""
    try:
        parts = msgspec.json.decode(row, type=list[msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return b""
    if len(parts) not in {2, 3}:
        return b""
    named = zip((b'"id":', b',"time":', b',"data":'), parts, strict=False)
    return head + b"".join(name + bytes(part) for name, part in named) + b"}"


def _from_headers(raw: bytes, headers: Mapping[str, str]) -> bytes:
    """Return the event whose attributes came as headers, and whose data is the body."""
    given = {name: headers.get(f"HTTP_CE_{name.upper()}", "") for name in ATTRIBUTES}
    try:
        attributes = {name: unquote(text, errors="strict") for name, text in given.items() if text}
    except UnicodeDecodeError:
        raise MalformedBody("A ce- header is not UTF-8, percent-encoded.") from None
    value = bytes(_decoded(raw, msgspec.Raw)) if raw else b"null"
    return _head(attributes, version="") + b'"data":' + value + b"}"


def _head(attributes: Mapping[str, str], *, version: str = "1.0") -> bytes:
    """Return the beginning of a CloudEvent in JSON, up to the comma behind these attributes."""
    said = {"specversion": version, **attributes} if version else attributes
    return msgspec.json.encode(said)[:-1] + b","


def _decoded(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except RecursionError:
        raise MalformedBody("The JSON nests too deep to be read.") from None
    except msgspec.ValidationError as error:
        raise MalformedBody(printable(f"This is no batch: {error}.")) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedBody(printable(f"This is not JSON: {error}.")) from None


def _bounded(pieces: Sequence[T]) -> Sequence[T]:
    if not pieces:
        raise MalformedBody("The batch is empty; send one event or more.")
    if len(pieces) > settings.USAGE_MAX_BATCH:
        raise BatchTooLarge(f"A batch holds at most {settings.USAGE_MAX_BATCH} events.")
    return pieces
