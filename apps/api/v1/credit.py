"""Credit: what an organization has, where it went, and how it gets more."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.errors import PlatformKeyNeeded
from apps.api.pagination import ListQuery, page
from apps.api.schema import operation
from apps.api.shapes import (
    Body,
    Choice,
    Instant,
    Kind,
    Shape,
    Text,
    Whole,
    list_of,
    public_id,
)
from apps.api.v1.amounts import Minor, currency_field, major
from apps.api.v1.invoices import InvoiceWithLinesShape, invoice_view
from apps.invoicing import credit, services
from apps.invoicing import selectors as invoicing
from apps.invoicing.models import CreditGrant, CreditMovement
from apps.invoicing.services import GrantTerms
from apps.tenants.models import Organization

TAG = "Credit"
MOST_DAYS = 366
PLATFORM_ONLY = "keys of the platform only"
TERMS = ("name", "priority", "expires_at", "line_kinds", "price_keys")
# What a customer does not say of the credit that it buys.
OURS = ("kind", "due_in_days", *TERMS)
GIVEN = [(CreditGrant.Kind.PROMOTIONAL, "Promotional"), (CreditGrant.Kind.REFUND, "Owed")]
SOLD = [(CreditGrant.Kind.PURCHASED, "Purchased"), (CreditGrant.Kind.COMMITMENT, "Commitment")]


class GrantShape(Shape):
    """Credit that invoices use up. Amounts in minor units."""

    object = Kind("credit_grant")
    id = public_id("cg")
    created_at = serializers.DateTimeField(source="granted_at")
    kind = Choice(choices=CreditGrant.Kind.choices)
    name = serializers.CharField()
    currency = serializers.CharField()
    amount = serializers.IntegerField(help_text="as granted")
    remaining = serializers.IntegerField()
    priority = serializers.IntegerField(help_text="the lowest is used first")
    expires_at = serializers.DateTimeField(allow_null=True)
    line_kinds = serializers.ListField(
        child=serializers.CharField(), help_text="kinds of lines it pays; none: all"
    )
    price_keys = serializers.ListField(
        child=serializers.CharField(), help_text="keys of lines it pays; none: all"
    )
    voided_at = serializers.DateTimeField(allow_null=True)


class BalanceShape(Shape):
    """What may be used instead of paying, in one currency and minor units."""

    object = Kind("credit_balance")
    currency = serializers.CharField()
    available = serializers.IntegerField()
    expiring_at = serializers.DateTimeField(allow_null=True, help_text="when the next part ends")
    expiring = serializers.IntegerField(help_text="what is lost then")
    grants = GrantShape(many=True, help_text="in the order in which they are used")


class MovementShape(Shape):
    """One change of a grant: positive what comes in, negative what goes out."""

    object = Kind("credit_movement")
    id = public_id("cm", source="public_id")
    created_at = serializers.DateTimeField(source="at")
    grant = public_id("cg", source="grant.public_id")
    kind = Choice(choices=CreditMovement.Kind.choices)
    amount = serializers.IntegerField()
    currency = serializers.CharField(source="grant.currency")
    invoice = public_id("inv", source="invoice.public_id", allow_null=True)


class RechargeShape(Shape):
    """A rule that buys credit when little is left. Amounts in minor units."""

    object = Kind("recharge_rule")
    id = public_id("rr", source="public_id")
    currency = serializers.CharField()
    threshold = serializers.IntegerField(help_text="less than this is little")
    amount = serializers.IntegerField(help_text="what is bought then")
    monthly_cap = serializers.IntegerField(help_text="the most in a calendar month; 0: no end")
    active = serializers.BooleanField()


RECHARGE_RULES = list_of(RechargeShape, "RechargeRuleList")


class _Terms(Body):
    """How credit may be used."""

    name = Text(max_length=200, required=False, help_text="as invoices show it")
    priority = Whole(
        min_value=0, max_value=100, required=False, help_text="the lowest is used first; usual: 50"
    )
    expires_at = Instant(required=False)
    line_kinds = serializers.ListField(
        child=Text(max_length=20), max_length=10, required=False, help_text="none: all"
    )
    price_keys = serializers.ListField(
        child=Text(max_length=50), max_length=50, required=False, help_text="none: all"
    )


class GrantBody(_Terms):
    """Credit to give."""

    amount = Minor()
    currency = currency_field()
    kind = Choice(GIVEN, default=CreditGrant.Kind.PROMOTIONAL.value)
    source = Text(  # type: ignore[assignment] # a field, not DRF's own
        max_length=60,
        default="",
        allow_blank=True,
        help_text="your id of the cause: the same one again is the same grant",
    )


class PurchaseBody(_Terms):
    """Credit to buy. A customer's key says amount and currency; the rest is the platform's."""

    amount = Minor()
    currency = currency_field()
    kind = Choice(SOLD, required=False, help_text=f"usual: purchased; {PLATFORM_ONLY}")
    due_in_days = Whole(min_value=0, max_value=MOST_DAYS, required=False, help_text=PLATFORM_ONLY)
    source = Text(  # type: ignore[assignment] # as above
        max_length=60,
        default="",
        allow_blank=True,
        help_text="your id of the cause: the same one again is the same invoice",
    )


class GrantReason(Body):
    """Why."""

    reason = Text(max_length=200, help_text="kept with the grant")


class RechargeBody(Body):
    """When credit is bought, how much, and how much at most."""

    currency = currency_field()
    threshold = Minor(min_value=0, help_text="minor units; less than this is little")
    amount = Minor(help_text="minor units; what is bought then")
    monthly_cap = Minor(
        required=False, help_text="minor units; the most in a calendar month of its time zone"
    )


class CurrencyBody(Body):
    """Which rule."""

    currency = currency_field()


class MovementQuery(ListQuery):
    """How movements are found."""

    grant = serializers.CharField(required=False, help_text="only this grant's: id")


class Balances(ApiView):
    """What there is."""

    @operation(
        "get_credit",
        tag=TAG,
        scope="invoices:read",
        answers={200: list_of(BalanceShape, "CreditBalanceList")},
    )
    def get(self, request: Request, organization: str) -> Response:
        """Get the credit of an organization, by currency, with the grants that make it up."""
        found = credit.credit_of(self.organization(organization).pk, at=self.at)
        return self.envelope(BalanceShape, found)


class Grants(ApiView):
    """The grants behind it."""

    @operation(
        "list_credit_grants",
        tag=TAG,
        scope="invoices:read",
        query=ListQuery,
        answers={200: list_of(GrantShape, "CreditGrantList")},
    )
    def get(self, request: Request, organization: str) -> Response:
        """List an organization's credit grants, newest first, used ones too."""
        among = grants_of(self.organization(organization))
        found = page(among, self.query(), among=among)
        return self.listing(GrantShape, found, [credit.grant_facts(row) for row in found.rows])

    @operation(
        "grant_credit",
        tag=TAG,
        scope="invoices:write",
        platform_only=True,
        body=GrantBody,
        answers={201: GrantShape},
    )
    def post(self, request: Request, organization: str) -> Response:
        """Give an organization credit.

        A promotion costs when it is used; what is owed lowers revenue now. Where tax has to go back
        too, issue a credit note.
        """
        owner = self.organization(organization)
        said = said_of(self.body(), owner)
        row = services.grant_credit(owner.pk, **said, actor=self.actor, at=self.at)
        return self.answer(GrantShape, credit.grant_facts(row), status=201)


