"""The only way into the record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import structlog

from apps.audit.models import AuditEntry
from apps.core.actor import Actor


def record(
    *,
    action: str,
    target: str,
    actor: Actor,
    at: datetime,
    organization_id: int | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Add an entry to the organization's chain, or the platform's, in the current transaction.

    The chain's head row stays locked until the transaction ends: record late, after the locks on
    business rows. The order is organization, subscription, invoice, payment, ledger, audit, number.
    """
    AuditEntry.objects.create(
        organization_id=organization_id,
        at=at,
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_label=actor.label[:200],
        action=action,
        target=target,
        before=dict(before or {}),
        after=dict(after or {}),
        request_id=str(structlog.contextvars.get_contextvars().get("request_id", ""))[:64],
    )
