"""What a meter will have counted by the end of a period: an estimate that says how it was made.

`seasonal`: the time that is left is taken to be like the same hours of the week, on the local
clock, in the weeks before: their mean, and as interval the lowest and the highest of these weeks.
`run_rate`: without two weeks to look back on, as fast as in the period so far; the interval comes
from its slowest and fastest 24 hours. `standing`: nothing says how it will move (a maximum, a
level, a number of different users), so it stays. `complete`: the period is over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from apps.engine.aggregation import Aggregation
from apps.engine.calendar import zone
from apps.engine.decimals import EXACT, places_of
from apps.engine.money import round_half_away
from apps.engine.period import Period, utc

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)
MOST_WEEKS, FEWEST_WEEKS, FEWEST_DAYS = 4, 2, 2
LOOK_BACK = (MOST_WEEKS + 1) * WEEK
ADD_UP = {Aggregation.COUNT, Aggregation.SUM}

Hours = Mapping[datetime, Decimal]  # what each hour (its start) counted; none is nothing
Slot = tuple[int, int]  # weekday and hour, on the local clock


class Method(StrEnum):
    """How an estimate was made."""

    SEASONAL = "seasonal"
    RUN_RATE = "run_rate"
    STANDING = "standing"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Forecast:
    """A quantity at the end of the period, probably not below `low` nor above `high`.

    None where nothing bounds it. Rounded half away to the places of the quantity so far.
    """

    method: Method
    quantity: Decimal
    low: Decimal | None = None
    high: Decimal | None = None


def forecast(
    so_far: Decimal,
    kind: Aggregation,
    *,
    during: Period,
    now: datetime,
    hours: Hours,
    timezone: str,
) -> Forecast:
    """Return what the meter will have counted at the end of `during`, at `now` within it.

    `hours` reach back from `now` by LOOK_BACK, as far as there was any usage.
    """
    now = utc(now)
    if now >= during.end:
        return Forecast(Method.COMPLETE, so_far, so_far, so_far)
    if kind not in ADD_UP or now <= during.start:
        return Forecast(Method.STANDING, so_far)
    past = {hour: amount for hour, amount in hours.items() if hour < _whole(now)}
    weeks = _weeks(past, now)
    if weeks >= FEWEST_WEEKS:
        ahead = _like_weeks(past, weeks, Period(now, during.end), timezone)
        return _told(Method.SEASONAL, so_far, sum(ahead, Fraction(0)) / weeks, ahead)
    elapsed, left = Fraction(_micros(now - during.start)), _micros(during.end - now)
    # Hours come from roll-ups: those that know of no usage that was counted bound nothing.
    days = _like_days(past, during, now) if past or not so_far else []
    return _told(Method.RUN_RATE, so_far, Fraction(so_far) * left / elapsed, days)


def _told(method: Method, so_far: Decimal, more: Fraction, bounds: list[Fraction]) -> Forecast:
    low = _plus(so_far, min(bounds)) if bounds else None
    high = _plus(so_far, max(bounds)) if bounds else None
    return Forecast(method, _plus(so_far, more), low, high)


def _weeks(past: Hours, now: datetime) -> int:
    """Return how many whole weeks, up to four, there is usage to look back on."""
    first = min((hour for hour, amount in past.items() if amount), default=now)
    return min(MOST_WEEKS, (_whole(now) - first) // WEEK)


def _like_weeks(past: Hours, weeks: int, left: Period, timezone: str) -> list[Fraction]:
    """Return what the time left comes to, if it is like each of the last weeks."""
    local = zone(timezone)

    def slot(hour: datetime) -> Slot:
        there = hour.astimezone(local)
        return there.weekday(), there.hour

    counted: list[defaultdict[Slot, Fraction]] = [defaultdict(Fraction) for _ in range(weeks)]
    cut = _whole(left.start)
    for hour, amount in past.items():
        back = (cut - hour - HOUR) // WEEK
        if back < weeks:
            counted[back][slot(hour)] += Fraction(amount)
    shares: defaultdict[Slot, Fraction] = defaultdict(Fraction)
    for hour, share in _hours(left):
        shares[slot(hour)] += share
    return [sum((share * week[s] for s, share in shares.items()), Fraction(0)) for week in counted]


def _like_days(past: Hours, during: Period, now: datetime) -> list[Fraction]:
    """Return what the time left comes to, if it is like each 24 hours of the period so far."""
    days = (_whole(now) - during.start) // DAY
    if days < FEWEST_DAYS:
        return []
    counted = [Fraction(0)] * days
    for hour, amount in past.items():
        back = (_whole(now) - hour - HOUR) // DAY
        if back < days:
            counted[back] += Fraction(amount)
    left = Fraction(_micros(during.end - now), _micros(DAY))
    return [day * left for day in counted]


def _hours(left: Period) -> Iterator[tuple[datetime, Fraction]]:
    """Yield the hours that the time left touches, and how much of each lies in it."""
    hour = _whole(left.start)
    while hour < left.end:
        inside = min(hour + HOUR, left.end) - max(hour, left.start)
        yield hour, Fraction(_micros(inside), _micros(HOUR))
        hour += HOUR


def _plus(so_far: Decimal, more: Fraction) -> Decimal:
    places = places_of(so_far)
    whole = round_half_away((Fraction(so_far) + more) * 10**places)
    return Decimal(whole).scaleb(-places, EXACT)


def _whole(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _micros(length: timedelta) -> int:
    return length // timedelta(microseconds=1)
