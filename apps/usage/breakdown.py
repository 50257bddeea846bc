"""Usage by the values of dimensions: the parts of a measurement, of one moment with the whole.

The parts of a count or a sum add up to the whole exactly, and those of a weighted sum up to the
last of its twelve places. Maxima, means, last values and unique counts stand each alone: a user who
was seen in two regions is one user.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from apps.engine.aggregation import Aggregation
from apps.engine.decimals import EXACT, ZERO
from apps.engine.period import Period
from apps.usage import selectors
from apps.usage.errors import UnknownDimension
from apps.usage.filtering import Values
from apps.usage.selectors import GroupKey, Measured, MeterFacts, Point, Want

ADD_UP = {Aggregation.COUNT, Aggregation.SUM, Aggregation.WEIGHTED_SUM}
MOST_ROWS = 100_000
MOST_DIMENSIONS = 3

Cell = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be broken down: a meter over [start, end), any instants.

    `by` are dimensions of the meter, `where` the values that some of them must have; combinations
    of `without` are left out. `grain` (hour, day, month) cuts the window on the clock of
    `timezone`; empty: no series.
    """

    meter_key: str
    start: datetime
    end: datetime
    by: tuple[str, ...] = ()
    where: Values = field(default_factory=dict, hash=False)
    grain: str = ""
    timezone: str = "UTC"
    without: Sequence[Values] = field(default=(), hash=False)

    @classmethod
    def of(
        cls, want: Want, by: tuple[str, ...], *, grain: str = "", timezone: str = "UTC"
    ) -> Question:
        """Return the question what a want, filtered by dimensions only, is made of."""
        key, start, end = want.meter_key, want.start, want.end
        return cls(key, start, end, by, want.include, grain, timezone, want.exclude)

    @property
    def cells(self) -> list[Cell]:
        """The cells of the series."""
        if not self.grain:
            return []
        return selectors.cells_of(self.start, self.end, grain=self.grain, timezone=self.timezone)


@dataclass(frozen=True, slots=True)
class Group:
    """What one combination of values comes to; a value is None where events have none."""

    values: GroupKey
    quantity: Decimal
    event_count: int
    points: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class Rest:
    """The groups that are not shown, together. No quantity where the groups do not add up."""

    groups: int
    quantity: Decimal | None
    event_count: int


@dataclass(frozen=True, slots=True)
class Breakdown:
    """A measurement and its groups, the largest first."""

    meter: MeterFacts
    period: Period
    by: tuple[str, ...]
    total: Measured
    points: tuple[Point, ...]
    groups: tuple[Group, ...]
    rest: Rest | None

    @property
    def adds_up(self) -> bool:
        """Whether the groups add up to the total."""
        return self.meter.aggregation in ADD_UP


def break_down(organization_id: int, question: Question, *, limit: int | None = 20) -> Breakdown:
    """Measure a meter by groups, exactly and up to this moment; without `limit` all groups.

    Raises UnknownMeter, UnknownDimension, TooManyGroups above 100,000 groups or cells of them, and
    UsageNotReady after a restore until it is rebuilt.
    """
    meter = _known(question)
    found = _Parts(organization_id, question)
    groups = found.groups() if question.by else []
    known, groups = len(groups), groups[:limit]
    if question.grain:  # again with the series, so that all of it is of one moment
        chosen = [group.values for group in groups]
        found = _Parts(organization_id, question, question.cells, chosen)
        groups = found.groups() if question.by else []
    return Breakdown(
        meter=meter,
        period=Period(question.start, question.end),
        by=question.by,
        total=found.total,
        points=found.points(None),
        groups=tuple(groups),
        rest=_rest(meter, found.total, groups, known),
    )


def _known(question: Question) -> MeterFacts:
    """Return the meter, whose dimensions everything named must be."""
    meter = selectors.get_meter(question.meter_key)
    excluded = (name for one in question.without for name in one)
    for name in (*question.by, *question.where, *excluded):
        if name not in meter.dimensions:
            has = ", ".join(meter.dimensions) or "none"
            raise UnknownDimension(f"'{name}' is no dimension of {meter.key}; it has {has}.")
    if len(set(question.by)) != len(question.by) or len(question.by) > MOST_DIMENSIONS:
        raise UnknownDimension(f"Group by up to {MOST_DIMENSIONS} different dimensions.")
    return meter


class _Parts:
    """The whole window by groups, and then the cells of the series."""

    def __init__(
        self,
        organization_id: int,
        question: Question,
        cells: Sequence[Cell] = (),
        chosen: Sequence[GroupKey] | None = None,
    ) -> None:
        self.cells = cells
        windows = [(question.start, question.end), *cells]
        key, where, without = question.meter_key, question.where, question.without
        wants = [Want(key, a, b, where, without) for a, b in windows]
        self.whole, *self.parts = selectors.measure_groups(
            organization_id, wants, question.by, chosen=chosen, most=MOST_ROWS
        )

    @property
    def total(self) -> Measured:
        """The measurement of all groups together."""
        return self.whole[None]

    def groups(self) -> list[Group]:
        """Return the groups with their series, the largest first."""
        found = [
            Group(key, one.quantity, one.event_count, self.points(key))
            for key, one in self.whole.items()
            if key is not None
        ]
        return sorted(found, key=_by_size)

    def points(self, key: GroupKey | None) -> tuple[Point, ...]:
        """Return the series of a group, or (None) of all together."""
        return tuple(
            _point(cell, measured.get(key))
            for cell, measured in zip(self.cells, self.parts, strict=True)
        )


def _point(cell: Cell, measured: Measured | None) -> Point:
    if measured is None:
        return Point(*cell, ZERO, 0)
    return Point(*cell, measured.quantity, measured.event_count)


def _by_size(group: Group) -> tuple[Any, ...]:
    """Order the largest first, then by the values, missing ones last."""
    return -group.quantity, [(value is None, value or "") for value in group.values]


def _rest(meter: MeterFacts, total: Measured, shown: Sequence[Group], known: int) -> Rest | None:
    if known <= len(shown):
        return None
    quantity = total.quantity
    for group in shown:
        quantity = EXACT.subtract(quantity, group.quantity)
    events = total.event_count - sum(group.event_count for group in shown)
    adds_up = meter.aggregation in ADD_UP
    return Rest(known - len(shown), quantity if adds_up else None, events)
