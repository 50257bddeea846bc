"""Being paid through the provider: payment methods, visits to its pages, charging, paying back."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.pagination import ListQuery, page
from apps.api.schema import operation
from apps.api.shapes import (
    Body,
    Choice,
    Kind,
    NoBody,
    Shape,
    Text,
    list_of,
    public_id,
)
from apps.api.v1.credit_notes import own_note
from apps.api.v1.invoices import own_invoice
from apps.core.errors import Invalid
from apps.payments import services
from apps.payments.models import (
    CheckoutSession,
    Dispute,
    PaymentAttempt,
    PaymentMethod,
    RefundOrder,
)

TAG = "Collecting"
LONGEST_ADDRESS = 500


class PaymentMethodShape(Shape):
    """A card or an account that the provider keeps and may charge."""

    object = Kind("payment_method")
    id = public_id("pmt", source="public_id")
    created_at = serializers.DateTimeField()
    kind = Choice(choices=PaymentMethod.Kind.choices)
    brand = serializers.CharField(help_text="the card's network, or the bank")
    last4 = serializers.CharField()
    exp_month = serializers.IntegerField(allow_null=True)
    exp_year = serializers.IntegerField(allow_null=True)
    is_default = serializers.BooleanField(help_text="charged for what becomes due")


class AttemptShape(Shape):
    """One try to charge an invoice, in minor units.

    `action_url` is where the customer confirms it. `decline_class`: `retry` may work later,
    `method` needs another payment method, `action` the customer, `never` is not to be tried again.
    """

    object = Kind("payment_attempt")
    id = public_id("pat", source="public_id")
    created_at = serializers.DateTimeField(source="asked_at")
    invoice = public_id("inv", source="invoice.public_id")
    number = serializers.IntegerField(help_text="counts from 1")
    payment_method = public_id("pmt", source="method.public_id", allow_null=True)
    amount = serializers.IntegerField()
    currency = serializers.CharField()
    status = Choice(choices=PaymentAttempt.Status.choices)
    decline_code = serializers.CharField()
    decline_class = serializers.CharField()
    message = serializers.CharField()
    action_url = serializers.CharField()
    ended_at = serializers.DateTimeField(allow_null=True)


class CheckoutShape(Shape):
    """A visit to the provider's pages. Send the customer to `url`; they come back to `back`."""

    object = Kind("checkout_session")
    id = public_id("cks", source="public_id")
    created_at = serializers.DateTimeField(source="asked_at")
    mode = Choice(choices=CheckoutSession.Mode.choices)
    status = Choice(choices=CheckoutSession.Status.choices)
    invoice = public_id("inv", source="invoice.public_id", allow_null=True)
    url = serializers.CharField()
    back = serializers.CharField()


class DisputeShape(Shape):
    """A customer's bank wants a payment back, in minor units."""

    object = Kind("dispute")
    id = public_id("dsp", source="public_id")
    created_at = serializers.DateTimeField(source="opened_at")
    payment = public_id("pay", source="payment.public_id", allow_null=True)
    amount = serializers.IntegerField()
    currency = serializers.CharField()
    reason = serializers.CharField()
    status = serializers.CharField(help_text="the provider's word for where it stands")
    outcome = Choice(choices=Dispute.Outcome.choices)
    evidence_due_at = serializers.DateTimeField(allow_null=True)
    closed_at = serializers.DateTimeField(allow_null=True)


class RefundOrderShape(Shape):
    """Money that the provider is to pay back, in minor units; a refund once it has."""

    object = Kind("refund_order")
    id = public_id("rfo", source="public_id")
    created_at = serializers.DateTimeField(source="asked_at")
    credit_note = public_id("cn", source="credit_note.public_id")
    payment = public_id("pay", source="payment.public_id")
    amount = serializers.IntegerField()
    currency = serializers.CharField()
    status = Choice(choices=RefundOrder.Status.choices)
    reason = serializers.CharField(help_text="why it failed")


class OfOrganization(ListQuery):
    """Whose."""

    organization = serializers.CharField(
        default="", help_text="id, slug or `ext:` id; default: the key's own"
    )


class WhoseBody(Body):
    """What the visit is for."""

    replays = False
    mode = Choice(choices=[("setup", "Save a payment method"), ("payment", "Pay an invoice")])
    organization = Text(default="", allow_blank=True, help_text="of a setup: id, slug or `ext:` id")
    invoice = Text(default="", allow_blank=True, help_text="of a payment: id or number")
    back = Text(
        max_length=LONGEST_ADDRESS,
        default="/portal/payment/",
        help_text="where the customer comes back to: a path of ours, or an address of yours",
    )


class PayBody(Body):
    """What to charge."""

    replays = False
    payment_method = Text(
        default="", allow_blank=True, help_text="default: the organization's default"
    )


class PaymentMethods(ApiView):
    """The list."""

    @operation(
        "list_payment_methods",
        tag=TAG,
        scope="invoices:read",
        query=OfOrganization,
        answers={200: list_of(PaymentMethodShape, "PaymentMethodList")},
    )
    def get(self, request: Request) -> Response:
        """List payment methods, newest first."""
        query: dict[str, Any] = self.query()
        among = self.theirs(PaymentMethod.objects.all(), organization=query["organization"])
        found = page(among.filter(removed_at=None), query, among=among)
        return self.listing(PaymentMethodShape, found, found.rows)


