"""The verbs of this room: the only writers of its rows."""

from __future__ import annotations

from apps.payments.errors import ReferenceUsed
from apps.payments.services.calls import deliver_calls, retry_calls
from apps.payments.services.customers import ensure_customer
from apps.payments.services.recording import record_payment, record_refund, reverse_payment

__all__ = [
    "ReferenceUsed",
    "deliver_calls",
    "ensure_customer",
    "record_payment",
    "record_refund",
    "retry_calls",
    "reverse_payment",
]
