"""`/organizations/{organization}/spend-caps`: how much usage may cost in a billing period."""

from __future__ import annotations

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.schema import operation
from apps.api.shapes import Body, Choice, Kind, NoBody, Shape, Text, list_of, public_id
from apps.api.v1.amounts import Minor, currency_field, major
from apps.entitlements import selectors, services
from apps.entitlements.models import HARD_OR_SOFT, SpendCap
from apps.subscriptions.models import Subscription

TAG = "Access"


class SpendCapShape(Shape):
    """A cap and what is spent of it, in minor units; before discounts, taxes and credit."""

    object = Kind("spend_cap")
    id = public_id("cap", source="public_id")
    created_at = serializers.DateTimeField(source="set_at")
    subscription = public_id("sub", allow_null=True, help_text="null: all in the currency")
    currency = serializers.CharField()
    amount = serializers.IntegerField(help_text="a billing period at most")
    on_limit = Choice(choices=HARD_OR_SOFT)
    spent = serializers.IntegerField(help_text="what the usage so far comes to")
    reserved = serializers.IntegerField(help_text="what reservations would add")
    remaining = serializers.IntegerField()


SPEND_CAPS = list_of(SpendCapShape, "SpendCapList")


class SpendCapBody(Body):
    """How much, of what, and what happens then."""

    amount = Minor(min_value=0, help_text="minor units, a billing period")
    currency = currency_field()
    subscription = Text(
        max_length=40, required=False, help_text="of this one; else of all in the currency"
    )
    on_limit = Choice(choices=HARD_OR_SOFT, default="block")


class SpendCaps(ApiView):
    """Those in force."""

    @operation(
        "list_spend_caps",
        tag=TAG,
        scope="usage:read",
        answers={200: SPEND_CAPS},
    )
    def get(self, request: Request, organization: str) -> Response:
        """List an organization's spend caps, with what is spent of each."""
        row = self.organization(organization)
        return self.envelope(SpendCapShape, selectors.cap_standings(row.pk, at=row.time(self.at)))

    @operation(
        "set_spend_cap",
        tag=TAG,
        scope="subscriptions:write",
        body=SpendCapBody,
        answers={200: SpendCapShape},
    )
    def post(self, request: Request, organization: str) -> Response:
        """Let usage cost at most so much in a billing period, or warn beyond it.

        Replaces the cap of the same subscription or currency. Safe to repeat.
        """
        row, said = self.organization(organization), self.body()
        subscription, currency = "", said.get("currency", "")
        code = currency or row.currency
        if "subscription" in said:
            mine = Subscription.objects.filter(organization=row)
            found = self.own(mine, said["subscription"], "subscription")
            subscription, code = found.public_id, found.currency
        made = services.set_spend_cap(
            row.pk,
            amount=major(said["amount"], code),
            on_limit=said["on_limit"],
            subscription_id=subscription,
            currency=currency,
            actor=self.actor,
            at=row.time(self.at),
        )
        standings = selectors.cap_standings(row.pk, at=row.time(self.at))
        [seen] = [one for one in standings if one.public_id == made.public_id]
        return self.answer(SpendCapShape, seen)


class OneSpendCap(ApiView):
    """One of them."""

    @operation(
        "remove_spend_cap",
        tag=TAG,
        scope="subscriptions:write",
        body=NoBody,
        answers={200: SPEND_CAPS},
    )
    def delete(self, request: Request, organization: str, spend_cap: str) -> Response:
        """Remove a spend cap; return those that are left."""
        row = self.organization(organization)
        found = self.own(SpendCap.objects.filter(organization=row), spend_cap, "spend cap")
        self.body()
        services.remove_spend_cap(found.public_id, actor=self.actor, at=row.time(self.at))
        return self.envelope(SpendCapShape, selectors.cap_standings(row.pk, at=row.time(self.at)))
