"""Background work of this room; the schedule is in the settings."""

from __future__ import annotations

from celery import shared_task

from apps.payments import gateway, services


@shared_task(name="payments.deliver_calls")
def deliver_calls() -> int:
    """Do what is due at the payment provider."""
    return services.deliver_calls() if gateway.configured() else 0
