"""Tax rates by place and time."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from apps.core.fields import PublicIdField
from apps.core.models import Row
from apps.plans.models.columns import PercentField


class TaxRate(Row):
    """What a place takes from a day on. A new percentage is a new row with the same code."""

    class Kind(models.TextChoices):
        VAT = "vat", "VAT"
        SALES = "sales", "Sales tax"
        GST = "gst", "GST"

    public_id = PublicIdField("tax")
    code = models.SlugField(db_collation="C", db_index=False, help_text="the same over time")
    name = models.CharField(max_length=200, help_text="as the invoice says it")
    kind = models.CharField(max_length=10, choices=Kind)
    percent = PercentField()
    inclusive = models.BooleanField(default=False, help_text="prices contain it already")
    country = models.CharField(max_length=2, help_text="ISO 3166-1, capitals")
    region = models.CharField(
        max_length=10,
        blank=True,
        default="",
        help_text="ISO 3166-2 without the country; empty: all",
    )
    valid_from = models.DateField()
    valid_until = models.DateField(null=True, help_text="the first day without it")
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ["country", "region", "code", "valid_from"]
        constraints = [
            models.UniqueConstraint(fields=["code", "valid_from"], name="one_tax_rate_a_day"),
            models.UniqueConstraint(
                fields=["code"], name="one_tax_rate_without_end", condition=Q(valid_until=None)
            ),
            models.CheckConstraint(
                condition=Q(percent__gte=0, percent__lte=100), name="tax_percent_is_sane"
            ),
            models.CheckConstraint(
                condition=Q(valid_until=None) | Q(valid_until__gt=F("valid_from")),
                name="tax_rate_ends_after_it_begins",
            ),
            models.CheckConstraint(
                condition=Q(country__regex="^[A-Z]{2}$", region__regex="^[A-Z0-9]{0,3}$"),
                name="tax_rate_has_a_place",
            ),
        ]
        indexes = [models.Index(fields=["country", "region"], name="tax_rate_by_place")]

    def __str__(self) -> str:
        return f"{self.name} {self.percent.normalize():f} %"
