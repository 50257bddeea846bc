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


@dataclass(frozen=True, slots=True)
class InvoiceUncollectible:
    """An invoice was given up."""

    invoice_id: str
    organization_id: int
    number: str


@dataclass(frozen=True, slots=True)
class CreditGranted:
    """An organization got credit."""

    grant_id: str
    organization_id: int


@dataclass(frozen=True, slots=True)
class CreditEnded:
    """What was left of a grant (minor units) expired or was withdrawn; `how` is which."""

    grant_id: str
    organization_id: int
    left: int
    how: str


@dataclass(frozen=True, slots=True)
class CreditLow:
    """What is left of an organization's credit (minor units) fell below its recharge rule's
    threshold; `cause` is the public id of what used it.
    """

    organization_id: int
    currency: str
    left: int
    cause: str = ""


@dataclass(frozen=True, slots=True)
class InvoiceReopened:
    """A payment was taken back: a paid invoice is open again."""

    invoice_id: str
    organization_id: int


@dataclass(frozen=True, slots=True)
class CreditNoteIssued:
    """Part of an invoice was taken back."""

    credit_note_id: str
    invoice_id: str
    organization_id: int


@dataclass(frozen=True, slots=True)
class CorrectionFound:
    """The facts under a final line changed; `review` when somebody has to decide."""

    correction_id: str
    organization_id: int
    review: bool
