"""Meters: defined once, never changed in meaning."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.usage import filtering, retention
from apps.usage.checking import VOID
from apps.usage.errors import InvalidMeter, MeterChanged
from apps.usage.filtering import Values
from apps.usage.models import Meter
from apps.usage.services import rollup
from apps.usage.shipped import event_store

KEY = re.compile(r"[a-z][a-z0-9_]{0,63}")
EVENT_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}")
# No digit in front: PostgreSQL would take it for a place in an array.
PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)*")
MEANING = ("event_type", "aggregation", "value", "allow_negative", "filter")
MOST_DIMENSIONS, LONGEST_PATH = 8, 100  # a slice must fit an index
WORDING = ("unit", "description")


@transaction.atomic
def define_meter(  # noqa: PLR0913 - a definition has this many parts
    key: str,
    *,
    event_type: str,
    aggregation: str,
    actor: Actor,
    at: datetime,
    value: str = "",
    unit: str = "",
    description: str = "",
    allow_negative: bool = False,
    dimensions: Sequence[str] = (),
    include: Values | None = None,
    exclude: Sequence[Values] = (),
) -> Meter:
    """Create the meter, or leave it as it is when it is there; needs the ops scope.

    Unit and description may change, and so may the dimensions: then its buckets are made anew.
    `include` and `exclude` say which events it counts at all. Raises MeterChanged for another event
    type, aggregation, value, sign or filter, and InvalidMeter. A meter on events that are stored
    already counts those that are still there.
    """
    require("manage_catalog", actor=actor)
    filtered = filtering.document(include or {}, exclude)
    meant = {
        "event_type": event_type,
        "aggregation": aggregation,
        "value": value,
        "allow_negative": allow_negative,
        "dimensions": sorted(dimensions),
        "filter": filtered,
        "unit": unit,
        "description": description,
    }
    _check(key, event_type=event_type, aggregation=aggregation, value=value)
    _check_dimensions(key, dimensions, filtering.paths(filtered))
    rollup.hold()  # until the commit: no roll-up may pass by without the new meter
    found = Meter.objects.filter(key=key).first()
    if found is not None:
        return _keep(found, meant, actor=actor, at=at)
    meter = Meter.objects.create(key=key, **meant)
    if event_store().has_type(event_type):
        rollup.fill(meter_id=meter.pk)
    audit.record(
        action="meter.defined",
        target=meter.public_id,
        actor=actor,
        at=at,
        after={"key": key, **meant},
    )
    return meter


def _check(key: str, *, event_type: str, aggregation: str, value: str) -> None:
    if not KEY.fullmatch(key):
        raise InvalidMeter(f"'{key}' is no meter key: use a-z, 0-9 and _, 64 at most.", param="key")
    if not EVENT_TYPE.fullmatch(event_type) or event_type == VOID:
        raise InvalidMeter(f"'{event_type}' is no event type.", param="event_type")
    if aggregation not in Meter.Kind.values:
        known = ", ".join(Meter.Kind.values)
        raise InvalidMeter(f"'{aggregation}' is none of {known}.", param="aggregation")
    if aggregation == Meter.Kind.COUNT and value:
        raise InvalidMeter(f"Meter '{key}' counts events and reads no value.", param="value")
    if aggregation != Meter.Kind.COUNT and not PATH.fullmatch(value):
        raise InvalidMeter(
            f"Meter '{key}' needs the name of the value it reads, such as tokens or usage.tokens.",
            param="value",
        )


def _check_dimensions(key: str, dimensions: Sequence[str], filtered: Iterable[str]) -> None:
    if len(set(dimensions)) != len(dimensions) or len(dimensions) > MOST_DIMENSIONS:
        said = f"Meter '{key}' may have {MOST_DIMENSIONS} different dimensions."
        raise InvalidMeter(said, param="dimensions")
    for path in [*dimensions, *filtered]:
        if not PATH.fullmatch(path) or len(path) > LONGEST_PATH:
            said = f"'{path}' is no name of a value: write model or usage.model."
            raise InvalidMeter(said, param="dimensions" if path in dimensions else "filter")


def _keep(meter: Meter, meant: dict[str, Any], *, actor: Actor, at: datetime) -> Meter:
    changed = [name for name in MEANING if getattr(meter, name) != meant[name]]
    if changed:
        raise MeterChanged(
            f"Meter '{meter.key}' exists with another {' and '.join(changed)}; give the new meaning"
            " a new key, so that what was billed stays what it was.",
            param=changed[0],
        )
    free = (*WORDING, "dimensions")
    wording = {name: meant[name] for name in free if getattr(meter, name) != meant[name]}
    if not wording:
        return meter
    before = {name: getattr(meter, name) for name in wording}
    for name, text in wording.items():
        setattr(meter, name, text)
    meter.save(update_fields=list(wording))
    if "dimensions" in wording:
        if retention.is_sealed(meter.pk):
            raise MeterChanged(
                f"Usage of meter '{meter.key}' is sealed and its events are gone: it cannot be told"
                " apart by other dimensions. Define a meter with another key.",
                param="dimensions",
            )
        rollup.refill(meter.pk)
    audit.record(
        action="meter.sliced" if "dimensions" in wording else "meter.reworded",
        target=meter.public_id,
        actor=actor,
        at=at,
        before=before,
        after=wording,
    )
    return meter
