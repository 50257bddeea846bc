"""What waits to be billed beside the agreement: single charges, and corrections of old lines."""

from __future__ import annotations

from fractions import Fraction

from django.contrib.postgres.fields import DateTimeRangeField
from django.db import models
from django.db.models import Q

from apps.core.fields import CurrencyField, MoneyField, PublicIdField, QuantityField
from apps.core.fields import TenantForeignKey as Key
from apps.core.models import Row, TenantRow
from apps.engine.money import round_half_away


class Charge(TenantRow):
    """A single amount for the next invoice, or for an invoice of its own.

    It is billed once: the invoice line that bears it is unique among standing lines. A negative
    amount is an allowance.
    """

    public_id = PublicIdField("charge")
    subscription = Key("subscriptions.Subscription", null=True)
    subscription_id: int | None
    key = models.CharField(max_length=50, default="charge")
    name = models.CharField(max_length=200)
    currency = CurrencyField()
    quantity = QuantityField(default=1)
    unit_amount = QuantityField(help_text="major units, up to 12 decimal places")
    amount = MoneyField(help_text="quantity × unit amount, rounded once")
    during = DateTimeRangeField()
    source = models.CharField(
        max_length=60, blank=True, default="", help_text="public id of the cause"
    )
    buys = models.JSONField(null=True, help_text="terms of the credit that it buys, if it does")
    recorded_at = models.DateTimeField()
    recorded_by = models.CharField(max_length=60)
    withdrawn_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "source"],
                name="one_charge_a_cause",
                condition=~Q(source=""),
            )
        ]
        indexes = [
            models.Index(fields=["organization", "currency"], name="charges_of_organization")
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.amount} {self.currency}"


class Correction(TenantRow):
    """The difference between what a final line billed and what its facts give now.

    Small ones are billed by themselves, larger ones wait for a decision. `revision` counts the
    corrections of one line; each starts from what the line and its earlier corrections billed.
    """

    class Status(models.TextChoices):
        WAITING = "waiting", "Waits for review"
        APPROVED = "approved", "Goes on the next invoice"
        REJECTED = "rejected", "Not billed"
        BILLED = "billed", "Billed or credited"

    public_id = PublicIdField("cor")
    line = Key("invoicing.InvoiceLine", related_name="corrections")
    line_id: int
    revision = models.PositiveSmallIntegerField()
    status = models.CharField(max_length=10, choices=Status)
    currency = CurrencyField()
    quantity_before = QuantityField()
    quantity = QuantityField()
    amount_before = MoneyField()
    amount = MoneyField()
    explanation = models.JSONField(help_text="the whole line as it would be billed now")
    usage_epoch = models.IntegerField()
    usage_snapshot = models.TextField()
    found_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=60, blank=True, default="")
    reason = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "line", "revision"], name="one_correction_a_revision"
            ),
            models.CheckConstraint(condition=Q(revision__gte=1), name="revisions_count_from_one"),
        ]
        indexes = [models.Index(fields=["organization", "status"], name="corrections_by_status")]

    def __str__(self) -> str:
        return f"{self.line_id} r{self.revision}: {self.difference} {self.currency}"

    @property
    def difference(self) -> int:
        """How much more (or, when negative, less) the line comes to now, before discounts."""
        return self.amount - self.amount_before

    def share_of(self, amount: int) -> Fraction:
        """Return which part of such an amount counts after discounts.

        Less than nothing was billed by progressive invoices, and is given back as they left it.
        """
        before = self.explanation.get("net_of_billed_before")
        return Fraction(before) if amount < 0 and before else self.line.net_share

    def net_of(self, amount: int) -> int:
        """Return what discounts leave of an amount, in minor units."""
        return round_half_away(amount * self.share_of(amount))

    @property
    def net_difference(self) -> int:
        """What is still to be billed (or, when negative, given back), in minor units.

        A difference of two rounded amounts, so that the line and its corrections are what the whole
        comes to now after the discounts that the line had.
        """
        return self.net_of(self.amount) - self.net_of(self.amount_before)


class HealingMark(Row):
    """How far the usage under final lines has been looked at; there is one row.

    Events that `snapshot` of the usage epoch `epoch` could see were compared with the lines up to
    `line`. What came later, and what was billed later, is looked at by the next run.
    """

    place = models.PositiveSmallIntegerField(default=1, unique=True)
    epoch = models.IntegerField()
    snapshot = models.TextField()
    line = models.BigIntegerField(help_text="integer id of the last line")
    looked_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(place=1), name="one_mark_of_healing"),
        ]

    def __str__(self) -> str:
        return f"up to {self.snapshot} of epoch {self.epoch}"
