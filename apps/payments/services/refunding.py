"""Money that the provider pays back for a credit note, to the cards and accounts it came from."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Sum

from apps.audit import services as audit
from apps.core.actor import Actor, require, system
from apps.engine.money import Money
from apps.invoicing import credit
from apps.payments import gateway
from apps.payments.currencies import from_provider, to_provider
from apps.payments.errors import NotConfigured, ProviderRefused, RefundTooLarge
from apps.payments.gateway import Answer, Write
from apps.payments.models import Payment, ProviderCall, Refund, RefundOrder
from apps.payments.objects import Json, follows
from apps.payments.projections import SeenRefund, see_refund
from apps.payments.services import calls
from apps.payments.services.recording import record_refund
from apps.tenants import selectors as tenants_read
from apps.tenants import services as tenants

if TYPE_CHECKING:
    from apps.invoicing.models import CreditNote

ACTOR = system("payment provider")
Status = RefundOrder.Status


@transaction.atomic
def refund(credit_note: str, *, actor: Actor, at: datetime) -> list[RefundOrder]:
    """Have the provider pay back what a credit note (number or public id) promised.

    It goes back to the payments of the invoice that came through the provider, the latest first,
    as far as they reach; safe to repeat, since what is ordered or paid back counts. Each becomes a
    Refund once it is done. Raises UnknownCreditNote, also to strangers, Forbidden, NotConfigured,
    and RefundTooLarge when no payment through the provider has anything left.
    """
    note = credit.get_credit_note(credit_note, organization_id=actor.organization_id)
    require("record_payments", actor=actor, organization_id=note.organization_id)
    if not gateway.configured():
        raise NotConfigured("No payment provider is configured: record the refund by hand.")
    tenants.lock(note.organization_id)
    left = note.refunded_amount - _refunded(credit_note_id=note.pk)
    orders = []
    for payment, room in _sources(note.invoice_id):
        if share := min(left, room):
            orders.append(_order(note, payment, share, actor, at))
            left -= share
    if not orders:
        raise RefundTooLarge(
            f"No payment of invoice {note.invoice.number} that came through the provider has "
            "anything left to be paid back. Pay it back by bank transfer and record that."
        )
    return orders


def refund_automatically(credit_note: str, *, at: datetime) -> None:
    """Have the provider pay back what a new credit note promised, if it can; safe to repeat."""
    note = credit.get_credit_note(credit_note)
    came_by_card = any(True for _ in _sources(note.invoice_id))
    if gateway.configured() and note.refunded_amount and came_by_card:
        left = note.refunded_amount - _refunded(credit_note_id=note.pk)
        if left:
            refund(credit_note, actor=ACTOR, at=at)


def _sources(invoice_id: int) -> Iterator[tuple[Payment, int]]:
    """Yield the payments through the provider and what of each is not paid back yet."""
    rows = Payment.objects.filter(invoice_id=invoice_id, reverses=None).exclude(
        method=Payment.Method.MANUAL
    )
    for payment in rows.filter(reversals=None).order_by("-id"):
        room = payment.amount - payment.excess - _refunded(payment_id=payment.pk)
        if room > 0:
            yield payment, room


def _refunded(**what: int) -> int:
    """Return what went back or was ordered to, in minor units."""
    done = Refund.objects.filter(**what).aggregate(sum=Sum("amount"))["sum"]
    ordered = RefundOrder.objects.filter(**what, status=Status.PENDING)
    return int(done or 0) + int(ordered.aggregate(sum=Sum("amount"))["sum"] or 0)


def _order(
    note: CreditNote, payment: Payment, share: int, actor: Actor, at: datetime
) -> RefundOrder:
    row = RefundOrder.objects.create(
        organization_id=note.organization_id,
        credit_note_id=note.pk,
        payment=payment,
        amount=share,
        currency=note.currency,
        asked_by=actor.id,
        asked_at=at,
    )
    calls.enqueue(
        Write.CREATE_REFUND,
        about=row.public_id,
        params={
            "payment_intent": payment.reference,
            "amount": to_provider(Money(share, note.currency)),
            "reason": "requested_by_customer",
            "metadata": {"credit_note": note.public_id, "number": note.number},
        },
        organization_id=note.organization_id,
    )
    _record(row, "refund.ordered", actor, at)
    return row


# --- what the provider says -----------------------------------------------------------------------
@calls.answered(Write.CREATE_REFUND)
def refund_was_made(call: ProviderCall, answer: Answer, *, at: datetime) -> None:
    """Record the refund, if it is done already."""
    _take_over(see_refund(answer), at)


@calls.refused(Write.CREATE_REFUND)
def refund_was_refused(call: ProviderCall, refusal: ProviderRefused, *, at: datetime) -> None:
    """Note why the provider pays nothing back."""
    order = _locked(RefundOrder.objects.filter(public_id=call.about).first())
    if order is not None:
        _fail(order, str(refusal), at)


@follows("refund")
def follow_refund(told: Json, *, at: datetime) -> None:
    """Take over what became of a refund."""
    _take_over(see_refund(told), at)


def _take_over(seen: SeenRefund, at: datetime) -> None:
    order = _locked(RefundOrder.objects.filter(public_id=seen.billing_id).first())
    if order is None or order.status != Status.PENDING:
        return
    order.provider_id = seen.id
    order.save(update_fields=["provider_id"])
    if seen.status == "succeeded":
        _succeed(order, seen, at)
    elif seen.status in {"failed", "canceled"}:
        _fail(order, seen.reason or seen.status, at)


def _succeed(order: RefundOrder, seen: SeenRefund, at: datetime) -> None:
    order.status, order.ended_at = Status.SUCCEEDED, at
    order.save(update_fields=["status", "ended_at"])
    record_refund(
        order.credit_note.public_id,
        amount=from_provider(seen.amount, seen.currency).major,
        reference=seen.id,
        payment=order.payment.public_id,
        actor=ACTOR,
        at=tenants_read.now_for(order.organization_id, at),
    )


def _fail(order: RefundOrder, reason: str, at: datetime) -> None:
    order.status, order.ended_at, order.reason = Status.FAILED, at, reason[:300]
    order.save(update_fields=["status", "ended_at", "reason"])
    _record(order, "refund.failed", ACTOR, at)


def _locked(order: RefundOrder | None) -> RefundOrder | None:
    if order is None:
        return None
    tenants.lock(order.organization_id)
    return RefundOrder.objects.select_related("credit_note", "payment").get(pk=order.pk)


def _record(row: RefundOrder, action: str, actor: Actor, at: datetime) -> None:
    audit.record(
        action=action,
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        after={"amount": row.amount, "currency": row.currency, "reason": row.reason},
    )
