"""Published examples of periods and boundaries."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Any

from apps.engine.agreement import Timing
from apps.engine.billing_day import BillingDay, next_on_grid, on_billing_day
from apps.engine.calendar import (
    Cycle,
    Interval,
    Unit,
    anniversary_cycle,
    calendar_cycle,
    calendar_start,
    local_date,
    usage_reset,
    whole_intervals,
    zone,
)
from apps.engine.daycount import days_between
from apps.engine.period import Period
from tests.cases.records import Adapter, Record

OPTIONS: frozenset[str] = frozenset()

Inputs = Mapping[str, Any]
TIMINGS = {"in_advance": Timing.ADVANCE, "in_arrears": Timing.ARREARS}


def instant(text: str) -> datetime:
    """An instant; what bears no offset is meant in UTC."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=zone("UTC"))


def optional_instant(text: str | None) -> datetime | None:
    return None if text is None else instant(text)


def day(text: str) -> date:
    return instant(text).date()


def zone_name(inputs: Inputs) -> str:
    return str(inputs.get("time_zone", "UTC"))


def interval(inputs: Inputs) -> Interval:
    return Interval.of(inputs.get("interval", "month"), int(inputs.get("interval_count", 1)))


def cycle(inputs: Inputs) -> Cycle:
    return Cycle(instant(inputs["anchor"]), interval(inputs), zone_name(inputs))


def billing_day(inputs: Inputs) -> BillingDay:
    return BillingDay(int(inputs["billing_day"]), interval(inputs))


def advance_days(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    daily = Cycle(instant(inputs["at"]), Interval(Unit.DAY), zone_name(inputs))
    return {"value": daily.boundary(int(inputs["days"]))}


def align_day(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    here = local_date(instant(inputs["date"]), zone(zone_name(inputs)))
    return {"date": on_billing_day(here, int(inputs["billing_day"]))}


def align_weeks(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    weeks = Interval.of(inputs.get("interval", "week"), int(inputs.get("interval_count", 1)))
    local = zone(zone_name(inputs))
    previous, proposed = (local_date(instant(inputs[key]), local) for key in ("previous", "date"))
    return {"date": next_on_grid(previous, proposed, weeks)}


def billing_period(record: Record) -> Mapping[str, object]:
    """One period of the calendar or of an anniversary, shown to its last second."""
    inputs, timezone = record.inputs, zone_name(record.inputs)
    if inputs["billing_time"] == "calendar":
        grid = calendar_cycle(interval(inputs), timezone)
    else:
        grid = anniversary_cycle(instant(inputs["subscription_start"]), interval(inputs), timezone)
    steps_back = {"next": -1, "current": 0, "previous": 1}[inputs["which"]]
    period = grid.period(grid.index_at(instant(inputs["billing_at"])) - steps_back)
    dates = [local_date(moment, zone(timezone)) for moment in (period.start, period.end)]
    started = optional_instant(inputs.get("started_at"))
    ended = optional_instant(inputs.get("terminated_at"))
    first = started and calendar_start(started, Interval(Unit.DAY), timezone)
    return {
        "from": period.start if first is None else max(first, period.start),
        "to": period.last_second if ended is None else min(ended, period.last_second),
        "days": days_between(*dates),
    }


def boundaries(record: Record) -> Mapping[str, object]:
    grid = cycle(record.inputs)
    return {"boundaries": [grid.boundary(k) for k in range(len(record.expected["boundaries"]))]}


def boundary_dates(record: Record) -> Mapping[str, object]:
    """Forth from the anchor, or back from it for a negative count."""
    inputs, anchor = record.inputs, day(record.inputs["anchor"])
    count = int(inputs.get("interval_count", 1))
    every, step = Interval.of(inputs["interval"], abs(count)), 1 if count > 0 else -1
    found = [every.after(anchor, step * k) for k in range(len(record.expected["boundaries"]))]
    return {"boundaries": found}


def first_boundary(record: Record) -> Mapping[str, object]:
    return {"date": billing_day(record.inputs).first(day(record.inputs["start"]))}


def floor(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    return {"value": calendar_start(instant(inputs["at"]), interval(inputs), zone_name(inputs))}


def in_period(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    period = Period(instant(inputs["from"]), instant(inputs["to"]))
    return {"inside": period.contains(instant(inputs["at"]))}


def local_day(record: Record) -> Mapping[str, object]:
    """A zone by name, or by its hours from UTC."""
    inputs, local = record.inputs, zone("UTC")
    named, hours = inputs.get("time_zone"), inputs.get("offset")
    where: tzinfo = local if hours is None else timezone(timedelta(minutes=round(hours * 60)))
    return {"day": local_date(instant(inputs["at"]), zone(named) if named else where).day}


def next_boundary(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    following = cycle(inputs).next_after(instant(inputs["current_start"]))
    end = optional_instant(inputs.get("end"))
    return {"next": following if end is None else min(following, end)}


def period_at(record: Record) -> Mapping[str, object]:
    started = optional_instant(record.inputs.get("subscription_start"))
    period = cycle(record.inputs).period_at(instant(record.inputs["at"]), since=started)
    return {"from": period.start, "to": period.end}


def periods(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    parts = billing_day(inputs).due(
        day(inputs["start"]),
        end=day(inputs["end"]) if inputs.get("end") else None,
        by=day(inputs["target"]),
        billed=TIMINGS[inputs["mode"]],
    )
    return {"periods": [[part.start, part.end] for part in parts]}


def recurrence(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    grid = cycle(inputs)
    search = {"next": grid.next_after, "prev": grid.last_before}[inputs["direction"]]
    inclusive = {"inclusive": True, "exclusive": False}[inputs.get("boundary", "exclusive")]
    return {"value": search(instant(inputs["at"]), inclusive=inclusive)}


def resets(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    if inputs["interval"] == "never":
        return {"value": None}
    ended = inputs.get("subscription_end", inputs.get("end"))
    reset = usage_reset(
        cycle(inputs),
        instant(inputs["at"]),
        since=instant(inputs["subscription_start"]),
        until=optional_instant(ended),
    )
    return {"value": reset}


def whole_periods(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    start, end = day(inputs["from"]), day(inputs["to"])
    return {"count": whole_intervals(start, end, interval(inputs))}


ADAPTERS: dict[str, Adapter] = {
    "advance_days": advance_days,
    "align_day": align_day,
    "align_weeks": align_weeks,
    "billing_period": billing_period,
    "boundaries": boundaries,
    "boundary_dates": boundary_dates,
    "first_boundary": first_boundary,
    "floor": floor,
    "in_period": in_period,
    "local_day": local_day,
    "next_boundary": next_boundary,
    "period_at": period_at,
    "periods": periods,
    "recurrence": recurrence,
    "usage_reset": resets,
    "whole_periods": whole_periods,
}
