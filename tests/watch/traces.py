"""How often real noise is called an anomaly, and how often a seeded one is not.

Weeks of an organization are made of the minutes of real traces (`azure_minutes.json`): an hour is
what is expected of it, by hour and day of the week, times a minute of a trace over the trace's
mean, a dozen consecutive minutes at a time. Minutes scatter more than hours do, so this is harsher
than life. Everything is drawn from seeds: the figures are the same on every machine.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from apps.engine import anomalies as engine
from apps.engine.anomalies import HOUR, ONE, WEEK, Basis, Judgement
from apps.engine.calendar import zone

TRACES = Path(__file__).with_name("azure_minutes.json")
BERLIN = zone("Europe/Berlin")
START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday; summer time begins in the fourth week
BLOCK = 12
BUSY, QUIET, WEEKEND = 1000, 150, 300  # events expected of an hour
WEEKS = 4
NAMES = ("conv", "code")
READINGS = ("requests", "context_tokens", "generated_tokens")
QUIET_HOURS = 2


@dataclass(frozen=True, slots=True)
class Trace:
    """One reading of one trace, as shares of its mean in thousandths."""

    name: str
    reading: str
    thousandths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Alarms:
    """Anomalies found in weeks without one."""

    trace: str
    basis: str
    weeks: int
    alarms: int


@dataclass(frozen=True, slots=True)
class Found:
    """Seeded anomalies: how many there were, were found, and in which hour on average."""

    trace: str
    factor: str
    seeded: int
    found: int
    hours: int

    @property
    def percent(self) -> int:
        """The share that was found."""
        return 100 * self.found // self.seeded


@cache
def traces() -> tuple[Trace, ...]:
    """Return the readings of both traces."""
    minutes: Mapping[str, Mapping[str, list[int]]] = json.loads(TRACES.read_text())["minutes"]
    return tuple(
        Trace(name, reading, _thousandths(minutes[name][reading]))
        for name in NAMES
        for reading in READINGS
    )


def _thousandths(values: list[int]) -> tuple[int, ...]:
    total = sum(values)
    return tuple(value * 1000 * len(values) // total for value in values)


def expected_of(hour: datetime) -> int:
    """Return the events that are expected of an hour, by Berlin's wall clock."""
    wall = hour.astimezone(BERLIN)
    if wall.weekday() >= 5:
        return WEEKEND
    return BUSY if 8 <= wall.hour < 19 else QUIET


def usage(trace: Trace, seed: int, weeks: int) -> dict[datetime, int]:
    """Return an organization's usage by hour, in millionths."""
    draw = random.Random(f"{trace.name} {trace.reading} {seed}")
    hours: dict[datetime, int] = {}
    at = START
    while at < START + weeks * WEEK:
        first = draw.randrange(len(trace.thousandths))
        for step in range(BLOCK):
            share = trace.thousandths[(first + step) % len(trace.thousandths)]
            hours[at] = expected_of(at) * share // 1000 * ONE
            at += HOUR
    return hours


def judged(
    hours: Mapping[datetime, int], at: datetime, since: datetime, value: int | None = None
) -> Judgement | None:
    """Judge an hour, or another value in its place."""
    look = engine.lookback(at, BERLIN, since)
    if look is None:
        return None
    seen = hours[at] if value is None else value
    usual = engine.median([hours[hour] // ONE for hour in look.slots[0]])
    return engine.judge(seen, engine.baseline(hours, look), events=seen // ONE, usual_events=usual)


def alarms(trace: Trace, basis: Basis, *, seeds: int) -> Alarms:
    """Count the anomalies that begin in weeks that have none, with the history of a basis."""
    found = weeks = 0
    for seed in range(seeds):
        hours = usage(trace, seed, 6 + WEEKS)
        for week in range(6, 6 + WEEKS):
            found += _week(hours, START + week * WEEK, basis)
            weeks += 1
    return Alarms(f"{trace.name}, {trace.reading}", basis.value, weeks, found)


HISTORY = {
    Basis.HOUR_OF_WEEK: timedelta(weeks=6),
    Basis.HOUR_OF_DAY: timedelta(days=14),
    Basis.OVERALL: timedelta(days=5),
}


def _week(hours: Mapping[datetime, int], start: datetime, basis: Basis) -> int:
    """Return how many anomalies begin in a week, as the room keeps them: one lasts at a time."""
    begun, lasting, quiet = 0, "", 0
    before: Judgement | None = None
    for at in (start + n * HOUR for n in range(168)):
        now = judged(hours, at, at - HISTORY[basis])
        if now is None:
            continue
        if lasting:
            quiet = 0 if now.lasts and now.direction == lasting else quiet + 1
            lasting = "" if quiet >= QUIET_HOURS else lasting
        elif engine.begins(now, before):
            begun, lasting, quiet = begun + 1, now.direction.value, 0
        before = now
    return begun


def found(trace: Trace, factor: tuple[int, int], *, seeds: int, last: int = 3) -> Found:
    """Multiply `last` busy hours by a factor (numerator, denominator); say what was found."""
    times, seen_in = 0, 0
    for seed in range(seeds):
        hours = usage(trace, seed, 7)
        hour = _found_in(hours, random.Random(seed), factor, last)
        times += hour is not None
        seen_in += hour or 0
    name = f"{factor[0]}/{factor[1]}" if factor[1] > 1 else str(factor[0])
    return Found(f"{trace.name}, {trace.reading}", name, seeds, times, seen_in)


def _found_in(
    hours: Mapping[datetime, int], draw: random.Random, factor: tuple[int, int], last: int
) -> int | None:
    """Return in which hour the seeded anomaly begins, from 1; None when it is missed."""
    busy = [at for at in hours if at >= START + 6 * WEEK and expected_of(at) == BUSY]
    start = draw.choice(busy[:-last])
    before: Judgement | None = None
    for number in range(last):
        at = start + number * HOUR
        value = hours[at] * factor[0] // factor[1]
        now = judged(hours, at, at - HISTORY[Basis.HOUR_OF_WEEK], value)
        if now is not None and engine.begins(now, before):
            return number + 1
        before = now
    return None


def rows_of_alarms(seeds: int) -> Iterator[str]:
    """Yield the table of false alarms."""
    for trace in traces():
        cells = []
        for basis in Basis:
            one = alarms(trace, basis, seeds=seeds)
            cells.append(f"{one.alarms} in {one.weeks}")
        yield f"| {trace.name}, {trace.reading} | {' | '.join(cells)} |"


FACTORS = ((2, 1), (3, 1), (5, 1), (10, 1), (1, 2), (1, 5), (0, 1))


def rows_of_found(seeds: int) -> Iterator[str]:
    """Yield the table of what was found of seeded anomalies."""
    for trace in traces():
        cells = [f"{found(trace, factor, seeds=seeds).percent} %" for factor in FACTORS]
        yield f"| {trace.name}, {trace.reading} | {' | '.join(cells)} |"
