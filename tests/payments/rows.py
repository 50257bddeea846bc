"""What collecting through a provider leaves behind, for those who only look at it."""

from __future__ import annotations

from datetime import datetime

from apps.core.actor import Actor
from apps.invoicing.models import CreditNote, Invoice
from apps.payments.models import (
    CheckoutSession,
    Collection,
    Dispute,
    Payment,
    PaymentAttempt,
    PaymentMethod,
    RefundOrder,
)


def collected(organization_id: int, invoice: Invoice, *, actor: Actor, at: datetime) -> None:
    """A card, an invoice that was charged to it in vain, a visit, a refund that failed, a dispute.

    The organization has a payment and a credit note already.
    """
    whose = {"organization_id": organization_id, "currency": invoice.currency}
    asked = {"asked_by": actor.id, "asked_at": at, "ended_at": at}
    card = PaymentMethod.objects.create(
        organization_id=organization_id,
        provider_id=f"pm_{organization_id}",
        kind="card",
        last4="4242",
        is_default=True,
    )
    collection = Collection.objects.create(
        **whose, invoice_id=invoice.pk, provider_id=f"in_{organization_id}", status="closed"
    )
    PaymentAttempt.objects.create(
        **whose,
        **asked,
        collection=collection,
        invoice_id=invoice.pk,
        number=1,
        method=card,
        amount=1_00,
        status="failed",
    )
    CheckoutSession.objects.create(
        organization_id=organization_id,
        mode="setup",
        purpose="setup",
        status="expired",
        back="/portal/",
        **asked,
    )
    note = CreditNote.objects.filter(organization_id=organization_id).order_by("id")[0]
    payment = Payment.objects.filter(organization_id=organization_id).order_by("id")[0]
    RefundOrder.objects.create(
        **whose, **asked, credit_note=note, payment=payment, amount=1, status="failed"
    )
    Dispute.objects.create(
        **whose,
        provider_id=f"dp_{organization_id}",
        payment=payment,
        amount=1_00,
        reason="fraudulent",
        status="needs_response",
        opened_at=at,
    )
