"""Credit that invoices use up: granted, withdrawn, expired."""

from __future__ import annotations

from datetime import datetime

from apps.core import outbox
from apps.core.actor import Actor
from apps.invoicing.events import CreditGranted
from apps.invoicing.models import CreditGrant, CreditMovement, Invoice


def keep(
    row: Invoice, minor: int, *, name: str, source: str, actor: Actor, at: datetime
) -> CreditGrant:
    """Keep money that the customer has with us as credit, once a cause; the caller books it."""
    grant = CreditGrant.objects.create(
        organization_id=row.organization_id,
        kind=CreditGrant.Kind.REFUND,
        name=name[:200],
        currency=row.currency,
        amount=minor,
        priority=0,
        granted_at=at,
        source=source,
        granted_by=actor.id,
    )
    CreditMovement.objects.create(
        organization_id=row.organization_id,
        grant=grant,
        kind=CreditMovement.Kind.GRANTED,
        amount=minor,
        at=at,
    )
    outbox.emit(
        CreditGranted(grant.public_id, row.organization_id),
        at=at,
        organization_id=row.organization_id,
    )
    return grant
