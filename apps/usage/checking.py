"""What the door lets in: the rules for one event, without a database.

`number_of` decides the same as the SQL function `usage_number`: what a meter cannot read is
refused here, and skipped there where it came before the meter.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import msgspec

from apps.engine.aggregation import Aggregation

MAX_KEYS = 64
MAX_DEPTH = 16
MAX_BYTES = 16 * 1024
MAX_SKEW = timedelta(minutes=5)
MAX_DIGITS = 400  # beyond it PostgreSQL's numeric would write megabytes for 1e1000000
PLACES = 12
BOUND = 10**18
EARLIEST_YEAR, LATEST_YEAR = 1970, 2199

# The type of an event that only takes another one back; no meter reads it.
VOID = "usage.void"
PUBLIC_PREFIX = "uev_"  # in front of an event's dedupe key, in hex
PUBLIC_ID = re.compile(f"{PUBLIC_PREFIX}(?P<key>[0-9a-f]{{32}})")

KEY = re.compile(r"[A-Za-z0-9._:@/+=-]{1,128}")
SOURCE = re.compile(r"[^\x00-\x20\x7f-\x9f\ud800-\udfff]{1,255}")
DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,12})?")

# The escape itself, not a backslash that happens to stand before u0000.
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

_json = msgspec.json.Encoder(decimal_format="number")


class NewEvent(msgspec.Struct, frozen=True):
    """An event as a door understood it; `occurred_at` is None when its time could not be read.

    `payload` is what it came as, kept when it is rejected; without one a CloudEvent is written
    from the fields. `line` is where it stood in a file. Numbers in `data` are int or Decimal.
    `voids` names an event to take back, by its id within `voids_source` (the event's own source
    when empty) or by its public id.
    """

    source: str
    key: str
    type: str
    occurred_at: datetime | None
    data: Mapping[str, object]
    payload: str | bytes = b""
    line: int | None = None
    subject: str = ""
    voids: str = ""
    voids_source: str = ""


def dedupe_key(source: str, key: str) -> str:
    """Return what usage_dedupe_key() makes of source and key; a check holds them equal."""
    text = f"{len(source)}:{source}{key}".encode()
    return hashlib.sha256(text).hexdigest()[:32]


class Refusal(msgspec.Struct, frozen=True):
    """Why something was not taken: a stable code, a sentence, and where (a JSON pointer)."""

    code: str
    reason: str
    pointer: str = ""


class Unread(msgspec.Struct, frozen=True):
    """Something that came and could not be understood as an event at all."""

    refusal: Refusal
    payload: str
    line: int | None = None


class MeterRule(NamedTuple):
    """What a meter reads from an event, for checking it; meters that only count need none."""

    key: str
    aggregation: str
    path: Sequence[str]
    allow_negative: bool


class Target(NamedTuple):
    """A stored event that another one takes back."""

    id: int
    type: str
    occurred_at: datetime


class Door(NamedTuple):
    """What an event is held against: the meters by event type, and the times allowed."""

    meters: Mapping[str, Sequence[MeterRule]]
    at: datetime
    max_age: timedelta | None

    def judge(self, event: NewEvent) -> str | Refusal:
        """Return the event's data as JSON text to store, or why it is refused."""
        refusal = (
            _judge_names(event) or self._judge_time(event.occurred_at) or self._judge_type(event)
        )
        if refusal is not None:
            return refusal
        text = encode(event.data)
        if isinstance(text, Refusal):
            return text
        for meter in self.meters.get(event.type, ()):
            if (refusal := judge_value(meter, event.data)) is not None:
                return refusal
        return text

    def _judge_time(self, occurred_at: datetime | None) -> Refusal | None:
        if occurred_at is None:
            return Refusal("invalid_time", "The event has no time that can be read.", "/time")
        if not EARLIEST_YEAR <= occurred_at.year <= LATEST_YEAR:
            return Refusal("invalid_time", "The time lies outside the years 1970 to 2199.", "/time")
        if occurred_at > self.at + MAX_SKEW:
            return Refusal("in_future", "The time lies more than 5 minutes ahead.", "/time")
        if self.max_age is not None and occurred_at < self.at - self.max_age:
            days = self.max_age.days
            return Refusal("too_old", f"The time lies more than {days} days back.", "/time")
        return None

    def _judge_type(self, event: NewEvent) -> Refusal | None:
        if event.type == VOID:
            said = f"An event of type {VOID} names in `voids` what it takes back."
            return None if event.voids else Refusal("invalid_void", said, "/voids")
        if event.type in self.meters:
            return None
        return Refusal("unknown_type", f"No meter counts events of type '{event.type}'.", "/type")

    def judge_voided(self, name: str, target: Target | None) -> Refusal | None:
        """Return why the event `name` that was found as `target` cannot be taken back."""
        if target is None:
            return Refusal("unknown_event", f"There is no event '{name}' to void.", "/voids")
        if target.type == VOID:
            said = "A void cannot be voided; send the event again under a new id."
            return Refusal("voids_a_void", said, "/voids")
        if self.max_age is not None and target.occurred_at < self.at - self.max_age:
            said = f"The voided event lies more than {self.max_age.days} days back."
            return Refusal("too_old", said, "/voids")
        return None


