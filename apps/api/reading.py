"""Reading what comes in: one strict JSON reader, so that no body can do harm further down."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from apps.api.errors import (
    Fault,
    InvalidRequest,
    MalformedBody,
    UnsupportedMediaType,
    escape,
    too_large,
)

JSON = "application/json"
GZIP = "gzip"
GZIP_FORMAT = 31  # zlib's number for it, with the largest window
DEEPEST = 16
LONGEST_LENGTH = 15  # digits
MOST_DIGITS = 400  # written out in full, 1e999999 would fill megabytes


def raw_body(request: HttpRequest, *, media_types: Collection[str] = (JSON,)) -> tuple[bytes, str]:
    """Return the body's bytes and media type; refuses by length and by type before it is read.

    No body needs no media type and counts as JSON.
    """
    if _content_length(request) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        raise too_large()
    return _typed(request, request.body, media_types)


def streamed_body(request: HttpRequest, *, media_types: Collection[str]) -> tuple[bytes, str]:
    """As `raw_body`, for bodies that may come without a length or compressed by gzip.

    What was inflated has the same limit: nothing beyond it is ever read or inflated.
    """
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    if _content_length(request) > limit:
        raise too_large()
    raw = request.body if request.META.get("CONTENT_LENGTH") else _unmeasured(request, limit)
    coding = request.META.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if coding == GZIP:
        raw = _inflated(raw, limit)
    elif coding not in {"", "identity"}:
        raise UnsupportedMediaType("Send the body as it is or compressed by gzip.")
    return _typed(request, raw, media_types)


def limited_body(request: HttpRequest, *, limit: int) -> bytes:
    """Return the body as it came, with or without a length; refuses what is longer unread."""
    if _content_length(request) > limit:
        raise too_large(limit)
    return request.body if request.META.get("CONTENT_LENGTH") else _unmeasured(request, limit)


def _unmeasured(request: HttpRequest, limit: int) -> bytes:
    """Read a body without a Content-Length, where the server marks its end (chunks)."""
    if not request.META.get("wsgi.input_terminated"):
        return b""
    stream, pieces, size = request.META["wsgi.input"], [], 0
    while piece := stream.read(limit + 1 - size):
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise too_large(limit)
    return b"".join(pieces)


def _inflated(raw: bytes, limit: int) -> bytes:
    decompressor = zlib.decompressobj(wbits=GZIP_FORMAT)
    try:
        found = decompressor.decompress(raw, limit + 1)
    except zlib.error:
        raise MalformedBody("The body is not compressed by gzip.") from None
    if len(found) > limit:
        raise too_large()
    if not decompressor.eof or decompressor.unused_data:
        raise MalformedBody("The body is not one whole gzip member.")
    return found


def _typed(request: HttpRequest, raw: bytes, media_types: Collection[str]) -> tuple[bytes, str]:
    if not raw.strip():
        return b"", JSON
    given = request.META.get("CONTENT_TYPE", "")
    media_type, _, parameters = given.partition(";")
    media_type = media_type.strip().lower()
    charset = parameters.lower().replace(" ", "").replace('"', "")
    if media_type not in media_types or charset not in {"", "charset=utf-8"}:
        raise UnsupportedMediaType(f"Send {' or '.join(sorted(media_types))} in UTF-8.")
    return raw, media_type


def _content_length(request: HttpRequest) -> int:
    given = str(request.META.get("CONTENT_LENGTH") or "0")
    if not (given.isascii() and given.isdigit()):
        raise MalformedBody("The Content-Length is no number.")
    if len(given) > LONGEST_LENGTH:
        raise too_large()
    return int(given)


def read_json(raw: bytes) -> Any:
    """Return the JSON value; an empty body is an empty object. Fractions are exact Decimals.

    Raises MalformedBody for what is no JSON (NaN, doubled keys, not UTF-8, nested too deep), and
    InvalidRequest for texts that no database stores (NUL, half a surrogate pair).
    """
    if not raw:
        return {}
    try:
        value = json.loads(
            raw.decode("utf-8"),
            parse_float=_exact,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError:
        raise MalformedBody("The body is not UTF-8.") from None
    except RecursionError:
        raise MalformedBody(f"The JSON nests deeper than {DEEPEST}.") from None
    except ValueError as error:
        raise MalformedBody(f"This is not JSON: {error}.") from None
    _check(value, "", depth=1)
    return value


def _exact(text: str) -> Decimal:
    if len(text) > MOST_DIGITS:
        raise ValueError("a number has too many digits")
    number = Decimal(text)
    if abs(number.adjusted()) > MOST_DIGITS:
        raise ValueError("a number is out of bounds")
    return number


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _check(value: Any, pointer: str, *, depth: int) -> None:
    if isinstance(value, str):
        _check_text(value, pointer)
    elif isinstance(value, dict | list):
        if depth > DEEPEST:
            raise MalformedBody(f"The JSON nests deeper than {DEEPEST}.")
        named = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in named:
            _check_text(str(name), pointer)
            _check(item, f"{pointer}/{escape(str(name))}", depth=depth + 1)


def _check_text(text: str, pointer: str) -> None:
    if "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        said = "A text holds a NUL or half of a surrogate pair."
        raise InvalidRequest(said, [Fault("invalid_text", said, pointer=pointer)])
