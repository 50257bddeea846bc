"""Usage of the demo world: a slice of a real trace, and days made up from fixed seeds.

A day's events are the same whenever they are made, ids included, so making them again adds nothing.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from apps.usage import files
from apps.usage.checking import NewEvent, Unread

SOURCE = "demo"
TRACE = Path(__file__).resolve().parent / "code_trace_slice.csv.gz"
WEEKEND = 5
SECONDS_OF_AN_HOUR, SECONDS_OF_A_DAY = 3_600, 86_400

Dice = random.Random
Values = Callable[[Dice], dict[str, object]]


@dataclass(frozen=True, slots=True)
class Habit:
    """What an organization does on a working day: so many events of a type, with such values."""

    type: str
    a_day: int
    values: Values = lambda dice: {}


@dataclass(frozen=True, slots=True)
class Burst:
    """An hour that ran wild, some days ago: so many events beside the day's own."""

    habit: Habit
    days_ago: int
    hour: int
    count: int

    def begins(self, midnight: datetime) -> datetime:
        """Return the hour, counting back from the last midnight."""
        return midnight - timedelta(days=self.days_ago) + timedelta(hours=self.hour)


def trace() -> list[NewEvent | Unread]:
    """Return the slice of the code trace, with the ids that `ingest_usage` would give it."""
    columns = files.Columns(
        type="ai.request",
        time="TIMESTAMP",
        data={"context_tokens": "ContextTokens", "generated_tokens": "GeneratedTokens"},
    )
    with files.opened(str(TRACE), twice=True) as stream:
        known = files.with_hash(columns, files.content_hash(stream))
        return list(files.csv_events(stream, known))


def events(slug: str, habits: tuple[Habit, ...], since: date, until: date) -> Iterator[NewEvent]:
    """Yield the events of the days from `since` up to, not including, `until`."""
    for day in (since + timedelta(days=n) for n in range((until - since).days)):
        for habit in habits:
            yield from _day(slug, habit, day)


def _day(slug: str, habit: Habit, day: date) -> Iterator[NewEvent]:
    dice = random.Random(f"{slug} {habit.type} {day}")  # noqa: S311 - a story, no secret
    quiet = Decimal("0.35") if day.weekday() >= WEEKEND else Decimal(1)
    count = math.ceil(habit.a_day * quiet * dice.randint(80, 120) / 100)
    for number in range(count):
        yield NewEvent(
            source=SOURCE,
            key=f"{slug}-{habit.type}-{day}-{number}",
            type=habit.type,
            occurred_at=_moment(day, dice),
            data=habit.values(dice),
        )


def burst(slug: str, midnight: datetime) -> Iterator[NewEvent]:
    """Yield the events of the organization's wild hour, if it had one."""
    if slug not in BURSTS:
        return
    wild = BURSTS[slug]
    begins = wild.begins(midnight)
    dice = random.Random(f"{slug} wild {begins}")  # noqa: S311 - a story, no secret
    for number in range(wild.count):
        yield NewEvent(
            source=SOURCE,
            key=f"{slug}-wild-{begins:%Y-%m-%d}-{number}",
            type=wild.habit.type,
            occurred_at=begins + timedelta(seconds=dice.randrange(SECONDS_OF_AN_HOUR)),
            data=wild.habit.values(dice),
        )


def _moment(day: date, dice: Dice) -> datetime:
    """Return a moment of the day, more often around its middle."""
    second = (dice.randrange(SECONDS_OF_A_DAY) + dice.randrange(SECONDS_OF_A_DAY)) // 2
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=second)


def _request(dice: Dice) -> dict[str, object]:
    return {
        "context_tokens": dice.randint(400, 9_000),
        "generated_tokens": dice.randint(8, 900),
        "model": dice.choice(["small", "medium", "large"]),
    }


def _storage(dice: Dice) -> dict[str, object]:
    return {"gigabytes": Decimal(dice.randint(3_800, 5_200)) / 100}


HABITS: dict[str, tuple[Habit, ...]] = {
    "acme": (Habit("ai.request", 260, _request),),
    "globex": (Habit("api.call", 48), Habit("data.export", 3), Habit("ai.request", 6)),
    "initech": (
        Habit("request", 60),
        Habit("compute", 8, lambda dice: {"seconds": dice.randint(600, 5_400)}),
        Habit("transfer", 6, lambda dice: {"gigabytes": Decimal(dice.randint(20, 240)) / 100}),
        Habit("storage", 2, _storage),
    ),
    "wonka": (Habit("atlas.report", 9),),
    "moulin": (Habit("atlas.report", 7),),
    "lindenhof": (Habit("atlas.report", 5),),
    "nakatomi": (Habit("atlas.report", 8),),
    "vandelay": (Habit("atlas.report", 4),),
    "monarch": (Habit("atlas.report", 30),),
}

BURSTS: dict[str, Burst] = {
    "acme": Burst(HABITS["acme"][0], days_ago=1, hour=14, count=1_600),
    "initech": Burst(HABITS["initech"][0], days_ago=3, hour=6, count=240),
}
