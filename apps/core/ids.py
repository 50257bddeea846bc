"""Public ids: a prefix and 26 characters of base32 over a UUID of version 7.

Rows keep integer keys inside; the outside world sees `org_01jd…`. The ids sort by time of
creation, so lists page by id. Alphabet: Crockford's base32 in lower case (no i, l, o, u).
"""

from __future__ import annotations

import os
import re
import secrets
import time
from array import array
from functools import lru_cache

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
_SHIFTS = range(120, -1, -10)
_PATTERN = re.compile(r"^[a-z]{2,8}_[0-7][0-9a-hjkmnp-tv-z]{25}$")
# Ends of ids to come: made by the hundred, a month's end needs ten an invoice. A child process has
# none, or it would draw those of its parent.
_stock: list[str] = []
_BOUGHT = 128
os.register_at_fork(after_in_child=_stock.clear)


def base32(number: int) -> str:
    """Return a 128-bit integer as 26 characters, most significant first."""
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in _SHIFTS])


def new_id(prefix: str, *, unix_ms: int | None = None) -> str:
    """Return a fresh public id such as `inv_01jd0c…`: a UUIDv7 (RFC 9562, 5.7)."""
    milliseconds = time.time_ns() // 1_000_000 if unix_ms is None else unix_ms
    return f"{prefix}_{_beginning(milliseconds)}{_end()}"


@lru_cache(maxsize=16)
def _beginning(milliseconds: int) -> str:
    """Return the ten characters that the time makes."""
    return base32(milliseconds << 80)[:10]


def _end() -> str:
    """Return the sixteen characters after the time."""
    try:
        return _stock.pop()
    except IndexError:
        chance = array("H", secrets.token_bytes(2 * 8 * _BOUGHT))
        last, *more = [_spelled(*chance[place : place + 8]) for place in range(0, len(chance), 8)]
        _stock.extend(more)
        return last


def _spelled(version: int, variant: int, *more: int) -> str:
    """Return 80 bits, ten of each number: the version, 12 of chance, the variant, 62 of chance."""
    first = 0x7 << 6 | version & 0x3F
    second = variant & 0x3F0 | 0b10 << 2 | variant & 0b11
    return _PAIRS[first] + _PAIRS[second] + "".join([_PAIRS[one & 1023] for one in more])


def random_text(length: int) -> str:
    """Return so many random characters, 5 bits each, that nobody can guess."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def is_public_id(text: str, prefix: str = "") -> bool:
    """Tell whether `text` has the form of a public id (of that prefix)."""
    return bool(_PATTERN.match(text)) and text.startswith(f"{prefix}_" if prefix else "")
