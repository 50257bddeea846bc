"""Agreements as dated rows: what holds when is a range, never a flag."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import DateTimeRangeField
from django.db import models
from django.db.models import F, Q

from apps.core.fields import (
    CurrencyField,
    PublicIdField,
    QuantityField,
    TenantForeignKey,
)
from apps.core.models import TenantRow
from apps.subscriptions import states


class Proration(models.TextChoices):
    """How a change is charged for the part of a period; empty means as the price says."""

    AS_PRICED = "", "As the price says"
    NONE = "none", "Not at all"
    FULL = "full", "In full"


class Subscription(TenantRow):
    """An organization's agreement for one application, and the cursor of its billing.

    Boundaries come from its phases. `next_boundary` is the k that is billed next, counted over all
    phases, and `next_boundary_at` its instant. `plan_version` and `anchor` are those of the phase
    in force.
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
    pause_at = models.DateTimeField(
        null=True, help_text="billing pauses when the boundary at this instant has been billed"
    )
    follows = TenantForeignKey("self", null=True)
    follows_id: int | None
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


class Phase(TenantRow):
    """A plan version and a cycle, in force during a range of time.

    Boundaries are `anchor` plus k intervals on the wall clock of the subscription's zone. A new
    cycle is a new phase, so the periods that were billed under the old one stay what they were.
    """

    public_id = PublicIdField("ph")
    subscription = TenantForeignKey(Subscription, related_name="phases")
    subscription_id: int
    plan_version = models.ForeignKey(
        "plans.PlanVersion", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    plan_version_id: int
    anchor = models.DateTimeField()
    interval_unit = models.CharField(max_length=10)
    interval_count = models.PositiveSmallIntegerField(default=1)
    during = DateTimeRangeField()

    class Meta:
        ordering = ["subscription_id", "during"]
        indexes = [models.Index(fields=["organization", "subscription"], name="phases_by_owner")]

    def __str__(self) -> str:
        return f"{self.plan_version_id} during {self.during}"


class SubscriptionItem(TenantRow):
    """One price of the agreement, in force during a range of time.

    `terms` and `included` replace the price's own where a price was agreed with this customer.
    `starts` and `ends` say how its first and last part of a period are charged.
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
    starts = models.CharField(max_length=10, choices=Proration, blank=True, default="")
    ends = models.CharField(max_length=10, choices=Proration, blank=True, default="")
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
    proration = models.CharField(max_length=10, choices=Proration, blank=True, default="")
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


class Change(TenantRow):
    """What somebody wanted changed: what, how it is billed, from when, and what was quoted.

    `arguments` are those of the wish named by `action`. A scheduled change is carried out when
    billing reaches `effective_at`; one that is carried out or called off stays as it is.
    """

    class Status(models.TextChoices):
        SCHEDULED = "scheduled", "Scheduled"
        APPLIED = "applied", "Applied"
        CANCELED = "canceled", "Canceled"

    class Behaviour(models.TextChoices):
        NOW = "now", "Now, billed at once"
        NEXT_INVOICE = "next_invoice", "Now, billed with the next invoice"
        NEXT_PERIOD = "next_period", "With the next period"
        NONE = "none", "Now, without proration"
        RESET = "reset", "Now, with a new cycle at full price"

    public_id = PublicIdField("chg")
    subscription = TenantForeignKey(Subscription, related_name="changes")
    subscription_id: int
    action = models.CharField(max_length=20)
    behaviour = models.CharField(max_length=12, choices=Behaviour)
    arguments: models.JSONField[Any, Any] = models.JSONField(default=dict)
    effective_at = models.DateTimeField()
    status = models.CharField(max_length=10, choices=Status)
    reason = models.CharField(max_length=200, blank=True, default="")
    requested_by = models.CharField(max_length=200)
    requested_at = models.DateTimeField()
    quoted_amount = models.BigIntegerField(null=True, help_text="minor units")
    quote_hash = models.CharField(max_length=64, blank=True, default="")
    settled_at = models.DateTimeField(null=True, help_text="when it was carried out or called off")

    class Meta:
        ordering = ["effective_at", "id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status="scheduled", settled_at=None)
                | (~Q(status="scheduled") & Q(settled_at__isnull=False)),
                name="a_settled_change_says_when",
            )
        ]
        indexes = [
            models.Index(fields=["organization", "subscription"], name="changes_by_owner"),
            models.Index(
                fields=["effective_at"], name="changes_due", condition=Q(status="scheduled")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} from {self.effective_at}"


class Discount(TenantRow):
    """A coupon redeemed for one subscription, or for all of the organization's.

    `terms` are the coupon's as they were when it was redeemed. It counts on invoices of boundaries
    inside `during`, until it is spent (one that is taken off once) or removed.
    """

    public_id = PublicIdField("disc")
    subscription = TenantForeignKey(Subscription, null=True, related_name="discounts")
    subscription_id: int | None
    coupon = models.CharField(max_length=100, db_collation="C", help_text="the coupon's code")
    promotion_code = models.CharField(
        max_length=100, blank=True, default="", db_collation="C", help_text="as it was redeemed"
    )
    terms: models.JSONField[Any, Any] = models.JSONField()
    during = DateTimeRangeField()
    position = models.PositiveIntegerField(default=0)
    spent_at = models.DateTimeField(null=True)
    removed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["position", "id"]
        indexes = [models.Index(fields=["organization", "subscription"], name="discounts_by_owner")]

    def __str__(self) -> str:
        return f"{self.coupon} during {self.during}"
