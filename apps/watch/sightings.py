"""Looking at hours: what many organizations used in one of them, against what they usually do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from apps.engine import anomalies as engine
from apps.engine.aggregation import Aggregation
from apps.engine.anomalies import Baseline, Cause, Judgement, Lookback, millionths
from apps.engine.calendar import zone
from apps.usage import hours as usage_hours
from apps.usage import selectors as usage
from apps.usage.hours import SILENT, Hour, Series, Slice
from apps.usage.selectors import MeterFacts
from apps.watch.models import Anomaly
from apps.watch.selectors import Terms

HOUR = timedelta(hours=1)
# Whoever used nothing for so long has stopped, which is no news any more.
FORGET = timedelta(weeks=7)
Known = Mapping[datetime, Hour]


@dataclass(frozen=True, slots=True)
class Sighting:
    """One hour of one series, judged. `steady` tells whether its deviation may begin an anomaly
    now: far enough off, or the second hour in a row.
    """

    series: Series
    meter: MeterFacts
    hour: datetime
    value: int
    baseline: Baseline
    judgement: Judgement
    steady: bool
    look: Lookback

    @property
    def key(self) -> tuple[int, str]:
        """The organization and the meter."""
        return self.series.organization_id, self.meter.key


@dataclass(frozen=True, slots=True)
class Group:
    """Series that are compared with the same hours."""

    look: Lookback
    series: list[Series]


@dataclass(frozen=True, slots=True)
class Eye:
    """What a run knows beforehand: the zones and terms of organizations, and the meters by id."""

    zones: Mapping[int, str]
    terms: Mapping[int, Terms]
    meters: Mapping[int, MeterFacts]

    def sightings(self, organization_ids: Iterable[int], hour: datetime) -> list[Sighting]:
        """Judge one hour (UTC) of all that these organizations use, in a statement for each zone
        and length of history, and one more for where a second hour decides; needs the ops scope.
        """
        watched = [one for one in organization_ids if self.terms[one].watched]
        every = usage_hours.series(watched, since=hour - FORGET)
        found = self._judged([one for one in every if one.first_hour < hour], hour)
        unsure = [one for one in found if one.judgement.begins and not one.steady]
        before = {
            one.key: one.judgement
            for one in self._judged([one.series for one in unsure], hour - HOUR)
        }
        return [_sure(one, before.get(one.key)) for one in found]

    def _judged(self, every: Sequence[Series], hour: datetime) -> list[Sighting]:
        return [
            sighting
            for group in self._groups(every, hour)
            for sighting in self._judged_group(group, hour)
        ]

    def _groups(self, every: Sequence[Series], hour: datetime) -> list[Group]:
        """Group series by what they are compared with; only a short history makes a difference."""
        groups: dict[tuple[str, datetime], Group | None] = {}
        for one in every:
            name = self.zones[one.organization_id]
            since = max(one.first_hour, hour - FORGET)
            if (name, since) not in groups:
                look = engine.lookback(hour, zone(name), since)
                groups[name, since] = None if look is None else Group(look, [])
            group = groups[name, since]
            if group is not None:
                group.series.append(one)
        return [group for group in groups.values() if group is not None]

    def _judged_group(self, group: Group, hour: datetime) -> list[Sighting]:
        pairs = [(one.organization_id, one.meter_id) for one in group.series]
        known = usage_hours.hours(pairs, {hour, *group.look.hours})
        return [
            self._sighting(one, known.get(pair, {}), group.look, hour)
            for one, pair in zip(group.series, pairs, strict=True)
        ]

    def _sighting(self, one: Series, known: Known, look: Lookback, hour: datetime) -> Sighting:
        meter = self.meters[one.meter_id]
        read = reading_of(meter)
        found = engine.baseline({at: read(seen) for at, seen in known.items()}, look)
        now = known.get(hour, SILENT)
        judgement = engine.judge(
            read(now),
            found,
            events=now.events,
            usual_events=engine.median([known.get(at, SILENT).events for at in look.slots[0]]),
            sensitivity=self.terms[one.organization_id].sensitivity,
        )
        steady = engine.begins(judgement, None)
        return Sighting(one, meter, hour, read(now), found, judgement, steady, look)


def _sure(one: Sighting, before: Judgement | None) -> Sighting:
    if one.steady or before is None or not engine.begins(one.judgement, before):
        return one
    return Sighting(
        one.series, one.meter, one.hour, one.value, one.baseline, one.judgement, True, one.look
    )


def reading_of(meter: MeterFacts) -> Callable[[Hour], int]:
    """Return what of an hour is watched: the sum where values add up, else how many events."""
    if meter.aggregation is Aggregation.SUM:
        return lambda hour: millionths(hour.total)
    return lambda hour: hour.events * engine.ONE


def cause_of(one: Sighting) -> Cause | None:
    """Return which value of the meter's dimensions most of the deviation is of."""
    if not one.meter.dimensions:
        return None
    slot = one.look.slots[0]
    found = usage_hours.slices(one.series.organization_id, one.meter.id, [one.hour, *slot])
    read = reading_of(one.meter)
    seen, usual = {}, {}
    for name in one.meter.dimensions:
        by_value = _by_value(found, name, read)
        seen[name] = {value: hours.get(one.hour, 0) for value, hours in by_value.items()}
        usual[name] = {
            value: [hours.get(hour, 0) for hour in slot] for value, hours in by_value.items()
        }
    return engine.cause(one.judgement.direction, seen, usual)


