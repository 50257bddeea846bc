"""How much of a period a part of it is: the ways to count, as one rule stored with a price.

The default counts time, by the microsecond in UTC. The others count local calendar days, pretend
that months are equally long, or do not count at all. Every share is an exact Fraction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from fractions import Fraction

from apps.engine.calendar import local_date, zone
from apps.engine.money import round_half_away
from apps.engine.period import Period, utc

NOTHING, WHOLE = Fraction(0), Fraction(1)
# No month is shorter: what is shorter than this has no month to be made equal to others.
_SHORTEST_MONTH = 28


class Proration(StrEnum):
    """What part of a price a part of a period costs."""

    SECOND = "second"
    DAY = "day"
    DAY_INCLUSIVE = "day_inclusive"
    FIXED_30 = "fixed_30"
    NONE = "none"
    FULL = "full"


def share_of_days(days: int, of: int, *, places: int | None = None) -> Fraction:
    """`days` out of `of`, never more than the whole, and nothing for a negative number of days.

    With `places` rounded half away from zero to that many decimals. Raises ValueError when there
    is nothing to take a share of.
    """
    return min(max(ratio_of_days(days, of, places=places), NOTHING), WHOLE)


def ratio_of_days(days: int, of: int, *, places: int | None = None) -> Fraction:
    """`days` / `of`, which is more than 1 for a part longer than the period; see share_of_days."""
    if of < 1:
        raise ValueError(f"a share needs a period of at least one day, not {of}")
    return _rounded(Fraction(days, of), places)


def days_between(start: date, end: date) -> int:
    """Calendar days in [start, end): the start counts, the end does not."""
    return (end - start).days


def inclusive_days(
    first: date, last: date, *, trial_days: int = 0, last_day_used: bool = True
) -> int:
    """Calendar days from `first` to `last`, both counted; never negative.

    Trial days come off. On a change of plan the last day belongs to the next plan and is not used.
    """
    return max(0, days_between(first, last) + last_day_used - trial_days)


def unused_days(on: date, last: date, *, day_used: bool = True) -> int:
    """Calendar days left after what ends `on` that day, to `last`, which counts; never negative.

    The day of a termination is used; the day of a change of plan already belongs to the next plan.
    """
    return max(0, days_between(on, last) + (not day_used))


def fixed_days_between(start: date, end: date, fixed_days: int = 30) -> int:
    """Days in [start, end) as if every month had `fixed_days` days.

    23 May to 15 June is 22 days in months of 30: the 31st does not count, and a February is filled
    up.
    """
    return _months_between(start, end) * fixed_days + end.day - start.day


@dataclass(frozen=True, slots=True)
class ProrationRule:
    """How to count, and where: the zone decides which day a moment belongs to.

    `fixed_days` is the length of every month under FIXED_30. With `places` a share of days is
    rounded half away from zero to that many decimals. Raises UnknownTimezone.
    """

    proration: Proration = Proration.SECOND
    timezone: str = "UTC"
    fixed_days: int = 30
    places: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "proration", Proration(self.proration))
        zone(self.timezone)
        if self.fixed_days < 1:
            raise ValueError(f"a month has at least one day, not {self.fixed_days}")

    def share(self, part: Period, whole: Period) -> Fraction:
        """What `part` costs of the price of `whole`, 0 to 1; what sticks out does not count.

        - second: the time in it.
        - day: its local calendar days; the day it starts counts, the day it ends does not.
        - day_inclusive: every local day that it touches.
        - fixed_30: days in months of equal length.
        - none: nothing, unless it is the whole. full: everything.
        """
        common = whole.overlap(part)
        if common is None:
            return NOTHING
        return WHOLE if common == whole else self._counted(common, whole)

    def share_after(self, moment: datetime, whole: Period) -> Fraction:
        """What is charged for what starts at the moment and lasts to the end of the period."""
        start = max(utc(moment), whole.start)
        return self.share(Period(start, whole.end), whole) if start < whole.end else NOTHING

    def unused_after(self, moment: datetime, whole: Period, *, day_used: bool = False) -> Fraction:
        """What is given back for what ends at the moment, having been billed for all of `whole`.

        With `day_used` the local day of the moment stays billed, as for a termination where days
        are counted inclusively; on a change of plan that day belongs to the next plan. Under
        `full` a part costs everything, so nothing is given back.
        """
        if utc(moment) <= whole.start:
            return WHOLE
        if self.proration is Proration.FULL:
            return NOTHING
        if day_used and self.proration is Proration.DAY_INCLUSIVE:
            return self._days(
                unused_days(self._date(moment), self._last_day(whole)), self._touched(whole)
            )
        return self.share_after(moment, whole)

    def split(self, parts: Sequence[Period], whole: Period) -> list[Fraction]:
        """The shares of consecutive stretches of what lived in `whole`, for a price over time.

        They add up to the share of the whole stretch: a day of change counts once, for the later
        stretch, and `none` and `full` weigh the stretches by their time.
        """
        if self.proration is Proration.DAY_INCLUSIVE:
            return self._touched_once(parts, whole)
        if self.proration in (Proration.NONE, Proration.FULL):
            lived = sum((whole.share(part) for part in parts), NOTHING)
            owed = WHOLE if lived == 1 or self.proration is Proration.FULL else NOTHING
            return [owed * whole.share(part) / lived if lived else NOTHING for part in parts]
        return [self.share(part, whole) for part in parts]

    def _counted(self, part: Period, whole: Period) -> Fraction:
        match self.proration:
            case Proration.SECOND:
                return _rounded(whole.share(part), self.places)
            case Proration.DAY:
                return self._days(self._elapsed(part), self._elapsed(whole))
            case Proration.DAY_INCLUSIVE:
                return self._days(self._touched(part), self._touched(whole))
            case Proration.FIXED_30:
                return self._fixed(part, whole)
            case Proration.NONE:
                return NOTHING
            case Proration.FULL:
                return WHOLE

    def _fixed(self, part: Period, whole: Period) -> Fraction:
        if self._elapsed(whole) < _SHORTEST_MONTH:
            return self._days(self._elapsed(part), self._elapsed(whole))
        months = max(1, _months_between(self._date(whole.start), self._date(whole.end)))
        start, end = self._date(part.start), self._date(part.end)
        return self._days(fixed_days_between(start, end, self.fixed_days), months * self.fixed_days)

    def _touched_once(self, parts: Sequence[Period], whole: Period) -> list[Fraction]:
        inside = [whole.overlap(part) for part in parts]
        shares, days = [], self._touched(whole)
        for part, following in zip(inside, [*inside[1:], None], strict=True):
            mine = 0 if part is None else self._touched(part)
            if part and following and self._last_day(part) == self._date(following.start):
                mine -= 1
            shares.append(self._days(mine, days))
        return shares

    def _days(self, days: int, of: int) -> Fraction:
        # A period inside one day has no midnight to count; it is then one day long.
        return share_of_days(days, max(of, 1), places=self.places)

    def _elapsed(self, period: Period) -> int:
        return days_between(self._date(period.start), self._date(period.end))

    def _touched(self, period: Period) -> int:
        return inclusive_days(self._date(period.start), self._last_day(period))

    def _last_day(self, period: Period) -> date:
        # The end is not inside: a period to midnight does not touch the day that begins there.
        return self._date(period.end - timedelta(microseconds=1))

    def _date(self, moment: datetime) -> date:
        return local_date(moment, zone(self.timezone))


BY_THE_SECOND = ProrationRule()


def _months_between(start: date, end: date) -> int:
    return (end.year - start.year) * 12 + end.month - start.month


def _rounded(share: Fraction, places: int | None) -> Fraction:
    if places is None:
        return share
    return Fraction(round_half_away(share * 10**places), 10**places)
