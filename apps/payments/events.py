"""The facts this room tells; invoices, payments and disputes by public id, instants as ISO 8601."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DeclineClass(StrEnum):
    """What may be done about a payment that failed."""

    RETRY = "retry"  # the same card may work later: no funds, a processing error, no issuer
    METHOD = "method"  # this card will not: expired, lost, stolen, a wrong number
    ACTION = "action"  # the customer has to authenticate
    NEVER = "never"  # not to be tried again: fraud, or the network forbids it


@dataclass(frozen=True, slots=True)
class PaymentFailed:
    """An attempt to collect an invoice failed; `attempt` counts from 1.

    `decline_code` is the provider's, and `decline_class` one of DeclineClass.
    """

    invoice: str
    organization_id: int
    attempt: int
    decline_code: str
    decline_class: str
    at: str


@dataclass(frozen=True, slots=True)
class PaymentActionRequired:
    """The customer's bank wants them to confirm a payment; `url` is where they do."""

    invoice: str
    organization_id: int
    url: str
    at: str


@dataclass(frozen=True, slots=True)
class PaymentCollected:
    """The provider collected an invoice, or part of it, and the payment is recorded."""

    invoice: str
    payment: str
    organization_id: int


@dataclass(frozen=True, slots=True)
class PaymentMethodChanged:
    """An organization has another payment method to be charged from now on."""

    organization_id: int
    at: str


@dataclass(frozen=True, slots=True)
class PaymentMethodExpiring:
    """The card that is charged expires at the end of this month (`expires`: YYYY-MM)."""

    organization_id: int
    method: str
    expires: str


@dataclass(frozen=True, slots=True)
class DisputeOpened:
    """A customer asked their bank for the money back; `evidence_due` may be empty."""

    dispute: str
    invoice: str
    organization_id: int
    evidence_due: str


@dataclass(frozen=True, slots=True)
class DisputeClosed:
    """A bank decided; `won` when the money stays."""

    dispute: str
    invoice: str
    organization_id: int
    won: bool


@dataclass(frozen=True, slots=True)
class ProviderEventGivenUp:
    """An event of the provider's could not be handled in a day; it waits for staff in the admin."""

    event: str
    type: str
    object_id: str
    error: str
