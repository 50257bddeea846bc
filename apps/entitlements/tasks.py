"""Background work on what may be used."""

from __future__ import annotations

from celery import shared_task

from apps.core import clock
from apps.core.actor import system
from apps.entitlements import services


@shared_task(name="entitlements.expire_reservations")
def expire_reservations() -> int:
    """Settle the reservations that have run out."""
    return services.expire_reservations(actor=system("scheduler"), at=clock.now())
