"""A run for those who only look at it."""

from __future__ import annotations

from datetime import datetime

from apps.core.actor import Actor
from apps.dunning import services
from apps.dunning.models import Run
from apps.invoicing import selectors as invoicing


def dunned(organization_id: int, *, actor: Actor, at: datetime) -> Run:
    """Let a card be declined for the organization's oldest invoice that is owed; needs a scope that
    may write the run.
    """
    owed = invoicing.owed_by(datetime.max.replace(tzinfo=at.tzinfo))
    invoice = owed.filter(organization_id=organization_id).order_by("id")[0]
    run = services.note_failure(
        invoice.public_id,
        attempt=1,
        decline_code="insufficient_funds",
        decline_class="retry",
        failed_at=at,
        actor=actor,
        at=at,
    )
    assert run is not None
    return run
