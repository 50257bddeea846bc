"""Questions about money that came in."""

from __future__ import annotations

from collections.abc import Sequence

from apps.payments.models import Payment


def of_invoice(invoice_id: int) -> Sequence[Payment]:
    """Return the payments of an invoice (its integer id), oldest first."""
    return list(Payment.objects.filter(invoice_id=invoice_id).order_by("id"))
