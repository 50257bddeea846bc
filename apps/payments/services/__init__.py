"""The verbs of this room: the only writers of its rows."""

from __future__ import annotations

from apps.payments.errors import ReferenceUsed
from apps.payments.services import collected, disputes  # noqa: F401 - they listen to the provider
from apps.payments.services.calls import deliver_calls, retry_calls
from apps.payments.services.checkout import (
    begin_payment,
    begin_setup,
    cancel_checkout,
    open_checkout,
    settle_checkout,
)
from apps.payments.services.collecting import charge_now, collect, hand_over, look_again
from apps.payments.services.customers import ensure_customer
from apps.payments.services.inbox import (
    LARGEST_EVENT,
    backfill_events,
    forget_events,
    handle_events,
    receive_event,
    replay_events,
)
from apps.payments.services.methods import (
    attach_method,
    choose_method,
    remove_method,
    tell_expiring,
)
from apps.payments.services.recording import record_payment, record_refund, reverse_payment
from apps.payments.services.refunding import refund, refund_automatically

__all__ = [
    "LARGEST_EVENT",
    "ReferenceUsed",
    "attach_method",
    "backfill_events",
    "begin_payment",
    "begin_setup",
    "cancel_checkout",
    "charge_now",
    "choose_method",
    "collect",
    "deliver_calls",
    "ensure_customer",
    "forget_events",
    "hand_over",
    "handle_events",
    "look_again",
    "open_checkout",
    "receive_event",
    "record_payment",
    "record_refund",
    "refund",
    "refund_automatically",
    "remove_method",
    "replay_events",
    "retry_calls",
    "reverse_payment",
    "settle_checkout",
    "tell_expiring",
]
