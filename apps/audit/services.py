"""The only way into the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any

import structlog
from django.db import transaction

from apps.audit.models import AuditEntry
from apps.core import bulk, outbox
from apps.core.actor import Actor, require
from apps.engine.values import value_class


@value_class(frozen=True, slots=True)
class Entry:
    """One thing that was done, to what, and what it changed."""

    action: str
    target: str
    organization_id: int | None = None
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)


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
    entry = Entry(action, target, organization_id, before or {}, after or {})
    record_all([entry], actor=actor, at=at)


def record_all(entries: Sequence[Entry], *, actor: Actor, at: datetime) -> None:
    """Add many entries in one statement, each to its own chain, as `record` does."""
    request_id = str(structlog.contextvars.get_contextvars().get("request_id", ""))[:64]
    bulk.add(
        AuditEntry,
        (
            {
                "organization_id": entry.organization_id,
                "at": at,
                "actor_kind": actor.kind,
                "actor_id": actor.id,
                "actor_label": actor.label[:200],
                "action": entry.action,
                "target": entry.target,
                "before": dict(entry.before),
                "after": dict(entry.after),
                "request_id": request_id,
            }
            for entry in entries
        ),
    )


@transaction.atomic
def retry_deliveries(delivery_ids: list[int], *, actor: Actor, at: datetime) -> int:
    """Put dead deliveries of the outbox back in the queue; return how many. Needs the ops scope.

    It stands here because the kernel below cannot record who asked. Safe to repeat: only dead ones
    are taken.
    """
    require("manage_outbox", actor=actor)
    found = outbox.retry(delivery_ids)
    if found:
        after = {"deliveries": found}
        record(action="outbox.retried", target="outbox", actor=actor, at=at, after=after)
    return found
