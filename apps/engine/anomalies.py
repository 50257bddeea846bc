"""Usage that is not what it usually is: what is expected of an hour, and how far it is from that.

An hour is compared with the same hour of the week before, in the organization's zone; with less to
look back on with the same hour of the day, and with least of all with any hour. What is expected is
a median, the spread around it a median of absolute deviations: half of what is looked at may be
wrong without moving either. Quantities are whole millionths; a score is a number of spreads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from itertools import chain
from math import isqrt
from zoneinfo import ZoneInfo

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)
ONE = 10**6
AROUND = (0, -2, -1, 1, 2)  # the hour itself first, then those whose spread is pooled with its own
# A median of absolute deviations as a standard deviation, and too small for few values by these
# factors (Croux and Rousseeuw, "Time-efficient algorithms for two highly robust estimators of
# scale", 1992); from ten values on by n / (n - 0.8).
NORMAL = Fraction(14826, 10000)
FEW = {
    n: Fraction(thousandths, 1000)
    for n, thousandths in enumerate((1000, 1196, 1495, 1363, 1206, 1200, 1140, 1129, 1107), 1)
}


class Basis(StrEnum):
    """What an hour was compared with."""

    HOUR_OF_WEEK = "hour_of_week"
    HOUR_OF_DAY = "hour_of_day"
    OVERALL = "overall"


class Direction(StrEnum):
    """Which way an hour is off."""

    SPIKE = "spike"
    DROP = "drop"


class Severity(StrEnum):
    """How much an hour is off, from least to most."""

    WARNING = "warning"
    SERIOUS = "serious"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Where it stands: 0 is the least."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """From when an hour counts as off, and until when.

    `spike`, `drop` and `closes` are scores; a drop's cannot grow beyond that of silence. `at_once`
    is one that needs no second hour. `band` is how many spreads wide is nothing to speak of.
    `minimum` is how many events an hour has, or is expected to have, before it is judged at all.
    `floor` is the least spread, as a share of what is expected.
    """

    weeks: int = 6
    least_weeks: int = 4
    days: int = 28
    least_days: int = 7
    least_hours: int = 48
    spike: int = 6
    drop: int = 3
    closes: int = 2
    at_once: int = 12
    band: int = 3
    minimum: int = 20
    floor: Fraction = Fraction(1, 10)


USUAL = Sensitivity()


@dataclass(frozen=True, slots=True)
class Lookback:
    """The hours (UTC) that say what is expected of one; the first slot is that of the hour."""

    basis: Basis
    slots: tuple[tuple[datetime, ...], ...]

    @property
    def hours(self) -> frozenset[datetime]:
        """Every hour that has to be known."""
        return frozenset(chain.from_iterable(self.slots))


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is expected of an hour, in millionths, and the extremes of what it is compared with."""

    basis: Basis
    samples: int
    expected: int
    spread: int
    lowest: int
    highest: int

    def band(self, sensitivity: Sensitivity = USUAL) -> tuple[int, int]:
        """Return from where to where an hour is nothing to speak of."""
        wide = self.spread * sensitivity.band
        return max(0, self.expected - wide), self.expected + wide


@dataclass(frozen=True, slots=True)
class Judgement:
    """How far an hour is from its baseline, in spreads, and which way.

    `begins` tells whether it is enough for an anomaly to begin, `lasts` whether one goes on.
    """

    direction: Direction
    score: Fraction
    begins: bool
    lasts: bool
    severity: Severity


@dataclass(frozen=True, slots=True)
class Cause:
    """The value of a dimension that most of a deviation is of; `share` is how much, 0 to 1."""

    dimension: str
    value: str | None
    share: Fraction


def millionths(quantity: Decimal) -> int:
    """Return a quantity in whole millionths; what is finer does not matter here."""
    return int(quantity * ONE)


def back(at: datetime, timezone: ZoneInfo, days: int) -> datetime:
    """Return the hour (UTC) that many days before by the zone's wall clock, summer time or not.

    Where the clock was moved over it, or where zones differ by half an hour, the whole hour next
    below.
    """
    wall = at.astimezone(timezone).replace(tzinfo=None) - timedelta(days=days)
    found = wall.replace(tzinfo=timezone).astimezone(UTC)
    return found.replace(minute=0, second=0, microsecond=0)


def lookback(
    at: datetime, timezone: ZoneInfo, since: datetime, sensitivity: Sensitivity = USUAL
) -> Lookback | None:
    """Return what to compare the hour `at` with; `since` is the first hour of any usage.

    None while there is too little to say anything.
    """
    around = [at + offset * HOUR for offset in AROUND]
    weekly = [7 * week for week in range(1, sensitivity.weeks + 1)]
    daily = list(range(1, sensitivity.days + 1))
    for basis, steps, least in (
        (Basis.HOUR_OF_WEEK, weekly, sensitivity.least_weeks),
        (Basis.HOUR_OF_DAY, daily, sensitivity.least_days),
    ):
        if back(at, timezone, steps[least - 1]) - 2 * HOUR >= since:
            slots = tuple(_slot(hour, timezone, steps, since) for hour in around)
            return Lookback(basis, slots)
    every = tuple(at - n * HOUR for n in range(1, 169) if at - n * HOUR >= since)
    return Lookback(Basis.OVERALL, (every,)) if len(every) >= sensitivity.least_hours else None


