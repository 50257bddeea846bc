"""Rules, the alerts they raised, anomalies, and how far both have been looked for."""

from __future__ import annotations

from decimal import Decimal

from django.db import models
from django.db.models import F, Q

from apps.core.fields import PublicIdField, QuantityField
from apps.core.models import Row, TenantRow
from apps.engine.anomalies import Basis, Direction, Severity

PERCENT_KINDS = ("percent_of_included", "forecast_percent")
MONEY_KINDS = ("amount", "forecast_amount", "credits")


class AlertRule(TenantRow):
    """When to raise an alert. Without an organization it is for all of them, and staff's.

    A percentage is of what a price includes, of the meter or (empty) of any; an amount is in minor
    units of `currency`. What it watches never changes: another limit is another rule.
    """

    class Kind(models.TextChoices):
        PERCENT = "percent_of_included", "Usage, percent of what is included"
        AMOUNT = "amount", "Amount of the period under way"
        CREDITS = "credits", "Credit left"
        FORECAST_PERCENT = "forecast_percent", "Usage at the period's end, percent of included"
        FORECAST_AMOUNT = "forecast_amount", "Amount at the period's end"

    organization = models.ForeignKey(  # type: ignore[assignment]
        "tenants.Organization",
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )
    public_id = PublicIdField("ar")
    kind = models.CharField(max_length=20, choices=Kind)
    meter = models.CharField(max_length=64, blank=True, default="", help_text="key; empty: any")
    percent = models.DecimalField(max_digits=9, decimal_places=2, null=True)
    amount = models.BigIntegerField(null=True, help_text="minor units")
    currency = models.CharField(max_length=3, blank=True, default="")
    active = models.BooleanField(default=True)
    set_at = models.DateTimeField()
    set_by = models.CharField(max_length=60, help_text="id of who set it")
    ended_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "watch_alert_rule"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    kind__in=PERCENT_KINDS,
                    percent__gt=0,
                    amount=None,
                    currency="",
                )
                | Q(kind__in=MONEY_KINDS, percent=None, meter="", amount__gte=0) & ~Q(currency=""),
                name="alert_rule_has_its_limit",
            ),
            models.UniqueConstraint(
                fields=["organization", "kind", "meter", "percent", "amount", "currency"],
                name="alert_rule_once",
                condition=Q(active=True),
                nulls_distinct=False,
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "id"], name="alert_rule_by_owner"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.limit}"

    @property
    def limit(self) -> Decimal:
        """The limit: percent, or minor units."""
        return Decimal(self.amount or 0) if self.percent is None else self.percent


class Alert(TenantRow):
    """A limit that was crossed, once a rule and subject, with the figures that crossed it.

    The subject is what the rule was held against: a price in one billing period, or the credit of a
    currency. A credit's alert ends when more is there again, and then it may be raised anew.
    """

    public_id = PublicIdField("al")
    rule = models.CharField(max_length=40, db_collation="C", help_text="its public id")
    kind = models.CharField(max_length=20, choices=AlertRule.Kind)
    subject = models.CharField(max_length=200, db_collation="C")
    name = models.CharField(max_length=200, blank=True, default="", help_text="what was measured")
    meter = models.CharField(max_length=64, blank=True, default="")
    subscription = models.CharField(max_length=40, blank=True, default="", db_collation="C")
    figure = QuantityField(help_text="percent, or minor units")
    limit = QuantityField(help_text="percent, or minor units")
    currency = models.CharField(max_length=3, blank=True, default="")
    quantity = QuantityField(null=True)
    included = QuantityField(null=True)
    window_start = models.DateTimeField(null=True)
    window_end = models.DateTimeField(null=True)
    raised_at = models.DateTimeField()
    cleared_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "watch_alert"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "rule", "subject"],
                name="alert_once_a_crossing",
                condition=Q(cleared_at=None),
            )
        ]
        indexes = [models.Index(fields=["organization", "-id"], name="alert_latest")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.name or self.subject}"

    @property
    def is_percent(self) -> bool:
        """Whether figure and limit are percentages."""
        return self.kind in PERCENT_KINDS


