"""Half-open spans of time: the start is inside, the end is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import lru_cache

from apps.engine.values import value_class


def utc(moment: datetime) -> datetime:
    """The same instant in UTC; raises ValueError for a naive datetime.

    Two datetimes of one zone subtract by their wall clocks, which is wrong by an hour across a
    clock change. In UTC a difference is the time that passed.
    """
    if moment.tzinfo is UTC:
        return moment
    if moment.utcoffset() is None:
        raise ValueError(f"{moment!r} has no time zone")
    return moment.astimezone(UTC)


def micros_between(start: datetime, end: datetime) -> int:
    """Whole microseconds from `start` to `end`, negative when they are the other way round."""
    span = utc(end) - utc(start)
    return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds


def iso(moment: datetime) -> str:
    """An instant as documents spell it: UTC, with a Z."""
    return _spelled(utc(moment))


# Documents name the same few instants again and again. In UTC: of another zone, two instants an
# hour apart may be equal.
@lru_cache(maxsize=4096)
def _spelled(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


@value_class(frozen=True, slots=True, order=True)
class Period:
    """[start, end) in UTC; the end is after the start. Any aware datetimes are accepted."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is not UTC or self.end.tzinfo is not UTC:
            object.__setattr__(self, "start", utc(self.start))
            object.__setattr__(self, "end", utc(self.end))
        if self.start >= self.end:
            raise ValueError(f"a period must end after it starts: {self.start} – {self.end}")

    def as_dict(self) -> dict[str, object]:
        """Plain JSON: both ends in UTC."""
        return {"start": iso(self.start), "end": iso(self.end)}

    @property
    def duration_micros(self) -> int:
        """Its length in microseconds, the finest the clock of the house tells."""
        return micros_between(self.start, self.end)

    @property
    def last_second(self) -> datetime:
        """The last whole second inside, for documents that show the end as 23:59:59."""
        return self.end - timedelta(seconds=1)

    def contains(self, moment: datetime) -> bool:
        """Whether start ≤ moment < end."""
        return self.start <= utc(moment) < self.end

    def overlap(self, other: Period) -> Period | None:
        """The time both cover, or None."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Period(start, end) if start < end else None

    def share(self, part: Period) -> Fraction:
        """How much of this period `part` covers, 0 to 1; what sticks out does not count."""
        common = self.overlap(part)
        if common is None:
            return Fraction(0)
        return Fraction(common.duration_micros, self.duration_micros)

    def share_after(self, moment: datetime) -> Fraction:
        """The part of the period from `moment` to its end, 0 to 1.

        A Fraction because a Decimal share loses cents: 5/6 of 3 cents is 2.5 and rounds to 3, but
        Decimal(5) / 6 * 3 is 2.4999… and rounds to 2.
        """
        left = micros_between(min(max(utc(moment), self.start), self.end), self.end)
        return Fraction(left, self.duration_micros)