def _by_value(
    found: Iterable[Slice], name: str, read: Callable[[Hour], int]
) -> dict[str | None, dict[datetime, int]]:
    sums: dict[str | None, dict[datetime, int]] = {}
    for piece in found:
        hours = sums.setdefault(piece.values.get(name), {})
        hours[piece.hour] = hours.get(piece.hour, 0) + read(Hour(piece.events, piece.total))
    return sums


# --- for pictures -----------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Pictured:
    """An hour (UTC) of a picture: what was seen and, where it can be said, the expected band."""

    hour: datetime
    seen: Decimal
    low: Decimal | None
    high: Decimal | None


def picture(
    row: Anomaly, *, timezone: str, at: datetime, before: int = 36, after: int = 6
) -> list[Pictured]:
    """Return the hours around an anomaly with the band expected of each, at most four days.

    Hours that are not over `at` are left out: their usage would look like a drop.
    """
    meter = usage.get_meter(row.meter)
    start = max(row.first_hour - before * HOUR, row.last_hour - 90 * HOUR)
    count = (row.last_hour - start) // HOUR + after + 1
    hours = [start + n * HOUR for n in range(count)]
    shown = [hour for hour in hours if hour + HOUR <= at]
    owned = usage_hours.series([row.organization_id], since=start - FORGET)
    since = next((one.first_hour for one in owned if one.meter_id == meter.id), row.first_hour)
    looks = {hour: engine.lookback(hour, zone(timezone), since) for hour in shown}
    wanted = {hour for look in looks.values() if look is not None for hour in look.hours}
    pair = (row.organization_id, meter.id)
    known = usage_hours.hours([pair], {*shown, *wanted}).get(pair, {})
    read = reading_of(meter)
    values = {at: read(seen) for at, seen in known.items()}
    return [_pictured(hour, values, looks[hour]) for hour in shown]


def _pictured(hour: datetime, values: Mapping[datetime, int], look: Lookback | None) -> Pictured:
    seen = quantity(values.get(hour, 0))
    if look is None:
        return Pictured(hour, seen, None, None)
    low, high = engine.baseline(values, look).band()
    return Pictured(hour, seen, quantity(low), quantity(high))


def quantity(value: int) -> Decimal:
    """Return millionths as a quantity."""
    return Decimal(value).scaleb(-6)
