"""When the next thing comes due of organizations that live by a time of their own."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.db.models import Min

from apps.dunning import selectors as dunning
from apps.invoicing.models import CreditGrant, Invoice
from apps.subscriptions import selectors as subscriptions


def next_due(organization_ids: Collection[int], *, after: datetime) -> datetime | None:
    """Return the first instant after `after` at which a scheduled run would find something to do.

    A boundary, a scheduled change, the end of a draft's grace or of a credit grant, an invoice that
    falls due, or a step of dunning. None when nothing comes any more. Needs a scope that shows the
    organizations.
    """
    mine = {"organization_id__in": list(organization_ids)}
    invoices, grants = Invoice.objects.filter(**mine), CreditGrant.objects.filter(**mine)
    found = [
        subscriptions.next_due(organization_ids, after=after),
        dunning.next_due(organization_ids, after=after),
        invoices.filter(status="draft", hold_reason="", grace_until__gt=after).aggregate(
            first=Min("grace_until")
        )["first"],
        invoices.filter(status="open", due_at__gt=after).aggregate(first=Min("due_at"))["first"],
        grants.filter(remaining__gt=0, voided_at=None, expires_at__gt=after).aggregate(
            first=Min("expires_at")
        )["first"],
    ]
    return min((moment for moment in found if moment is not None), default=None)
