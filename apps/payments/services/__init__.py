"""The verbs of this room: the only writers of its rows."""

from __future__ import annotations

from apps.payments.errors import ReferenceUsed
from apps.payments.services.recording import record_payment, record_refund, reverse_payment

__all__ = ["ReferenceUsed", "record_payment", "record_refund", "reverse_payment"]
