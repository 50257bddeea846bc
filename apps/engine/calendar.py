"""Billing cycles: anchor + k × interval on the customer's wall clock, tiling time in UTC."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import cache, lru_cache
from typing import TypeVar
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


# A date or a wall clock: calendar arithmetic is the same on both.
_Day = TypeVar("_Day", bound=date)

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

    @classmethod
    def of(cls, name: str, count: int = 1) -> Interval:
        """Read an interval by name: a unit, or `half_year`, which is six months.

        Raises ValueError for another name or a count below one.
        """
        if name == "half_year":
            return cls(Unit.MONTH, 6 * count)
        return cls(Unit(name), count)

    @property
    def counts_months(self) -> bool:
        """Whether it counts months (a quarter, a year), so that a day of the month can move."""
        return self.unit in _MONTHS

    def after(self, wall: _Day, steps: int) -> _Day:
        """The wall clock, or the date, `steps` intervals later (or earlier), in one stride.

        Clamped to the end of a shorter month. One stride from the anchor, never a chain of steps,
        is what brings the 31st back after February.
        """
        if self.unit in _DAYS:
            return wall + timedelta(days=_DAYS[self.unit] * self.count * steps)
        months = wall.year * 12 + wall.month - 1 + _MONTHS[self.unit] * self.count * steps
        year, month = months // 12, months % 12 + 1
        return wall.replace(year=year, month=month, day=min(wall.day, monthrange(year, month)[1]))

    def steps_between(self, start: _Day, end: _Day) -> int:
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
        return _boundary(self, k)

    def _computed(self, k: int) -> datetime:
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

    def period_at(self, moment: datetime, *, since: datetime | None = None) -> Period:
        """The period that contains the moment, cut short where it starts before `since`.

        `since` is where a subscription starts off its grid: its first period is a stub. Raises
        ValueError for a moment before it.
        """
        period = self.period(self.index_at(moment))
        if since is None:
            return period
        if utc(moment) < utc(since):
            raise ValueError(f"{moment} lies before the first period, which starts at {since}")
        return Period(max(period.start, utc(since)), period.end)

    def index_at(self, moment: datetime) -> int:
        """The k whose period contains the moment."""
        moment = utc(moment)
        k = self.interval.steps_between(self._wall(self.anchor), self._wall(moment))
        while self.boundary(k) > moment:
            k -= 1
        while self.boundary(k + 1) <= moment:
            k += 1
        return k

    def next_after(self, moment: datetime, *, inclusive: bool = False) -> datetime:
        """The first boundary after the moment; with `inclusive`, one that falls on it counts."""
        k = self.index_at(moment)
        if inclusive and self.boundary(k) == utc(moment):
            return self.boundary(k)
        return self.boundary(k + 1)

    def last_before(self, moment: datetime, *, inclusive: bool = False) -> datetime:
        """The last boundary before the moment; with `inclusive`, one that falls on it counts."""
        k = self.index_at(moment)
        if not inclusive and self.boundary(k) == utc(moment):
            return self.boundary(k - 1)
        return self.boundary(k)

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


# A Monday and the first day of a month, of a quarter, of a year and of a century: every calendar
# unit starts here, so counting from it gives the calendar's own grid.
_CALENDAR_ORIGIN = datetime(2001, 1, 1)  # noqa: DTZ001 - a wall clock in whichever zone


@cache
def calendar_cycle(interval: Interval, timezone: str) -> Cycle:
    """The grid of the calendar itself in that zone: local midnights, Mondays, firsts of the month.

    Quarters start in January, April, July and October, half-years in January and July. Raises
    UnknownTimezone.
    """
    return Cycle(_CALENDAR_ORIGIN.replace(tzinfo=zone(timezone)), interval, timezone)


@lru_cache(maxsize=2**12)
def _boundary(cycle: Cycle, k: int) -> datetime:
    # A month end asks for the same few boundaries of the same few cycles tens of times a customer,
    # one customer after the other.
    return cycle._computed(k)


def calendar_start(moment: datetime, interval: Interval, timezone: str) -> datetime:
    """The start of the calendar day, week, month … that contains the moment, in UTC."""
    return calendar_cycle(interval, timezone).last_before(moment, inclusive=True)


def anniversary_cycle(start: datetime, interval: Interval, timezone: str) -> Cycle:
    """The grid that starts at the local midnight before `start`: periods are whole local days."""
    return Cycle(calendar_start(start, Interval(Unit.DAY), timezone), interval, timezone)


def local_date(moment: datetime, local: tzinfo) -> date:
    """The calendar day on which the moment falls there; raises ValueError for a naive moment."""
    return utc(moment).astimezone(local).date()


def whole_intervals(start: date, end: date, interval: Interval) -> int:
    """How many whole intervals counted from `start` are over by `end`; 0 before the first is."""
    k = interval.steps_between(start, end) + 1
    while k > 0 and interval.after(start, k) > end:
        k -= 1
    return max(k, 0)


def usage_reset(
    cycle: Cycle, at: datetime, *, since: datetime, until: datetime | None = None
) -> datetime:
    """When an allowance in use at `at` starts anew: local midnight of the cycle's next boundary.

    Daily allowances start anew at the next local midnight, whatever hour the cycle is anchored at.
    `until` is the end of the subscription, which comes first if it is earlier. Raises ValueError
    for a moment before `since`, the subscription's start.
    """
    if utc(at) < utc(since):
        raise ValueError(f"nothing is used at {at}, before the subscription starts at {since}")
    day = Interval(Unit.DAY)
    if cycle.interval == day:
        reset = calendar_cycle(day, cycle.timezone).next_after(at)
    else:
        reset = calendar_start(cycle.next_after(at), day, cycle.timezone)
    return reset if until is None else min(reset, utc(until))
