"""How the provider collects: what it may charge, what it was told to, and what came of it."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from apps.core.fields import CurrencyField, MoneyField, PublicIdField, TenantForeignKey
from apps.core.models import TenantRow
from apps.payments.events import DeclineClass
from apps.payments.models.money import Payment

PROVIDER_ID = 255  # letters of an id of Stripe's, at most


class PaymentMethod(TenantRow):
    """A card or an account that the provider keeps and may charge. Here is what people know it by.

    `expiry_told` is the month (YYYY-MM) of which the customer was told that it expires.
    """

    class Kind(models.TextChoices):
        CARD = "card", "Card"
        SEPA_DEBIT = "sepa_debit", "SEPA direct debit"
        US_BANK_ACCOUNT = "us_bank_account", "ACH direct debit"
        BACS_DEBIT = "bacs_debit", "Bacs direct debit"
        LINK = "link", "Link"
        OTHER = "other", "Other"

    public_id = PublicIdField("pmt")
    provider_id = models.CharField(max_length=PROVIDER_ID, unique=True)
    kind = models.CharField(max_length=20, choices=Kind)
    brand = models.CharField(max_length=40, blank=True, default="", help_text="network or bank")
    last4 = models.CharField(max_length=4, blank=True, default="")
    exp_month = models.PositiveSmallIntegerField(null=True)
    exp_year = models.PositiveSmallIntegerField(null=True)
    is_default = models.BooleanField(default=False, help_text="charged for what becomes due")
    removed_at = models.DateTimeField(null=True)
    expiry_told = models.CharField(max_length=7, blank=True, default="")

    class Meta:
        ordering = ["-is_default", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization"],
                name="one_default_payment_method",
                condition=Q(is_default=True),
            ),
            models.CheckConstraint(
                condition=Q(is_default=False) | Q(removed_at=None),
                name="a_removed_method_is_not_charged",
            ),
        ]
        indexes = [models.Index(fields=["organization"], name="methods_of_organization")]

    def __str__(self) -> str:
        return f"{self.brand or self.get_kind_display()} •••• {self.last4}"


class Collection(TenantRow):
    """An invoice as the provider has it. `generation` counts how often it was told anew, because
    what is due had changed; `amount` is what it was told last.
    """

    class Status(models.TextChoices):
        WAITING = "waiting", "Being handed over"
        OPEN = "open", "Open at the provider"
        PAID = "paid", "Paid"
        CLOSED = "closed", "Settled otherwise"
        REFUSED = "refused", "Cannot be collected"

    public_id = PublicIdField("col")
    invoice = TenantForeignKey("invoicing.Invoice", related_name="+")
    invoice_id: int
    status = models.CharField(max_length=10, choices=Status, default=Status.WAITING)
    reason = models.CharField(max_length=300, blank=True, default="", help_text="why it is refused")
    generation = models.PositiveSmallIntegerField(default=1)
    provider_id = models.CharField(max_length=PROVIDER_ID, blank=True, default="")
    hosted_url = models.URLField(max_length=1000, blank=True, default="")
    amount = MoneyField(default=0)
    currency = CurrencyField()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "invoice"], name="an_invoice_is_collected_once"
            ),
            models.UniqueConstraint(
                fields=["provider_id"],
                name="one_collection_a_provider_invoice",
                condition=~Q(provider_id=""),
            ),
            models.CheckConstraint(
                condition=Q(generation__gte=1, amount__gte=0), name="a_collection_asks_for_money"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} ({self.status})"


class PaymentAttempt(TenantRow):
    """One try to charge an invoice. At most one of an invoice is under way at a time.

    `message` is the provider's, for people. `action_url` is where the customer confirms.
    """

    class Status(models.TextChoices):
        PENDING = "pending", "Asked for"
        PROCESSING = "processing", "On its way"
        ACTION = "action", "Waits for the customer"
        SUCCEEDED = "succeeded", "Succeeded"
        FAILED = "failed", "Failed"

    UNDER_WAY = (Status.PENDING, Status.PROCESSING, Status.ACTION)

    public_id = PublicIdField("pat")
    collection = TenantForeignKey(Collection, related_name="attempts")
    collection_id: int
    invoice = TenantForeignKey("invoicing.Invoice", related_name="+")
    invoice_id: int
    number = models.PositiveSmallIntegerField(help_text="counts from 1")
    method = TenantForeignKey(PaymentMethod, null=True, related_name="+")
    method_id: int | None
    amount = MoneyField()
    currency = CurrencyField()
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    provider_id = models.CharField(max_length=PROVIDER_ID, blank=True, default="")
    decline_code = models.CharField(max_length=60, blank=True, default="")
    decline_class = models.CharField(
        max_length=10,
        blank=True,
        default="",
        choices=[(one.value, one.value) for one in DeclineClass],
    )
    message = models.CharField(max_length=500, blank=True, default="")
    action_url = models.URLField(max_length=1000, blank=True, default="")
    asked_by = models.CharField(max_length=60, help_text="id of who asked for it")
    asked_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "invoice", "number"], name="attempts_are_counted"
            ),
            models.UniqueConstraint(
                fields=["organization", "invoice"],
                name="one_attempt_at_a_time",
                condition=Q(status__in=["pending", "processing", "action"]),
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="an_attempt_asks_for_money"),
            models.CheckConstraint(
                condition=Q(status__in=["succeeded", "failed"], ended_at__isnull=False)
                | Q(status__in=["pending", "processing", "action"], ended_at=None),
                name="an_attempt_ends_once",
            ),
        ]
        indexes = [models.Index(fields=["provider_id"], name="attempts_by_provider_id")]

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}, try {self.number} ({self.status})"


class CheckoutSession(TenantRow):
    """A visit to the provider's pages: to save a card, or to pay an invoice there.

    `back` is the page of ours that the customer returns to, a path. One of a purpose is open at a
    time: `purpose` is the mode, with the invoice's id where it is about one.
    """

    class Mode(models.TextChoices):
        SETUP = "setup", "Save a payment method"
        PAYMENT = "payment", "Pay"
        SUBSCRIPTION = "subscription", "Subscribe"

    class Status(models.TextChoices):
        NEW = "new", "Not opened yet"
        OPEN = "open", "Open"
        COMPLETE = "complete", "Complete"
        EXPIRED = "expired", "Expired"

    public_id = PublicIdField("cks")
    mode = models.CharField(max_length=12, choices=Mode)
    purpose = models.CharField(max_length=80)
    status = models.CharField(max_length=10, choices=Status, default=Status.NEW)
    invoice = TenantForeignKey("invoicing.Invoice", null=True, related_name="+")
    invoice_id: int | None
    provider_id = models.CharField(max_length=PROVIDER_ID, blank=True, default="")
    url = models.URLField(max_length=1000, blank=True, default="")
    back = models.CharField(max_length=500)
    asked_by = models.CharField(max_length=60)
    asked_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "purpose"],
                name="one_open_checkout_a_purpose",
                condition=Q(status__in=["new", "open"]),
            ),
            models.UniqueConstraint(
                fields=["provider_id"],
                name="one_checkout_a_provider_session",
                condition=~Q(provider_id=""),
            ),
            models.CheckConstraint(
                condition=Q(status__in=["new", "open"], ended_at=None)
                | Q(status__in=["complete", "expired"], ended_at__isnull=False),
                name="a_checkout_ends_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} ({self.mode}, {self.status})"


class RefundOrder(TenantRow):
    """Money that the provider is to pay back for a credit note; a Refund is recorded once it is.

    Amounts in minor units.
    """

    class Status(models.TextChoices):
        PENDING = "pending", "Asked for"
        SUCCEEDED = "succeeded", "Paid back"
        FAILED = "failed", "Failed"

    public_id = PublicIdField("rfo")
    credit_note = TenantForeignKey("invoicing.CreditNote", related_name="+")
    credit_note_id: int
    payment = TenantForeignKey(Payment, related_name="refund_orders")
    payment_id: int
    amount = MoneyField()
    currency = CurrencyField()
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    provider_id = models.CharField(max_length=PROVIDER_ID, blank=True, default="")
    reason = models.CharField(max_length=300, blank=True, default="", help_text="why it failed")
    asked_by = models.CharField(max_length=60)
    asked_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="a_refund_order_pays_back"),
            models.UniqueConstraint(
                fields=["organization", "credit_note", "payment"],
                name="one_refund_order_at_a_time",
                condition=Q(status="pending"),
            ),
            models.UniqueConstraint(
                fields=["provider_id"],
                name="one_order_a_provider_refund",
                condition=~Q(provider_id=""),
            ),
            models.CheckConstraint(
                condition=Q(status="pending", ended_at=None)
                | Q(status__in=["succeeded", "failed"], ended_at__isnull=False),
                name="a_refund_order_ends_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount} {self.currency} ({self.status})"


class Dispute(TenantRow):
    """A customer's bank wants a payment back. `amount` in minor units, as the bank says.

    While it is undecided the money is gone; `status` is the provider's word for where it stands.
    """

    class Outcome(models.TextChoices):
        UNDECIDED = "undecided", "Undecided"
        WON = "won", "Won"
        LOST = "lost", "Lost"

    public_id = PublicIdField("dsp")
    provider_id = models.CharField(max_length=PROVIDER_ID, unique=True)
    payment = TenantForeignKey(Payment, null=True, related_name="disputes")
    payment_id: int | None
    amount = MoneyField()
    currency = CurrencyField()
    reason = models.CharField(max_length=60)
    status = models.CharField(max_length=40)
    outcome = models.CharField(max_length=10, choices=Outcome, default=Outcome.UNDECIDED)
    evidence_due_at = models.DateTimeField(null=True)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(outcome="undecided", closed_at=None)
                | (~Q(outcome="undecided") & Q(closed_at__gte=F("opened_at"))),
                name="a_dispute_is_decided_once",
            )
        ]
        indexes = [models.Index(fields=["organization"], name="disputes_of_organization")]

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}: {self.reason}"
