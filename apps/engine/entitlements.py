"""Limits as arithmetic: what several grants come to, since when is counted, how much is left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from apps.engine.calendar import zone
from apps.engine.decimals import EXACT, ZERO
from apps.engine.metering import WindowSize, window_of
from apps.engine.period import Period, utc

UNLIMITED = None


class Reset(StrEnum):
    """When a limit counts anew."""

    NONE = "none"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"
    PERIOD = "period"


class Behaviour(StrEnum):
    """What happens where a limit is reached."""

    ALLOW = "allow"
    WARN = "warn"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Counting:
    """Since when usage counts against a limit, and when it counts anew; None: never."""

    start: datetime
    end: datetime | None


@dataclass(frozen=True, slots=True)
class Standing:
    """A limit (None: unlimited), what was used of it and what is set aside for somebody."""

    limit: Decimal | None
    used: Decimal
    reserved: Decimal = ZERO

    @property
    def remaining(self) -> Decimal | None:
        """What is left, never below zero; None where there is no end."""
        if self.limit is None:
            return None
        return max(ZERO, EXACT.subtract(self.limit, self.taken))

    @property
    def taken(self) -> Decimal:
        """What was used and what is set aside."""
        return EXACT.add(self.used, self.reserved)

    def has_room_for(self, amount: Decimal) -> bool:
        """Whether so much more stays within the limit; the limit itself is inside."""
        return self.limit is None or EXACT.add(self.taken, amount) <= self.limit


def counting(
    reset: Reset, at: datetime, *, timezone: str, period: Period, since: datetime
) -> Counting:
    """Return the time that counts at the instant.

    Hours, days, weeks (from Monday), months and years are those of the local clock in `timezone`;
    `period` is the billing period and `since` when the agreement began.
    """
    if reset is Reset.NONE:
        return Counting(utc(since), None)
    if reset is Reset.PERIOD:
        return Counting(period.start, period.end)
    window = _year(at, timezone) if reset is Reset.YEAR else _window(reset, at, timezone)
    return Counting(window.start, window.end)


def sum_of_grants(values: Iterable[int | None]) -> int | None:
    """Add up what several grants of one agreement allow; one without end has none."""
    total = 0
    for value in values:
        if value is None:
            return UNLIMITED
        total += value
    return total


def _window(reset: Reset, at: datetime, timezone: str) -> Period:
    return window_of(at, WindowSize(reset.value), timezone)


def _year(at: datetime, timezone: str) -> Period:
    first = at.astimezone(zone(timezone)).year
    start, end = (_midnight(date(year, 1, 1), timezone) for year in (first, first + 1))
    return Period(start, end)


def _midnight(day: date, timezone: str) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone(timezone))
