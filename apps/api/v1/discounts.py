"""Coupons as an organization has them: checked, redeemed, taken away."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.pagination import ListQuery, page
from apps.api.schema import operation
from apps.api.shapes import Body, Kind, NoBody, Shape, Text, list_of
from apps.api.v1.subscriptions import CouponShape, DiscountShape
from apps.invoicing import selectors as invoicing
from apps.subscriptions import selectors, services
from apps.subscriptions.models import Discount, Subscription

TAG = "Discounts"


class DiscountQuery(ListQuery):
    """How discounts are found."""

    subscription = serializers.CharField(
        required=False, help_text="only those of this subscription alone: id"
    )


class Redemption(Body):
    """A code, and what it is for."""

    code = Text(
        max_length=100, help_text="a promotion code; keys of the platform may name a coupon"
    )
    subscription = Text(
        max_length=40, required=False, help_text="for this one; else for all of the organization's"
    )


class CodeCheckShape(Shape):
    """A code that can be redeemed now, and what it takes off."""

    object = Kind("promotion_code_check")
    promotion_code = serializers.CharField(help_text="as it is kept; empty: a coupon's own code")
    coupon = CouponShape(source="*")


class _Redeeming(ApiView):
    """What takes a code."""

    def wanted(self, organization_id: int) -> dict[str, Any]:
        """Return the arguments of redeeming, with what is owed where a subscription is named."""
        wanted = self.body()
        said: dict[str, Any] = {"code": wanted["code"], "actor": self.actor, "at": self.at}
        if "subscription" not in wanted:
            return said
        rows = Subscription.objects.filter(organization_id=organization_id)
        row = self.own(rows, wanted["subscription"], "subscription")
        owed = invoicing.owed_next(row.public_id)
        return {**said, "subscription_id": row.public_id, "owed": owed}


class CheckCode(_Redeeming):
    """Whether a code would work."""

    @operation(
        "validate_promotion_code",
        tag=TAG,
        scope="subscriptions:write",
        body=Redemption,
        answers={200: CodeCheckShape},
    )
    def post(self, request: Request, organization: str) -> Response:
        """Check a promotion code.

        Answers what it takes off, or refuses as redeeming it would. Redeems nothing.
        """
        row = self.organization(organization)
        found = services.check_discount(row.pk, **self.wanted(row.pk))
        return self.answer(CodeCheckShape, found)


class Discounts(_Redeeming):
    """The list."""

    @operation(
        "list_discounts",
        tag=TAG,
        scope="subscriptions:read",
        query=DiscountQuery,
        answers={200: list_of(DiscountShape, "DiscountList")},
    )
    def get(self, request: Request, organization: str) -> Response:
        """List an organization's discounts, newest first, those that are over too."""
        query = self.query()
        owner = self.organization(organization)
        rows = among = Discount.objects.filter(organization=owner)
        if "subscription" in query:
            mine = Subscription.objects.filter(organization=owner)
            rows = rows.filter(subscription=self.own(mine, query["subscription"], "subscription"))
        found = page(rows, query, among=among)
        facts = {one.public_id: one for one in selectors.discounts_of(owner.pk)}
        return self.listing(DiscountShape, found, [facts[row.public_id] for row in found.rows])

    @operation(
        "redeem_code",
        tag=TAG,
        scope="subscriptions:write",
        body=Redemption,
        answers={201: DiscountShape},
    )
    def post(self, request: Request, organization: str) -> Response:
        """Redeem a promotion code, from now on.

        Each call is a use: send an `Idempotency-Key`. What is already billed stays as it is.
        """
        row = self.organization(organization)
        found = services.apply_discount(row.pk, **self.wanted(row.pk))
        return self.answer(DiscountShape, found, status=201)


class OneDiscount(ApiView):
    """One of them."""

    @operation(
        "remove_discount",
        tag=TAG,
        scope="subscriptions:write",
        body=NoBody,
        answers={200: DiscountShape},
    )
    def delete(self, request: Request, organization: str, discount: str) -> Response:
        """Let a discount count no more from now on. Safe to repeat."""
        rows = Discount.objects.filter(organization=self.organization(organization))
        found = self.own(rows, discount, "discount")
        self.body()
        return self.answer(
            DiscountShape, services.remove_discount(found.public_id, actor=self.actor, at=self.at)
        )
