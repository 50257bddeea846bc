"""Aggregations: what a meter makes of a list of events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from apps.engine.aggregation import Aggregation
from apps.engine.metering import (
    ByDay,
    EventFilter,
    Group,
    MeteredEvent,
    Metering,
    WindowSize,
    events_by_day,
    measure,
    measure_groups,
    measure_windows,
)
from apps.engine.period import Period
from apps.engine.price_rules import QuantityRounding, round_quantity
from tests.cases.records import Adapter, Record

Inputs = Mapping[str, Any]

OPTIONS = frozenset({"clamp-negative", "day-proration"})

ROUNDINGS = {
    "round": QuantityRounding.HALF_UP,
    "half_up": QuantityRounding.HALF_UP,
    "ceil": QuantityRounding.UP,
    "floor": QuantityRounding.DOWN,
    "none": QuantityRounding.NONE,
}


def moment(text: str) -> datetime:
    """An instant; a bare day begins at midnight, and what has no zone is UTC."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def period_of(raw: Inputs) -> Period:
    """The window; an inclusive end is the last tick of its clock that is still inside."""
    end = moment(raw["to"])
    if raw.get("to_inclusive"):
        end += tick(end)
    return Period(moment(raw["from"]), end)


def tick(shown: datetime) -> timedelta:
    """How finely the end is written: 23:59:59.999 in milliseconds, 23:59:59 in seconds."""
    if shown.microsecond % 1000:
        return timedelta(microseconds=1)
    if shown.microsecond:
        return timedelta(milliseconds=1)
    return timedelta(seconds=1) if shown.second == 59 else timedelta(microseconds=1)


def event_of(raw: Inputs, dedupe: list[str]) -> MeteredEvent:
    data = raw.get("properties") or {}
    named = [raw.get(name, data.get(name)) for name in dedupe]
    known = bool(dedupe) and all(one is not None for one in named)
    return MeteredEvent(
        moment(raw["at"]), data, tuple(str(one) for one in named) if known else None
    )


def filter_of(raw: Inputs) -> EventFilter:
    excluded = raw.get("exclude") or []
    entries = [excluded] if isinstance(excluded, Mapping) else excluded
    return EventFilter(values(raw.get("include") or {}), tuple(values(one) for one in entries))


def values(raw: Inputs) -> dict[str, frozenset[str]]:
    return {
        name: frozenset(str(one) for one in (found if isinstance(found, list) else [found]))
        for name, found in raw.items()
    }


def metering_of(record: Record) -> Metering:
    inputs = record.inputs
    rounding, places = rounding_of(inputs)
    return Metering(
        Aggregation(inputs.get("aggregation", record.kind)),
        inputs.get("property") or "",
        filter_of(inputs.get("filters") or {}),
        carries_over=bool(inputs.get("recurring")),
        clamp=record.option == "clamp-negative",
        by_day=by_day_of(inputs),
        rounding=rounding,
        places=places,
    )


def rounding_of(inputs: Inputs) -> tuple[QuantityRounding, int]:
    if (ceil_places := inputs.get("proration_ceil_places")) is not None:
        return QuantityRounding.UP, int(ceil_places)
    raw = inputs.get("rounding") or {"function": "none"}
    return ROUNDINGS[raw.get("function") or "none"], int(raw.get("precision") or 0)


def by_day_of(inputs: Inputs) -> ByDay | None:
    if inputs.get("proration") != "day":
        return None
    kept = next((inputs[k] for k in ("persisted_days", "persisted_duration") if k in inputs), None)
    return ByDay(
        whole(inputs), inputs.get("time_zone") or "UTC", None if kept is None else int(kept)
    )


def whole(inputs: Inputs) -> int | None:
    """The days of the full period, where the window is only a part of it."""
    days = inputs.get("duration_days")
    return None if days is None else int(days)


def metered(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    rule, during = metering_of(record), period_of(inputs["period"])
    dedupe = inputs.get("dedupe_key") or []
    key = [dedupe] if isinstance(dedupe, str) else dedupe
    events = [event_of(raw, key) for raw in inputs["events"]]
    if inputs.get("windows"):
        return {"windows": windows(rule, events, during, inputs)}
    by = inputs.get("group_by")
    if by:
        groups = measure_groups(
            rule, events, during, by, levels=levels(inputs, by), whole_days=whole(inputs)
        )
        return {
            "groups": [
                {"group": dict(zip(by, group, strict=True)), "value": m.value, "count": m.count}
                for group, m in groups.items()
            ]
        }
    level = Decimal(inputs.get("initial_value") or 0)
    measured = measure(rule, events, during, level=level, whole_days=whole(inputs))
    per_event = events_by_day(rule, events, during) if inputs.get("per_event") else []
    return {"value": measured.value, "count": measured.count, "per_event": per_event}


def windows(
    rule: Metering, events: list[MeteredEvent], during: Period, inputs: Inputs
) -> list[dict[str, object]]:
    wanted = inputs["windows"]
    if not isinstance(wanted, Mapping):
        wanted = {"size": wanted}
    size = WindowSize(str(wanted["size"]).lower())
    zone = wanted.get("time_zone") or inputs.get("time_zone") or "UTC"
    return [
        {"from": window.start, "to": window.end, "value": measured.value, "count": measured.count}
        for window, measured in measure_windows(rule, events, during, size, zone)
    ]


def levels(inputs: Inputs, by: list[str]) -> dict[Group, Decimal]:
    """The level that each group begins with."""
    found = inputs.get("initial_values") or []
    return {tuple(one["group"].get(name) for name in by): Decimal(one["value"]) for one in found}


def rounding(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    value = Fraction(inputs["value"])
    places = int(inputs.get("precision") or 0)
    return {"value": round_quantity(value, ROUNDINGS[inputs.get("function") or "none"], places)}


ADAPTERS: dict[str, Adapter] = {"rounding": rounding}
ADAPTERS.update((str(kind), metered) for kind in Aggregation)
