"""The kernel's background work; the schedule is in the settings."""

from __future__ import annotations

from celery import shared_task

from apps.core import idempotency, outbox, rls


@shared_task(name="core.deliver")
def deliver() -> int:
    """Deliver the facts that are due."""
    return outbox.deliver_due()


@shared_task(name="core.forget_old_keys")
def forget_old_keys() -> int:
    """Delete idempotency keys that nobody will send again."""
    with rls.ops_scope("idempotency: forget old keys"):
        return idempotency.forget_old()
