"""`/usage/reports`: what instances at customers' sites report of their devices.

And the addresses of the licence-based system of before, with its names and its envelope, for
instances that nobody updates; keys and refusals are ours.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.errors import Fault, InvalidRequest
from apps.api.pagination import ListQuery, page
from apps.api.schema import operation
from apps.api.shapes import (
    Body,
    Instant,
    Kind,
    LiveMode,
    Query,
    Shape,
    Text,
    Whole,
    list_of,
    public_id,
)
from apps.api.v1.usage import TAG
from apps.tenants.models import Organization
from apps.usage import devices, services
from apps.usage.devices import MOST_DEVICES, NewReport
from apps.usage.models import DeviceReport

FORMER_TAG = "Former addresses"
LONGEST_KEPT = 3650
HISTORY = 1000


class ReportShape(Shape):
    """How many devices an instance has and uses."""

    object = Kind("device_report")
    id = public_id("udr", source="public_id")
    created_at = serializers.DateTimeField()
    livemode = LiveMode()
    organization = public_id("org", source="organization.public_id")
    instance_id = serializers.CharField(source="instance")
    active_devices = serializers.IntegerField()
    total_devices = serializers.IntegerField()
    reported_at = serializers.DateTimeField()


class CleanedUpShape(Shape):
    """How many reports are gone."""

    object = Kind("device_report_cleanup")
    deleted = serializers.IntegerField()


class FormerRow(Shape):
    """A report in the former spelling."""

    customer_id = serializers.CharField(source="organization.public_id")
    instance_id = serializers.CharField(source="instance")
    active_devices = serializers.IntegerField()
    total_devices = serializers.IntegerField()
    reported_at = serializers.DateTimeField()


class FormerOne(Shape):
    """One report in the former envelope; null when there is none."""

    status = serializers.CharField(default="success")
    data = FormerRow(allow_null=True)  # type: ignore[assignment] # a field, not DRF's own


class FormerMany(Shape):
    """Reports in the former envelope, the latest first."""

    status = serializers.CharField(default="success")
    data = FormerRow(many=True)  # type: ignore[assignment] # as above


class FormerCleanedUp(Shape):
    """How many reports are gone, in the former envelope."""

    status = serializers.CharField(default="success")
    data = CleanedUpShape()  # type: ignore[assignment] # as above


class _Counts(Body):
    """What an instance says."""

    instance_id = Text(max_length=96, help_text="letters, digits and `._:@/+=-`")
    active_devices = Whole(min_value=0, max_value=MOST_DEVICES, help_text="in use")
    total_devices = Whole(min_value=0, max_value=MOST_DEVICES, help_text="configured")
    reported_at = Instant(required=False, help_text="default: now; at most 90 days ago")


class ReportBody(_Counts):
    """A report."""

    organization = Text(
        required=False, help_text="whose: id, slug or `ext:` id; needed with a key of the platform"
    )


class FormerReportBody(_Counts):
    """A report in the former spelling."""

    customer_id = Text(required=False, help_text="whose: id, slug or `ext:` id")


class CleanupBody(Body):
    """Which reports are old."""

    older_than_days = Whole(min_value=1, max_value=LONGEST_KEPT, default=devices.KEPT.days)
    organization = Text(required=False, help_text="whose; a key of the platform: default all")


class OfOrganization(Query):
    """Whose."""

    organization = serializers.CharField(required=False, help_text="id, slug or `ext:` id")


class ReportQuery(ListQuery, OfOrganization):
    """Which reports."""

    instance_id = serializers.CharField(required=False, help_text="of one instance only")


class Reports(ApiView):
    """All of them."""

    @operation(
        "report_devices",
        tag=TAG,
        scope="usage:write",
        body=ReportBody,
        answers={201: ReportShape},
    )
    def post(self, request: Request) -> Response:
        """Report how many devices an instance has and uses.

        The same report again is stored once; other numbers for the same instant are refused. Where
        a meter reads the event type `device.report`, a report counts as that event, too, with
        `instance_id`, `active_devices` and `total_devices` as its data.
        """
        body = self.body()
        return self.answer(
            ReportShape, _stored(self, body, body.get("organization", "")), status=201
        )

    @operation(
        "list_device_reports",
        tag=TAG,
        scope="usage:read",
        query=ReportQuery,
        answers={200: list_of(ReportShape, "DeviceReportList")},
    )
    def get(self, request: Request) -> Response:
        """List device reports, the last that came first."""
        query = self.query()
        mine = self.theirs(
            DeviceReport.objects.select_related("organization"),
            organization=query.get("organization", ""),
        )
        rows = mine.filter(instance=query["instance_id"]) if "instance_id" in query else mine
        found = page(rows, query, among=mine)
        return self.listing(ReportShape, found, found.rows)

    @operation(
        "delete_device_reports",
        tag=TAG,
        scope="usage:write",
        body=CleanupBody,
        answers={200: CleanedUpShape},
    )
    def delete(self, request: Request) -> Response:
        """Delete old device reports.

        The scheduler deletes those of more than 90 days ago every day. Usage that was counted
        stays.
        """
        body = self.body()
        return self.answer(CleanedUpShape, _cleaned_up(self, body, body.get("organization", "")))


class LatestReports(ApiView):
    """The last ones."""

    @operation(
        "list_latest_device_reports",
        tag=TAG,
        scope="usage:read",
        query=OfOrganization,
        answers={200: list_of(ReportShape, "LatestDeviceReportList")},
    )
    def get(self, request: Request) -> Response:
        """List the last report of every instance, by the instance's name."""
        whose = _whose(self, self.query().get("organization", ""))
        rows = DeviceReport.objects.filter(organization_id=whose.pk)
        return self.envelope(ReportShape, devices.latest(rows.select_related("organization")))


