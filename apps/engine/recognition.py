"""When revenue is earned: day by day over the service, as differences of rounded running totals.

Amounts are without tax. A top-up of credit is no revenue; using it is. A month is the difference of
two running totals, each rounded once, so the months always sum to the whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from apps.engine.calendar import zone
from apps.engine.money import Money
from apps.engine.period import Period
from apps.engine.values import value_class

_DAY = timedelta(days=1)


class Month(NamedTuple):
    """A calendar month."""

    year: int
    month: int

    @classmethod
    def of(cls, day: date) -> Month:
        """The month of a day."""
        return cls(day.year, day.month)

    @property
    def first(self) -> date:
        """Its first day."""
        return date(self.year, self.month, 1)

    @property
    def last(self) -> date:
        """Its last day."""
        return self.following.first - _DAY

    @property
    def following(self) -> Month:
        """The month after it."""
        return Month(self.year + self.month // 12, self.month % 12 + 1)


@value_class(frozen=True, slots=True)
class Schedule:
    """An amount earned evenly from the `first` day of service to the `last`, both counted.

    A usage line, a true-up and a credit note are earned on one day. Raises ValueError when the
    last day is before the first.
    """

    amount: Money
    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError(f"service must not end before it starts: {self.first} – {self.last}")

    @classmethod
    def over(cls, amount: Money, service: Period, *, timezone: str) -> Schedule:
        """Earned over the local days of a period; the day on which it ends is the next one's.

        Raises UnknownTimezone.
        """
        return cls(amount, *_days_of(service, timezone))

    @classmethod
    def on(cls, amount: Money, day: date) -> Schedule:
        """Earned on one day."""
        return cls(amount, day, day)

    @property
    def days(self) -> int:
        """How many days the service takes."""
        return (self.last - self.first).days + 1

    @property
    def daily(self) -> Money:
        """One day's revenue by itself; for display, days do not sum to the whole."""
        return self.amount.times(Fraction(1, self.days))

    def through(self, day: date) -> Money:
        """What is earned when the day is over: the running total, rounded once."""
        if day >= self.last:
            return self.amount
        if day < self.first:
            return Money.zero(self.amount.currency)
        served = (day - self.first).days + 1
        return self.amount.times(Fraction(served, self.days))

    def between(self, first: date, last: date) -> Money:
        """What is earned from one day to another, both counted."""
        return self.through(last) - self.through(first - _DAY)

    def deferred(self, day: date) -> Money:
        """What is billed and not earned when the day is over."""
        if day >= self.last:
            return Money.zero(self.amount.currency)
        return self.amount - self.through(day)

    def by_month(self) -> dict[Month, Money]:
        """The months of the service and what each earns; they sum to the amount."""
        month, found = Month.of(self.first), {}
        while month.first <= self.last:
            found[month] = self.between(month.first, month.last)
            month = month.following
        return found


@lru_cache(maxsize=1024)  # most customers have the same months
def _days_of(service: Period, timezone: str) -> tuple[date, date]:
    local = zone(timezone)
    first = service.start.astimezone(local).date()
    return first, max(first, service.end.astimezone(local).date() - _DAY)


def recognized(schedules: Iterable[Schedule], *, first: date, last: date, currency: str) -> Money:
    """What all of them earn from one day to another, both counted; credits lower it."""
    return Money.sum((schedule.between(first, last) for schedule in schedules), currency)


def by_month(schedules: Iterable[Schedule]) -> dict[Month, Money]:
    """What all of them earn in each month, in the order of the months."""
    found: dict[Month, Money] = {}
    for schedule in schedules:
        for month, amount in schedule.by_month().items():
            found[month] = found[month] + amount if month in found else amount
    return dict(sorted(found.items()))
