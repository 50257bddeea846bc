"""Questions about money that came in and money that went back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min, Q

from apps.payments.errors import UnknownPayment
from apps.payments.models import Payment, ProviderCall, ProviderCustomer, Refund


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


def customer_of(organization_id: int) -> ProviderCustomer | None:
    """Return who the organization is to the payment provider, if it is anybody there."""
    return ProviderCustomer.objects.filter(organization_id=organization_id, gone_at=None).first()


def organization_of_customer(provider_id: str) -> int | None:
    """Return the organization whose customer this is at the provider, also one that is gone."""
    rows = ProviderCustomer.objects.filter(provider_id=provider_id)
    return rows.values_list("organization_id", flat=True).first()


@dataclass(frozen=True, slots=True)
class CallBacklog:
    """How many calls wait, since when the oldest has, and how many are stuck by our mistake."""

    pending: int
    oldest_at: datetime | None
    stuck: int


def call_backlog() -> CallBacklog:
    """Return what is not settled at the provider, of all that the scope shows."""
    pending = Q(state=ProviderCall.State.PENDING)
    found = ProviderCall.objects.aggregate(
        pending=Count("id", filter=pending),
        oldest_at=Min("created_at", filter=pending),
        stuck=Count("id", filter=Q(state=ProviderCall.State.STUCK)),
    )
    return CallBacklog(**found)
