"""`/organizations`: the customers. A key of an organization sees its own."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.pagination import ListQuery, page
from apps.api.schema import operation
from apps.api.shapes import Body, Choice, Flag, Kind, LiveMode, Shape, Text, list_of, public_id
from apps.api.v1.invoices import UpcomingInvoiceShape, upcoming_view
from apps.invoicing import selectors as invoicing
from apps.subscriptions import selectors as subscriptions
from apps.tenants import services
from apps.tenants.models import Organization

TAG = "Organizations"
LONGEST_KEY, LONGEST_VALUE = 40, 500
# How an organization is billed: a platform key changes these, its own key reads them.
TERMS = frozenset({
    "billing_entity", "parent", "tax_exemption", "tax_exemption_reason", "invoice_grouping",
    "invoice_hold",
})  # fmt: skip
PLATFORM_ONLY = "platform keys only"


class OrganizationShape(Shape):
    """A customer."""

    object = Kind("organization")
    id = public_id("org", source="public_id")
    created_at = serializers.DateTimeField()
    livemode = LiveMode()
    slug = serializers.CharField()
    name = serializers.CharField()
    legal_name = serializers.CharField()
    email = serializers.CharField(help_text="where invoices are mailed")
    address = serializers.CharField()
    city = serializers.CharField()
    postcode = serializers.CharField()
    region = serializers.CharField(help_text="ISO 3166-2 without the country, or a name")
    country = serializers.CharField(help_text="ISO 3166-1")
    tax_id = serializers.CharField()
    tax_id_status = Choice(Organization.TaxIdStatus.choices)
    tax_id_checked_at = serializers.DateTimeField(allow_null=True)
    tax_exemption = Choice(Organization.TaxExemption.choices)
    tax_exemption_reason = serializers.CharField()
    billing_entity = serializers.CharField(
        source="billing_entity.slug", help_text="who issues its invoices"
    )
    parent = serializers.SerializerMethodField(  # type: ignore[assignment] # DRF's own `parent`
        help_text="id of the organization that pays its invoices; seen by platform keys"
    )
    invoice_grouping = Choice(Organization.InvoiceGrouping.choices)
    invoice_hold = serializers.BooleanField(help_text="whether every draft waits for a review")
    currency = serializers.CharField(help_text="ISO 4217")
    timezone = serializers.CharField(help_text="IANA; billing periods follow its wall clock")
    locale = serializers.CharField()
    industry = serializers.CharField()
    metadata = serializers.DictField(child=serializers.CharField(allow_blank=True))

    def get_parent(self, row: Organization) -> str | None:
        """Return the payer's public id; in its own scope an organization sees itself only."""
        if row.parent_id is None:
            return None
        found = Organization.objects.filter(pk=row.parent_id)
        return found.values_list("public_id", flat=True).first()


class NewOrganization(Body):
    """A customer to create."""

    slug = Text(max_length=63, help_text="lower-case letters, digits and inner hyphens")
    name = Text(max_length=200)
    currency = Text(
        min_length=3, max_length=3, default="USD", help_text="ISO 4217; fixed from then on"
    )
    timezone = Text(max_length=64, default="UTC", help_text="IANA")
    country = Text(min_length=2, max_length=2, default="US", help_text="ISO 3166-1")
    email = Text(max_length=254, default="", allow_blank=True)
    industry = Text(max_length=40, default="", allow_blank=True)
    billing_entity = Text(
        max_length=50, default="", allow_blank=True, help_text="its issuer's slug; else the first"
    )


