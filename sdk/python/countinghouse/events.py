"""Events as they travel: one CloudEvent (1.0) in JSON a line."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal

from countinghouse.errors import InvalidEvent

ID = re.compile(r"[A-Za-z0-9._:@/+=-]{1,128}")  # what the platform takes
SOURCE = re.compile(r"[^\x00-\x20\x7f-\x9f\ud800-\udfff]{1,255}")
LARGEST = 64 * 1024  # bytes of a line; the platform takes 16 KB of data


def write(
    kind: str,
    *,
    source: str,
    organization: str = "",
    data: Mapping[str, object] | None = None,
    id: str = "",  # noqa: A002 - the attribute's name
    time: datetime | None = None,
) -> bytes:
    """Return the event as a line without its end. Raises InvalidEvent.

    Without `id` it gets a random one, without `time` it happens now. Decimals, dates and UUIDs
    among the data are written as texts; meters read decimal texts as exact numbers.
    """
    moment = datetime.now(UTC) if time is None else time
    if moment.tzinfo is None:
        raise InvalidEvent("The time needs a time zone: datetime.now(UTC), not datetime.now().")
    document: dict[str, object] = {
        "specversion": "1.0",
        "id": id or uuid.uuid4().hex,
        "source": source,
        "type": kind,
        "time": moment.isoformat(),
    }
    if organization:
        document["subject"] = organization
    if data:
        document["data"] = dict(data)
    _check(document)
    return _encoded(document)


def _check(document: Mapping[str, object]) -> None:
    for name in ("id", "source", "type"):
        if not isinstance(document[name], str) or not document[name]:
            raise InvalidEvent(f"The {name} must be a text that is not empty.")
    if not isinstance(document.get("subject", ""), str):
        raise InvalidEvent("The organization is a text: its id, slug or external id.")
    if not ID.fullmatch(str(document["id"])):
        raise InvalidEvent("The id must be 1 to 128 characters of A-Z a-z 0-9 . _ : @ / + = -")
    if not SOURCE.fullmatch(str(document["source"])):
        raise InvalidEvent("The source must be 1 to 255 characters without blanks.")


def _encoded(document: Mapping[str, object]) -> bytes:
    try:
        text = json.dumps(document, separators=(",", ":"), allow_nan=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEvent(f"The data is no JSON: {error}.") from error
    if len(text) > LARGEST:
        raise InvalidEvent(f"The event is larger than {LARGEST} bytes.")
    return text.encode()


def _plain(value: object) -> str:
    if isinstance(value, Decimal) and value.is_finite():
        return format(value, "f")
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__} is not JSON")


def read(line: bytes) -> Mapping[str, object]:
    """Return the event of a line that `write` made; a spool's line may have been damaged."""
    try:
        event: dict[str, object] = json.loads(line)
    except ValueError:
        return {"unreadable": line.decode("utf-8", "backslashreplace")}
    return event
