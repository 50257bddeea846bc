"""Questions about money that came in and money that went back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, Min, Q

from apps.payments.errors import (
    NoPaymentMethod,
    UnknownCheckout,
    UnknownPayment,
    UnknownPaymentMethod,
)
from apps.payments.models import (
    CheckoutSession,
    Collection,
    Payment,
    PaymentAttempt,
    PaymentMethod,
    ProviderCall,
    ProviderCustomer,
    ProviderEvent,
    Refund,
)


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


# --- how it is collected --------------------------------------------------------------------------
def methods_of(organization_id: int) -> Sequence[PaymentMethod]:
    """Return an organization's payment methods, the one that is charged first."""
    rows = PaymentMethod.objects.filter(organization_id=organization_id, removed_at=None)
    return list(rows)


def default_method(organization_id: int) -> PaymentMethod | None:
    """Return the payment method that is charged for what becomes due."""
    rows = PaymentMethod.objects.filter(organization_id=organization_id, is_default=True)
    return rows.first()


def method(reference: str, *, organization_id: int | None = None) -> PaymentMethod:
    """Return the payment method with this public id (of the organization).

    Raises UnknownPaymentMethod, also for one that was removed.
    """
    rows = PaymentMethod.objects.filter(public_id=reference, removed_at=None)
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    found = rows.first()
    if found is None:
        raise UnknownPaymentMethod(f"There is no payment method '{reference}'.")
    return found


def method_to_charge(organization_id: int, reference: str = "") -> PaymentMethod:
    """Return the method that was named, or the default. Raises NoPaymentMethod without any."""
    if reference:
        return method(reference, organization_id=organization_id)
    found = default_method(organization_id)
    if found is None:
        raise NoPaymentMethod("There is no payment method to charge; add one first.")
    return found


def collection_of(invoice_id: int) -> Collection | None:
    """Return how the provider collects an invoice (its integer id), if it does."""
    return Collection.objects.filter(invoice_id=invoice_id).first()


def attempts_of(invoice_id: int) -> Sequence[PaymentAttempt]:
    """Return the attempts to charge an invoice (its integer id), the latest first."""
    rows = PaymentAttempt.objects.filter(invoice_id=invoice_id).select_related("method")
    return list(rows.order_by("-number"))


def attempt_under_way(invoice_id: int, *, besides: str = "") -> PaymentAttempt | None:
    """Return the attempt that is under way, unless it has the state that is left out."""
    rows = PaymentAttempt.objects.filter(invoice_id=invoice_id, status__in=PaymentAttempt.UNDER_WAY)
    return rows.exclude(status=besides).first()


def checkout(reference: str, *, organization_id: int | None = None) -> CheckoutSession:
    """Return the checkout session with this public id (of the organization).

    Raises UnknownCheckout.
    """
    rows = CheckoutSession.objects.filter(public_id=reference)
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    found = rows.first()
    if found is None:
        raise UnknownCheckout(f"There is no checkout session '{reference}'.")
    return found


@dataclass(frozen=True, slots=True)
class InboxState:
    """How many events wait, since when the oldest has, how many were given up, and when the last
    one came.
    """

    pending: int
    oldest_at: datetime | None
    dead: int
    last_at: datetime | None


def inbox_state() -> InboxState:
    """Return how the inbox of the provider's events stands. Needs the ops scope."""
    pending = Q(state=ProviderEvent.State.PENDING)
    found = ProviderEvent.objects.aggregate(
        pending=Count("id", filter=pending),
        oldest_at=Min("received_at", filter=pending),
        dead=Count("id", filter=Q(state=ProviderEvent.State.DEAD)),
        last_at=Max("received_at"),
    )
    return InboxState(**found)
