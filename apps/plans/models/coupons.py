"""Coupons and the codes that customers type for them."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F, Q

from apps.core.fields import PublicIdField
from apps.core.models import Row
from apps.plans.models.columns import PercentField

MOST_MONTHS = 1200


class Coupon(Row):
    """What comes off, of what, for how long. What it takes off never changes; who may still get it
    does: `redeemed` counts its uses and never passes `max_redemptions`.
    """

    class Duration(models.TextChoices):
        ONCE = "once", "Once"
        REPEATING = "repeating", "For some months"
        FOREVER = "forever", "For good"

    public_id = PublicIdField("coupon")
    code = models.SlugField(unique=True, db_collation="C")
    name = models.CharField(max_length=200, help_text="as the invoice says it")
    percent = PercentField(null=True)
    amounts: models.JSONField[Any, Any] = models.JSONField(
        default=dict, blank=True, help_text="instead of a percentage: {code: major units}"
    )
    duration = models.CharField(max_length=10, choices=Duration)
    months = models.PositiveSmallIntegerField(null=True, help_text="how long a repeating one runs")
    plans = models.JSONField(default=list, blank=True, help_text="codes; none: every plan")
    prices = models.JSONField(default=list, blank=True, help_text="keys; none: every price")
    minimum_amounts: models.JSONField[Any, Any] = models.JSONField(
        default=dict, blank=True, help_text="the least to be owed: {code: major units}"
    )
    first_time_only = models.BooleanField(default=False, help_text="for who never paid before")
    max_redemptions = models.PositiveIntegerField(null=True, help_text="by everybody together")
    max_per_organization = models.PositiveIntegerField(null=True)
    redeem_by = models.DateTimeField(null=True, help_text="the first instant too late")
    stackable = models.BooleanField(default=True, help_text="may stand beside other coupons")
    position = models.PositiveSmallIntegerField(default=0, help_text="lower ones come off first")
    active = models.BooleanField(default=True)
    redeemed = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        ordering = ["position", "code"]
        constraints = [
            models.CheckConstraint(
                condition=Q(percent__gt=0, percent__lte=100, amounts={})
                | (Q(percent=None) & ~Q(amounts={})),
                name="coupon_is_percent_or_amounts",
            ),
            models.CheckConstraint(
                condition=Q(duration="repeating", months__gte=1, months__lte=MOST_MONTHS)
                | (~Q(duration="repeating") & Q(months=None)),
                name="repeating_coupon_says_how_long",
            ),
            models.CheckConstraint(
                condition=Q(max_redemptions=None) | Q(redeemed__lte=F("max_redemptions")),
                name="coupon_has_uses_left",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class PromotionCode(Row):
    """A word that customers type for a coupon, with limits of its own besides the coupon's."""

    public_id = PublicIdField("promo")
    code = models.CharField(
        max_length=50, unique=True, db_collation="C", help_text="stored in capitals"
    )
    coupon = models.ForeignKey(Coupon, on_delete=models.PROTECT, related_name="promotion_codes")
    coupon_id: int
    # Not `organization_id`: the row is the platform's, and most of them are everybody's.
    only_organization = models.ForeignKey(
        "tenants.Organization", on_delete=models.PROTECT, null=True, related_name="+"
    )
    only_organization_id: int | None
    minimum_amounts: models.JSONField[Any, Any] = models.JSONField(
        default=dict, blank=True, help_text="the least to be owed: {code: major units}"
    )
    first_time_only = models.BooleanField(default=False, help_text="for who never paid before")
    max_redemptions = models.PositiveIntegerField(null=True, help_text="by everybody together")
    max_per_organization = models.PositiveIntegerField(null=True)
    expires_at = models.DateTimeField(null=True, help_text="the first instant too late")
    active = models.BooleanField(default=True)
    redeemed = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(
                condition=Q(code__regex="^[A-Z0-9][A-Z0-9_-]{0,49}$"),
                name="promotion_code_in_capitals",
            ),
            models.CheckConstraint(
                condition=Q(max_redemptions=None) | Q(redeemed__lte=F("max_redemptions")),
                name="promotion_code_has_uses_left",
            ),
        ]

    def __str__(self) -> str:
        return self.code
