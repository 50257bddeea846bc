"""Who an organization is to the payment provider."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from apps.payments import gateway, selectors
from apps.payments.gateway import Answer, Write
from apps.payments.models import ProviderCall, ProviderCustomer
from apps.payments.objects import Json, follows
from apps.payments.services import calls
from apps.tenants import selectors as tenants


def ensure_customer(organization_id: int) -> str:
    """Return the provider's id of the organization's customer, made there when there is none.

    Never inside a transaction. Raises NotConfigured and what `calls.call` raises.
    """
    with calls.scope(organization_id):
        known = selectors.customer_of(organization_id)
    if known is not None:
        return known.provider_id
    about, params = _described(organization_id)
    return str(
        calls.call(
            Write.CREATE_CUSTOMER,
            about=about,
            params=params,
            organization_id=organization_id,
        )["id"]
    )


def wish_customer(organization_id: int) -> None:
    """Have the organization made known to the provider by the worker."""
    about, params = _described(organization_id)
    calls.enqueue(
        Write.CREATE_CUSTOMER, about=about, params=params, organization_id=organization_id
    )


def deliver_wish(organization_id: int) -> None:
    """Have the organization made known now, if that is wished and not done yet."""
    with calls.scope(organization_id):
        if selectors.customer_of(organization_id) is not None:
            return
    about, _params = _described(organization_id)
    calls.deliver_lane(about)


def _described(organization_id: int) -> tuple[str, dict[str, Any]]:
    """Return what the customer is for, and what the provider is told about it."""
    with calls.scope(organization_id):
        row = tenants.organization(organization_id)
        gone = ProviderCustomer.objects.filter(organization_id=organization_id).count()
        about = f"{row.public_id}:{gone + 1}" if gone else row.public_id
        params = {"name": row.name, "metadata": {"org_id": row.public_id}}
        return about, {**params, "email": row.email} if row.email else params


@calls.answered(Write.CREATE_CUSTOMER)
def note_customer(call: ProviderCall, answer: Answer, *, at: datetime) -> None:
    """Write down who the organization is there."""
    if call.organization_id is None:
        raise ValueError("the platform itself is nobody's customer")
    ProviderCustomer.objects.create(
        organization_id=call.organization_id,
        provider_id=answer["id"],
        livemode=gateway.livemode(),
    )


@follows("customer")
def follow_customer(customer: Json, *, at: datetime) -> None:
    """Take note when the provider's customer was deleted there."""
    if customer.get("deleted"):
        rows = ProviderCustomer.objects.filter(provider_id=customer["id"], gone_at=None)
        rows.update(gone_at=at)
