"""The verbs of this room: the only writers of its rows."""

from __future__ import annotations

from apps.payments.errors import ReferenceUsed
from apps.payments.services.calls import deliver_calls, retry_calls
from apps.payments.services.customers import ensure_customer
from apps.payments.services.inbox import (
    LARGEST_EVENT,
    backfill_events,
    forget_events,
    handle_events,
    receive_event,
    replay_events,
)
from apps.payments.services.recording import record_payment, record_refund, reverse_payment

__all__ = [
    "LARGEST_EVENT",
    "ReferenceUsed",
    "backfill_events",
    "deliver_calls",
    "ensure_customer",
    "forget_events",
    "handle_events",
    "receive_event",
    "record_payment",
    "record_refund",
    "replay_events",
    "retry_calls",
    "reverse_payment",
]
