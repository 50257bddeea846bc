"""Shares of a period and what changes inside it cost, once more, day by day.

Written from the conventions (docs/algorithms/proration.md) and not from the engine, which it does
not import. Spans are pairs of instants; amounts are minor units.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise

from tests.engine import oracle

NOTHING, WHOLE = Fraction(0), Fraction(1)
INSTANT = timedelta(microseconds=1)
Span = tuple[datetime, datetime]


def share(mode: str, zone: str, part: Span, whole: Span) -> Fraction:
    """What a part of a period costs of its price, by one of the ways to count."""
    start, end = max(part[0], whole[0]), min(part[1], whole[1])
    if start >= end or (mode == "none" and (start, end) != whole):
        return NOTHING
    if (start, end) == whole or mode == "full":
        return WHOLE
    if mode == "second":
        return oracle.seconds(start, end) / oracle.seconds(*whole)
    if mode == "fixed_30":
        return _fixed(zone, (start, end), whole)
    counted = {"day": mornings, "day_inclusive": days}[mode]
    return _ratio(len(counted(zone, start, end)), len(counted(zone, *whole)))


def share_after(mode: str, zone: str, at: datetime, whole: Span) -> Fraction:
    """What is charged for what starts then and stays."""
    return share(mode, zone, (at, whole[1]), whole)


def unused_after(mode: str, zone: str, at: datetime, whole: Span, day_used: bool) -> Fraction:
    """What is given back of what ends then; a termination may use its day up."""
    if at <= whole[0]:
        return WHOLE
    if mode == "full":
        return NOTHING
    if day_used and mode == "day_inclusive":
        today = oracle.wall_clock(at, zone).date()
        touched = days(zone, *whole)
        return _ratio(len([day for day in touched if day > today]), len(touched))
    return share_after(mode, zone, at, whole)


def stretches(mode: str, zone: str, cuts: Sequence[datetime], whole: Span) -> list[Fraction]:
    """The shares of consecutive stretches from cut to cut; a shared day is the later one's."""
    parts = list(pairwise(cuts))
    if mode == "day_inclusive":
        every = len(days(zone, *whole))
        mine = [days(zone, *part) for part in parts]
        later = [*mine[1:], set[date]()]
        return [_ratio(len(a - b), every) for a, b in zip(mine, later, strict=True)]
    if mode in ("none", "full"):
        lived = oracle.seconds(cuts[0], cuts[-1])
        due = mode == "full" or (cuts[0], cuts[-1]) == whole
        return [oracle.seconds(*part) / lived if due else NOTHING for part in parts]
    return [share(mode, zone, part, whole) for part in parts]


def days(zone: str, start: datetime, end: datetime) -> set[date]:
    """Every local day that the span touches."""
    first, last = (oracle.wall_clock(at, zone).date() for at in (start, end - INSTANT))
    return {first + timedelta(days=n) for n in range((last - first).days + 1)}


def mornings(zone: str, start: datetime, end: datetime) -> set[date]:
    """The local days of the span, that it starts on but not that it ends on."""
    first, last = (oracle.wall_clock(at, zone).date() for at in (start, end))
    found = set()
    while first < last:
        found.add(first)
        first += timedelta(days=1)
    return found


def plan_change(
    billed: Sequence[int], new: Sequence[int], unused: Fraction, left: Fraction, credited: int
) -> tuple[int, int]:
    """What a change of plan gives back and charges; no more goes back than was billed and kept."""
    available = max(0, sum(billed) - credited)
    back = 0
    for amount in billed:
        back += max(0, min(oracle.rounded(amount * unused), available - back))
    return back, sum(oracle.rounded(amount * left) for amount in new)


def high_water(prices: Sequence[Fraction]) -> list[int]:
    """Rises above the highest price so far are paid in full; nothing else is."""
    charges, highest = [oracle.rounded(prices[0])], prices[0]
    for price in prices[1:]:
        charges.append(oracle.rounded(max(price - highest, NOTHING)))
        highest = max(price, highest)
    return charges


def _fixed(zone: str, part: Span, whole: Span) -> Fraction:
    if len(mornings(zone, *whole)) < 28:
        return _ratio(len(mornings(zone, *part)), len(mornings(zone, *whole)))
    return _ratio(_thirtieths(zone, part), max(30, _thirtieths_of_months(zone, whole)))


def _thirtieths(zone: str, span: Span) -> int:
    start, end = (oracle.wall_clock(at, zone) for at in span)
    return (end.year * 360 + end.month * 30 + end.day) - (
        start.year * 360 + start.month * 30 + start.day
    )


def _thirtieths_of_months(zone: str, span: Span) -> int:
    start, end = (oracle.wall_clock(at, zone).replace(day=1) for at in span)
    return (end.year - start.year) * 360 + (end.month - start.month) * 30


def _ratio(part: int, whole: int) -> Fraction:
    # A period within one day has no midnight; it counts as one day.
    return min(max(Fraction(part, whole or 1), NOTHING), WHOLE)