def _slot(
    hour: datetime, timezone: ZoneInfo, steps: Iterable[int], since: datetime
) -> tuple[datetime, ...]:
    found = (back(hour, timezone, days) for days in steps)
    return tuple(one for one in found if one >= since)


def baseline(
    seen: Mapping[datetime, int], look: Lookback, sensitivity: Sensitivity = USUAL
) -> Baseline:
    """Return what the hours looked back on make of one; those that are not in `seen` were silent.

    The spread is pooled over the hours around, each around its own median: once in units of that
    median's square root, as counts scatter, and once as a share of it, as sums do. The wider one
    stands. It is never less than that of a random count, nor than a tenth of what is expected.
    """
    slots = [[seen.get(hour, 0) for hour in slot] for slot in look.slots]
    expected = median(slots[0])
    correction = NORMAL * _few(len(slots[0]))
    root = _root(expected)
    as_counts = median([one for slot in slots for one in _standardised(slot, _root)]) * root
    as_shares = median([one for slot in slots for one in _standardised(slot, _whole)]) * expected
    pooled = int(correction * max(as_counts, as_shares)) // ONE
    everything = list(chain.from_iterable(slots))
    return Baseline(
        basis=look.basis,
        samples=len(slots[0]),
        expected=expected,
        spread=max(pooled, root, int(expected * sensitivity.floor), ONE),
        lowest=min(everything),
        highest=max(everything),
    )


def _standardised(slot: Sequence[int], unit: Callable[[int], int]) -> list[int]:
    middle = median(slot)
    one = unit(middle)
    return [abs(value - middle) * ONE // one for value in slot]


def _whole(value: int) -> int:
    return max(value, ONE)


def _root(value: int) -> int:
    """Return the square root of millionths in millionths, at least that of one."""
    return max(isqrt(value * ONE), ONE)


def _few(count: int) -> Fraction:
    return FEW.get(count, Fraction(10 * count, 10 * count - 8))


def median(values: Sequence[int]) -> int:
    """Return the middle value, of an even number the mean of both, rounded down."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) // 2


def judge(
    value: int,
    found: Baseline,
    *,
    events: int,
    usual_events: int,
    sensitivity: Sensitivity = USUAL,
) -> Judgement:
    """Judge an hour: its value in millionths, its events, and how many are usual.

    For an anomaly to begin it must also be twice or half of what is expected, and lie beyond
    everything that it is compared with: a spike by a quarter, for bursts come in all sizes.
    """
    direction = Direction.SPIKE if value >= found.expected else Direction.DROP
    score = Fraction(abs(value - found.expected), found.spread)
    if direction is Direction.SPIKE:
        enough = events >= sensitivity.minimum
        beyond = 4 * value > 5 * found.highest and value >= 2 * found.expected
        far = score >= sensitivity.spike
    else:
        enough = usual_events >= sensitivity.minimum
        beyond = value < found.lowest and 2 * value <= found.expected
        far = score >= sensitivity.drop
    return Judgement(
        direction=direction,
        score=score,
        begins=enough and beyond and far,
        lasts=score >= sensitivity.closes,
        severity=_severity(direction, value, found, score),
    )


def _severity(direction: Direction, value: int, found: Baseline, score: Fraction) -> Severity:
    """A spike is as bad as its score; a drop, whose score cannot grow, as what is left."""
    if direction is Direction.DROP:
        if value <= 0:
            return Severity.CRITICAL
        return Severity.SERIOUS if 4 * value <= found.expected else Severity.WARNING
    if score >= 4 * USUAL.spike:
        return Severity.CRITICAL
    return Severity.SERIOUS if score >= 2 * USUAL.spike else Severity.WARNING


def begins(now: Judgement, before: Judgement | None, sensitivity: Sensitivity = USUAL) -> bool:
    """Tell whether an anomaly begins: at once when an hour is far off, else with the second."""
    if not now.begins:
        return False
    if now.score >= sensitivity.at_once:
        return True
    return before is not None and before.begins and before.direction is now.direction


def cause(
    direction: Direction,
    seen: Mapping[str, Mapping[str | None, int]],
    usual: Mapping[str, Mapping[str | None, Sequence[int]]],
) -> Cause | None:
    """Return the value of a dimension that the largest share of the deviation is of.

    `seen` and `usual` are by dimension and value, in millionths: of the hour, and of every hour of
    its slot. A dimension with one value says nothing. Ties go to the first by name.
    """
    sign = 1 if direction is Direction.SPIKE else -1
    found = [
        one
        for dimension in sorted(seen.keys() | usual.keys())
        for one in _shares(dimension, sign, seen.get(dimension, {}), usual.get(dimension, {}))
    ]
    return max(found, key=lambda one: one.share, default=None)


def _shares(
    dimension: str,
    sign: int,
    seen: Mapping[str | None, int],
    usual: Mapping[str | None, Sequence[int]],
) -> list[Cause]:
    values = sorted(seen.keys() | usual.keys(), key=lambda value: (value is None, value or ""))
    if len(values) < 2:
        return []
    off = {
        value: max(0, sign * (seen.get(value, 0) - median(usual.get(value, (0,)))))
        for value in values
    }
    total = sum(off.values())
    return [Cause(dimension, value, Fraction(part, total)) for value, part in off.items() if part]
