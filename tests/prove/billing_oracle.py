"""What every invoice must say, computed apart from the engine: whole numbers and nothing else.

Amounts are cents. It shares no code with what it checks, so it is written for these four plans.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime

Lines = dict[str, int]


@dataclass(frozen=True, slots=True)
class Reading:
    """One event: a call with its tokens and bytes."""

    at: datetime
    tokens: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """A subscription: its plan, its start on the local clock, and the usage of its customer."""

    plan: str
    start: datetime
    seats: int
    readings: tuple[Reading, ...]


def boundary(start: datetime, index: int) -> datetime:
    """Return the index-th month's first instant in UTC; short months end early, once."""
    years, month = divmod(start.month - 1 + index, 12)
    year = start.year + years
    day = min(start.day, monthrange(year, month + 1)[1])
    return start.replace(year=year, month=month + 1, day=day).astimezone(UTC)


def boundaries(agreement: Agreement, as_of: datetime) -> list[datetime]:
    """Return the boundaries that are billed at `as_of`."""
    found: list[datetime] = []
    while (at := boundary(agreement.start, len(found))) <= as_of:
        found.append(at)
    return found


def expected(agreement: Agreement, index: int) -> Lines:
    """Return the lines of the index-th boundary's invoice: the month ahead, the usage behind."""
    return _ahead(agreement) | (_behind(agreement, index) if index else {})


def _ahead(agreement: Agreement) -> Lines:
    base = {"desk": 29_00, "wire": 10_00, "mill": 5_00, "vault": 99_00}[agreement.plan]
    if agreement.plan != "desk":
        return {"base": base}
    return {"base": base, "seats": (agreement.seats - 3) * 12_50}


def _behind(agreement: Agreement, index: int) -> Lines:
    since, until = (boundary(agreement.start, index + step) for step in (-1, 0))
    used = [reading for reading in agreement.readings if since <= reading.at < until]
    if agreement.plan == "wire":
        return {"calls": _rounded(max(0, len(used) - 20) * 375, 100)}
    if agreement.plan == "mill":
        tokens = sum(reading.tokens for reading in used)
        dear, cheap = min(tokens, 1000), max(0, tokens - 1000)
        return {"tokens": _rounded(dear * 150 + cheap * 105, 1000)}
    if agreement.plan == "vault":
        packages = -(-sum(reading.bytes for reading in used) // 7)
        return {"bytes": _rounded(packages * 333, 10)}
    return {}


def _rounded(numerator: int, denominator: int) -> int:
    """Round half away from zero; nothing here is negative."""
    return (2 * numerator + denominator) // (2 * denominator)
