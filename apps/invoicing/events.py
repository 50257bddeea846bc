"""The facts this room tells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InvoiceFinalized:
    """An invoice was issued: it has a number and will not change.

    The fact does not carry the number, which is taken after everything else.
    """

    invoice_id: str
    organization_id: int


@dataclass(frozen=True, slots=True)
class InvoicePaid:
    """An invoice was paid in full."""

    invoice_id: str
    organization_id: int


@dataclass(frozen=True, slots=True)
class InvoiceVoided:
    """An invoice was declared void."""

    invoice_id: str
    organization_id: int
    number: str


@dataclass(frozen=True, slots=True)
class SubscriptionParked:
    """Billing a subscription failed; it waits for somebody to look at it."""

    subscription_id: str
    organization_id: int
    reason: str
