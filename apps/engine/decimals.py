"""Exact decimals: read strictly, computed without a rounding context, printed plainly.

`Decimal` operators round to the 28 digits of the current context without saying so. Every sum of
the engine goes through `EXACT`, which raises instead of rounding, or through `Fraction`.
"""

from __future__ import annotations

import re
from decimal import (
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)
from fractions import Fraction
from functools import lru_cache

ZERO = Decimal(0)

# 200 digits hold any product of two bounded amounts; a result that would not fit raises Inexact.
EXACT = Context(prec=200, traps=[Inexact, InvalidOperation, Overflow, DivisionByZero])

_PLAIN = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")


class NotADecimal(ValueError):
    """A value that cannot be read as an exact, finite, plain decimal."""


def decimal_of(value: object) -> Decimal:
    """Read a plain decimal string, an int or a Decimal exactly.

    Raises NotADecimal for everything else: binary fractions, booleans, NaN, infinities, exponents,
    signs other than a leading minus, spaces and digit separators.
    """
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return Decimal(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, Decimal) and value.is_finite():
        return value
    raise NotADecimal(f"{value!r} is not an exact decimal; write it as a quoted number")


def places_of(value: Decimal) -> int:
    """How many digits behind the point the value needs; trailing zeros do not count."""
    _, _, fraction = plain(value).partition(".")
    return len(fraction)


@lru_cache(maxsize=4096)  # explanations and documents name the same few again and again
def plain(value: Decimal) -> str:
    """The one spelling of a decimal: no exponent, no trailing zeros, no minus zero."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def about(value: Decimal, *, digits: int = 3) -> Decimal:
    """Return an estimate to so many significant digits: 12,151.847711 is about 12,200."""
    return Context(prec=digits, rounding=ROUND_HALF_UP).plus(value)


def fraction_of(value: Decimal) -> Fraction:
    """A decimal as a fraction; `Fraction` alone first asks whether it is of many other kinds."""
    return Fraction(*value.as_integer_ratio())


def exact_text(value: Fraction) -> str:
    """A fraction as a decimal when it has a finite one, else as "numerator/denominator"."""
    if value.denominator == 1:
        return str(value.numerator)
    places = _finite_places(value.denominator)
    if places is None:
        return f"{value.numerator}/{value.denominator}"
    # As few places as it needs, so the last digit is none of the zeros that `plain` takes off.
    scaled = abs(value.numerator) * (10**places // value.denominator)
    digits = str(scaled).rjust(places + 1, "0")
    sign = "-" if value.numerator < 0 else ""
    return f"{sign}{digits[:-places]}.{digits[-places:]}"


@lru_cache(maxsize=4096)  # prices have the same few
def _finite_places(denominator: int) -> int | None:
    twos = fives = 0
    while denominator % 2 == 0:
        denominator, twos = denominator // 2, twos + 1
    while denominator % 5 == 0:
        denominator, fives = denominator // 5, fives + 1
    return max(twos, fives) if denominator == 1 else None
