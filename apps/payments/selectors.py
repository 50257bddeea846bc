"""Questions about money that came in and money that went back."""

from __future__ import annotations

from collections.abc import Sequence

from apps.payments.errors import UnknownPayment
from apps.payments.models import Payment, Refund


def get(reference: str, *, organization_id: int | None = None) -> Payment:
    """Return the payment with this public id (of the organization), or raise UnknownPayment."""
    rows = Payment.objects.filter(public_id=reference)
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    found = rows.first()
    if found is None:
        raise UnknownPayment(f"There is no payment '{reference}'.")
    return found


def of_invoice(invoice_id: int) -> Sequence[Payment]:
    """Return the payments of an invoice (its integer id) and what took them back, oldest first."""
    return list(Payment.objects.filter(invoice_id=invoice_id).order_by("id"))


def refunds_of_credit_note(credit_note_id: int) -> Sequence[Refund]:
    """Return what was paid back for a credit note (its integer id), oldest first."""
    return list(Refund.objects.filter(credit_note_id=credit_note_id).order_by("id"))