class VoidGrant(ApiView):
    """One of them, withdrawn."""

    @operation(
        "void_credit_grant",
        tag=TAG,
        scope="invoices:write",
        platform_only=True,
        body=GrantReason,
        answers={200: GrantShape},
    )
    def post(self, request: Request, organization: str, grant: str) -> Response:
        """Withdraw what is left of a grant."""
        found = self.own(grants_of(self.organization(organization)), grant, "credit grant")
        row = services.void_grant(found.public_id, **self.body(), actor=self.actor, at=self.at)
        return self.answer(GrantShape, credit.grant_facts(row))


class Movements(ApiView):
    """Where it came from and went."""

    @operation(
        "list_credit_movements",
        tag=TAG,
        scope="invoices:read",
        query=MovementQuery,
        answers={200: list_of(MovementShape, "CreditMovementList")},
    )
    def get(self, request: Request, organization: str) -> Response:
        """List what moved an organization's credit, newest first."""
        query = self.query()
        owner = self.organization(organization)
        among = CreditMovement.objects.filter(organization=owner)
        rows = among.select_related("grant", "invoice")
        if "grant" in query:
            rows = rows.filter(grant=self.own(grants_of(owner), query["grant"], "credit grant"))
        found = page(rows, query, among=among)
        return self.listing(MovementShape, found, found.rows)


