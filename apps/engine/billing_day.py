"""Billing on a day of the month: what is due by a date, with a short part at either end.

All in local calendar dates. The first part runs from the start to the billing day, then come whole
periods, and an end cuts the last one short. This is the rule of systems that keep one billing day
per account (Kill Bill); Cycle is the rule of those that keep an anchor per subscription.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from itertools import count, pairwise, takewhile

from apps.engine.agreement import Timing
from apps.engine.calendar import Interval
from apps.engine.daycount import days_between, share_of_days


@dataclass(frozen=True, slots=True)
class Part:
    """[start, end) in local dates, and how much of a full period it costs."""

    start: date
    end: date
    share: Fraction


def on_billing_day(day: date, billing_day: int) -> date:
    """The billing day in the month of `day`, clamped to the month's end."""
    if not 1 <= billing_day <= 31:
        raise ValueError(f"a billing day lies between 1 and 31: {billing_day}")
    return day.replace(day=min(billing_day, monthrange(day.year, day.month)[1]))


def next_on_grid(previous: date, day: date, interval: Interval) -> date:
    """The first date on or after `day` of the grid that `previous` lies on, after `previous`.

    For weeks and days, which no day of the month can align.
    """
    return next(date for date in _strides(previous, interval) if date > previous and date >= day)


@dataclass(frozen=True, slots=True)
class BillingDay:
    """A day of the month (1 to 31, clamped where a month is shorter) and an interval.

    Intervals of days or weeks ignore the day and run from the start. With `places`, the share of a
    short part is rounded half away from zero to that many decimals, as Kill Bill does with 9.
    """

    day: int
    interval: Interval
    places: int | None = None

    def first(self, start: date) -> date:
        """The first boundary on or after the start."""
        if not self.interval.counts_months:
            return start
        same_month = on_billing_day(start, self.day)
        return same_month if same_month >= start else self._after(same_month)

    def due(self, start: date, *, end: date | None, by: date, billed: Timing) -> tuple[Part, ...]:
        """Every part of [start, end) that is to be billed by the date `by`, in order.

        In advance that reaches to the first boundary after `by`, in arrears to the last one that
        `by` has reached; an end that is reached cuts it short. An end inside a period in arrears
        is billed on its day, or with the period. Raises ValueError for an end or a `by` before the
        start.
        """
        if by < start or (end is not None and end < start):
            raise ValueError(f"not in order: start {start}, end {end}, billed by {by}")
        stop = self._stop(start, end, by, Timing(billed))
        return tuple(self._parts(start, stop)) if stop is not None else ()

    def _stop(self, start: date, end: date | None, by: date, billed: Timing) -> date | None:
        boundaries = self._boundaries(start)
        if billed is Timing.ADVANCE:
            following = next(boundary for boundary in boundaries if boundary > by)
            return following if end is None else min(end, following)
        if end == by:
            return end
        reached = list(takewhile(lambda boundary: boundary <= by, boundaries))
        if not reached:
            return None
        return end if end is not None and end <= by else reached[-1]

    def _parts(self, start: date, stop: date) -> Iterator[Part]:
        inside = takewhile(lambda boundary: boundary < stop, self._boundaries(start))
        cuts = sorted({start, *inside, stop})
        for since, until in pairwise(cuts):
            yield Part(since, until, self._share(since, until))

    def _share(self, since: date, until: date) -> Fraction:
        if self._after(since) == until and self._is_boundary(since):
            return Fraction(1)
        # A part that ends the stretch is measured from the boundary it starts on; one that starts
        # it is measured back from its own end. Neither restores a clamped day: 28 February is one
        # month after 28 January here. Never more than a full period.
        forth, back = self.interval.after(since, 1), self.interval.after(until, -1)
        whole = (since, forth) if self._is_boundary(since) else (back, until)
        return share_of_days(days_between(since, until), days_between(*whole), places=self.places)

    def _boundaries(self, start: date) -> Iterator[date]:
        return (self._aligned(day) for day in _strides(self.first(start), self.interval))

    def _after(self, boundary: date) -> date:
        return self._aligned(self.interval.after(boundary, 1))

    def _aligned(self, day: date) -> date:
        return on_billing_day(day, self.day) if self.interval.counts_months else day

    def _is_boundary(self, day: date) -> bool:
        return self._aligned(day) == day


def _strides(start: date, interval: Interval) -> Iterator[date]:
    return (interval.after(start, k) for k in count())
