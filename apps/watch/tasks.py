"""Background work of this room; the schedule is in the settings."""

from __future__ import annotations

from celery import shared_task

from apps.core import clock
from apps.core.actor import system
from apps.watch import services


@shared_task(name="watch.evaluate_alerts")
def evaluate_alerts() -> int:
    """Raise alerts of what changed since the last run; return how many."""
    return len(services.evaluate_alerts(actor=system("watch"), at=clock.now()).raised)


@shared_task(name="watch.detect_anomalies", time_limit=3600)
def detect_anomalies() -> int:
    """Judge the hours that have passed since the last run; return how many anomalies it found."""
    return len(services.detect_anomalies(actor=system("watch"), at=clock.now()).found)
