"""From an invoice's line down to the very events."""

from __future__ import annotations

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.pagination import DEFAULT, LARGEST, refuse_cursor
from apps.api.schema import operation
from apps.api.shapes import Digits, Exact, Kind, Open, Query, Shape, list_of
from apps.api.v1.invoices import TAG
from apps.invoicing import explaining
from apps.invoicing.models import Invoice, InvoiceLine
from apps.usage import selectors as usage
from apps.usage.errors import UnknownEvent, UsageSealed


class EvidenceShape(Shape):
    """An event under a line: counted by it, voided since, or late (it came since)."""

    object = Kind("line_event")
    id = serializers.CharField(source="public_id")
    key = serializers.CharField(help_text="the `id` that it was sent with")
    source = serializers.CharField()  # type: ignore[assignment] # a field, not DRF's own
    type = serializers.CharField()
    time = serializers.DateTimeField(source="occurred_at")
    received_at = serializers.DateTimeField()
    value = Exact(allow_null=True, help_text="the number at the meter's path")
    data = Open()  # type: ignore[assignment] # as above
    status = serializers.CharField(help_text="counted, voided or late")


class EvidenceQuery(Query):
    """Which page."""

    limit = Digits(min_value=1, max_value=LARGEST, default=DEFAULT, help_text="events on a page")
    starting_after = serializers.CharField(required=False, help_text="id of the last event seen")


class LineEvents(ApiView):
    """What a line counted."""

    @operation(
        "list_line_events",
        tag=TAG,
        scope="invoices:read",
        query=EvidenceQuery,
        answers={200: list_of(EvidenceShape, "LineEventList")},
    )
    def get(self, request: Request, line: str) -> Response:
        """List the events under an invoice line, by time.

        Those that it counted, and those that came or were voided since; none under a line without a
        meter.
        """
        final = InvoiceLine.objects.exclude(invoice__status=Invoice.Status.DRAFT)
        row = self.own(final, line, "invoice line")
        query = self.query()
        after = query.get("starting_after", "")
        if after and not usage.is_public(after):
            refuse_cursor("starting_after")
        try:
            found = explaining.events_of_line(row.public_id, after=after, limit=query["limit"])
        except UnknownEvent:
            refuse_cursor("starting_after")
        if found.sealed_at is not None:
            raise UsageSealed(
                f"The events under this line are gone by retention. It was sealed on"
                f" {found.sealed_at:%Y-%m-%d}, proven from them."
            )
        last = found.events[-1].public_id if found.more else None
        return self.envelope(EvidenceShape, found.events, has_more=found.more, next_cursor=last)
