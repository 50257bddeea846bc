"""What late and wrong usage changed under final lines, and deciding on it."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.pagination import ListQuery, page
from apps.api.schema import operation
from apps.api.shapes import Choice, Exact, Kind, Open, Shape, list_of, public_id
from apps.api.v1.drafts import Reason
from apps.api.v1.invoices import TAG
from apps.invoicing import services
from apps.invoicing.models import Correction


class CorrectionShape(Shape):
    """What a final line comes to now, beside what it billed; amounts in minor units."""

    object = Kind("correction")
    id = public_id("cor", source="public_id")
    organization = public_id("org", source="organization.public_id")
    invoice = public_id("inv", source="line.invoice.public_id")
    line = public_id("il", source="line.public_id")
    revision = serializers.IntegerField(help_text="which of the line's corrections, from 1")
    status = Choice(choices=Correction.Status.choices)
    currency = serializers.CharField()
    quantity_before = Exact()
    quantity = Exact()
    amount_before = serializers.IntegerField(help_text="billed before it, before discounts")
    amount = serializers.IntegerField(help_text="what the line comes to now, before discounts")
    difference = serializers.IntegerField(
        source="net_difference",
        help_text="what is billed or, below zero, given back, after the line's discounts",
    )
    explanation = Open(help_text="the line's arithmetic as it would be billed now")
    found_at = serializers.DateTimeField()
    decided_at = serializers.DateTimeField(allow_null=True)
    decided_by = serializers.CharField()
    reason = serializers.CharField()


class CorrectionQuery(ListQuery):
    """How corrections are found."""

    organization = serializers.CharField(
        required=False, help_text="only this organization's: id, slug or `ext:` id"
    )
    status = Choice(choices=Correction.Status.choices, required=False)


class _Correcting(ApiView):
    """What deals in corrections."""

    def rows(self, organization: str = "") -> QuerySet[Correction]:
        """Return the corrections with what their shape shows."""
        among = Correction.objects.select_related("organization", "line__invoice")
        return self.theirs(among, organization=organization)

    def decided(self, correction: str, decide: Callable[..., Correction]) -> Response:
        """Decide on a correction and answer it as it is then."""
        found = self.own(Correction.objects.all(), correction, "correction").public_id
        decide(found, **self.body(), actor=self.actor, at=self.at)
        return self.answer(CorrectionShape, self.rows().get(public_id=found))


class Corrections(_Correcting):
    """The list."""

    @operation(
        "list_corrections",
        tag=TAG,
        scope="invoices:read",
        platform_only=True,
        query=CorrectionQuery,
        answers={200: list_of(CorrectionShape, "CorrectionList")},
    )
    def get(self, request: Request) -> Response:
        """List corrections of final lines, newest first; `status=waiting` need a decision."""
        query = self.query()
        among = self.rows(query.get("organization", ""))
        rows = among.filter(status=query["status"]) if "status" in query else among
        found = page(rows, query, among=among)
        return self.listing(CorrectionShape, found, found.rows)


class ApproveCorrection(_Correcting):
    """A difference, let go."""

    @operation(
        "approve_correction",
        tag=TAG,
        scope="invoices:write",
        platform_only=True,
        body=Reason,
        answers={200: CorrectionShape},
    )
    def post(self, request: Request, correction: str) -> Response:
        """Approve a waiting correction: its difference goes on the next invoice.

        A subscription that has ended is billed at once, and an issuer that gives differences back
        by credit note issues one.
        """
        return self.decided(correction, services.approve_correction)


class RejectCorrection(_Correcting):
    """A difference, left alone."""

    @operation(
        "reject_correction",
        tag=TAG,
        scope="invoices:write",
        platform_only=True,
        body=Reason,
        answers={200: CorrectionShape},
    )
    def post(self, request: Request, correction: str) -> Response:
        """Reject a waiting correction: the line stays as it was billed.

        When its usage changes once more, the whole difference is asked again.
        """
        return self.decided(correction, services.reject_correction)
