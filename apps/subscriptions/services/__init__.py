"""Everything that changes an agreement."""

from __future__ import annotations

from apps.subscriptions.changes import MAX_QUANTITY, Behaviour, agreed_terms
from apps.subscriptions.services.changing import (
    Planned,
    Quote,
    add_item,
    apply_changes_due,
    apply_due,
    cancel_scheduled_change,
    change,
    change_plan,
    change_quantity,
    migrate_to_version,
    override_price,
    remove_item,
    schedule_changes,
)
from apps.subscriptions.services.cursor import (
    apply_all_due,
    lock_many,
    pass_boundaries,
)
from apps.subscriptions.services.discounts import (
    apply_discount,
    check_discount,
    remove_discount,
    restore_discounts,
    spend_discounts,
)
from apps.subscriptions.services.ending import (
    cancel,
    end_trial,
    pause,
    resume,
    uncancel,
)
from apps.subscriptions.services.owing import fall_past_due, fall_unpaid, recover
from apps.subscriptions.services.rows import hold, lock
from apps.subscriptions.services.starting import Begin, extend_trial, reactivate, subscribe

__all__ = [
    "MAX_QUANTITY",
    "Begin",
    "Behaviour",
    "Planned",
    "Quote",
    "add_item",
    "agreed_terms",
    "apply_all_due",
    "apply_changes_due",
    "apply_discount",
    "apply_due",
    "cancel",
    "cancel_scheduled_change",
    "change",
    "change_plan",
    "change_quantity",
    "check_discount",
    "end_trial",
    "extend_trial",
    "fall_past_due",
    "fall_unpaid",
    "hold",
    "lock",
    "lock_many",
    "migrate_to_version",
    "override_price",
    "pass_boundaries",
    "pause",
    "reactivate",
    "recover",
    "remove_discount",
    "remove_item",
    "restore_discounts",
    "resume",
    "schedule_changes",
    "spend_discounts",
    "subscribe",
    "uncancel",
]
