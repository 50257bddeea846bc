"""Device reports come in, count as usage where a meter reads them, and are forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.engine.period import iso
from apps.usage import devices
from apps.usage.devices import NewReport
from apps.usage.errors import InvalidReport, ReportDiffers
from apps.usage.models import DeviceReport, Meter
from apps.usage.services.intake import Status, take

SHORTEST = timedelta(days=1)


@transaction.atomic
def report_devices(
    organization_id: int, *, report: NewReport, actor: Actor, at: datetime
) -> DeviceReport:
    """Store what an instance reports; where a meter reads `device.report` it is an event as well.

    Safe to repeat: the same report is stored once. Raises InvalidReport, and ReportDiffers where
    the instance reported other numbers for the same instant.
    """
    require("write_usage", actor=actor, organization_id=organization_id)
    row, is_new = DeviceReport.objects.get_or_create(
        organization_id=organization_id,
        instance=report.instance,
        reported_at=devices.check(report, at=at),
        defaults={"active_devices": report.active, "total_devices": report.total},
    )
    if (row.active_devices, row.total_devices) != (report.active, report.total):
        raise ReportDiffers(f"'{row.instance}' reported other numbers for this instant.")
    if is_new and Meter.objects.filter(event_type=devices.EVENT_TYPE).exists():
        _count(row, at)
    return row


def _count(row: DeviceReport, at: datetime) -> None:
    [result] = take(row.organization_id, [devices.event_of(row)], at=at)
    if result.status not in {Status.ACCEPTED, Status.DUPLICATE}:
        raise InvalidReport(f"The report cannot be counted: {result.reason}")


@transaction.atomic
def cleanup_reports(
    *,
    older_than: timedelta,
    actor: Actor,
    at: datetime,
    organization_id: int | None = None,
    dry_run: bool = False,
) -> int:
    """Forget the reports of before `at` - `older_than`; return how many there were.

    Of all organizations (None) it needs the ops scope. Events that were counted stay. Safe to
    repeat. Raises InvalidReport for less than a day.
    """
    require("write_usage", actor=actor, organization_id=organization_id)
    if older_than < SHORTEST:
        raise InvalidReport("Reports are kept for a day at least.", param="older_than_days")
    before = at - older_than
    rows = DeviceReport.objects.filter(reported_at__lt=before)
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    if dry_run:
        return rows.count()
    gone, _ = rows.delete()
    if gone:
        audit.record(
            action="usage.reports_deleted",
            target=f"reports before {iso(before)}",
            actor=actor,
            at=at,
            organization_id=organization_id,
            after={"deleted": gone},
        )
    return gone
