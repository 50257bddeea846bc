"""Holding an organization's drafts while its usage is in doubt."""

from __future__ import annotations

from datetime import datetime

from apps.core.actor import Actor
from apps.engine.decimals import plain
from apps.engine.period import iso
from apps.invoicing import selectors as invoices
from apps.invoicing import services as invoicing
from apps.usage import services as usage
from apps.usage.doubts import Doubt
from apps.watch.models import Anomaly
from apps.watch.sightings import HOUR


def hold_drafts(row: Anomaly, *, actor: Actor, at: datetime) -> list[str]:
    """Hold the organization's drafts that wait for nobody yet; return their public ids.

    Approving such a draft issues it, and discarding it leaves what it billed for the next one.
    """
    found = invoices.drafts_to_hold(row.organization_id)
    for reference in found:
        invoicing.hold_invoice(reference, reason=reason_of(row), actor=actor, at=at)
    return found


def doubt(row: Anomaly, *, actor: Actor) -> None:
    """Let what bills these hours wait until the anomaly is decided on, also when it is over."""
    hours = Doubt(row.meter, row.first_hour, row.last_hour + HOUR, reason_of(row))
    usage.doubt_usage(row.organization_id, source=row.public_id, doubt=hours, actor=actor)


def reason_of(row: Anomaly) -> str:
    """Return why a draft is held: what was seen, what was expected, and the anomaly's id."""
    return (
        f"{row} at {iso(row.worst_hour)}: {plain(row.seen)} seen, {plain(row.low)} to"
        f" {plain(row.high)} expected ({row.public_id})"
    )
