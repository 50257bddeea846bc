"""Taking events back: a later event says so, nothing is changed or removed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.core.ids import new_id
from apps.usage import selectors
from apps.usage.checking import VOID, NewEvent
from apps.usage.errors import EventRefused
from apps.usage.models import Event
from apps.usage.services.intake import Status, take


@transaction.atomic
def void_event(
    organization_id: int,
    *,
    event: str,
    actor: Actor,
    at: datetime,
    source: str = "",
    reason: str = "",
) -> Event:
    """Take an event back: from now on everything is measured as if it were absent.

    `event` is its public id, or its id within `source`. Stores an event of type `usage.void` and
    returns it. Whatever age the event has: what is billed by a final invoice shows as late usage.
    Raises UnknownEvent, and EventRefused where it is voided already or is a void.
    """
    require("write_usage", actor=actor, organization_id=organization_id)
    target = selectors.get_event(organization_id, event, source=source)
    said = {"reason": reason} if reason else {}
    new = _successor(target, "void", event_type=VOID, occurred_at=at, data=said)
    return _store(organization_id, target, new, actor=actor, at=at, reason=reason)


@transaction.atomic
def correct_event(
    organization_id: int,
    *,
    event: str,
    actor: Actor,
    at: datetime,
    source: str = "",
    data: Mapping[str, object] | None = None,
    occurred_at: datetime | None = None,
    reason: str = "",
) -> Event:
    """Put a right event in the place of a wrong one, in one act.

    The new event takes over what is not given and voids the old one. Raises as `void_event` does,
    and EventRefused where a meter cannot read the new one.
    """
    require("write_usage", actor=actor, organization_id=organization_id)
    target = selectors.get_event(organization_id, event, source=source)
    new = _successor(
        target,
        "correction",
        event_type=target.type,
        occurred_at=occurred_at or target.occurred_at,
        data=selectors.exact_data(target) if data is None else data,
    )
    return _store(organization_id, target, new, actor=actor, at=at, reason=reason)


def _successor(
    target: Event, kind: str, *, event_type: str, occurred_at: datetime, data: Mapping[str, object]
) -> NewEvent:
    return NewEvent(
        source=target.source,
        key=new_id(kind),
        type=event_type,
        occurred_at=occurred_at,
        data=data,
        voids=target.public_id,
    )


def _store(
    organization_id: int, target: Event, new: NewEvent, *, actor: Actor, at: datetime, reason: str
) -> Event:
    [result] = take(organization_id, [new], at=at)
    if result.status is not Status.ACCEPTED:
        raise EventRefused(result.reason, reason=result.code)
    event = Event.objects.get(organization_id=organization_id, pk=result.event_id or 0)
    audit.record(
        action="event.voided" if event.type == VOID else "event.corrected",
        target=target.public_id,
        actor=actor,
        at=at,
        organization_id=organization_id,
        after={"by": event.public_id, "reason": reason},
    )
    return event
