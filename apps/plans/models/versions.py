"""Features, plans, versions, prices and entitlements."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F, Q

from apps.core.fields import CurrencyField, PublicIdField, QuantityField
from apps.core.models import Row
from apps.plans.models.columns import TOP, AmountField


class Feature(Row):
    """Something a plan can grant. The key and the kind stay; the words may change."""

    class Kind(models.TextChoices):
        SWITCH = "switch", "Switch"
        CONFIG = "config", "Setting"
        LIMIT = "limit", "Limit"
        SEATS = "seats", "Seats"

    key = models.SlugField(unique=True, db_collation="C")
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=10, choices=Kind)
    meter = models.ForeignKey(
        "usage.Meter",
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        help_text="what counts against a limit; stays once it is named",
    )
    meter_id: int | None
    description = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["key"]
        constraints = [
            models.CheckConstraint(
                condition=Q(meter=None) | Q(kind="limit"), name="only_limits_have_a_meter"
            )
        ]

    def __str__(self) -> str:
        return self.name


class Plan(Row):
    """A thing for sale. What it costs and grants is said by its versions."""

    class Kind(models.TextChoices):
        BASE = "base", "Plan"
        ADD_ON = "add_on", "Add-on"

    class Visibility(models.TextChoices):
        PUBLIC = "public", "Public"
        PRIVATE = "private", "Private"

    public_id = PublicIdField("plan")
    code = models.SlugField(unique=True, db_collation="C")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True, default="")
    application = models.ForeignKey(
        "tenants.Application", on_delete=models.PROTECT, related_name="+"
    )
    application_id: int
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.BASE)
    visibility = models.CharField(
        max_length=10,
        choices=Visibility,
        default=Visibility.PUBLIC,
        help_text="private plans are sold by staff and shown to nobody",
    )
    industries = models.JSONField(
        default=list, blank=True, help_text="whom it is for; none means everybody"
    )
    custom = models.BooleanField(default=False, help_text="prices are agreed with each customer")
    position = models.PositiveSmallIntegerField(default=0, help_text="its place in a price list")

    class Meta:
        ordering = ["application_id", "position", "code"]

    def __str__(self) -> str:
        return self.name


class PlanVersion(Row):
    """What a plan costs and grants, fixed for good once published.

    At most one version of a plan is published: new subscriptions get it. A retired one serves those
    who subscribed to it.
    """

    class Status(models.TextChoices):
        DRAFT = "draft", "Draft"
        PUBLISHED = "published", "Published"
        RETIRED = "retired", "Retired"

    class Unit(models.TextChoices):
        DAY = "day", "Day"
        WEEK = "week", "Week"
        MONTH = "month", "Month"
        QUARTER = "quarter", "Quarter"
        YEAR = "year", "Year"

    public_id = PublicIdField("plv")
    plan = models.ForeignKey(
        Plan, on_delete=models.PROTECT, related_name="versions", db_index=False
    )
    plan_id: int
    number = models.PositiveIntegerField(help_text="1, 2, 3 … within the plan")
    status = models.CharField(max_length=10, choices=Status, default=Status.DRAFT)
    interval_unit = models.CharField(max_length=10, choices=Unit)
    interval_count = models.PositiveSmallIntegerField(default=1)
    trial_days = models.PositiveSmallIntegerField(default=0)
    trial_requires_card = models.BooleanField(
        default=False, help_text="a trial starts only with a payment method on file"
    )
    currency = CurrencyField()
    currencies = models.JSONField(
        default=list, blank=True, help_text="codes that it is sold in besides `currency`"
    )
    thresholds: models.JSONField[Any, Any] = models.JSONField(
        default=dict,
        blank=True,
        help_text="what usage is billed at within a period: {code: {amounts: […], step: …}}",
    )
    content_hash = models.CharField(max_length=64, help_text="SHA-256 of all that is fixed")
    published_at = models.DateTimeField(null=True)
    retired_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["plan_id", "number"]
        constraints = [
            models.UniqueConstraint(fields=["plan", "number"], name="one_version_per_number"),
            models.UniqueConstraint(
                fields=["plan"], name="one_published_version", condition=Q(status="published")
            ),
            models.CheckConstraint(
                condition=Q(number__gte=1, interval_count__gte=1), name="version_counts_from_one"
            ),
            models.CheckConstraint(
                condition=Q(status="draft") | Q(published_at__isnull=False),
                name="published_version_says_when",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan} v{self.number}"


class Price(Row):
    """One thing that a version charges for. `terms` are the engine's, in their canonical form."""

    class Type(models.TextChoices):
        FLAT = "flat", "Flat fee"
        LICENSED = "licensed", "Per seat or licence"
        METERED = "metered", "By usage"
        ONE_TIME = "one_time", "Once, at the start"

    class Timing(models.TextChoices):
        ADVANCE = "advance", "In advance"
        ARREARS = "arrears", "In arrears"

    class Proration(models.TextChoices):
        SECOND = "second", "By the second"
        DAY = "day", "By the day, the last one not counted"
        DAY_INCLUSIVE = "day_inclusive", "By the day, both ends counted"
        FIXED_30 = "fixed_30", "By months of 30 days"
        NONE = "none", "Nothing for a part"
        FULL = "full", "The whole for a part"

    class QuantityPolicy(models.TextChoices):
        PURCHASED = "purchased", "What is bought, both ways"
        ASSIGNED = "assigned", "How many people have a seat"
        HIGH_WATER = "high_water", "The most of the period"

    public_id = PublicIdField("price")
    version = models.ForeignKey(
        PlanVersion, on_delete=models.PROTECT, related_name="prices", db_index=False
    )
    version_id: int
    key = models.SlugField(db_collation="C", db_index=False, help_text="the invoice line's key")
    type = models.CharField(max_length=10, choices=Type)
    meter = models.ForeignKey("usage.Meter", on_delete=models.PROTECT, null=True, related_name="+")
    meter_id: int | None
    terms: models.JSONField[Any, Any] = models.JSONField()
    included = QuantityField(default=0, help_text="units that cost nothing")
    minimum_amount = AmountField(null=True, help_text="owed a period at least, major units")
    maximum_amount = AmountField(null=True, help_text="owed a period at most, major units")
    conversion: models.JSONField[Any, Any] = models.JSONField(
        null=True, help_text="from measured to priced units; the engine's canonical form"
    )
    proration = models.CharField(max_length=13, choices=Proration, default=Proration.SECOND)
    quantity_policy = models.CharField(
        max_length=10, choices=QuantityPolicy, default=QuantityPolicy.PURCHASED
    )
    filters: models.JSONField[Any, Any] = models.JSONField(
        default=dict, blank=True, help_text="which usage it prices: {dimension: [values…]}"
    )
    currencies: models.JSONField[Any, Any] = models.JSONField(
        default=dict,
        blank=True,
        help_text="in the version's further currencies: {code: {terms, minimum_amount, …}}",
    )
    timing = models.CharField(max_length=10, choices=Timing)
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True, default="")
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["version_id", "position", "id"]
        constraints = [
            models.UniqueConstraint(fields=["version", "key"], name="one_price_per_key"),
            models.CheckConstraint(
                condition=Q(type="metered", timing="arrears", meter__isnull=False)
                | (~Q(type="metered") & Q(meter=None)),
                name="metered_price_has_its_meter",
            ),
            models.CheckConstraint(
                condition=Q(included__gte=0, included__lt=10**18)
                & (Q(included=0) | ~Q(type__in=["flat", "one_time"])),
                name="included_units_are_sane",
            ),
            models.CheckConstraint(
                condition=(Q(minimum_amount=None) | Q(minimum_amount__gt=0, minimum_amount__lt=TOP))
                & (Q(maximum_amount=None) | Q(maximum_amount__gte=0, maximum_amount__lt=TOP))
                & (
                    Q(minimum_amount=None)
                    | Q(maximum_amount=None)
                    | Q(minimum_amount__lte=F("maximum_amount"))
                ),
                name="price_bounds_are_sane",
            ),
            models.CheckConstraint(
                condition=Q(type="metered") | Q(filters={}, conversion__isnull=True),
                name="only_usage_is_filtered_and_converted",
            ),
            models.CheckConstraint(
                condition=Q(type="licensed") | Q(quantity_policy="purchased"),
                name="only_seats_have_a_policy",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Entitlement(Row):
    """What a version grants of a feature: a boolean, a number (null: unlimited) or a text.

    `reset`, `on_limit` and `prepaid` say how a limit holds that a meter counts against.
    """

    class Reset(models.TextChoices):
        NONE = "none", "Never"
        HOUR = "hour", "Every hour"
        DAY = "day", "Every day"
        WEEK = "week", "Every week"
        MONTH = "month", "Every calendar month"
        YEAR = "year", "Every calendar year"
        PERIOD = "period", "With the billing period"

    class OnLimit(models.TextChoices):
        ALLOW = "allow", "Allow more"
        WARN = "warn", "Allow more, and warn"
        BLOCK = "block", "Allow no more"

    version = models.ForeignKey(
        PlanVersion, on_delete=models.PROTECT, related_name="entitlements", db_index=False
    )
    version_id: int
    feature = models.ForeignKey(Feature, on_delete=models.PROTECT, related_name="+")
    feature_id: int
    value: models.JSONField[Any, Any] = models.JSONField(null=True)
    reset = models.CharField(max_length=6, choices=Reset, default=Reset.PERIOD)
    on_limit = models.CharField(max_length=5, choices=OnLimit, default=OnLimit.BLOCK)
    prepaid = models.BooleanField(
        default=False, help_text="open as far as the organization's credit covers it"
    )

    class Meta:
        ordering = ["version_id", "feature__key"]
        constraints = [
            models.UniqueConstraint(
                fields=["version", "feature"], name="one_entitlement_per_feature"
            )
        ]

    def __str__(self) -> str:
        return f"{self.feature}: {self.value}"
