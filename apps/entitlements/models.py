"""What is set aside, what was agreed beside the plan, and how much may be spent."""

from __future__ import annotations

from typing import Any

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
from apps.core.models import TenantRow
from apps.engine.entitlements import Behaviour, Reset

RESETS = [
    (Reset.NONE.value, "Never"),
    (Reset.HOUR.value, "Every hour"),
    (Reset.DAY.value, "Every day"),
    (Reset.WEEK.value, "Every week"),
    (Reset.MONTH.value, "Every calendar month"),
    (Reset.YEAR.value, "Every calendar year"),
    (Reset.PERIOD.value, "With the billing period"),
]
BEHAVIOURS = [
    (Behaviour.ALLOW.value, "Allow more"),
    (Behaviour.WARN.value, "Allow more, and warn"),
    (Behaviour.BLOCK.value, "Allow no more"),
]
HARD_OR_SOFT = BEHAVIOURS[1:]
HIGHEST = 10**18


class Turn(TenantRow):
    """One organization's use of one feature: who reserves, or settles, locks this row first.

    Without a feature it is about the organization's money, and comes before any of the others.
    """

    feature = models.ForeignKey(
        "plans.Feature", on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    feature_id: int | None

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "feature"],
                name="one_turn_a_feature",
                nulls_distinct=False,
            )
        ]

    def __str__(self) -> str:
        return f"{self.organization_id}: {self.feature_id}"


class Reservation(TenantRow):
    """An amount set aside before it is used: committed with what was used, or given free.

    `on_limit` is what the limit did when it was made. Once it is settled it never changes.
    """

    class Status(models.TextChoices):
        OPEN = "open", "Open"
        COMMITTED = "committed", "Committed"
        RELEASED = "released", "Released"
        EXPIRED = "expired", "Expired"

    public_id = PublicIdField("rsv")
    feature = models.ForeignKey(
        "plans.Feature", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    feature_id: int
    subscription = TenantForeignKey("subscriptions.Subscription")
    subscription_id: int
    key = models.CharField(
        max_length=128, blank=True, default="", db_collation="C", help_text="the caller's own id"
    )
    amount = QuantityField()
    on_limit = models.CharField(max_length=5, choices=BEHAVIOURS)
    status = models.CharField(max_length=9, choices=Status, default=Status.OPEN)
    committed = QuantityField(null=True, help_text="what was used")
    reserved_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(amount__gt=0, amount__lt=HIGHEST), name="a_reservation_is_of_something"
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("reserved_at")), name="a_reservation_lasts"
            ),
            models.CheckConstraint(
                condition=Q(status="open", settled_at=None)
                | (~Q(status="open") & Q(settled_at__isnull=False)),
                name="a_settled_reservation_says_when",
            ),
            models.CheckConstraint(
                condition=Q(status="committed", committed__gte=0, committed__lt=HIGHEST)
                | (~Q(status="committed") & Q(committed=None)),
                name="a_committed_reservation_says_how_much",
            ),
            models.CheckConstraint(
                condition=~Q(status="committed", on_limit="block") | Q(committed__lte=F("amount")),
                name="a_hard_limit_commits_what_was_reserved",
            ),
            models.UniqueConstraint(
                fields=["organization", "key"],
                name="one_reservation_a_key",
                condition=~Q(key=""),
            ),
        ]
        indexes = [
            models.Index(
                fields=["organization", "feature"],
                name="reservations_open",
                condition=Q(status="open"),
            ),
            models.Index(
                fields=["expires_at"], name="reservations_to_expire", condition=Q(status="open")
            ),
        ]

    def __str__(self) -> str:
        return self.public_id


class Override(TenantRow):
    """What one subscription is granted of a feature in place of what its plan says, for a time."""

    public_id = PublicIdField("ovr")
    subscription = TenantForeignKey("subscriptions.Subscription")
    subscription_id: int
    feature = models.ForeignKey(
        "plans.Feature", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    feature_id: int
    value: models.JSONField[Any, Any] = models.JSONField(null=True, help_text="null: unlimited")
    reset = models.CharField(max_length=6, choices=RESETS, default=Reset.PERIOD.value)
    on_limit = models.CharField(max_length=5, choices=BEHAVIOURS, default=Behaviour.BLOCK.value)
    prepaid = models.BooleanField(default=False)
    during = DateTimeRangeField()
    reason = models.CharField(max_length=200)
    set_by = models.CharField(max_length=200)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["organization", "subscription"], name="overrides_by_owner")]

    def __str__(self) -> str:
        return self.public_id


class SpendCap(TenantRow):
    """How much usage may cost in a billing period: of one subscription, or of all in a currency."""

    public_id = PublicIdField("cap")
    subscription = TenantForeignKey("subscriptions.Subscription", null=True)
    subscription_id: int | None
    currency = CurrencyField()
    amount = MoneyField(help_text="minor units, before discounts and taxes")
    on_limit = models.CharField(max_length=5, choices=HARD_OR_SOFT)
    set_at = models.DateTimeField()
    set_by = models.CharField(max_length=200)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "subscription", "currency"],
                name="one_spend_cap",
                nulls_distinct=False,
            ),
            models.CheckConstraint(condition=Q(amount__gte=0), name="a_spend_cap_is_an_amount"),
        ]

    def __str__(self) -> str:
        return self.public_id
