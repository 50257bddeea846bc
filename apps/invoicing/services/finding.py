"""Getting hold of an invoice, in the one order of locks, and recording what is done to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.invoicing import selectors
from apps.invoicing.models import Invoice
from apps.tenants import services as tenants


def lock(invoice_id: int) -> Invoice:
    """Lock the invoice's row: after the subscription's, before a payment's."""
    return Invoice.objects.select_for_update().get(pk=invoice_id)


def find_and_lock(reference: str, *, actor: Actor, capability: str) -> Invoice:
    """Return the invoice with this number or id, locked after its organization.

    Raises UnknownInvoice, also to somebody of another organization, and Forbidden.
    """
    row = selectors.get(reference, organization_id=actor.organization_id)
    require(capability, actor=actor, organization_id=row.organization_id)
    tenants.lock(row.organization_id)
    return lock(row.pk)


def record(row: Invoice, action: str, actor: Actor, at: datetime, **facts: Any) -> None:
    """Put on record what was done to the invoice."""
    audit.record(
        action=action,
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        **facts,
    )


def money(minor: int, currency: str) -> dict[str, Any]:
    """Return an amount as records and facts say it."""
    return {"amount": minor, "currency": currency}
