"""Background work of this room; the schedule is in the settings."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.conf import settings

from apps.core import clock, rls
from apps.core.actor import system
from apps.usage import devices, services

BLOCKS = 10  # in a run; what is left waits for the next one


@shared_task(name="usage.roll_up")
def roll_up() -> int:
    """Roll up what was committed; return how many events."""
    with rls.ops_scope("usage: roll up"):
        return services.roll_up(clock.now()).events


@shared_task(name="usage.ship_events")
def ship_events() -> int:
    """Ship rolled-up events to ClickHouse, a few blocks at most; return how many events."""
    events = 0
    for _ in range(BLOCKS):
        with rls.ops_scope("usage: ship events"):
            done = services.ship_events(clock.now())
        events += done.events
        if done.complete or done.skipped:
            break
    return events


@shared_task(name="usage.thin_events", time_limit=3600)
def thin_events() -> int:
    """Let rows go that came more than USAGE_THIN_DAYS ago and that ClickHouse has, a few blocks at
    most; 0 keeps all of them. Return how many events went.
    """
    if not settings.USAGE_THIN_DAYS:
        return 0
    events, at = 0, clock.now()
    before = at - timedelta(days=settings.USAGE_THIN_DAYS)
    for _ in range(BLOCKS):
        done = services.thin_block(received_before=before, at=at)
        events += done.events
        if done.block is None or done.busy:
            break
    return events


@shared_task(name="usage.cleanup_reports")
def cleanup_reports() -> int:
    """Forget device reports of more than 90 days ago; return how many."""
    with rls.ops_scope("usage: forget old device reports"):
        return services.cleanup_reports(
            older_than=devices.KEPT, actor=system("scheduler"), at=clock.now()
        )
