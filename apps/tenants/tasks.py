"""Background work on who is who."""

from __future__ import annotations

from celery import shared_task

from apps.core import clock
from apps.core.actor import system
from apps.tenants import services


@shared_task(name="tenants.verify_tax_ids")
def verify_tax_ids() -> int:
    """Ask the EU's register about the tax ids that nobody has asked about yet."""
    found = services.verify_tax_ids(actor=system("scheduler"), at=clock.now())
    return sum(found.by_status.values())
