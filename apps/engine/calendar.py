"""Billing cycles: anchor + k × interval on the customer's wall clock, tiling time in UTC."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from apps.engine.period import Period, utc


class UnknownTimezone(ValueError):
    """A zone name that the IANA database does not list."""


class Unit(StrEnum):
    """What an interval counts."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


_DAYS = {Unit.DAY: 1, Unit.WEEK: 7}
_MONTHS = {Unit.MONTH: 1, Unit.QUARTER: 3, Unit.YEAR: 12}


@cache
def zone(name: str) -> ZoneInfo:
    """The zone of that name, loaded once per process.

    Raises UnknownTimezone. ZoneInfo alone is not strict: it opens whatever file the name leads to.
    """
    if name not in _zone_names():
        raise UnknownTimezone(f"{name!r} is not a time zone")
    return ZoneInfo(name)


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


@dataclass(frozen=True, slots=True)
class Interval:
    """How long a billing period is: `count` of a calendar unit, at least one."""

    unit: Unit
    count: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "unit", Unit(self.unit))
        if type(self.count) is not int or self.count < 1:
            raise ValueError(f"an interval counts at least one {self.unit}: {self.count!r}")

    def after(self, wall: datetime, steps: int) -> datetime:
        """The wall clock `steps` intervals later (or earlier), in one stride.

        Clamped to the end of a shorter month. One stride from the anchor, never a chain of steps,
        is what brings the 31st back after February.
        """
        if self.unit in _DAYS:
            return wall + timedelta(days=_DAYS[self.unit] * self.count * steps)
        months = wall.year * 12 + wall.month - 1 + _MONTHS[self.unit] * self.count * steps
        year, month = months // 12, months % 12 + 1
        return wall.replace(year=year, month=month, day=min(wall.day, monthrange(year, month)[1]))

    def steps_between(self, start: datetime, end: datetime) -> int:
        """About how many intervals lie between two wall clocks; at most one off."""
        if self.unit in _DAYS:
            return (end - start).days // (_DAYS[self.unit] * self.count)
        months = (end.year - start.year) * 12 + end.month - start.month
        return months // (_MONTHS[self.unit] * self.count)


@dataclass(frozen=True, slots=True)
class Cycle:
    """The grid of billing periods of one subscription.

    Boundary k is the anchor's wall clock plus k intervals, in the zone, as an instant in UTC;
    boundary 0 is the anchor itself and k may be negative. A wall clock that a change of clocks
    skipped moves forward by the gap (02:30 → 03:30); one that happens twice means the first time.
    Raises UnknownTimezone, and ValueError for a naive anchor.

    Compute a boundary once and store it: zone rules change, and a billed period must not.
    """

    anchor: datetime
    interval: Interval
    timezone: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "anchor", utc(self.anchor))
        zone(self.timezone)

    def boundary(self, k: int) -> datetime:
        """The instant at which period k starts, in UTC; strictly increasing in k."""
        moment = self._instant(k)
        if self.interval != Interval(Unit.DAY):
            return moment
        following = self._instant(k + 1)
        if moment < following:
            return moment
        # The zone jumped the date line and skipped this whole day (Apia, 30 December 2011), so the
        # day's boundary moved onto the next one. Two daily periods share those 24 hours, in halves.
        before = self._instant(k - 1)
        return before + (following - before) // 2

    def period(self, k: int) -> Period:
        """Period k: from boundary k to boundary k + 1."""
        return Period(self.boundary(k), self.boundary(k + 1))

    def index_at(self, moment: datetime) -> int:
        """The k whose period contains the moment."""
        moment = utc(moment)
        k = self.interval.steps_between(self._wall(self.anchor), self._wall(moment))
        while self.boundary(k) > moment:
            k -= 1
        while self.boundary(k + 1) <= moment:
            k += 1
        return k

    def boundaries_between(self, start: datetime, end: datetime) -> list[datetime]:
        """Every boundary in [start, end), in order."""
        start, end = utc(start), utc(end)
        k = self.index_at(start)
        moment, found = self.boundary(k), []
        while moment < end:
            if moment >= start:
                found.append(moment)
            k += 1
            moment = self.boundary(k)
        return found

    def _instant(self, k: int) -> datetime:
        # The anchor may be the second of two equal wall clocks; it is a fact and stays as it is.
        if k == 0:
            return self.anchor
        wall = self.interval.after(self._wall(self.anchor), k)
        # fold=0 is the offset before a change of clocks: the first of two equal wall clocks, and
        # for a skipped one exactly the shift forward by the gap.
        return wall.replace(tzinfo=zone(self.timezone), fold=0).astimezone(UTC)

    def _wall(self, moment: datetime) -> datetime:
        return moment.astimezone(zone(self.timezone)).replace(tzinfo=None)
