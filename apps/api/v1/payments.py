"""Money that came in for an invoice."""

from __future__ import annotations

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.pagination import ListQuery, page
from apps.api.schema import operation
from apps.api.shapes import Body, Choice, Flag, Instant, Kind, Shape, Text, list_of, public_id
from apps.api.v1.amounts import Minor, major
from apps.api.v1.invoices import own_invoice
from apps.payments import services
from apps.payments.models import Payment

TAG = "Payments"


class PaymentShape(Shape):
    """An amount received for an invoice; below zero it takes another one back. Minor units."""

    object = Kind("payment")
    id = public_id("pay", source="public_id")
    created_at = serializers.DateTimeField(source="received_at")
    invoice = public_id("inv", source="invoice.public_id")
    amount = serializers.IntegerField()
    excess = serializers.IntegerField(help_text="the part that was kept as credit")
    currency = serializers.CharField()
    method = Choice(choices=Payment.Method.choices)
    reference = serializers.CharField()
    reverses = public_id("pay", source="reverses.public_id", allow_null=True)
    reason = serializers.CharField(help_text="why it takes another one back")


class PaymentBody(Body):
    """Money that was received."""

    amount = Minor(help_text="minor units of the invoice's currency; parts add up")
    reference = Text(
        max_length=100, default="", allow_blank=True, help_text="the bank's; once an invoice"
    )
    received_at = Instant(required=False, help_text="default: now")
    keep_excess = Flag(default=False, help_text="keep what is more than due as credit")


class ReversalBody(Body):
    """Why."""

    reason = Text(max_length=200, help_text="kept with the payment")


class Payments(ApiView):
    """The list."""

    @operation(
        "list_payments",
        tag=TAG,
        scope="invoices:read",
        query=ListQuery,
        answers={200: list_of(PaymentShape, "PaymentList")},
    )
    def get(self, request: Request, invoice: str) -> Response:
        """List the payments of an invoice, newest first, with what took them back."""
        among = Payment.objects.filter(invoice=own_invoice(self, invoice))
        found = page(among.select_related("invoice", "reverses"), self.query(), among=among)
        return self.listing(PaymentShape, found, found.rows)

    @operation(
        "record_payment",
        tag=TAG,
        scope="invoices:write",
        platform_only=True,
        body=PaymentBody,
        answers={201: PaymentShape},
    )
    def post(self, request: Request, invoice: str) -> Response:
        """Record a payment received outside the system.

        More than is due is refused, or kept as the customer's credit with `keep_excess`.
        """
        row = own_invoice(self, invoice)
        wanted = self.body()
        amount = major(wanted.pop("amount"), row.currency)
        made = services.record_payment(
            row.public_id, amount=amount, **wanted, actor=self.actor, at=self.at
        )
        return self.answer(PaymentShape, made, status=201)


class ReversePayment(ApiView):
    """One of them, taken back."""

    @operation(
        "reverse_payment",
        tag=TAG,
        scope="invoices:write",
        platform_only=True,
        body=ReversalBody,
        answers={201: PaymentShape},
    )
    def post(self, request: Request, payment: str) -> Response:
        """Take back a payment that was recorded by mistake: what it paid is due again."""
        found = self.own(Payment.objects.all(), payment, "payment")
        made = services.reverse_payment(
            found.public_id, **self.body(), actor=self.actor, at=self.at
        )
        return self.answer(PaymentShape, made, status=201)
