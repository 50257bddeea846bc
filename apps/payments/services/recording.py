"""Everything that records money coming in and going back."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import Sum

from apps.core.actor import Actor, require
from apps.core.amounts import said_amount
from apps.core.errors import Invalid
from apps.core.faults import point
from apps.engine.money import Money
from apps.invoicing import credit
from apps.invoicing import services as invoicing
from apps.payments import selectors
from apps.payments.errors import AlreadyReversed, ReferenceUsed, RefundTooLarge
from apps.payments.models import Payment, Refund
from apps.tenants import services as tenants

MOST_EARLY = timedelta(days=366)


@transaction.atomic
def record_payment(
    invoice: str,
    *,
    amount: Decimal,
    actor: Actor,
    at: datetime,
    reference: str = "",
    received_at: datetime | None = None,
    keep_excess: bool = False,
    method: str = Payment.Method.MANUAL,
) -> Payment:
    """Record a payment that was received, in major units; partial ones add up.

    `invoice` is a number or public id. The reference is unique per invoice, which makes a repeated
    entry of the same bank line harmless: it is refused. What is more than is due is refused, or
    kept as the customer's credit with `keep_excess`, as is all that comes for an invoice that is
    paid or void by then. Raises Overpayment, NotPayable, ReferenceUsed, Invalid.
    """
    row = invoicing.find_and_lock(invoice, actor=actor, capability="record_payments")
    money = _money(amount, row.currency)
    _check_instant(received_at, at, "received_at")
    _check_age(received_at, row.issued_at)
    reference = reference.strip()[:100]
    taken = Payment.objects.filter(organization_id=row.organization_id, invoice_id=row.pk)
    if reference and taken.filter(reference=reference).exists():
        raise ReferenceUsed(
            f"A payment with the reference '{reference}' is recorded on {row} already.",
            param="reference",
        )
    payment = Payment(
        organization_id=row.organization_id,
        invoice_id=row.pk,
        amount=money.minor,
        excess=max(0, money.minor - row.amount_due) if keep_excess else 0,
        currency=row.currency,
        method=method,
        received_at=received_at or at,
        recorded_by=actor.id,
    )
    payment.reference = reference or payment.public_id
    payment.save(force_insert=True)
    point("payment.recorded")
    invoicing.apply_payment(
        row.pk,
        amount=money,
        payment=payment.public_id,
        actor=actor,
        at=at,
        keep_excess=keep_excess,
    )
    point("payment.applied")
    return payment


def _money(amount: Decimal, currency: str) -> Money:
    money = said_amount(amount, currency)
    if money.minor <= 0:
        raise Invalid("A payment is more than nothing.", param="amount")
    return money


def _check_instant(said: datetime | None, at: datetime, param: str) -> None:
    if said is not None and said > at:
        done = "received" if param == "received_at" else "paid back"
        raise Invalid(f"A payment cannot have been {done} in the future.", param=param)


def _check_age(received: datetime | None, issued: datetime) -> None:
    """Refuse the slip of the pen; deposits come before their invoice, but not a year before."""
    if received is not None and received < issued - MOST_EARLY:
        raise Invalid(
            f"A payment is received at most a year before its invoice, which is of {issued:%F}.",
            param="received_at",
        )


@transaction.atomic
def reverse_payment(payment: str, *, reason: str, actor: Actor, at: datetime) -> Payment:
    """Take a payment back that was recorded by mistake (its public id): a second row with its
    amount below zero stands against it. What it paid is due again.

    Its reference stays used on that invoice. Raises UnknownPayment, also to strangers, Forbidden,
    AlreadyReversed, Invalid without a reason, and NotReversible when what came of the payment is
    paid back or spent. Of two at once, one wins.
    """
    row = selectors.get(payment, organization_id=actor.organization_id)
    require("record_payments", actor=actor, organization_id=row.organization_id)
    if not reason.strip():
        raise Invalid("Say why the payment is taken back.", param="reason")
    tenants.lock(row.organization_id)
    if row.reverses_id is not None or row.reversals.exists():
        raise AlreadyReversed(f"Payment {row.reference} was taken back already.")
    if row.refunds.exists():
        raise AlreadyReversed(f"Payment {row.reference} was paid back by a refund.")
    reversal = Payment(
        organization_id=row.organization_id,
        invoice_id=row.invoice_id,
        amount=-row.amount,
        excess=-row.excess,
        currency=row.currency,
        method=row.method,
        received_at=at,
        recorded_by=actor.id,
        reverses=row,
        reason=reason.strip()[:200],
    )
    reversal.reference = reversal.public_id
    reversal.save(force_insert=True)
    invoicing.revert_payment(
        row.invoice_id,
        amount=Money(row.amount, row.currency),
        excess=row.excess,
        payment=row.public_id,
        reversal=reversal.public_id,
        reason=reversal.reason,
        actor=actor,
        at=at,
    )
    return reversal


@transaction.atomic
def record_refund(
    credit_note: str,
    *,
    actor: Actor,
    at: datetime,
    amount: Decimal | None = None,
    reference: str = "",
    payment: str = "",
    refunded_at: datetime | None = None,
) -> Refund:
    """Record that money went back which a credit note (number or public id) promised, in major
    units; without an amount all that is left of it. Partial ones add up.

    `payment` (public id) says which money it was. The reference is unique per note. Raises
    UnknownCreditNote, Forbidden, RefundTooLarge, ReferenceUsed, UnknownPayment and Invalid.
    """
    note = credit.get_credit_note(credit_note, organization_id=actor.organization_id)
    require("record_payments", actor=actor, organization_id=note.organization_id)
    tenants.lock(note.organization_id)
    invoicing.lock(note.invoice_id)
    _check_instant(refunded_at, at, "refunded_at")
    left = Money(note.refunded_amount - _refunded(credit_note_id=note.pk), note.currency)
    money = left if amount is None else _money(amount, note.currency)
    if not left.minor or money > left:
        raise RefundTooLarge(f"Credit note {note} has {left} left to be paid back.", param="amount")
    source = _source_of(payment, note.organization_id, note.invoice_id, money)
    reference = reference.strip()[:100]
    taken = Refund.objects.filter(organization_id=note.organization_id, credit_note_id=note.pk)
    if reference and taken.filter(reference=reference).exists():
        raise ReferenceUsed(
            f"A refund with the reference '{reference}' is recorded on {note} already.",
            param="reference",
        )
    refund = Refund(
        organization_id=note.organization_id,
        invoice_id=note.invoice_id,
        credit_note_id=note.pk,
        payment=source,
        amount=money.minor,
        currency=note.currency,
        method=source.method if source else Payment.Method.MANUAL,
        refunded_at=refunded_at or at,
        recorded_by=actor.id,
    )
    refund.reference = reference or refund.public_id
    refund.save(force_insert=True)
    point("refund.recorded")
    invoicing.pay_out(note.pk, amount=money.minor, refund=refund.public_id, actor=actor, at=at)
    return refund


def _source_of(payment: str, organization_id: int, invoice_id: int, money: Money) -> Payment | None:
    """Return the payment that is paid back, if it was said which and it brought as much."""
    if not payment:
        return None
    row = selectors.get(payment, organization_id=organization_id)
    if row.invoice_id != invoice_id:
        raise Invalid("This payment was for another invoice.", param="payment")
    brought = 0 if row.reverses_id or row.reversals.exists() else row.amount - row.excess
    left = Money(brought - _refunded(payment_id=row.pk), row.currency)
    if money > left:
        raise RefundTooLarge(f"Payment {row.reference} has {left} left to be paid back.")
    return row


def _refunded(**what: int) -> int:
    return int(Refund.objects.filter(**what).aggregate(sum=Sum("amount"))["sum"] or 0)
