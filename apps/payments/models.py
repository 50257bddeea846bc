"""Money that came in."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.fields import CurrencyField, MoneyField, PublicIdField, TenantForeignKey
from apps.core.models import TenantRow


class Payment(TenantRow):
    """An amount received for an invoice, in minor units; several may add up to its total."""

    class Method(models.TextChoices):
        MANUAL = "manual", "Bank transfer"

    public_id = PublicIdField("pay")
    invoice = TenantForeignKey("invoicing.Invoice", related_name="+")
    invoice_id: int
    amount = MoneyField()
    currency = CurrencyField()
    method = models.CharField(max_length=20, choices=Method, default=Method.MANUAL)
    reference = models.CharField(max_length=100, help_text="unique per invoice")
    received_at = models.DateTimeField()
    recorded_by = models.CharField(max_length=60, help_text="id of who recorded it")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "invoice", "reference"], name="one_payment_a_reference"
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="a_payment_brings_money"),
        ]

    def __str__(self) -> str:
        return f"{self.reference}: {self.amount} {self.currency}"
