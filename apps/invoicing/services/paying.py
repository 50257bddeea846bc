"""What payments do to invoices. The payments room calls these, once a payment."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.core import outbox
from apps.core.actor import Actor
from apps.engine.money import Money
from apps.invoicing.composition import CREDIT_PURCHASE
from apps.invoicing.errors import NotPayable, NotReversible, Overpayment
from apps.invoicing.events import InvoicePaid, InvoiceReopened
from apps.invoicing.models import Invoice
from apps.invoicing.services import grants
from apps.invoicing.services.booking import CASH, CREDIT, RECEIVABLE, WRITE_OFF, Movement, book
from apps.invoicing.services.finding import lock, money, record

PAYABLE = (Invoice.Status.OPEN, Invoice.Status.UNCOLLECTIBLE)
CLOSED = (Invoice.Status.PAID, Invoice.Status.VOID)


@transaction.atomic
def apply_payment(
    invoice_id: int,
    *,
    amount: Money,
    payment: str,
    actor: Actor,
    at: datetime,
    keep_excess: bool = False,
) -> Invoice:
    """Count a payment (its public id) against an invoice.

    More than is due is refused, or kept as the customer's credit with `keep_excess`, as all of it
    is on an invoice that is closed. Emits InvoicePaid when nothing is left. Raises NotPayable and
    Overpayment; the booking's unique cause makes a second call for the same payment impossible.
    """
    row = lock(invoice_id)
    if row.status not in PAYABLE and not (keep_excess and row.status in CLOSED):
        raise NotPayable(f"Invoice {row} is {row.status} and takes no payment.")
    if amount.currency != row.currency:
        raise NotPayable(f"Invoice {row} is in {row.currency}, not {amount.currency}.")
    counted = min(amount.minor, row.amount_due)
    excess = amount.minor - counted
    if excess and not keep_excess:
        due = Money(row.amount_due, row.currency)
        raise Overpayment(
            f"{due} is due on {row}; {amount} is more. Record what is due, or keep the rest as "
            "the customer's credit."
        )
    recovered = min(counted, row.written_off)
    row.amount_paid += counted
    row.written_off -= recovered
    row.save(update_fields=["amount_paid", "written_off"])
    moved = {
        CASH: amount.minor,
        RECEIVABLE: recovered - counted,
        WRITE_OFF: -recovered,
        CREDIT: -excess,
    }
    book(Movement(row.organization_id, row.currency, payment, "paid", at, moved))
    if excess:
        grants.keep(row, excess, name=f"Overpayment of {row}", source=payment, actor=actor, at=at)
    record(row, "invoice.payment_applied", actor, at, after=money(counted, row.currency))
    settle(row, actor=actor, at=at)
    return row


@transaction.atomic
def revert_payment(
    invoice_id: int,
    *,
    amount: Money,
    excess: int,
    payment: str,
    reversal: str,
    reason: str,
    actor: Actor,
    at: datetime,
) -> Invoice:
    """Take a payment back that was recorded by mistake: `excess` of it (minor units) was kept as
    credit. A paid invoice is open again, and what it bought is withdrawn.

    Emits InvoiceReopened. Raises NotReversible when what came of the payment is used already.
    """
    row = lock(invoice_id)
    counted = amount.minor - excess
    _check_reversible(row, counted)
    if not grants.take_back(row, payment, reason=reason, actor=actor, at=at):
        raise NotReversible("The credit that came of the excess is used already.")
    reopened = row.status == Invoice.Status.PAID
    if reopened:
        _withdraw_purchases(row, reason, actor, at)
        row.status, row.paid_at = Invoice.Status.OPEN, None
    lost = counted if row.status == Invoice.Status.UNCOLLECTIBLE else 0
    row.amount_paid -= counted
    row.written_off += lost
    row.save(update_fields=["status", "paid_at", "amount_paid", "written_off"])
    moved = {
        CASH: -amount.minor,
        RECEIVABLE: counted - lost,
        WRITE_OFF: lost,
        CREDIT: excess,
    }
    book(Movement(row.organization_id, row.currency, reversal, "reversed", at, moved))
    after = {"reason": reason, "payment": payment, **money(counted, row.currency)}
    record(row, "invoice.payment_reversed", actor, at, after=after)
    if reopened:
        fact = InvoiceReopened(row.public_id, row.organization_id)
        outbox.emit(fact, at=at, organization_id=row.organization_id)
    return row


def _check_reversible(row: Invoice, counted: int) -> None:
    """Refuse where credit notes gave back what the payment brought."""
    given = sum(
        note.credited_amount + note.refunded_amount
        for note in row.credit_notes.filter(organization_id=row.organization_id)
    )
    refunded = sum(row.credit_notes.values_list("refunded_amount", flat=True))
    left = row.amount_paid - counted
    if left < refunded or left + max(row.credits, 0) < given:
        raise NotReversible(f"Credit notes have given back what was paid on {row}.")


def _withdraw_purchases(row: Invoice, reason: str, actor: Actor, at: datetime) -> None:
    if row.kind != Invoice.Kind.ONE_OFF:
        return
    bought = row.lines.filter(kind=CREDIT_PURCHASE, live=True).exclude(charge=None)
    for charge in bought.values_list("charge__public_id", flat=True):
        if not grants.take_back(row, charge, reason=reason, actor=actor, at=at):
            raise NotReversible(f"The credit that {row} bought is used already.")


def settle(row: Invoice, *, actor: Actor, at: datetime) -> None:
    """Close an open invoice that has nothing left to be paid."""
    if row.status not in PAYABLE or row.amount_due:
        return
    row.status, row.paid_at = Invoice.Status.PAID, at
    row.save(update_fields=["status", "paid_at"])
    record(row, "invoice.paid", actor, at)
    fact = InvoicePaid(row.public_id, row.organization_id)
    outbox.emit(fact, at=at, organization_id=row.organization_id)
    if row.kind == Invoice.Kind.ONE_OFF:
        grants.hand_over(row, actor=actor, at=at)
