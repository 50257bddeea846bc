"""Background work of this room; the schedule is in the settings."""

from __future__ import annotations

from celery import shared_task

from apps.core import clock, rls
from apps.usage import services


@shared_task(name="usage.roll_up")
def roll_up() -> int:
    """Roll up what was committed; return how many events."""
    with rls.ops_scope("usage: roll up"):
        return services.roll_up(clock.now()).events
