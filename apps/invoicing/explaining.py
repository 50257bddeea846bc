"""From a line's amount down to the very events: what a measurement counted, and what came since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from apps.invoicing import evidence, sealing
from apps.invoicing.errors import UnknownLine
from apps.invoicing.models import InvoiceLine, LineSeal
from apps.usage import selectors as usage
from apps.usage.errors import UsageSealed
from apps.usage.selectors import EvidenceEvent, HourOfUse


@dataclass(frozen=True, slots=True)
class EventsOfLine:
    """A page of the events under a line; `more` tells whether another page follows.

    Without events and with `sealed_at` they are gone by retention: the line was sealed then.
    """

    line_id: str
    meter: str
    events: Sequence[EvidenceEvent]
    more: bool
    sealed_at: datetime | None = None


def events_of_line(
    line_id: str, *, organization_id: int | None = None, after: str = "", limit: int = 50
) -> EventsOfLine:
    """Return the events under an invoice line (its public id), by time; none without a meter.

    Each is `counted`, `voided` since it was counted, or `late`: it came since. `after` is the
    public id of the last event of the page before. Raises UnknownLine, also to strangers and for
    lines of drafts, and UnknownEvent.
    """
    row = _line(line_id, organization_id)
    if row.usage_epoch is None:
        return EventsOfLine(row.public_id, "", (), more=False)
    claim = evidence.of_line(row).claim
    last = usage.get_event(row.organization_id, after).pk if after else None
    try:
        found = usage.evidence_events(row.organization_id, claim, after=last, limit=limit + 1)
    except UsageSealed:
        seal = _seal(row)
        if seal is None:
            raise
        meter = claim.want.meter_key
        return EventsOfLine(row.public_id, meter, (), more=False, sealed_at=seal.sealed_at)
    return EventsOfLine(row.public_id, claim.want.meter_key, found[:limit], more=len(found) > limit)


def hours_of_line(line_id: str, *, organization_id: int | None = None) -> Sequence[HourOfUse]:
    """Return the hours (UTC) of the events that a line counted.

    Raises UnknownLine, and UsageSealed when the events are gone by retention.
    """
    row = _line(line_id, organization_id)
    if row.usage_epoch is None:
        return ()
    return usage.hours_of(row.organization_id, evidence.of_line(row).claim)


def _seal(row: InvoiceLine) -> LineSeal | None:
    return sealing.sealed([row]).get(sealing.name(row))


def _line(line_id: str, organization_id: int | None) -> InvoiceLine:
    rows = InvoiceLine.objects.filter(public_id=line_id).exclude(invoice__status="draft")
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    found = rows.first()
    if found is None:
        raise UnknownLine(f"There is no invoice line '{line_id}'.")
    return found
