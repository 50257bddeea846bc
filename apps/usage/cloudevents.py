"""CloudEvents 1.0 in JSON: how events travel, in files, over the API and in what was rejected."""

from __future__ import annotations

import json
import re
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
    data_base64: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


# Exact numbers: 0.1 stays a tenth.
_decoder = msgspec.json.Decoder(CloudEvent, float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")


def read(raw: bytes, *, line: int | None = None) -> NewEvent | Unread:
    """Read one event. Never raises: what cannot be read comes back with the reason."""
    event = _decode(raw)
    if isinstance(event, Refusal):
        return Unread(event, text_of(raw), line)
    return NewEvent(
        source=event.source,
        key=event.id,
        type=event.type,
        occurred_at=parse_time(event.time),
        data=event.data or {},
        payload=text_of(raw),
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


def parse_time(text: str) -> datetime | None:
    """Return a time as UTC, or None when it is none: RFC 3339, without a zone it is UTC.

    Digits beyond the microsecond are cut off, not rounded.
    """
    match = TIME.fullmatch(text)
    if match is None:
        return None
    fraction = (match["fraction"] or "")[:6].ljust(6, "0")
    zone = (match["zone"] or "Z").upper()
    try:
        moment = datetime.fromisoformat(f"{match['day']}T{match['time']}.{fraction}{zone}")
        return moment.astimezone(UTC)
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
