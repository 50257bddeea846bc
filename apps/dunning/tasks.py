"""Background work of this room; the schedule is in the settings."""

from __future__ import annotations

from celery import shared_task

from apps.core import clock
from apps.core.actor import system
from apps.dunning import services


@shared_task(name="dunning.run")
def run_dunning() -> int:
    """Begin, take up and advance what is due; return how many steps were taken."""
    return services.run_dunning(actor=system("dunning"), at=clock.now()).steps
