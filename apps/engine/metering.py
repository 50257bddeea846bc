"""Meters over raw events: which events count, by what they are grouped, and what a window holds.

`aggregation` says what readings come to; this says which readings there are. It is the reference
for filters, groups, windows, duplicates and for units that are charged by the day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from apps.engine.aggregation import Aggregation, Reading, aggregate, in_order, level_time
from apps.engine.calendar import zone
from apps.engine.decimals import NotADecimal, decimal_of
from apps.engine.period import Period, utc
from apps.engine.price_rules import QuantityRounding, round_quantity

OPERATION = "operation_type"
REMOVE = "remove"
NOTHING = Fraction(0)
DAY = timedelta(days=1)
MICRO = timedelta(microseconds=1)

Group = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class MeteredEvent:
    """An event as a meter sees it: its time, its data by name, and what makes it the same event.

    Of two events with one `identity` the later copy stands; None is never a duplicate.
    """

    at: datetime
    data: Mapping[str, object]
    identity: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events a price or meter counts.

    Every name of `include` must have one of its values. An entry of `exclude` takes away the events
    that have one of the values under every one of its names; empty lists of values say nothing.
    """

    include: Mapping[str, frozenset[str]] = field(default_factory=dict)
    exclude: tuple[Mapping[str, frozenset[str]], ...] = ()

    def passes(self, data: Mapping[str, object]) -> bool:
        """Whether an event with that data counts."""
        if not _has(data, self.include):
            return False
        return not any(any(entry.values()) and _has(data, entry) for entry in self.exclude)


def _has(data: Mapping[str, object], wanted: Mapping[str, frozenset[str]]) -> bool:
    return all(text_of(data.get(name)) in values for name, values in wanted.items() if values)


@dataclass(frozen=True, slots=True)
class ByDay:
    """Units count for the local calendar days they were there, of the `days` of a full period.

    The day a unit comes and the day it goes both count. Without `days` the window is a full period;
    `kept_days` fixes the days of every event.
    """

    days: int | None = None
    zone: str = "UTC"
    kept_days: int | None = None

    def __post_init__(self) -> None:
        if self.days is not None and self.days < 1:
            raise ValueError(f"a period has at least one day: {self.days}")
        zone(self.zone)

    def whole(self, during: Period) -> int:
        """The days of a full period."""
        return self.days or self.between(during.start, during.end - MICRO)

    def between(self, first: datetime, last: datetime) -> int:
        """The days from the one instant to the other, both days counted."""
        return (self.day_of(last) - self.day_of(first)).days + 1

    def day_of(self, moment: datetime) -> date:
        """The local day of an instant."""
        return moment.astimezone(zone(self.zone)).date()


@dataclass(frozen=True, slots=True)
class Metering:
    """The rule of a meter.

    `carries_over`: what happened before the window still stands in it. `clamp`: a result below zero
    is zero. The result is rounded last.
    """

    aggregation: Aggregation
    property: str = ""
    events: EventFilter = EventFilter()
    carries_over: bool = False
    clamp: bool = False
    by_day: ByDay | None = None
    rounding: QuantityRounding = QuantityRounding.NONE
    places: int = 0


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a meter holds for a window: the quantity, and how many events it was read from."""

    value: Fraction
    count: int


class WindowSize(StrEnum):
    """The windows that usage is shown in, on the local clock; weeks begin on Monday."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def measure(
    rule: Metering,
    events: Iterable[MeteredEvent],
    during: Period,
    *,
    level: Decimal | Fraction = NOTHING,
    whole_days: int | None = None,
) -> Measurement:
    """One quantity for the window.

    A weighted sum starts from `level` and is a mean over `whole_days` where the window is only a
    part of a period. Raises ValueError for an aggregation that does not go by the day.
    """
    readings = _readings(rule, events, during)
    if rule.aggregation is Aggregation.WEIGHTED_SUM:
        return _weighted(rule, readings, during, Fraction(level), whole_days)
    value = (
        aggregate(rule.aggregation, readings)
        if rule.by_day is None
        else sum(shares_by_day(rule, readings, during), NOTHING)
    )
    return Measurement(_finished(rule, value), _count(rule, readings))


