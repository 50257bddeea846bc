"""Agreements as dated rows: what holds when is a range, never a flag."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import DateTimeRangeField
from django.db import models
from django.db.models import F, Q

from apps.core.fields import CurrencyField, PublicIdField, QuantityField, TenantForeignKey
from apps.core.models import TenantRow
from apps.subscriptions import states


class Subscription(TenantRow):
    """An organization's agreement for one application, and the cursor of its billing.

    Boundaries are `anchor` plus k intervals on the wall clock of `timezone`, both as they were when
    the subscription was made. `next_boundary` is the k that is billed next and
    `next_boundary_at` its instant, stored once: a billed period is never computed again.
    """

    class Status(models.TextChoices):
        INCOMPLETE = states.INCOMPLETE, "Incomplete"
        TRIALING = states.TRIALING, "Trialing"
        ACTIVE = states.ACTIVE, "Active"
        PAST_DUE = states.PAST_DUE, "Past due"
        UNPAID = states.UNPAID, "Unpaid"
        PAUSED = states.PAUSED, "Paused"
        CANCELED = states.CANCELED, "Canceled"

    class Collection(models.TextChoices):
        MANUAL = "manual", "Bank transfer, recorded by finance"
        STRIPE_INVOICE = "stripe_invoice", "Card, through Stripe"

    public_id = PublicIdField("sub")
    application = models.ForeignKey(
        "tenants.Application", on_delete=models.PROTECT, related_name="+"
    )
    application_id: int
    plan_version = models.ForeignKey(
        "plans.PlanVersion", on_delete=models.PROTECT, related_name="+"
    )
    plan_version_id: int
    status = models.CharField(max_length=12, choices=Status)
    collection = models.CharField(max_length=16, choices=Collection, default=Collection.MANUAL)
    currency = CurrencyField()
    timezone = models.CharField(max_length=64)
    started_at = models.DateTimeField()
    trial_end = models.DateTimeField(null=True)
    anchor = models.DateTimeField()
    next_boundary = models.PositiveIntegerField(default=0)
    next_boundary_at = models.DateTimeField()
    recorded_at = models.DateTimeField(
        help_text="when it was entered: the scheduler bills no boundary before this"
    )
    cancel_at = models.DateTimeField(null=True)
    cancel_reason = models.CharField(max_length=200, blank=True, default="")
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "application"],
                name="one_live_subscription",
                condition=Q(status__in=states.LIVE),
            ),
            models.CheckConstraint(
                condition=Q(trial_end=None) | Q(trial_end__gt=F("started_at")),
                name="a_trial_ends_after_it_starts",
            ),
            models.CheckConstraint(
                condition=Q(status=states.CANCELED, ended_at__isnull=False)
                | (~Q(status=states.CANCELED) & Q(ended_at=None)),
                name="canceled_says_when",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_boundary_at"],
                name="subscription_due",
                condition=Q(status__in=states.BILLED),
            )
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def is_live(self) -> bool:
        """Whether it still stands."""
        return self.status in states.LIVE


class SubscriptionItem(TenantRow):
    """One price of the agreement, in force during a range of time.

    `terms` and `included` replace the price's own where a price was agreed with this customer.
    """

    public_id = PublicIdField("si")
    subscription = TenantForeignKey(Subscription, related_name="items")
    subscription_id: int
    price = models.ForeignKey(
        "plans.Price", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    price_id: int
    key = models.CharField(max_length=50, db_collation="C")
    terms: models.JSONField[Any, Any] = models.JSONField(null=True)
    included = QuantityField(null=True)
    during = DateTimeRangeField()
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["position", "id"]
        indexes = [models.Index(fields=["organization", "subscription"], name="items_by_owner")]

    def __str__(self) -> str:
        return self.key


class QuantityStep(TenantRow):
    """From `effective_at` on, the item's quantity is this. Steps are facts: only ever added."""

    public_id = PublicIdField("qs")
    item = TenantForeignKey(SubscriptionItem, related_name="steps")
    item_id: int
    effective_at = models.DateTimeField()
    quantity = QuantityField()
    recorded_at = models.DateTimeField()

    class Meta:
        ordering = ["effective_at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "item", "effective_at"], name="one_quantity_at_an_instant"
            ),
            models.CheckConstraint(
                condition=Q(quantity__gte=0, quantity__lt=10**9), name="a_sane_quantity"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity.normalize():f} from {self.effective_at}"