class FormerReport(ApiView):
    """Where instances report."""

    passes_over_parameters = True  # as it always did: nobody updates who asks here

    @operation(
        "former_report_usage",
        tag=FORMER_TAG,
        scope="usage:write",
        body=FormerReportBody,
        answers={201: FormerOne},
    )
    def post(self, request: Request) -> Response:
        """Report devices at the former address.

        As `POST /api/v1/usage/reports`.
        """
        body = self.body()
        row = _stored(self, body, body.get("customer_id", ""))
        return self.answer(FormerOne, {"status": "success", "data": row}, status=201)


class FormerHistory(ApiView):
    """A customer's reports."""

    passes_over_parameters = True  # as it always did: nobody updates who asks here

    @operation("former_list_usage", tag=FORMER_TAG, scope="usage:read", answers={200: FormerMany})
    def get(self, request: Request, organization: str) -> Response:
        """List the last thousand device reports at the former address."""
        rows = _latest_first(self.organization(organization))[:HISTORY]
        return self.answer(FormerMany, {"status": "success", "data": list(rows)})


class FormerLatest(ApiView):
    """A customer's last report."""

    passes_over_parameters = True  # as it always did: nobody updates who asks here

    @operation(
        "former_get_latest_usage", tag=FORMER_TAG, scope="usage:read", answers={200: FormerOne}
    )
    def get(self, request: Request, organization: str) -> Response:
        """Get the last device report of any instance at the former address."""
        row = _latest_first(self.organization(organization)).first()
        return self.answer(FormerOne, {"status": "success", "data": row})


class FormerCleanup(ApiView):
    """Where old reports are deleted."""

    @operation(
        "former_clean_up_usage",
        tag=FORMER_TAG,
        scope="usage:write",
        body=CleanupBody,
        answers={200: FormerCleanedUp},
    )
    def delete(self, request: Request) -> Response:
        """Delete device reports of more than 90 days ago at the former address."""
        body = self.body()
        found = _cleaned_up(self, body, body.get("organization", ""))
        return self.answer(FormerCleanedUp, {"status": "success", "data": found})


def _whose(view: ApiView, reference: str) -> Organization:
    if reference:
        return view.organization(reference)
    if view.actor.organization_id is None:
        said = "Say whose devices, with a key of the platform."
        fault = Fault("required", said, parameter="organization")
        raise InvalidRequest(said, [fault], param="organization")
    return Organization.objects.get(pk=view.actor.organization_id)


def _stored(view: ApiView, body: dict[str, Any], reference: str) -> DeviceReport:
    report = NewReport(
        body["instance_id"],
        body["active_devices"],
        body["total_devices"],
        body.get("reported_at"),
    )
    whose = _whose(view, reference)
    return services.report_devices(whose.pk, report=report, actor=view.actor, at=view.received_at)


def _cleaned_up(view: ApiView, body: dict[str, Any], reference: str) -> dict[str, int]:
    deleted = services.cleanup_reports(
        older_than=timedelta(days=body["older_than_days"]),
        actor=view.actor,
        at=view.received_at,
        organization_id=view.organization_id(reference),
    )
    return {"deleted": deleted}


def _latest_first(organization: Organization) -> QuerySet[DeviceReport]:
    rows = DeviceReport.objects.filter(organization_id=organization.pk)
    return rows.select_related("organization").order_by("-reported_at", "-id")