class OrganizationChange(Body):
    """What to change; what is left out stays."""

    name = Text(max_length=200, required=False)
    legal_name = Text(max_length=200, allow_blank=True, required=False)
    email = Text(max_length=254, allow_blank=True, required=False)
    address = Text(max_length=2000, allow_blank=True, required=False)
    city = Text(max_length=100, allow_blank=True, required=False)
    postcode = Text(max_length=20, allow_blank=True, required=False)
    region = Text(max_length=60, allow_blank=True, required=False)
    country = Text(min_length=2, max_length=2, required=False)
    tax_id = Text(max_length=40, allow_blank=True, required=False)
    timezone = Text(max_length=64, required=False)
    locale = Text(max_length=20, required=False)
    industry = Text(max_length=40, allow_blank=True, required=False)
    metadata = serializers.DictField(
        child=Text(max_length=LONGEST_VALUE, allow_blank=True),
        required=False,
        help_text="replaces what was there: at most 50 keys of 40 characters",
    )
    billing_entity = Text(max_length=50, required=False, help_text=PLATFORM_ONLY)
    parent = Text(  # type: ignore[assignment] # as above
        max_length=200,
        allow_blank=True,
        required=False,
        help_text=f"id or slug of who pays; empty: itself; {PLATFORM_ONLY}",
    )
    tax_exemption = Choice(
        Organization.TaxExemption.choices, required=False, help_text=PLATFORM_ONLY
    )
    tax_exemption_reason = Text(
        max_length=200,
        allow_blank=True,
        required=False,
        help_text=f"a VATEX code or words; {PLATFORM_ONLY}",
    )
    invoice_grouping = Choice(
        Organization.InvoiceGrouping.choices, required=False, help_text=PLATFORM_ONLY
    )
    invoice_hold = Flag(required=False, help_text=PLATFORM_ONLY)

    def validate_metadata(self, value: dict[str, str]) -> dict[str, str]:
        """Keep keys short."""
        if any(not 0 < len(key) <= LONGEST_KEY for key in value):
            raise serializers.ValidationError(f"A key has 1 to {LONGEST_KEY} characters.")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a change of nothing."""
        if not attrs:
            raise serializers.ValidationError("Name at least one field to change.", code="empty")
        return attrs


EXAMPLE = OpenApiExample(
    "A customer",
    value={"slug": "pied-piper", "name": "Pied Piper", "timezone": "America/Los_Angeles"},
    request_only=True,
)


class Organizations(ApiView):
    """The list."""

    @operation(
        "list_organizations",
        tag=TAG,
        scope="organizations:read",
        query=ListQuery,
        answers={200: list_of(OrganizationShape, "OrganizationList")},
    )
    def get(self, request: Request) -> Response:
        """List organizations.

        A key of an organization lists that one.
        """
        own = self.actor.organization_id
        rows = Organization.objects.select_related("billing_entity")
        rows = rows if own is None else rows.filter(pk=own)
        found = page(rows, self.query(), among=rows)
        return self.listing(OrganizationShape, found, found.rows)

    @operation(
        "create_organization",
        tag=TAG,
        scope="organizations:write",
        platform_only=True,
        body=NewOrganization,
        answers={201: OrganizationShape},
        examples=[EXAMPLE],
    )
    def post(self, request: Request) -> Response:
        """Create an organization."""
        wanted = self.body()
        row = services.create_organization(
            wanted.pop("slug"), **wanted, actor=self.actor, at=self.at
        )
        row.refresh_from_db()
        return self.answer(OrganizationShape, row, status=201)


class OneOrganization(ApiView):
    """One of them."""

    @operation(
        "get_organization",
        tag=TAG,
        scope="organizations:read",
        answers={200: OrganizationShape},
    )
    def get(self, request: Request, organization: str) -> Response:
        """Get an organization."""
        return self.answer(OrganizationShape, self.organization(organization))

    @operation(
        "update_organization",
        tag=TAG,
        scope="organizations:write",
        body=OrganizationChange,
        answers={200: OrganizationShape},
    )
    def patch(self, request: Request, organization: str) -> Response:
        """Change an organization's details.

        Issued invoices keep the details they were issued with. A new time zone counts from the next
        subscription on. Another tax id is checked by its form at once and in the EU's register soon
        after. How it is billed (issuer, payer, exemption, grouping, hold) is changed by a key of
        the platform.
        """
        row = self.organization(organization)
        changes = self.body()
        if "country" in changes:
            changes["country"] = changes["country"].upper()
        return self.answer(OrganizationShape, self._changed(row, changes))

    @transaction.atomic
    def _changed(self, row: Organization, changes: dict[str, Any]) -> Organization:
        """Make both kinds of change or neither; each asks for a capability of its own."""
        terms = {key: value for key, value in changes.items() if key in TERMS}
        details = {key: value for key, value in changes.items() if key not in TERMS}
        if terms:
            row = services.change_billing_terms(row.pk, changes=terms, actor=self.actor, at=self.at)
        if details:
            row = services.update_organization(
                row.pk, changes=details, actor=self.actor, at=self.at
            )
        return row


class UpcomingInvoices(ApiView):
    """What is about to be billed."""

    @operation(
        "list_upcoming_invoices",
        tag=TAG,
        scope="invoices:read",
        answers={200: list_of(UpcomingInvoiceShape, "UpcomingInvoiceList")},
    )
    def get(self, request: Request, organization: str) -> Response:
        """List an organization's upcoming invoices.

        One for each subscription whose next boundary bills something, with the usage so far; the
        invoice itself will come from the same computation.
        """
        row = self.organization(organization)
        live = subscriptions.of_organization(row.pk, live=True)
        found = invoicing.upcoming_of_all(live, row)
        seen = [upcoming_view(found[one.id], row.public_id) for one in live if one.id in found]
        return self.envelope(UpcomingInvoiceShape, seen)
