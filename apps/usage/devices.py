"""What instances at customers' sites report: how many devices they have and use.

A report of the licence-based system. Its rules are here, without a database; reports are stored and
forgotten by `services.devices`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import QuerySet

from apps.engine.period import iso
from apps.usage.checking import MAX_SKEW, NewEvent
from apps.usage.errors import InvalidReport
from apps.usage.models import DeviceReport

EVENT_TYPE = "device.report"  # what a meter reads to count devices
SOURCE = "device-reports"
KEPT = timedelta(days=90)
MOST_DEVICES = 1_000_000_000
INSTANCE = re.compile(r"[A-Za-z0-9._:@/+=-]{1,96}")


@dataclass(frozen=True, slots=True)
class NewReport:
    """A report as it came; without a time it is of the moment it came."""

    instance: str
    active: int
    total: int
    reported_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """The last report of an instance."""

    public_id: str
    instance: str
    active: int
    total: int
    reported_at: datetime


def check(report: NewReport, *, at: datetime) -> datetime:
    """Return the time of a report that may be stored, or raise InvalidReport."""
    if not INSTANCE.fullmatch(report.instance):
        said = "An instance is named by 1 to 96 letters, digits and ._:@/+=- without blanks."
        raise InvalidReport(said, param="instance_id")
    for name, count in (("active_devices", report.active), ("total_devices", report.total)):
        if not 0 <= count <= MOST_DEVICES:
            raise InvalidReport(f"There are 0 to {MOST_DEVICES:,} devices.", param=name)
    if report.active > report.total:
        raise InvalidReport("No more devices can be active than there are.", param="active_devices")
    moment = (report.reported_at or at).astimezone(UTC)
    if not at - KEPT <= moment <= at + MAX_SKEW:
        said = f"A report is of the last {KEPT.days} days, and of no time to come."
        raise InvalidReport(said, param="reported_at")
    return moment


def event_of(report: DeviceReport) -> NewEvent:
    """Return the usage event that a report is, too: the same for the same report."""
    said: Mapping[str, object] = {
        "instance_id": report.instance,
        "active_devices": report.active_devices,
        "total_devices": report.total_devices,
    }
    key = f"{report.instance}@{iso(report.reported_at)}"
    return NewEvent(SOURCE, key, EVENT_TYPE, report.reported_at, said)


def last_reports(organization_id: int) -> list[Device]:
    """Return the last report of every instance, by the instance's name."""
    return [
        Device(row.public_id, row.instance, row.active_devices, row.total_devices, row.reported_at)
        for row in latest(DeviceReport.objects.filter(organization_id=organization_id))
    ]


def latest(rows: QuerySet[DeviceReport]) -> QuerySet[DeviceReport]:
    """Return the last of these rows of every organization's instance, by the instance's name."""
    by_instance = ("organization_id", "instance")
    return rows.order_by(*by_instance, "-reported_at").distinct(*by_instance)
