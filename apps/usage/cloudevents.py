"""CloudEvents 1.0 in JSON: how events travel, in files, over the API and in what was rejected."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from apps.usage.checking import NewEvent, Refusal, Unread

PAYLOAD_LIMIT = 1024 * 1024  # characters kept of something that cannot be read
TIME = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[Tt ](?P<time>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d+))?"
    r" ?(?P<zone>[Zz]|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
# What Python reads as it stands, and nearly everybody writes.
USUAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3}|\.\d{6})?(?:Z|\+00:00)", re.ASCII)


class CloudEvent(msgspec.Struct):
    """The attributes that matter here; others are allowed and left alone.

    `voids` and `voidssource` are extensions: the id and, if it is another one, the source of an
    event that this one takes back.
    """

    specversion: str
    id: str
    source: str
    type: str
    subject: str = ""
    time: str = ""
    voids: str = ""
    voidssource: str = ""
    data: dict[str, object] | None = None
    data_base64: object = msgspec.UNSET


# Exact numbers: 0.1 stays a tenth.
_decoder = msgspec.json.Decoder(CloudEvent, float_hook=Decimal)
_documents = msgspec.json.Decoder(dict[str, object], float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")


def read(raw: bytes, *, line: int | None = None) -> NewEvent | Unread:
    """Read one event. Never raises: what cannot be read comes back with the reason."""
    event = _decode(raw)
    if isinstance(event, Refusal):
        return Unread(event, text_of(raw), line)
    return _understood(event, raw, line)


def read_all(
    pieces: Sequence[bytes], whole: bytes, *, lines: Sequence[int] = ()
) -> list[NewEvent | Unread]:
    """Read the events that `whole` consists of: what `read` says of each piece, in its order.

    Well-formed events, nearly all that ever come, are read together, in half the time. `lines` are
    the places in a file, where there is one.
    """
    places: Sequence[int | None] = lines or [None] * len(pieces)
    events = _read_together(pieces, whole)
    if events is None:
        return [read(piece, line=line) for piece, line in zip(pieces, places, strict=True)]
    return list(map(_understood, events, pieces, places))


def _read_together(pieces: Sequence[bytes], whole: bytes) -> list[CloudEvent] | None:
    """Return the events when all are well-formed; otherwise each has to say what is wrong."""
    try:
        documents = [_documents.decode(piece) for piece in pieces]
        events = msgspec.convert(documents, list[CloudEvent])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if any(map(_unsupported, events)) or not are_keys_once(documents, whole):
        return None
    return events


def _understood(event: CloudEvent, raw: bytes, line: int | None) -> NewEvent:
    return NewEvent(
        source=event.source,
        key=event.id,
        type=event.type,
        occurred_at=parse_time(event.time),
        data=event.data or {},
        payload=raw,
        line=line,
        subject=event.subject,
        voids=event.voids,
        voids_source=event.voidssource,
    )


class DoubledKeyError(Exception):
    """A key stands twice in one object: which of the values is meant?"""


def _keys_once(pairs: list[tuple[str, object]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise DoubledKeyError


def are_keys_once(values: Iterable[object], whole: bytes) -> bool:
    """Tell whether no key stands twice in an object of JSON; False also when that is not sure.

    Every key ends in a quote and, where no colon follows a blank, a colon: as many keys read as
    there are such pairs means that none was lost. A text that begins with a colon makes one too
    many.
    """
    blank = b" :" in whole or b"\n:" in whole or b"\t:" in whole or b"\r:" in whole
    return not blank and whole.count(b'":') == _keys(values)


def _keys(values: Iterable[object]) -> int:
    """Return how many keys the objects among the values have, at any depth."""
    count = 0
    for value in values:
        if type(value) is dict:
            count += len(value) + _keys(value.values())
        elif type(value) is list:
            count += _keys(value)
    return count


# msgspec silently takes the last of two. Only the keys matter here: numbers stay as they are.
_key_checker = json.JSONDecoder(object_pairs_hook=_keys_once, parse_int=str, parse_float=str)


def _decode(raw: bytes) -> CloudEvent | Refusal:
    try:
        event = _decoder.decode(raw)
        _key_checker.decode(raw.decode())
    except DoubledKeyError:
        return Refusal("malformed", "A key stands twice in one object.")
    except UnicodeDecodeError:
        return Refusal("malformed", "The text is not UTF-8.")
    except RecursionError:
        return Refusal("malformed", "The JSON nests too deep to be read.")
    except msgspec.ValidationError as error:
        return _refusal(error)
    except (msgspec.DecodeError, ValueError) as error:
        return Refusal("malformed", f"This is not JSON: {error}.")
    return _unsupported(event) or event


def _unsupported(event: CloudEvent) -> Refusal | None:
    if event.specversion != "1.0":
        reason = f"CloudEvents 1.0 are read, not '{event.specversion[:20]}'."
        return Refusal("invalid_event", reason, "/specversion")
    if event.data_base64 is not msgspec.UNSET:
        return Refusal("invalid_event", "Give data, not data_base64.", "/data_base64")
    return None


def write(event: NewEvent, *, time: str = "") -> str:
    """Write the event as CloudEvents JSON; `time` is its time as it came, where it has a text."""
    if not time and event.occurred_at is not None:
        time = event.occurred_at.isoformat()
    document: dict[str, object] = {
        "specversion": "1.0",
        "id": event.key,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": time,
        "data": event.data,
    }
    if event.voids:
        document["voids"] = event.voids
    if event.voids_source:
        document["voidssource"] = event.voids_source
    try:
        return _encoder.encode(document).decode()
    except (UnicodeEncodeError, TypeError):
        return text_of(repr(document).encode("utf-8", "backslashreplace"))


def payload_of(event: NewEvent) -> str:
    """Return what an event came as, as a text that `read` understands again."""
    payload = event.payload
    text = text_of(payload) if isinstance(payload, bytes) else payload
    return text or write(event)


def parse_time(text: str) -> datetime | None:
    """Return a time as UTC, or None when it is none: RFC 3339, without a zone it is UTC.

    Digits beyond the microsecond are cut off, not rounded.
    """
    if USUAL.fullmatch(text):
        return _instant(text)
    match = TIME.fullmatch(text)
    if match is None:
        return None
    fraction = (match["fraction"] or "")[:6].ljust(6, "0")
    zone = (match["zone"] or "Z").upper()
    return _instant(f"{match['day']}T{match['time']}.{fraction}{zone}")


def _instant(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def text_of(raw: bytes) -> str:
    """Return the bytes as text that PostgreSQL stores; what is no text shows in hex."""
    text = raw[:PAYLOAD_LIMIT].decode("utf-8", "backslashreplace")
    return text.strip().replace("\x00", "\\x00")


def _refusal(error: msgspec.ValidationError) -> Refusal:
    """Return msgspec's message as a sentence and its path as a JSON pointer."""
    message, _, path = str(error).partition(" - at `$.")
    place = path.rstrip("`").partition("[")[0]  # `data[...]` is somewhere in data
    pointer = "/" + place.replace(".", "/") if place else ""
    return Refusal("invalid_event", f"{message.replace('`', chr(39))}.", pointer)
