"""Disputes: a customer's bank wants a payment back."""

from __future__ import annotations

from datetime import datetime

from apps.audit import services as audit
from apps.core import outbox
from apps.core.actor import system
from apps.payments.currencies import from_provider
from apps.payments.events import DisputeClosed, DisputeOpened
from apps.payments.models import Dispute, Payment
from apps.payments.objects import Json, follows
from apps.payments.projections import SeenDispute, see_dispute
from apps.tenants import services as tenants

ACTOR = system("payment provider")
WON = {"won", "warning_closed", "prevented"}
LOST = {"lost"}


@follows("dispute")
def follow_dispute(told: Json, *, at: datetime) -> None:
    """Take over how a dispute about a payment of ours stands.

    Emits DisputeOpened and DisputeClosed, each once. Invoices and access stay as they are: finance
    decides, and a lost one is booked by taking the payment back.
    """
    seen = see_dispute(told)
    payment = Payment.objects.filter(reference=seen.intent, reverses=None).first()
    if payment is None:
        return
    tenants.lock(payment.organization_id)
    money = from_provider(seen.amount, seen.currency)
    row, is_new = Dispute.objects.get_or_create(
        provider_id=seen.id,
        organization_id=payment.organization_id,
        defaults={
            "payment": payment,
            "amount": money.minor,
            "currency": money.currency,
            "reason": seen.reason[:60],
            "status": seen.status[:40],
            "evidence_due_at": seen.evidence_due,
            "opened_at": seen.opened,
        },
    )
    if is_new:
        _tell_opened(row, payment, at)
    _move_on(row, payment, seen, at)


def _move_on(row: Dispute, payment: Payment, seen: SeenDispute, at: datetime) -> None:
    if row.outcome != Dispute.Outcome.UNDECIDED:
        return
    row.status, row.evidence_due_at = seen.status[:40], seen.evidence_due
    if seen.status in WON | LOST:
        row.outcome = Dispute.Outcome.WON if seen.status in WON else Dispute.Outcome.LOST
        row.closed_at = max(at, row.opened_at)
        won = row.outcome == Dispute.Outcome.WON
        invoice = payment.invoice.public_id
        fact = DisputeClosed(row.public_id, invoice, row.organization_id, won)
        outbox.emit(fact, at=at, organization_id=row.organization_id)
        _record(row, "dispute.closed", at)
    row.save()


def _tell_opened(row: Dispute, payment: Payment, at: datetime) -> None:
    due = row.evidence_due_at.isoformat() if row.evidence_due_at else ""
    fact = DisputeOpened(row.public_id, payment.invoice.public_id, row.organization_id, due)
    outbox.emit(fact, at=at, organization_id=row.organization_id)
    _record(row, "dispute.opened", at)


def _record(row: Dispute, action: str, at: datetime) -> None:
    audit.record(
        action=action,
        target=row.public_id,
        actor=ACTOR,
        at=at,
        organization_id=row.organization_id,
        after={"amount": row.amount, "currency": row.currency, "status": row.status},
    )