class Purchases(ApiView):
    """More of it."""

    @operation(
        "buy_credit",
        tag=TAG,
        scope="subscriptions:write",
        body=PurchaseBody,
        answers={201: InvoiceWithLinesShape},
    )
    def post(self, request: Request, organization: str) -> Response:
        """Buy credit: issues an invoice, and the credit is there when that is paid.

        It bears no tax; what it pays for later does.
        """
        owner = self.organization(organization)
        wanted = self.body()
        self._check_terms(wanted)
        row = services.buy_credit(owner.pk, **said_of(wanted, owner), actor=self.actor, at=self.at)
        seen = invoice_view(invoicing.get(row.public_id))
        return self.answer(InvoiceWithLinesShape, seen, status=201)

    def _check_terms(self, wanted: dict[str, Any]) -> None:
        ours = [name for name in OURS if name in wanted]
        if ours and not self.caller.is_platform:
            raise PlatformKeyNeeded("Only keys of the platform say this.", param=ours[0])


class Recharges(ApiView):
    """More of it, by itself."""

    @operation(
        "list_recharge_rules",
        tag=TAG,
        scope="invoices:read",
        answers={200: RECHARGE_RULES},
    )
    def get(self, request: Request, organization: str) -> Response:
        """List an organization's rules in force that buy credit, one a currency at most."""
        found = credit.recharge_rules(self.organization(organization).pk)
        return self.envelope(RechargeShape, found)

    @operation(
        "set_recharge_rule",
        tag=TAG,
        scope="subscriptions:write",
        body=RechargeBody,
        answers={201: RechargeShape},
    )
    def post(self, request: Request, organization: str) -> Response:
        """Buy credit whenever little is left. Replaces the rule in that currency."""
        owner = self.organization(organization)
        wanted = self.body()
        currency = wanted.pop("currency", owner.currency)
        said = {name: major(minor, currency) for name, minor in wanted.items()}
        row = services.set_recharge(
            owner.pk, **said, currency=currency, actor=self.actor, at=self.at
        )
        return self.answer(RechargeShape, row, status=201)

    @operation(
        "stop_recharge",
        tag=TAG,
        scope="subscriptions:write",
        body=CurrencyBody,
        answers={200: RECHARGE_RULES},
    )
    def delete(self, request: Request, organization: str) -> Response:
        """Buy credit by itself no more. Safe to repeat."""
        owner = self.organization(organization)
        services.stop_recharge(owner.pk, **self.body(), actor=self.actor, at=self.at)
        return self.envelope(RechargeShape, credit.recharge_rules(owner.pk))


def grants_of(owner: Organization) -> QuerySet[CreditGrant]:
    """Return the grants of one organization."""
    return CreditGrant.objects.filter(organization=owner)


def said_of(wanted: dict[str, Any], owner: Organization) -> dict[str, Any]:
    """Return the arguments of a service: the amount in major units, the terms by themselves."""
    terms = {name: wanted.pop(name) for name in TERMS if name in wanted}
    currency = wanted.pop("currency", owner.currency)
    amount = major(wanted.pop("amount"), currency)
    return {**wanted, "amount": amount, "currency": currency, "terms": GrantTerms(**terms)}
