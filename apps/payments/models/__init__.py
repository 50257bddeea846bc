"""The room's rows: money that came and went, how it is collected, and what the provider said."""

from apps.payments.models.collecting import (
    CheckoutSession,
    Collection,
    Dispute,
    PaymentAttempt,
    PaymentMethod,
    RefundOrder,
)
from apps.payments.models.money import Payment, Refund
from apps.payments.models.provider import (
    EventCursor,
    ObjectLease,
    ProviderCall,
    ProviderCustomer,
    ProviderEvent,
)

__all__ = [
    "CheckoutSession",
    "Collection",
    "Dispute",
    "EventCursor",
    "ObjectLease",
    "Payment",
    "PaymentAttempt",
    "PaymentMethod",
    "ProviderCall",
    "ProviderCustomer",
    "ProviderEvent",
    "Refund",
    "RefundOrder",
]
