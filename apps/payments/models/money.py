"""Money that came in, and money that went back."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from apps.core.fields import CurrencyField, MoneyField, PublicIdField, TenantForeignKey
from apps.core.models import TenantRow


class Payment(TenantRow):
    """An amount received for an invoice, in minor units; several may add up to its total.

    `excess` is the part of it that was more than was due and became the customer's credit. One that
    was recorded by mistake is taken back by a second one that `reverses` it, with its amounts below
    zero.
    """

    class Method(models.TextChoices):
        MANUAL = "manual", "Bank transfer"
        CARD = "card", "Card"
        DIRECT_DEBIT = "direct_debit", "Direct debit"
        OTHER = "other", "Other"

        @classmethod
        def of_kind(cls, kind: str) -> Payment.Method:
            """Return the method by which a payment method of the provider's pays."""
            if kind.endswith(("_debit", "_bank_account")):
                return cls.DIRECT_DEBIT
            return cls.CARD if kind == "card" else cls.OTHER

    public_id = PublicIdField("pay")
    invoice = TenantForeignKey("invoicing.Invoice", related_name="+")
    invoice_id: int
    amount = MoneyField()
    excess = MoneyField(default=0, help_text="kept as the customer's credit")
    currency = CurrencyField()
    method = models.CharField(max_length=20, choices=Method, default=Method.MANUAL)
    reference = models.CharField(max_length=100, help_text="unique per invoice")
    received_at = models.DateTimeField()
    recorded_by = models.CharField(max_length=60, help_text="id of who recorded it")
    reverses = TenantForeignKey("self", null=True, related_name="reversals")
    reverses_id: int | None
    reason = models.CharField(max_length=200, blank=True, default="", help_text="why it reverses")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "invoice", "reference"], name="one_payment_a_reference"
            ),
            models.UniqueConstraint(
                fields=["organization", "reverses"],
                name="a_payment_is_reversed_once",
                condition=Q(reverses__isnull=False),
            ),
            models.CheckConstraint(
                condition=Q(reverses=None, amount__gt=0, excess__gte=0, excess__lte=F("amount"))
                | Q(reverses__isnull=False, amount__lt=0, excess__lte=0, excess__gte=F("amount")),
                name="a_payment_brings_money",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reference}: {self.amount} {self.currency}"


class Refund(TenantRow):
    """Money that was paid back, as a credit note promised; several may add up to that.

    Amounts in minor units. `payment` names which money went back where that is known. A fact.
    """

    public_id = PublicIdField("re")
    invoice = TenantForeignKey("invoicing.Invoice", related_name="+")
    invoice_id: int
    credit_note = TenantForeignKey("invoicing.CreditNote", related_name="+")
    credit_note_id: int
    payment = TenantForeignKey(Payment, null=True, related_name="refunds")
    payment_id: int | None
    amount = MoneyField()
    currency = CurrencyField()
    method = models.CharField(max_length=20, choices=Payment.Method, default=Payment.Method.MANUAL)
    reference = models.CharField(max_length=100, help_text="unique per credit note")
    refunded_at = models.DateTimeField()
    recorded_by = models.CharField(max_length=60, help_text="id of who recorded it")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "credit_note", "reference"], name="one_refund_a_reference"
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="a_refund_pays_back"),
        ]

    def __str__(self) -> str:
        return f"{self.reference}: {self.amount} {self.currency}"
