"""Background work on what is owed."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.conf import settings

from apps.core import clock
from apps.core.actor import system
from apps.invoicing import services


@shared_task(name="invoicing.bill_due")
def bill_due() -> int:
    """Bill what came due since the last run; backdated boundaries are left to operators."""
    at = clock.now()
    report = services.bill_due(as_of=at, actor=system("scheduler"), at=at, scheduled=True)
    return report.count


@shared_task(name="invoicing.expire_credit")
def expire_credit() -> int:
    """Take out what is left of grants that have ended."""
    at = clock.now()
    return services.expire_grants(as_of=at, actor=system("scheduler"), at=at)


@shared_task(name="invoicing.bill_thresholds")
def bill_thresholds() -> int:
    """Bill the usage that has passed a threshold of its plan."""
    return len(services.bill_thresholds(actor=system("scheduler"), at=clock.now()))


@shared_task(name="invoicing.heal_usage", time_limit=3600)
def heal_usage() -> int:
    """Correct final lines whose usage came late, was voided or corrected.

    The first look, and one after a restore, takes all lines ever billed: hence its time.
    """
    report = services.heal_usage(actor=system("scheduler"), at=clock.now())
    return len(report.found)


@shared_task(name="invoicing.prune_usage", time_limit=6 * 3600)
def prune_usage() -> int:
    """Let events go that are older than USAGE_RETENTION_DAYS; 0 keeps all of them.

    Whose books are long takes its time to be proven. Return how many events went.
    """
    if not settings.USAGE_RETENTION_DAYS:
        return 0
    at = clock.now()
    before = at - timedelta(days=settings.USAGE_RETENTION_DAYS)
    done = services.prune_usage(before=before, actor=system("scheduler"), at=at)
    return sum(one.events for one in done)
