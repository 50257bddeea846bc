"""The one table of states: what may follow what. The database holds the same table in a trigger."""

from __future__ import annotations

INCOMPLETE, TRIALING, ACTIVE = "incomplete", "trialing", "active"
PAST_DUE, UNPAID, PAUSED, CANCELED = "past_due", "unpaid", "paused", "canceled"

TRANSITIONS: tuple[tuple[str, str], ...] = (
    (INCOMPLETE, TRIALING),
    (INCOMPLETE, ACTIVE),
    (INCOMPLETE, CANCELED),
    (TRIALING, ACTIVE),
    (TRIALING, PAUSED),
    (TRIALING, CANCELED),
    (ACTIVE, PAST_DUE),
    (ACTIVE, PAUSED),
    (ACTIVE, CANCELED),
    (PAST_DUE, ACTIVE),
    (PAST_DUE, PAUSED),
    (PAST_DUE, UNPAID),
    (PAST_DUE, CANCELED),
    (UNPAID, ACTIVE),
    (UNPAID, PAUSED),
    (UNPAID, CANCELED),
    (PAUSED, ACTIVE),
    (PAUSED, CANCELED),
)

LIVE = (INCOMPLETE, TRIALING, ACTIVE, PAST_DUE, UNPAID, PAUSED)
BILLED = (TRIALING, ACTIVE, PAST_DUE, UNPAID)
