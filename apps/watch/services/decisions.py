"""What people make of an anomaly."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.core.errors import Invalid
from apps.tenants import services as tenants
from apps.usage import services as usage
from apps.watch import selectors
from apps.watch.errors import AnomalyDecided
from apps.watch.models import Anomaly
from apps.watch.services.holding import hold_drafts

Status = Anomaly.Status


@transaction.atomic
def acknowledge_anomaly(reference: str, *, actor: Actor, at: datetime, reason: str = "") -> Anomaly:
    """Say that it was seen: by its organization's billing people, or by staff. Safe to repeat.

    Raises UnknownAnomaly, AnomalyDecided and Forbidden.
    """
    row = _locked(reference, actor=actor, capability="manage_billing")
    if row.status == Status.ACKNOWLEDGED:
        return row
    return _decide(row, Status.ACKNOWLEDGED, reason.strip(), actor=actor, at=at)


@transaction.atomic
def ignore_anomaly(reference: str, *, reason: str, actor: Actor, at: datetime) -> Anomaly:
    """Say that it is no concern: it holds nothing any more and nobody is told again.

    Raises UnknownAnomaly, AnomalyDecided, Invalid without a reason, and Forbidden.
    """
    row = _locked(reference, actor=actor, capability="manage_invoices")
    _settle(row, actor=actor, at=at)
    return _decide(row, Status.IGNORED, _said(reason), actor=actor, at=at)


@transaction.atomic
def resolve_anomaly(reference: str, *, reason: str, actor: Actor, at: datetime) -> Anomaly:
    """Say that it is over and dealt with; what is still off begins a new one.

    Drafts that it holds stay held until somebody approves them. Raises as `ignore_anomaly` does.
    """
    row = _locked(reference, actor=actor, capability="manage_invoices")
    row.ended_at = row.ended_at or at
    _settle(row, actor=actor, at=at)
    return _decide(row, Status.RESOLVED, _said(reason), actor=actor, at=at)


@transaction.atomic
def hold_for_anomaly(reference: str, *, actor: Actor, at: datetime) -> list[str]:
    """Hold the organization's drafts because of it; return their public ids.

    Raises UnknownAnomaly, AnomalyDecided and Forbidden.
    """
    row = _locked(reference, actor=actor, capability="manage_invoices")
    _refuse_decided(row)
    held = hold_drafts(row, actor=actor, at=at)
    _record(row, "anomaly.held", actor, at, {"invoices": held})
    return held


def _locked(reference: str, *, actor: Actor, capability: str) -> Anomaly:
    row = selectors.get_anomaly(reference, organization_id=actor.organization_id)
    require(capability, actor=actor, organization_id=row.organization_id)
    tenants.lock(row.organization_id)
    return Anomaly.objects.select_for_update().get(pk=row.pk)


def _decide(row: Anomaly, status: str, reason: str, *, actor: Actor, at: datetime) -> Anomaly:
    _refuse_decided(row)
    row.status, row.reason = status, reason[:200]
    row.decided_at, row.decided_by = at, actor.id
    row.save(update_fields=["status", "reason", "decided_at", "decided_by", "ended_at"])
    _record(row, f"anomaly.{status}", actor, at, {"reason": row.reason})
    return row


def _settle(row: Anomaly, *, actor: Actor, at: datetime) -> None:
    usage.settle_doubt(row.organization_id, source=row.public_id, actor=actor, at=at)


def _refuse_decided(row: Anomaly) -> None:
    if row.is_decided:
        raise AnomalyDecided(f"This anomaly is {row.status} and waits for no decision.")


def _said(reason: str) -> str:
    if not reason.strip():
        raise Invalid("Say why: whoever looks at it later will ask.", param="reason")
    return reason.strip()


def _record(
    row: Anomaly, action: str, actor: Actor, at: datetime, after: dict[str, object]
) -> None:
    audit.record(
        action=action,
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        after=after,
    )
