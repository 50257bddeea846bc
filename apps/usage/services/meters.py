"""Meters: defined once, never changed in meaning."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.engine.aggregation import Aggregation
from apps.usage.errors import InvalidMeter, MeterChanged
from apps.usage.models import Event, Meter
from apps.usage.services import rollup

KEY = re.compile(r"[a-z][a-z0-9_]{0,63}")
EVENT_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}")
# No digit in front: PostgreSQL would take it for a place in an array.
PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)*")
MEANING = ("event_type", "aggregation", "value", "allow_negative")
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
) -> Meter:
    """Create the meter, or leave it as it is when it is there; needs the ops scope.

    Unit and description may change. Raises MeterChanged for another event type, aggregation, value
    or sign, and InvalidMeter. A meter on events that are stored already counts them all.
    """
    require("manage_catalog", actor=actor)
    meant = {
        "event_type": event_type,
        "aggregation": aggregation,
        "value": value,
        "allow_negative": allow_negative,
        "unit": unit,
        "description": description,
    }
    _check(key, event_type=event_type, aggregation=aggregation, value=value)
    rollup.hold()  # until the commit: no roll-up may pass by without the new meter
    found = Meter.objects.filter(key=key).first()
    if found is not None:
        return _keep(found, meant, actor=actor, at=at)
    meter = Meter.objects.create(key=key, **meant)
    if Event.objects.filter(type=event_type).exists():
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
    if not EVENT_TYPE.fullmatch(event_type):
        raise InvalidMeter(f"'{event_type}' is no event type.", param="event_type")
    if aggregation not in set(Aggregation):
        known = ", ".join(Aggregation)
        raise InvalidMeter(f"'{aggregation}' is none of {known}.", param="aggregation")
    if aggregation == Aggregation.COUNT and value:
        raise InvalidMeter(f"Meter '{key}' counts events and reads no value.", param="value")
    if aggregation != Aggregation.COUNT and not PATH.fullmatch(value):
        raise InvalidMeter(
            f"Meter '{key}' needs the name of the value it reads, such as tokens or usage.tokens.",
            param="value",
        )


def _keep(meter: Meter, meant: dict[str, Any], *, actor: Actor, at: datetime) -> Meter:
    changed = [name for name in MEANING if getattr(meter, name) != meant[name]]
    if changed:
        raise MeterChanged(
            f"Meter '{meter.key}' exists with another {' and '.join(changed)}; give the new meaning"
            " a new key, so that what was billed stays what it was.",
            param=changed[0],
        )
    wording = {name: meant[name] for name in WORDING if getattr(meter, name) != meant[name]}
    if not wording:
        return meter
    before = {name: getattr(meter, name) for name in wording}
    for name, text in wording.items():
        setattr(meter, name, text)
    meter.save(update_fields=list(wording))
    audit.record(
        action="meter.reworded",
        target=meter.public_id,
        actor=actor,
        at=at,
        before=before,
        after=wording,
    )
    return meter
