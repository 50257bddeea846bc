"""Credit in both directions: prepaid grants that invoices use up, and notes that take back."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from apps.core.fields import CurrencyField, MoneyField, PublicIdField, TenantForeignKey
from apps.core.models import TenantRow


class CreditGrant(TenantRow):
    """Money that the organization may use instead of paying: a wallet is the sum of its grants.

    `remaining` is the sum of the grant's movements, kept by the database as they are written; it
    never falls below zero. Grants are used by priority (lowest first), then expiry, then age.
    """

    class Kind(models.TextChoices):
        PROMOTIONAL = "promotional", "Promotional"
        PURCHASED = "purchased", "Purchased"
        REFUND = "refund", "Owed to the customer"
        COMMITMENT = "commitment", "Prepaid commitment"

    public_id = PublicIdField("cg")
    kind = models.CharField(max_length=12, choices=Kind)
    name = models.CharField(max_length=200)
    currency = CurrencyField()
    amount = MoneyField(help_text="as granted, in minor units")
    remaining = MoneyField(default=0)
    priority = models.SmallIntegerField(default=50, help_text="0 to 100; the lowest is used first")
    granted_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    line_kinds = models.JSONField(
        default=list, blank=True, help_text="line kinds it pays; none means every kind"
    )
    price_keys = models.JSONField(
        default=list, blank=True, help_text="line keys it pays; none means every line"
    )
    source = models.CharField(
        max_length=60, blank=True, default="", help_text="public id of the cause"
    )
    granted_by = models.CharField(max_length=60)
    voided_at = models.DateTimeField(null=True)
    void_reason = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        ordering = ["priority", "expires_at", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="a_grant_is_worth_something"),
            models.CheckConstraint(
                condition=Q(remaining__gte=0, remaining__lte=F("amount")),
                name="credit_never_below_zero",
            ),
            models.CheckConstraint(
                condition=Q(priority__gte=0, priority__lte=100), name="grant_priority_in_range"
            ),
            models.CheckConstraint(
                condition=Q(expires_at=None) | Q(expires_at__gt=F("granted_at")),
                name="a_grant_expires_after_it_starts",
            ),
            models.UniqueConstraint(
                fields=["organization", "source"],
                name="one_grant_a_cause",
                condition=~Q(source=""),
            ),
        ]
        indexes = [models.Index(fields=["organization", "currency"], name="grants_of_organization")]

    def __str__(self) -> str:
        return f"{self.name} ({self.remaining} of {self.amount} {self.currency})"

    @property
    def is_funded(self) -> bool:
        """Whether money stands behind it: using it up does not lower what was earned."""
        return self.kind != self.Kind.PROMOTIONAL


class CreditMovement(TenantRow):
    """One change of a grant: positive what comes in, negative what goes out. Facts, only added."""

    class Kind(models.TextChoices):
        GRANTED = "granted", "Granted"
        USED = "used", "Used on an invoice"
        RETURNED = "returned", "Given back by a void invoice"
        EXPIRED = "expired", "Expired"
        VOIDED = "voided", "Withdrawn"

    public_id = PublicIdField("cm")
    grant = TenantForeignKey(CreditGrant, related_name="movements")
    grant_id: int
    invoice = TenantForeignKey("invoicing.Invoice", null=True, related_name="credit_movements")
    invoice_id: int | None
    kind = models.CharField(max_length=10, choices=Kind)
    amount = MoneyField()
    at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["granted", "returned"], amount__gt=0)
                | Q(kind__in=["used", "expired", "voided"], amount__lt=0),
                name="a_movement_has_its_sign",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["used", "returned"], invoice__isnull=False)
                | Q(kind__in=["granted", "expired", "voided"], invoice=None),
                name="credit_is_used_on_an_invoice",
            ),
            models.UniqueConstraint(
                fields=["organization", "grant", "invoice", "kind"],
                name="a_grant_pays_an_invoice_once",
                condition=Q(invoice__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["organization", "grant", "kind"],
                name="a_grant_starts_and_ends_once",
                # What a void invoice gives back to an expired grant expires again.
                condition=Q(invoice=None) & ~Q(kind="expired"),
            ),
        ]
        indexes = [models.Index(fields=["organization", "invoice"], name="credit_of_invoice")]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount}"


class RechargeRule(TenantRow):
    """Buy credit when little is left: below `threshold`, up to `amount` more, within a month's cap.

    All amounts in minor units of `currency`.
    """

    public_id = PublicIdField("rr")
    currency = CurrencyField()
    threshold = MoneyField()
    amount = MoneyField()
    monthly_cap = MoneyField(default=0, help_text="0: none")
    active = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "currency"],
                name="one_recharge_a_currency",
                condition=Q(active=True),
            ),
            models.CheckConstraint(
                condition=Q(threshold__gte=0, amount__gt=0), name="a_recharge_adds_credit"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount} {self.currency} below {self.threshold}"


class CreditNote(TenantRow):
    """A document that takes back part of a final invoice, in whole or in part.

    `total` is split into what lowers the invoice (`offset_amount`), what becomes the customer's
    credit (`credited_amount`) and what is paid back (`refunded_amount`). Amounts are positive and
    in minor units. It is final from the start and never changes.
    """

    class Reason(models.TextChoices):
        DUPLICATE = "duplicate", "Billed twice"
        PRODUCT_UNSATISFACTORY = "product_unsatisfactory", "Not as agreed"
        ORDER_CHANGE = "order_change", "Order changed"
        ORDER_CANCELLATION = "order_cancellation", "Order canceled"
        FRAUDULENT = "fraudulent", "Fraud"
        USAGE_CORRECTED = "usage_corrected", "Usage corrected"
        OTHER = "other", "Other"

    public_id = PublicIdField("cn")
    billing_entity = models.ForeignKey(
        "tenants.BillingEntity", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    billing_entity_id: int
    invoice = TenantForeignKey("invoicing.Invoice", related_name="credit_notes")
    invoice_id: int
    series = models.CharField(max_length=20, default="credit_note")
    sequence = models.BigIntegerField()
    number = models.CharField(max_length=40, db_collation="C")
    currency = CurrencyField()
    reason = models.CharField(max_length=24, choices=Reason)
    memo = models.CharField(max_length=500, blank=True, default="")
    subtotal = MoneyField(help_text="before tax, discounts taken off")
    tax = MoneyField(default=0)
    total = MoneyField()
    offset_amount = MoneyField(default=0)
    credited_amount = MoneyField(default=0)
    refunded_amount = MoneyField(default=0)
    taxes = models.JSONField(default=list, help_text="tax taken back, by rate")
    parties = models.JSONField(default=dict)
    timezone = models.CharField(max_length=64)
    locale = models.CharField(max_length=20, default="en")
    issued_at = models.DateTimeField()
    issued_by = models.CharField(max_length=60)
    content_hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["-issued_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["billing_entity", "series", "sequence"], name="one_credit_note_a_number"
            ),
            models.CheckConstraint(
                condition=Q(total__gt=0)
                & Q(total=F("subtotal") + F("tax"))
                & Q(total=F("offset_amount") + F("credited_amount") + F("refunded_amount"))
                & Q(offset_amount__gte=0, credited_amount__gte=0, refunded_amount__gte=0),
                name="a_credit_note_adds_up",
            ),
        ]
        indexes = [models.Index(fields=["organization", "invoice"], name="notes_of_invoice")]

    def __str__(self) -> str:
        return self.number


class CreditNoteLine(TenantRow):
    """What a note takes back of one line: net and tax apart, both in minor units."""

    public_id = PublicIdField("cnl")
    credit_note = TenantForeignKey(CreditNote, related_name="lines")
    credit_note_id: int
    line = TenantForeignKey("invoicing.InvoiceLine", related_name="credit_lines")
    line_id: int
    position = models.PositiveIntegerField()
    name = models.CharField(max_length=200)
    amount = MoneyField(help_text="net, after discounts")
    tax = MoneyField(default=0)
    explanation = models.JSONField(default=dict)

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "credit_note", "position"], name="one_note_line_a_position"
            ),
            models.CheckConstraint(condition=Q(amount__gte=0), name="a_note_takes_back"),
        ]
        indexes = [models.Index(fields=["organization", "line"], name="notes_of_line")]

    def __str__(self) -> str:
        return f"{self.name}: {self.amount}"
