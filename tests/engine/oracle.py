"""The engine's rules once more, slowly, on Fractions, written without looking at the engine.

Nothing here imports `apps.engine`: a mistake would have to be made twice to pass unseen.
"""

from __future__ import annotations

import calendar
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo


def rounded(exact: Fraction) -> int:
    """Half away from zero, by floor and ceiling."""
    half = Fraction(1, 2)
    return math.floor(exact + half) if exact > 0 else math.ceil(exact - half)


def price(terms: Mapping[str, Any], quantity: Fraction, included: Fraction) -> Fraction:
    """The price in major units, exact."""
    left = quantity - included if quantity > included else Fraction(0)
    if terms["model"] == "flat":
        return Fraction(terms["amount"])
    if terms["model"] == "per_unit":
        return left * Fraction(terms["unit_amount"])
    if terms["model"] == "package":
        packages = 0
        while packages * Fraction(terms["package_size"]) < left:
            packages += 1
        return packages * Fraction(terms["unit_amount"])
    if left == 0 and not terms.get("zero_quantity_flat", True):
        return Fraction(0)
    tiers = _bounded(terms["tiers"])
    return _volume(tiers, left) if terms["model"] == "volume" else _graduated(tiers, left)


Bounded = tuple[Fraction, Fraction | None, Fraction, Fraction]


def _bounded(tiers: Sequence[Mapping[str, Any]]) -> list[Bounded]:
    found, low = [], Fraction(0)
    for tier in tiers:
        high = None if tier["up_to"] is None else Fraction(tier["up_to"])
        found.append((low, high, Fraction(tier["unit_amount"]), Fraction(tier["flat_amount"])))
        low = high if high is not None else low
    return found


def _volume(tiers: list[Bounded], left: Fraction) -> Fraction:
    for low, high, unit, flat in reversed(tiers):
        if left > low or low == 0:
            assert high is None or left <= high
            return left * unit + flat
    raise AssertionError


def _graduated(tiers: list[Bounded], left: Fraction) -> Fraction:
    total = Fraction(0)
    for low, high, unit, flat in tiers:
        above = max(left - low, Fraction(0))
        beyond = max(left - high, Fraction(0)) if high is not None else Fraction(0)
        total += (above - beyond) * unit
        if above > 0 or low == 0:
            total += flat
    return total


def seconds(start: datetime, end: datetime) -> Fraction:
    """Elapsed seconds, exact, by way of the epoch."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    micro = timedelta(microseconds=1)
    return Fraction((end - epoch) // micro - (start - epoch) // micro, 1_000_000)


def split(total: int, weights: Sequence[Fraction]) -> list[int]:
    """Largest remainder, one spare unit at a time."""
    sign, size = (-1, -total) if total < 0 else (1, total)
    exact = [size * w / sum(weights) for w in weights]
    parts = [math.floor(e) for e in exact]
    for _ in range(size - sum(parts)):
        lost = [e - p for e, p in zip(exact, parts, strict=True)]
        parts[lost.index(max(lost))] += 1
    return [sign * p for p in parts]


def months_later(wall: datetime, months: int) -> datetime:
    """One month at a time, remembering the anchor's day."""
    year, month = wall.year, wall.month
    for _ in range(months):
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    day = wall.day
    while day > calendar.monthrange(year, month)[1]:
        day -= 1
    return wall.replace(year=year, month=month, day=day)


def wall_clock(moment: datetime, zone: str) -> datetime:
    """What a clock in the zone shows."""
    return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def first_instant(wall: datetime, zone: str) -> datetime:
    """The first instant at which clocks show `wall`; if never, `wall` plus the skipped gap."""
    tz = ZoneInfo(zone)

    def shown(moment: datetime) -> datetime:
        return moment.astimezone(tz).replace(tzinfo=None)

    middle = wall.replace(tzinfo=UTC)
    around = [middle + timedelta(minutes=15 * i) for i in range(-4 * 48, 4 * 48 + 1)]
    offsets = {m.astimezone(tz).utcoffset() or timedelta() for m in around}
    found = [m for o in offsets if shown(m := middle - o) == wall]
    if found:
        return min(found)
    before, after = (
        max(m for m in around if shown(m) < wall),
        min(m for m in around if shown(m) > wall),
    )
    gap = (after.astimezone(tz).utcoffset() or timedelta()) - (
        before.astimezone(tz).utcoffset() or timedelta()
    )
    return first_instant(wall + gap, zone)