def measure_groups(
    rule: Metering,
    events: Iterable[MeteredEvent],
    during: Period,
    by: Sequence[str],
    *,
    levels: Mapping[Group, Decimal] | None = None,
    whole_days: int | None = None,
) -> dict[Group, Measurement]:
    """A quantity for every group that has events or a level; a missing name is its own group."""
    levels = levels or {}
    relevant = [event for event in events if _counts(rule, event, during)]
    groups = grouped(relevant, by)
    return {
        group: measure(
            rule,
            groups.get(group, ()),
            during,
            level=levels.get(group, Decimal(0)),
            whole_days=whole_days,
        )
        for group in sorted({*groups, *levels}, key=lambda g: [part or "" for part in g])
    }


def measure_windows(
    rule: Metering,
    events: Iterable[MeteredEvent],
    during: Period,
    size: WindowSize,
    zone_name: str = "UTC",
) -> list[tuple[Period, Measurement]]:
    """A quantity for every window that has events, in the order of time."""
    windows: dict[Period, list[MeteredEvent]] = {}
    for event in events:
        if during.contains(event.at) and rule.events.passes(event.data):
            windows.setdefault(window_of(event.at, size, zone_name), []).append(event)
    return [(window, measure(rule, windows[window], window)) for window in sorted(windows)]


def grouped(events: Iterable[MeteredEvent], by: Sequence[str]) -> dict[Group, list[MeteredEvent]]:
    """Events by the values under those names; None where an event has none."""
    found: dict[Group, list[MeteredEvent]] = {}
    for event in events:
        found.setdefault(tuple(text_of(event.data.get(name)) for name in by), []).append(event)
    return found


def without_duplicates(events: Iterable[MeteredEvent]) -> list[MeteredEvent]:
    """Every event once, in the place of its first copy and with the content of its last."""
    found: dict[tuple[str, ...] | int, MeteredEvent] = {}
    for position, event in enumerate(events):
        found[position if event.identity is None else event.identity] = event
    return list(found.values())


def shares_by_day(rule: Metering, readings: Iterable[Reading], during: Period) -> list[Fraction]:
    """What every event adds by its days, in the order of time; for unique_count every stay.

    Stays of one text that touch on a day count the day once. Raises ValueError for an aggregation
    that does not add up over days, or without a rule for days.
    """
    by_day = rule.by_day
    if by_day is None:
        raise ValueError("the meter does not go by the day")
    ordered, whole = in_order(readings), by_day.whole(during)
    match rule.aggregation:
        case Aggregation.UNIQUE_COUNT:
            return [Fraction(days, whole) for days in _stay_days(by_day, ordered, during)]
        case Aggregation.SUM | Aggregation.COUNT:
            counted = rule.aggregation is Aggregation.COUNT
            return [
                Fraction(1 if counted else r.value or 0) * _days(by_day, r.at, during) / whole
                for r in ordered
                if counted or r.value is not None
            ]
        case other:
            raise ValueError(f"{other} does not add up over days")


def events_by_day(rule: Metering, events: Iterable[MeteredEvent], during: Period) -> list[Fraction]:
    """What every event that counts adds by its days; see `shares_by_day`."""
    return shares_by_day(rule, _readings(rule, events, during), during)


def window_of(moment: datetime, size: WindowSize, zone_name: str = "UTC") -> Period:
    """The window that the instant lies in. A day of a clock change has 23 or 25 hours."""
    local = moment.astimezone(zone(zone_name))
    if size in (WindowSize.MINUTE, WindowSize.HOUR):
        past = timedelta(seconds=local.second, microseconds=local.microsecond)
        past += timedelta(minutes=local.minute) if size is WindowSize.HOUR else timedelta()
        start = utc(moment) - past
        return Period(start, start + _LENGTHS[size])
    first, following = _DATES[size](local.date())
    return Period(_midnight(first, zone_name), _midnight(following, zone_name))


_LENGTHS = {WindowSize.MINUTE: timedelta(minutes=1), WindowSize.HOUR: timedelta(hours=1)}


