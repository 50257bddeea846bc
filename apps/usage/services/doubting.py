"""Doubts about usage: raised by whoever finds it unusual, settled by whoever looks into it."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.core.actor import Actor, require
from apps.usage.doubts import Doubt
from apps.usage.models import UsageDoubt


@transaction.atomic
def doubt_usage(organization_id: int, *, source: str, doubt: Doubt, actor: Actor) -> UsageDoubt:
    """Doubt the usage of a meter in some hours, because of `source` (its id); again, what it says
    by now. One that is settled stays settled. Safe to repeat. Raises Forbidden.
    """
    require("manage_invoices", actor=actor, organization_id=organization_id)
    row, _ = UsageDoubt.objects.update_or_create(
        organization_id=organization_id,
        source=source,
        defaults={
            "meter": doubt.meter,
            "reason": doubt.reason[:500],
            "since": doubt.since,
            "until": doubt.until,
        },
    )
    return row


@transaction.atomic
def settle_doubt(organization_id: int, *, source: str, actor: Actor, at: datetime) -> None:
    """Doubt the usage no more, if it was doubted because of `source`. Safe to repeat.

    Raises Forbidden.
    """
    require("manage_invoices", actor=actor, organization_id=organization_id)
    rows = UsageDoubt.objects.filter(organization_id=organization_id, source=source)
    rows.filter(settled_at=None).update(settled_at=at)
