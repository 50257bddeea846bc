"""When the steps of a dunning campaign come, and which of those that are due happen.

A run of a campaign has an anchor: the due date, or the first failed payment. A step comes `hours`
after the anchor itself or, where it says days, on the local day so many days away from the
anchor's, at the campaign's hour and so many hours more. Whoever is late goes on from there: what
was told or taken away late moves all that follows by whole days, so that nobody loses anything
sooner after the notice than the campaign says, and mails keep their hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from apps.engine.calendar import zone

DAY = timedelta(days=1)
LATE = timedelta(hours=6)
"""What happens within this time of its instant is not late."""


class Action(StrEnum):
    """What a step does."""

    REMIND = "remind"
    RETRY = "retry"
    NOTIFY_STAFF = "notify_staff"
    PAST_DUE = "past_due"
    UNPAID = "unpaid"
    CANCEL = "cancel"
    DOWNGRADE = "downgrade"


class Cause(StrEnum):
    """Why a run began."""

    OVERDUE = "overdue"
    FAILED = "failed"


class Verdict(StrEnum):
    """What becomes of a step that is due."""

    HAPPENS = "happens"
    SUPERSEDED = "superseded"  # a later one of its kind is due too, or its time has passed


TAKING = frozenset({Action.UNPAID, Action.CANCEL, Action.DOWNGRADE})
"""What takes something away from the customer."""
ONCE = frozenset({Action.REMIND, Action.RETRY, Action.NOTIFY_STAFF})
"""What loses its point where a later one of its kind is due as well."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: when, what, with what, and (`only`) in runs that began in one way alone.

    `argument` is the mail of a reminder and the plan (its code) of a downgrade.
    """

    days: int
    hours: int
    action: Action
    argument: str = ""
    only: Cause | None = None

    @property
    def takes(self) -> bool:
        """Whether it takes something away."""
        return self.action in TAKING

    @property
    def before_due(self) -> bool:
        """Whether it comes before the anchor, and has no point after it."""
        return self.days < 0


@dataclass(frozen=True, slots=True)
class Pace:
    """Where a run stands in time: its anchor, the customer's zone, the campaign's hour of the day,
    and by how many days what is still to come has moved.
    """

    anchor: datetime
    timezone: str
    hour: int
    shift: int = 0

    def moved(self, days: int) -> Pace:
        """Return the pace with what is to come so many days later."""
        return replace(self, shift=self.shift + days)


@dataclass(frozen=True, slots=True)
class Batch:
    """What happens now: steps by position with what becomes of each, which one is next, and when
    (None: that was the last), at the pace from now on.
    """

    steps: tuple[tuple[int, Verdict], ...]
    following: int
    next_at: datetime | None
    pace: Pace


def steps_of(steps: Sequence[Step], cause: Cause) -> tuple[Step | None, ...]:
    """Return the steps of a run that began so, by position; None where one is not for it."""
    return tuple(step if step.only in {None, cause} else None for step in steps)


def instants(steps: Sequence[Step | None], pace: Pace) -> list[datetime | None]:
    """Return when each step comes, none before the one ahead of it."""
    found: list[datetime | None] = []
    latest: datetime | None = None
    for step in steps:
        if step is None:
            found.append(None)
            continue
        own = instant_of(step, pace)
        latest = own if latest is None else max(latest, own)
        found.append(latest)
    return found


def instant_of(step: Step, pace: Pace) -> datetime:
    """Return when a step comes by itself.

    A wall clock that is skipped moves forward by the gap, one that comes twice means the first.
    """
    hours = timedelta(hours=step.hours)
    if not step.days and not pace.shift:
        return (pace.anchor + hours).astimezone(UTC)
    local = zone(pace.timezone)
    wall = pace.anchor.astimezone(local).replace(tzinfo=None) + (step.days + pace.shift) * DAY
    if step.days:
        wall = wall.replace(hour=pace.hour, minute=0, second=0, microsecond=0)
    return wall.replace(tzinfo=local, fold=0).astimezone(UTC) + hours


def begun(steps: Sequence[Step | None], pace: Pace, *, as_of: datetime) -> Pace:
    """Return the pace of a run that begins now: one that begins late runs late as a whole, so that
    its first step is the first that anybody hears of.
    """
    for step, moment in zip(steps, instants(steps, pace), strict=True):
        if step is not None and moment is not None and not step.before_due:
            return pace.moved(_days_late(moment, as_of))
    return pace


def next_step(
    steps: Sequence[Step | None], pace: Pace, *, first: int
) -> tuple[int, datetime | None]:
    """Return the position of the first step from `first` on, and when it comes; None: none does."""
    times = instants(steps, pace)
    for position in range(first, len(steps)):
        if times[position] is not None:
            return position, times[position]
    return len(steps), None


def due(steps: Sequence[Step | None], pace: Pace, *, first: int, as_of: datetime) -> Batch:
    """Return what happens by `as_of` of the steps from position `first` on.

    Of several mails that are due only the last is sent, and of several attempts to collect one is
    made. Nothing is taken away in the same batch as a mail that was still to be sent before, and
    one thing at a time: what follows keeps its distance. Ask again until nothing is due.
    """
    times = instants(steps, pace)
    chosen = list(_chosen(steps, times, pace, first, as_of))
    last = {action: _last(steps, chosen, action, pace, as_of) for action in ONCE}
    judged = tuple(
        (position, Verdict.SUPERSEDED)
        if (step := steps[position]) and step.action in ONCE and last[step.action] != position
        else (position, Verdict.HAPPENS)
        for position in chosen
    )
    moved = pace.moved(_shift(steps, times, judged, as_of))
    after = chosen[-1] + 1 if chosen else first
    following, next_at = next_step(steps, moved, first=after)
    return Batch(judged, following, next_at, moved)


def _chosen(
    steps: Sequence[Step | None],
    times: Sequence[datetime | None],
    pace: Pace,
    first: int,
    as_of: datetime,
) -> Iterator[int]:
    """Yield the positions that are due, up to what a notice has to come before."""
    unsent = False
    for position in range(first, len(steps)):
        step, moment = steps[position], times[position]
        if step is None or moment is None:
            continue
        if moment > as_of or (step.takes and unsent):
            return
        yield position
        if step.takes:
            return
        unsent |= step.action is Action.REMIND and not _is_stale(step, pace, as_of)


def _last(
    steps: Sequence[Step | None], chosen: Sequence[int], action: Action, pace: Pace, as_of: datetime
) -> int | None:
    """Return the last of the chosen positions with this action that still has a point."""
    found = None
    for position in chosen:
        step = steps[position]
        if step is not None and step.action is action and not _is_stale(step, pace, as_of):
            found = position
    return found


def _is_stale(step: Step, pace: Pace, as_of: datetime) -> bool:
    return step.before_due and as_of >= pace.anchor


def _shift(
    steps: Sequence[Step | None],
    times: Sequence[datetime | None],
    judged: Sequence[tuple[int, Verdict]],
    as_of: datetime,
) -> int:
    """Return by how many days what follows moves: what the last mail or taking is late."""
    for position, verdict in reversed(judged):
        step, moment = steps[position], times[position]
        counts = step is not None and (step.takes or step.action is Action.REMIND)
        if counts and moment is not None and verdict is Verdict.HAPPENS:
            return _days_late(moment, as_of)
    return 0


def _days_late(moment: datetime, as_of: datetime) -> int:
    """Return how many days late it is, a part of one counting whole; 0 within `LATE`."""
    late = as_of - moment
    return 0 if late <= LATE else whole_days(late)


def whole_days(length: timedelta) -> int:
    """Return how many days a length of time comes to, a part of one counting whole."""
    return -(-length // DAY)
