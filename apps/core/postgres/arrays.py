"""Texts by the thousand as one parameter."""

from __future__ import annotations

from collections.abc import Iterable
from struct import pack
from typing import Any

from psycopg import pq
from psycopg.adapt import Dumper
from psycopg.postgres import types

TEXT = types["text"]
NULL = b"\xff\xff\xff\xff"


class Texts:
    """An array of texts in UTF-8 as the server receives it, each with its length before it.

    Nothing in them has to be quoted: in an array that is spelled out, every quote of a JSON
    document is.
    """

    __slots__ = ("data",)

    def __init__(self, texts: Iterable[bytes | None]) -> None:
        parts = [NULL if text is None else len(text).to_bytes(4) + text for text in texts]
        # One dimension, perhaps with NULLs, of this type, so many, counted from 1.
        self.data = b"".join([pack("!5i", 1, 1, TEXT.oid, len(parts), 1), *parts])


class TextsDumper(Dumper):
    """Sends them as they are."""

    format = pq.Format.BINARY
    oid = TEXT.array_oid

    def dump(self, obj: Texts) -> bytes:
        """Return the array."""
        return obj.data


def register(context: Any) -> None:
    """Let this connection send them."""
    context.adapters.register_dumper(Texts, TextsDumper)
