"""The boundaries of an agreement: cycles one after another, counted through.

A subscription whose cycle begins anew, pauses or changes its interval has one grid all the same.
Boundary k is the same instant for good once it is past, whatever is agreed for later, so what was
billed at it can be computed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from apps.engine.calendar import Cycle, Interval
from apps.engine.period import Period, utc
from apps.engine.values import value_class

MICROSECOND = timedelta(microseconds=1)


class Lap(NamedTuple):
    """What one boundary opens: in force from `start` to `end`, at the price of `whole`.

    They differ where an agreement joins a cycle on its way, or leaves it: a stub costs its share of
    the whole period, and what was billed ahead is given back.
    """

    start: datetime
    end: datetime
    whole: Period

    @property
    def lived(self) -> Period:
        """The time in which anything is owed."""
        return _span(utc(self.start), utc(self.end))

    @property
    def rest(self) -> Period:
        """What is billed for: to the end of the whole period, whenever the agreement ends."""
        return _span(utc(self.start), self.whole.end)


# Every item asks for them several times, and most customers have the same months. In UTC: of
# another zone, two instants an hour apart may be equal.
_span = lru_cache(maxsize=1024)(Period)


@value_class(frozen=True, slots=True)
class Stretch:
    """A cycle in force from its first boundary at `start` until `end`, None while open.

    The start need not lie on the cycle; the boundaries after it do. `first` is the index, in the
    cycle, of the period that holds the start.
    """

    cycle: Cycle
    start: datetime
    end: datetime | None = None
    first: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", utc(self.start))
        object.__setattr__(self, "first", self.cycle.index_at(self.start))
        if self.end is not None:
            object.__setattr__(self, "end", utc(self.end))
            if self.end <= self.start:
                raise ValueError(f"a stretch must end after it starts: {self.start} – {self.end}")

    def boundary(self, n: int) -> datetime:
        """Boundary n of the stretch; the cycle goes on where the stretch has ended."""
        return self.start if n == 0 else self.cycle.boundary(self.first + n)

    def count(self) -> int:
        """How many boundaries lie in [start, end). Raises ValueError while it is open."""
        if self.end is None:
            raise ValueError("an open stretch has boundaries without end")
        return self.cycle.index_at(self.end - MICROSECOND) - self.first + 1


@value_class(frozen=True, slots=True)
class Grid:
    """Stretches in order, without overlap; a gap between two is a pause.

    Where a stretch ends and none begins at that instant stands a boundary that closes and opens
    nothing. After the last of them the cycle is counted on, so that every k has an instant.
    Raises ValueError without stretches, for an open one before another, and for an overlap.
    """

    stretches: tuple[Stretch, ...]
    _firsts: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _laps: dict[int, Lap | None] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        if not self.stretches:
            raise ValueError("a grid needs a stretch")
        firsts = [0]
        for one, following in pairwise(self.stretches):
            if one.end is None or one.end > following.start:
                raise ValueError("a stretch begins before the one before it has ended")
            closing = 1 if one.end < following.start else 0
            firsts.append(firsts[-1] + one.count() + closing)
        object.__setattr__(self, "_firsts", tuple(firsts))

    @classmethod
    def of(cls, cycle: Cycle) -> Grid:
        """The grid of one cycle, from its anchor on."""
        return cls((Stretch(cycle, cycle.anchor),))

    @property
    def current(self) -> Cycle:
        """The cycle agreed last."""
        return self.stretches[-1].cycle

    @property
    def anchor(self) -> datetime:
        """The first boundary of all, at which billing begins."""
        return self.stretches[0].start

    @property
    def interval(self) -> Interval:
        """The interval agreed last."""
        return self.current.interval

    @property
    def timezone(self) -> str:
        """The zone of its wall clock."""
        return self.current.timezone

    def boundary(self, k: int) -> datetime:
        """The instant of boundary k, in UTC; strictly increasing in k."""
        stretch, n = self._at(k)
        if stretch.end is None or n < 0:
            return stretch.boundary(n)
        extra = n - stretch.count()
        if extra < 0:
            return stretch.boundary(n)
        return stretch.end if extra == 0 else stretch.boundary(n)

    def period(self, k: int) -> Period:
        """From boundary k to boundary k + 1, whatever is or is not billed for it."""
        return Period(self.boundary(k), self.boundary(k + 1))

    def lap(self, k: int) -> Lap | None:
        """What boundary k opens: None where it only closes, and after everything has ended."""
        if k not in self._laps:  # an invoice asks for the same two many times
            self._laps[k] = self._lap(k)
        return self._laps[k]

    def _lap(self, k: int) -> Lap | None:
        stretch, n = self._at(k)
        if stretch.end is not None and n >= stretch.count():
            return None
        whole = stretch.cycle.period(stretch.first + n)
        end = whole.end if stretch.end is None else min(stretch.end, whole.end)
        return Lap(stretch.boundary(n), end, whole)

    def index_at(self, moment: datetime) -> int:
        """The k whose period contains the moment."""
        moment = utc(moment)
        i = sum(stretch.start <= moment for stretch in self.stretches[1:])
        stretch = self.stretches[i]
        if moment < stretch.start:
            return self._firsts[i] + stretch.cycle.index_at(moment) - stretch.first
        if stretch.end is None or moment < stretch.end:
            return self._firsts[i] + stretch.cycle.index_at(moment) - stretch.first
        k = self._firsts[i] + stretch.count()
        while i == len(self.stretches) - 1 and self.boundary(k + 1) <= moment:
            k += 1
        return k

    def _at(self, k: int) -> tuple[Stretch, int]:
        i = max((i for i, first in enumerate(self._firsts) if first <= k), default=0)
        return self.stretches[i], k - self._firsts[i]


def join(stretches: Sequence[Stretch]) -> tuple[Stretch, ...]:
    """The same time with neighbours of one cycle made one: they have no boundary between them."""
    joined: list[Stretch] = []
    for stretch in stretches:
        last = joined[-1] if joined else None
        if last is not None and (last.end, last.cycle) == (stretch.start, stretch.cycle):
            joined[-1] = Stretch(last.cycle, last.start, stretch.end)
        else:
            joined.append(stretch)
    return tuple(joined)