def _week(day: date) -> tuple[date, date]:
    monday = day - timedelta(days=day.weekday())
    return monday, monday + 7 * DAY


def _month(day: date) -> tuple[date, date]:
    first = day.replace(day=1)
    return first, (first + 31 * DAY).replace(day=1)


_DATES: dict[WindowSize, Callable[[date], tuple[date, date]]] = {
    WindowSize.DAY: lambda day: (day, day + DAY),
    WindowSize.WEEK: _week,
    WindowSize.MONTH: _month,
}


def _midnight(day: date, zone_name: str) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone(zone_name))


def text_of(value: object) -> str | None:
    """A value as filters, groups and unique counts compare it."""
    return None if value is None else str(value)


def _counts(rule: Metering, event: MeteredEvent, during: Period) -> bool:
    since = rule.carries_over or during.start <= utc(event.at)
    return since and utc(event.at) < during.end and rule.events.passes(event.data)


def _readings(rule: Metering, events: Iterable[MeteredEvent], during: Period) -> list[Reading]:
    return [
        _reading(rule, event, tie)
        for tie, event in enumerate(without_duplicates(events))
        if _counts(rule, event, during)
    ]


def _reading(rule: Metering, event: MeteredEvent, tie: int) -> Reading:
    found = event.data.get(rule.property)
    removes = event.data.get(OPERATION) == REMOVE
    return Reading(utc(event.at), _number(found), text_of(found), tie, removes)


def _number(found: object) -> Decimal | None:
    # The door refuses what is no number; an event that came another way adds nothing.
    try:
        return decimal_of(found)
    except NotADecimal:
        return None


def _count(rule: Metering, readings: Sequence[Reading]) -> int:
    match rule.aggregation:
        case Aggregation.COUNT:
            return len(readings)
        case Aggregation.UNIQUE_COUNT:
            return sum(reading.text is not None for reading in readings)
        case _:
            return sum(reading.value is not None for reading in readings)


def _weighted(
    rule: Metering,
    readings: Sequence[Reading],
    during: Period,
    level: Fraction,
    whole_days: int | None,
) -> Measurement:
    before = [reading for reading in readings if reading.at < during.start]
    inside = [reading for reading in readings if reading.at >= during.start]
    level += aggregate(Aggregation.SUM, before)
    whole = during.duration_micros if whole_days is None else whole_days * (DAY // MICRO)
    value = level_time(inside, during, level) / whole
    return Measurement(_finished(rule, value), _count(rule, inside))


def _finished(rule: Metering, value: Fraction) -> Fraction:
    if rule.clamp:
        value = max(NOTHING, value)
    return round_quantity(value, rule.rounding, rule.places)


def _days(by_day: ByDay, since: datetime, during: Period) -> int:
    if by_day.kept_days is not None:
        return by_day.kept_days
    return by_day.between(max(since, during.start), during.end - MICRO)


@dataclass(slots=True)
class _Stay:
    """The time that a text was there."""

    text: str
    first: datetime
    last: datetime


def _stays(ordered: Iterable[Reading], end: datetime) -> list[_Stay]:
    """Every stay from being added to being removed, in the order of the additions."""
    stays: list[_Stay] = []
    present: dict[str, _Stay] = {}
    for reading in ordered:
        text = reading.text
        if text is None:
            continue
        if reading.removes:
            if text in present:
                present.pop(text).last = reading.at
        elif text not in present:
            present[text] = _Stay(text, reading.at, end)
            stays.append(present[text])
    return stays


def _stay_days(by_day: ByDay, ordered: Iterable[Reading], during: Period) -> list[int]:
    """The days of every stay within the period that no earlier stay of its text has counted."""
    counted: dict[str, date] = {}
    days = []
    for stay in _stays(ordered, during.end - MICRO):
        if stay.last < during.start:
            days.append(0)
            continue
        first, last = by_day.day_of(max(stay.first, during.start)), by_day.day_of(stay.last)
        if stay.text in counted:
            first = max(first, counted[stay.text] + DAY)
        days.append(max(0, (last - first).days + 1))
        counted[stay.text] = last
    return days