class Anomaly(TenantRow):
    """Hours in which an organization used a meter far more or less than it usually does.

    One lasts at a time for each direction; it is extended while it lasts and ends after some hours
    of usual usage. `seen`, the band and the score are those of its worst hour. Quantities are those
    of the meter; of a meter that does not add up they are numbers of events.
    """

    class Way(models.TextChoices):
        SPIKE = Direction.SPIKE.value, "Spike"
        DROP = Direction.DROP.value, "Drop"

    class Degree(models.TextChoices):
        WARNING = Severity.WARNING.value, "Warning"
        SERIOUS = Severity.SERIOUS.value, "Serious"
        CRITICAL = Severity.CRITICAL.value, "Critical"

    class Against(models.TextChoices):
        HOUR_OF_WEEK = Basis.HOUR_OF_WEEK.value, "The same hour of earlier weeks"
        HOUR_OF_DAY = Basis.HOUR_OF_DAY.value, "The same hour of earlier days"
        OVERALL = Basis.OVERALL.value, "All hours of the last days"

    class Status(models.TextChoices):
        OPEN = "open", "Open"
        ACKNOWLEDGED = "acknowledged", "Acknowledged"
        IGNORED = "ignored", "Ignored"
        RESOLVED = "resolved", "Resolved"

    public_id = PublicIdField("an")
    meter = models.CharField(max_length=64)
    direction = models.CharField(max_length=10, choices=Way)
    severity = models.CharField(max_length=10, choices=Degree)
    status = models.CharField(max_length=12, choices=Status, default=Status.OPEN)
    basis = models.CharField(max_length=12, choices=Against)
    samples = models.PositiveIntegerField(help_text="hours that the expectation rests on")
    first_hour = models.DateTimeField()
    last_hour = models.DateTimeField(help_text="the last that was off")
    judged_hour = models.DateTimeField(help_text="the last that was looked at")
    worst_hour = models.DateTimeField()
    hours = models.PositiveIntegerField(default=1, help_text="how many were off")
    quiet_hours = models.PositiveIntegerField(default=0, help_text="usual ones since")
    seen = QuantityField()
    expected = QuantityField()
    low = QuantityField()
    high = QuantityField()
    score = models.DecimalField(max_digits=20, decimal_places=1)
    dimension = models.CharField(max_length=200, blank=True, default="")
    dimension_value = models.TextField(blank=True, default="")
    dimension_share = models.DecimalField(max_digits=4, decimal_places=1, null=True)
    found_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=60, blank=True, default="")
    reason = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        db_table = "watch_anomaly"
        verbose_name_plural = "anomalies"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "meter", "direction"],
                name="one_anomaly_lasts",
                condition=Q(ended_at=None),
            ),
            models.CheckConstraint(
                condition=Q(first_hour__lte=F("last_hour"), last_hour__lte=F("judged_hour")),
                name="anomaly_hours_in_order",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "-id"], name="anomaly_latest"),
            models.Index(fields=["id"], name="anomaly_undecided", condition=Q(status="open")),
        ]

    def __str__(self) -> str:
        return f"{self.get_direction_display()} of {self.meter}"

    @property
    def lasts(self) -> bool:
        """Whether it goes on."""
        return self.ended_at is None

    @property
    def is_decided(self) -> bool:
        """Whether nothing is left to be decided."""
        return self.status in {self.Status.IGNORED, self.Status.RESOLVED}


class WatchTerms(TenantRow):
    """How an organization is watched; without one, how all are for which nothing else is said.

    From `hold_from` on an anomaly holds the organization's drafts; empty: never.
    """

    organization = models.ForeignKey(  # type: ignore[assignment]
        "tenants.Organization",
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )
    public_id = PublicIdField("wt")
    watched = models.BooleanField(default=True)
    hold_from = models.CharField(max_length=10, blank=True, default="", choices=Anomaly.Degree)
    least_events = models.PositiveIntegerField(default=20, help_text="an hour, to be judged at all")

    class Meta:
        db_table = "watch_terms"
        verbose_name_plural = "watch terms"
        constraints = [
            models.UniqueConstraint(
                fields=["organization"], name="one_watch_terms", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return f"Hold from {self.hold_from or 'never'}"


class WatchMark(Row):
    """How far alerts and anomalies have been looked for; there is one row.

    Alerts: usage that `snapshot` of the usage epoch `epoch` could see. Anomalies: hours before
    `judged_until`.
    """

    place = models.PositiveSmallIntegerField(default=1, unique=True)
    epoch = models.IntegerField(null=True)
    snapshot = models.TextField(blank=True, default="")
    looked_at = models.DateTimeField(null=True)
    everything_at = models.DateTimeField(null=True, help_text="when all were last looked at")
    judged_until = models.DateTimeField(null=True)

    class Meta:
        db_table = "watch_mark"
        constraints = [models.CheckConstraint(condition=Q(place=1), name="one_mark_of_watching")]

    def __str__(self) -> str:
        return f"up to {self.snapshot} of epoch {self.epoch}"
