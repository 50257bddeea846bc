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


class ProviderError(DomainError):
    """The payment provider did not do what it was asked to."""

    code = "provider_error"
    status = 502


class ProviderDown(ProviderError):
    """The payment provider could not be reached, or failed: nobody knows whether it acted.

    `extra["replayed"]` says that it repeated an earlier failure for the same idempotency key.
    """

    code = "provider_down"
    status = 503


class ProviderBusy(ProviderError):
    """The payment provider has too much to do, or the object is being changed: ask again soon."""

    code = "provider_busy"
    status = 503


class ProviderRefused(ProviderError):
    """The payment provider understood and refused: asking again the same way changes nothing.

    `provider_code`, `decline_code` and `provider_param` are what it said.
    """

    code = "provider_refused"
    status = 402

    def __init__(
        self, message: str, *, provider_code: str = "", decline_code: str = "", param: str = ""
    ) -> None:
        super().__init__(message, provider_code=provider_code, decline_code=decline_code)
        self.provider_code, self.decline_code = provider_code, decline_code
        self.provider_param = param


class UnknownThere(ProviderRefused):
    """The payment provider has no such object."""

    code = "unknown_at_provider"
    status = 404


class KeyReused(ProviderRefused):
    """The provider saw this idempotency key with other parameters: a mistake of ours."""

    code = "provider_key_reused"
    status = 500


class NotConfigured(ProviderError):
    """No payment provider is configured; payments are recorded by hand."""

    code = "provider_not_configured"
    status = 409


class BadSignature(DomainError):
    """The request is not signed by the payment provider, or too old, or not meant for us."""

    code = "bad_signature"
    status = 400


class AttemptUnderWay(Conflict):
    """The invoice is being charged already, or a payment of it is on its way."""

    code = "attempt_under_way"


class NoPaymentMethod(Conflict):
    """The organization has no payment method that could be charged."""

    code = "no_payment_method"


class UnknownPaymentMethod(NotFound):
    """No payment method has this id, or it was removed."""

    code = "unknown_payment_method"


class PaymentMethodNeeded(Conflict):
    """The last payment method stays while something is charged to it."""

    code = "payment_method_needed"


class UnknownCheckout(NotFound):
    """No checkout session has this id."""

    code = "unknown_checkout"


class UnknownDispute(NotFound):
    """No dispute has this id."""

    code = "unknown_dispute"
