"""Everything that records money coming in."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from django.db import transaction

from apps.core.actor import Actor
from apps.core.errors import Conflict, Invalid
from apps.core.faults import point
from apps.engine.money import InvalidAmount, Money
from apps.invoicing import services as invoicing
from apps.payments.models import Payment


class ReferenceUsed(Conflict):
    """A payment with this reference stands on the invoice already."""

    code = "reference_used"


@transaction.atomic
def record_payment(
    invoice: str,
    *,
    amount: Decimal,
    actor: Actor,
    at: datetime,
    reference: str = "",
    received_at: datetime | None = None,
) -> Payment:
    """Record a payment received outside the system, in major units; partial ones add up.

    `invoice` is a number or public id. The reference is unique per invoice, which makes a repeated
    entry of the same bank line harmless: it is refused. Raises Overpayment, NotPayable,
    ReferenceUsed, Invalid.
    """
    row = invoicing.find_and_lock(invoice, actor=actor, capability="record_payments")
    try:
        money = Money.of(amount, row.currency)
    except InvalidAmount as error:
        raise Invalid(str(error), param="amount") from error
    if money.minor <= 0:
        raise Invalid("A payment is more than nothing.", param="amount")
    if received_at is not None and received_at > at:
        raise Invalid("A payment cannot have been received in the future.", param="received_at")
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
        currency=row.currency,
        received_at=received_at or at,
        recorded_by=actor.id,
    )
    payment.reference = reference or payment.public_id
    payment.save(force_insert=True)
    point("payment.recorded")
    invoicing.apply_payment(row.pk, amount=money, payment=payment.public_id, actor=actor, at=at)
    point("payment.applied")
    return payment