class ChoosePaymentMethod(ApiView):
    """One of them, charged from now on."""

    @operation(
        "choose_payment_method",
        tag=TAG,
        scope="subscriptions:write",
        body=NoBody,
        answers={200: PaymentMethodShape},
    )
    def post(self, request: Request, payment_method: str) -> Response:
        """Charge a payment method for what becomes due from now on."""
        row = self.own(PaymentMethod.objects.all(), payment_method, "payment method")
        self.body()
        made = services.choose_method(row.public_id, actor=self.actor, at=self.at)
        return self.answer(PaymentMethodShape, made)


class OnePaymentMethod(ApiView):
    """One of them."""

    @operation(
        "remove_payment_method",
        tag=TAG,
        scope="subscriptions:write",
        body=NoBody,
        answers={200: PaymentMethodShape},
    )
    def delete(self, request: Request, payment_method: str) -> Response:
        """Forget a payment method, at the provider too.

        The last one stays while a subscription is charged to it.
        """
        row = self.own(PaymentMethod.objects.all(), payment_method, "payment method")
        self.body()
        services.remove_method(row.public_id, actor=self.actor, at=self.at)
        row.refresh_from_db()
        return self.answer(PaymentMethodShape, row)


class CheckoutSessions(ApiView):
    """The list."""

    is_outside = True

    @operation(
        "create_checkout_session",
        tag=TAG,
        scope="subscriptions:write",
        body=WhoseBody,
        answers={201: CheckoutShape},
    )
    def post(self, request: Request) -> Response:
        """Begin a visit to the provider's pages.

        While one for the same purpose is open it is the one: nothing is saved or paid twice.
        """
        with self.caller.scope():
            row = self._begun(self.body())
        services.open_checkout(row.public_id, organization_id=row.organization_id)
        with self.caller.scope():
            row.refresh_from_db()
            return self.answer(CheckoutShape, row, status=201)

    def _begun(self, wanted: dict[str, Any]) -> CheckoutSession:
        told: dict[str, Any] = {"back": wanted["back"], "actor": self.actor, "at": self.at}
        if wanted["mode"] == "setup":
            whose = self.organization_id(wanted["organization"])
            if whose is None:
                raise Invalid("Say whose payment method it is.", param="organization")
            return services.begin_setup(whose, **told)
        if not wanted["invoice"]:
            raise Invalid("Say which invoice is paid.", param="invoice")
        invoice = own_invoice(self, wanted["invoice"])
        return services.begin_payment(invoice.public_id, **told | {"at": self.at})


class OneCheckoutSession(ApiView):
    """One of them."""

    @operation(
        "get_checkout_session",
        tag=TAG,
        scope="invoices:read",
        answers={200: CheckoutShape},
    )
    def get(self, request: Request, checkout_session: str) -> Response:
        """Get a checkout session."""
        row = self.own(CheckoutSession.objects.all(), checkout_session, "checkout session")
        return self.answer(CheckoutShape, row)


class PayInvoice(ApiView):
    """An invoice, charged."""

    is_outside = True

    @operation(
        "pay_invoice",
        tag=TAG,
        scope="subscriptions:write",
        body=PayBody,
        answers={200: AttemptShape},
    )
    def post(self, request: Request, invoice: str) -> Response:
        """Charge what is due on an invoice now.

        The attempt says what came of it: a refused card is an answer, not an error. Where the
        provider does not answer, it is `pending` and goes on by itself.
        """
        with self.caller.scope():
            row = own_invoice(self, invoice)
            wanted, at = self.body(), self.at
        made = services.charge_now(
            row.public_id, actor=self.actor, at=at, method=wanted["payment_method"]
        )
        with self.caller.scope():
            made = PaymentAttempt.objects.select_related("invoice", "method").get(pk=made.pk)
            return self.answer(AttemptShape, made)


class PaymentAttempts(ApiView):
    """The list."""

    @operation(
        "list_payment_attempts",
        tag=TAG,
        scope="invoices:read",
        query=ListQuery,
        answers={200: list_of(AttemptShape, "PaymentAttemptList")},
    )
    def get(self, request: Request, invoice: str) -> Response:
        """List the attempts to charge an invoice, newest first."""
        among = PaymentAttempt.objects.filter(invoice=own_invoice(self, invoice))
        found = page(among.select_related("invoice", "method"), self.query(), among=among)
        return self.listing(AttemptShape, found, found.rows)


class Disputes(ApiView):
    """The list."""

    @operation(
        "list_disputes",
        tag=TAG,
        scope="invoices:read",
        query=OfOrganization,
        answers={200: list_of(DisputeShape, "DisputeList")},
    )
    def get(self, request: Request) -> Response:
        """List disputes, newest first."""
        query: dict[str, Any] = self.query()
        among = self.theirs(Dispute.objects.all(), organization=query["organization"])
        found = page(among.select_related("payment"), query, among=among)
        return self.listing(DisputeShape, found, found.rows)


class RefundCreditNote(ApiView):
    """A credit note, paid back."""

    @operation(
        "refund_credit_note",
        tag=TAG,
        scope="invoices:write",
        platform_only=True,
        body=NoBody,
        answers={200: list_of(RefundOrderShape, "RefundOrderList")},
    )
    def post(self, request: Request, credit_note: str) -> Response:
        """Have the provider pay back what is left of a credit note's refund, again if it failed.

        It is ordered by itself when the note is issued; safe to repeat.
        """
        note = own_note(self, credit_note)
        self.body()
        made = services.refund(note.public_id, actor=self.actor, at=self.at)
        return self.envelope(RefundOrderShape, made)
