"""Documents: what the database itself keeps true about an invoice."""

from __future__ import annotations

from fractions import Fraction

from django.contrib.postgres.fields import DateTimeRangeField
from django.db import models
from django.db.models import F, Q

from apps.core.fields import (
    CurrencyField,
    MoneyField,
    PublicIdField,
    QuantityField,
    TenantForeignKey,
)
from apps.core.models import PartRow, Row, TenantRow

TRANSITIONS = (
    ("draft", "open"),
    ("open", "paid"),
    ("open", "void"),
    ("open", "uncollectible"),
    ("uncollectible", "paid"),
    ("uncollectible", "void"),
    ("paid", "open"),  # a payment was taken back
)


class NumberSeries(Row):
    """The next number of an issuer's series; taken as the last statement of a finalisation."""

    billing_entity = models.ForeignKey(
        "tenants.BillingEntity", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    series = models.CharField(max_length=20, default="invoice")
    next = models.BigIntegerField(default=1)

    class Meta:
        verbose_name_plural = "number series"
        constraints = [
            models.UniqueConstraint(
                fields=["billing_entity", "series"], name="one_counter_a_series"
            )
        ]

    def __str__(self) -> str:
        return f"{self.series} of {self.billing_entity_id}: {self.next}"


class Invoice(TenantRow):
    """A bill. A draft may still change; from `open` on only what was paid or voided does.

    Amounts are minor units of `currency`. `boundary_at` names the subscription's boundary that it
    bills, `revision` counts how often that boundary was billed anew after a void.
    """

    class Status(models.TextChoices):
        DRAFT = "draft", "Draft"
        OPEN = "open", "Open"
        PAID = "paid", "Paid"
        VOID = "void", "Void"
        UNCOLLECTIBLE = "uncollectible", "Uncollectible"

    class Kind(models.TextChoices):
        RECURRING = "recurring", "For a period"
        CHANGE = "change", "For a change"
        PROGRESSIVE = "progressive", "For usage so far"
        ONE_OFF = "one_off", "Single"

    public_id = PublicIdField("inv")
    kind = models.CharField(max_length=12, choices=Kind, default=Kind.RECURRING)
    billing_entity = models.ForeignKey(
        "tenants.BillingEntity", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    billing_entity_id: int
    subscription = TenantForeignKey("subscriptions.Subscription", null=True)
    subscription_id: int | None
    status = models.CharField(max_length=14, choices=Status, default=Status.DRAFT)
    series = models.CharField(max_length=20, default="invoice")
    sequence = models.BigIntegerField(null=True)
    number = models.CharField(max_length=40, null=True, db_collation="C")  # noqa: DJ001 - no number is NULL, so that it may be unique
    currency = CurrencyField()
    collection = models.CharField(max_length=16, default="manual")
    timezone = models.CharField(max_length=64)
    locale = models.CharField(max_length=20, default="en")
    boundary_at = models.DateTimeField(null=True)
    boundary_index = models.PositiveIntegerField(null=True)
    revision = models.PositiveSmallIntegerField(default=0)
    period = DateTimeRangeField()
    issued_at = models.DateTimeField(help_text="the date on the document")
    due_at = models.DateTimeField()
    subtotal = MoneyField(default=0)
    discount = MoneyField(default=0)
    tax = MoneyField(default=0, help_text="all of it, also what the lines include already")
    tax_included = MoneyField(default=0, help_text="the part of it that the lines include")
    credits = MoneyField(
        default=0, help_text="credit used up; negative when a negative sum became credit"
    )
    total = MoneyField(default=0)
    amount_paid = MoneyField(default=0)
    credited = MoneyField(default=0, help_text="taken off by credit notes")
    written_off = MoneyField(default=0)
    settlement = models.JSONField(
        default=dict, help_text="discounts, taxes and credits, with their arithmetic"
    )
    grace_until = models.DateTimeField(null=True, help_text="the draft is not issued before")
    hold_reason = models.CharField(max_length=500, blank=True, default="")
    approved_by = models.CharField(max_length=60, blank=True, default="")
    approved_at = models.DateTimeField(null=True)
    approval_reason = models.CharField(max_length=200, blank=True, default="")
    memo = models.CharField(max_length=500, blank=True, default="")
    parties = models.JSONField(default=dict, help_text="issuer and customer as they were")
    finalized_at = models.DateTimeField(null=True)
    paid_at = models.DateTimeField(null=True)
    voided_at = models.DateTimeField(null=True)
    void_reason = models.CharField(max_length=200, blank=True, default="")
    uncollectible_at = models.DateTimeField(null=True)
    uncollectible_reason = models.CharField(max_length=200, blank=True, default="")
    content_hash = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        ordering = ["-issued_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "subscription", "boundary_at"],
                name="one_invoice_a_boundary",
                condition=~Q(status="void") & Q(boundary_at__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["billing_entity", "series", "sequence"], name="one_invoice_a_number"
            ),
            models.CheckConstraint(
                condition=Q(status="draft", number=None, sequence=None, finalized_at=None)
                | (
                    ~Q(status="draft")
                    & Q(number__isnull=False, sequence__isnull=False, finalized_at__isnull=False)
                    & ~Q(content_hash="")
                ),
                name="a_number_when_final_and_only_then",
            ),
            models.CheckConstraint(
                condition=Q(amount_paid__gte=0, credited__gte=0)
                & (Q(amount_paid__lte=F("total") - F("credited")) | Q(total__lt=0)),
                name="never_paid_too_much",
            ),
            models.CheckConstraint(
                condition=~Q(status="paid")
                | Q(amount_paid=F("total") - F("credited"))
                | Q(total__lt=0),
                name="paid_means_all_of_it",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "-issued_at"], name="invoices_of_organization"),
            models.Index(fields=["status", "due_at"], name="invoices_by_status"),
        ]

    def __str__(self) -> str:
        return self.number or f"draft {self.public_id}"

    @property
    def amount_due(self) -> int:
        """What is still to be paid, in minor units; nothing of a draft or a void invoice."""
        if self.status not in {"open", "uncollectible"}:
            return 0
        return self.total - self.credited - self.amount_paid

    @property
    def is_held(self) -> bool:
        """Whether a draft waits for somebody's approval."""
        return bool(self.hold_reason) and self.approved_at is None


class InvoiceLine(PartRow):
    """One line, with its arithmetic as data in `explanation`.

    Metered lines say exactly which events they counted: those that the transaction snapshot
    `usage_snapshot` of the usage epoch `usage_epoch` could see. `live` turns false when the invoice
    is voided, which lets the period be billed anew; nothing else about a final line changes.
    """

    public_id = PublicIdField("il")
    invoice = TenantForeignKey(Invoice, related_name="lines")
    invoice_id: int
    item = TenantForeignKey("subscriptions.SubscriptionItem", null=True)
    item_id: int | None
    step = TenantForeignKey("subscriptions.QuantityStep", null=True)
    step_id: int | None
    price = models.ForeignKey(
        "plans.Price", on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    price_id: int | None
    charge = TenantForeignKey("invoicing.Charge", null=True)
    charge_id: int | None
    corrects = TenantForeignKey("self", null=True)
    corrects_id: int | None
    revision = models.PositiveSmallIntegerField(
        default=0, help_text="counts corrections of a line, and progressive lines of a period"
    )
    position = models.PositiveIntegerField()
    key = models.CharField(max_length=50)
    kind = models.CharField(max_length=20)
    reason = models.CharField(max_length=20)
    name = models.CharField(max_length=200)
    during = DateTimeRangeField()
    quantity = QuantityField()
    amount = MoneyField()
    discount = MoneyField(default=0, help_text="taken off by discounts")
    tax = MoneyField(default=0)
    tax_included = MoneyField(default=0)
    credited = MoneyField(default=0, help_text="net amount taken back by credit notes")
    explanation = models.JSONField()
    usage_epoch = models.IntegerField(null=True)
    usage_snapshot = models.TextField(blank=True, default="")
    live = models.BooleanField(default=True)

    class Meta:
        ordering = ["position", "id"]
        indexes = [
            models.Index(
                fields=["organization", "item"],
                name="standing_lines_of_item",
                condition=Q(live=True),
            )
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "invoice", "position"], name="one_line_a_position"
            ),
            models.UniqueConstraint(
                fields=["organization", "step"],
                name="a_step_is_billed_once",
                condition=Q(live=True, step__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["organization", "charge"],
                name="a_charge_is_billed_once",
                condition=Q(live=True, charge__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["organization", "corrects", "revision"],
                name="a_correction_is_billed_once",
                condition=Q(live=True, corrects__isnull=False),
            ),
            models.CheckConstraint(
                condition=Q(credited=0)
                | Q(
                    credited__gt=0,
                    credited__lte=F("amount") - F("discount") - F("tax_included"),
                ),
                name="never_credited_too_much",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} of {self.invoice_id}"

    @property
    def net_share(self) -> Fraction:
        """Which part of its amount its discounts left; all of what cost nothing."""
        return Fraction(self.amount - self.discount, self.amount) if self.amount else Fraction(1)


class InvoiceDiscount(TenantRow):
    """What one discount took off an invoice, and by which coupon."""

    invoice = TenantForeignKey(Invoice, related_name="discounts")
    invoice_id: int
    discount = models.CharField(max_length=60, help_text="public id of the customer's discount")
    coupon = models.CharField(max_length=60)
    name = models.CharField(max_length=200)
    amount = MoneyField()
    position = models.PositiveIntegerField()

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "invoice", "discount"], name="a_discount_once_an_invoice"
            )
        ]
        indexes = [models.Index(fields=["organization", "discount"], name="uses_of_discount")]

    def __str__(self) -> str:
        return f"{self.coupon}: {self.amount}"


