"""Background work of this room; the schedule is in the settings. Without a provider it rests."""

from __future__ import annotations

from celery import shared_task

from apps.core import clock, rls
from apps.payments import gateway, services


@shared_task(name="payments.deliver_calls")
def deliver_calls() -> int:
    """Do what is due at the payment provider."""
    return services.deliver_calls() if gateway.configured() else 0


@shared_task(name="payments.handle_events")
def handle_events() -> int:
    """Handle what the payment provider has told."""
    return services.handle_events() if gateway.configured() else 0


@shared_task(name="payments.backfill_events")
def backfill_events() -> int:
    """Read what the provider told and nobody heard."""
    return services.backfill_events() if gateway.configured() else 0


@shared_task(name="payments.forget_events")
def forget_events() -> int:
    """Delete events that were handled long ago."""
    with rls.ops_scope("payments: forget old events"):
        return services.forget_events(at=clock.now())


@shared_task(name="payments.tell_expiring")
def tell_expiring() -> int:
    """Tell of the cards that are charged and expire this month."""
    with rls.ops_scope("payments: cards that expire"):
        return services.tell_expiring(at=clock.now())
