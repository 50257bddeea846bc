"""What this room refuses."""

from __future__ import annotations

from apps.core.errors import Conflict, DomainError, NotFound


class ReferenceUsed(Conflict):
    """A payment with this reference stands on the invoice already, or a refund on the note."""

    code = "reference_used"


class UnknownPayment(NotFound):
    """No payment has this id."""

    code = "unknown_payment"


class AlreadyReversed(Conflict):
    """The payment was taken back, or is what took one back."""

    code = "already_reversed"


class RefundTooLarge(DomainError):
    """More than the credit note promised to pay back, or than the payment brought."""

    code = "refund_too_large"


class NotChargeable(DomainError):
    """Stripe charges no such amount: too small, or too fine for its currency."""

    code = "not_chargeable"