class InvoiceTax(TenantRow):
    """One rate's tax on an invoice: the base it was taken from and the amount."""

    invoice = TenantForeignKey(Invoice, related_name="taxes")
    invoice_id: int
    rate = models.CharField(max_length=60, blank=True, default="", help_text="public id")
    name = models.CharField(max_length=100)
    percent = models.DecimalField(max_digits=9, decimal_places=6)
    kind = models.CharField(max_length=10, default="vat")
    jurisdiction = models.CharField(max_length=20, blank=True, default="")
    treatment = models.CharField(max_length=20, default="standard")
    ground = models.CharField(
        max_length=200, blank=True, default="", help_text="why it is not charged: a VATEX code"
    )
    inclusive = models.BooleanField(default=False)
    base = MoneyField()
    amount = MoneyField()
    position = models.PositiveIntegerField()

    class Meta:
        ordering = ["position", "id"]
        verbose_name_plural = "invoice taxes"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "invoice", "position"], name="one_tax_a_position"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.amount}"


class Parked(TenantRow):
    """A subscription whose billing failed: left out of runs until somebody has looked at it."""

    public_id = PublicIdField("park")
    subscription = TenantForeignKey("subscriptions.Subscription")
    subscription_id: int
    boundary_at = models.DateTimeField()
    reason = models.TextField()
    parked_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "parked subscription"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "subscription"],
                name="parked_once",
                condition=Q(released_at=None),
            )
        ]

    def __str__(self) -> str:
        return f"{self.public_id}: {self.reason[:60]}"