def _judge_names(event: NewEvent) -> Refusal | None:
    if not KEY.fullmatch(event.key):
        allowed = "1 to 128 characters of A-Z a-z 0-9 . _ : @ / + = -"
        return Refusal("invalid_id", f"The id must be {allowed}.", "/id")
    if not SOURCE.fullmatch(event.source):
        allowed = "1 to 255 characters without blanks"
        return Refusal("invalid_source", f"The source must be {allowed}.", "/source")
    if event.voids and not KEY.fullmatch(event.voids):
        return Refusal("invalid_void", "`voids` is no id of an event.", "/voids")
    if event.voids_source and not (event.voids and SOURCE.fullmatch(event.voids_source)):
        said = "`voidssource` is the source of the event that `voids` names."
        return Refusal("invalid_void", said, "/voidssource")
    return None


def encode(data: Mapping[str, object]) -> str | Refusal:
    """Return the data as JSON text that PostgreSQL's jsonb takes, or why it cannot."""
    refusal = _Count().refuse(data, depth=1, pointer="/data")
    if refusal is not None:
        return refusal
    try:
        text = _json.encode(data)
    except UnicodeEncodeError:
        return Refusal("invalid_text", "A text holds half of a surrogate pair.", "/data")
    if len(text) > MAX_BYTES:
        return Refusal("too_large", f"The data is larger than {MAX_BYTES} bytes.", "/data")
    if b"\\u0000" in text and NUL.search(text):
        return Refusal("invalid_text", "A text holds a NUL.", "/data")
    return text.decode()


class _Count:
    """Walks data once and counts its keys. Texts are left to the encoder."""

    def __init__(self) -> None:
        self.keys = 0

    def refuse(
        self, value: Mapping[str, object] | Sequence[object], *, depth: int, pointer: str
    ) -> Refusal | None:
        """Return why an object or array may not be stored, if it may not."""
        if depth > MAX_DEPTH:
            return Refusal("too_deep", f"The data nests deeper than {MAX_DEPTH}.", "/data")
        items: Iterable[tuple[object, object]] = enumerate(value)
        if isinstance(value, Mapping):
            items = value.items()
            self.keys += len(value)
            if self.keys > MAX_KEYS:
                return Refusal("too_many_keys", f"The data has over {MAX_KEYS} keys.", "/data")
        for name, item in items:
            kind = type(item)
            if kind is str or (kind is int and -BOUND < item < BOUND):  # type: ignore[operator]
                continue  # nearly always
            refusal = self._refuse_other(item, depth + 1, f"{pointer}/{name}")
            if refusal is not None:
                return refusal
        return None

    def _refuse_other(self, item: object, depth: int, pointer: str) -> Refusal | None:
        if item is None or isinstance(item, bool | str):
            return None
        if isinstance(item, int | Decimal):
            fits = _digits(item) <= MAX_DIGITS
            return None if fits else Refusal("invalid_number", "The number is too long.", pointer)
        if isinstance(item, Mapping | list | tuple):
            return self.refuse(item, depth=depth, pointer=pointer)
        return Refusal("invalid_data", f"A {type(item).__name__} is not JSON.", pointer)


def _digits(value: int | Decimal) -> int:
    """Return how many digits writing the number out takes, roughly."""
    if isinstance(value, int):
        return value.bit_length() * 3 // 10
    if not value.is_finite():
        return MAX_DIGITS + 1
    return abs(value.adjusted()) + len(value.as_tuple().digits)


def judge_value(meter: MeterRule, data: Mapping[str, object]) -> Refusal | None:
    """Return why the meter cannot read its value; None when it can, or when there is none."""
    if len(meter.path) == 1:  # nearly always, and a small whole number
        value = data.get(meter.path[0])
        if type(value) is int and 0 <= value < BOUND:
            return None
    found, value = value_at(data, meter.path)
    if not found:
        return None
    pointer = "/data/" + "/".join(meter.path)
    if meter.aggregation == Aggregation.UNIQUE_COUNT:
        reason = f"Meter '{meter.key}' counts texts and numbers."
        fits = isinstance(value, str | int | Decimal)
        return None if fits else Refusal("invalid_value", reason, pointer)
    return _judge_number(meter, number_of(value), pointer)


def _judge_number(meter: MeterRule, number: Decimal | None, pointer: str) -> Refusal | None:
    if number is None:
        rule = "a number below 10^18 with at most 12 decimal places"
        return Refusal("not_numeric", f"Meter '{meter.key}' needs {rule}.", pointer)
    if number < 0 and not meter.allow_negative:
        return Refusal("negative", f"Meter '{meter.key}' takes no negative values.", pointer)
    return None


def value_at(data: Mapping[str, object], path: Sequence[str]) -> tuple[bool, object]:
    """Return whether the path leads anywhere in the data, and what stands there."""
    value: object = data
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return False, None
        value = value[name]
    return True, value


def number_of(value: object) -> Decimal | None:
    """Return a JSON number or decimal text as a quantity; None when it is none that meters take.

    Booleans and null are no numbers. Texts are plain decimals: no exponent, no blanks, no plus.
    """
    if isinstance(value, str):
        return Decimal(value) if DECIMAL.fullmatch(value) else None
    if type(value) is int:
        return Decimal(value) if -BOUND < value < BOUND else None
    if not isinstance(value, Decimal):
        return None  # a boolean is no int here
    number = value
    if not number.is_finite() or not -BOUND < number < BOUND:
        return None
    return number if _places(number) <= PLACES else None


def _places(number: Decimal) -> int:
    """Return how many decimal places the number needs; trailing zeros need none."""
    _, digits, exponent = number.as_tuple()
    places = -int(exponent)
    if places <= PLACES:
        return places
    zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    return places - zeros if any(digits) else 0
