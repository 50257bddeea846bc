"""Meters, the events they count, and what is rolled up from them."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from apps.core.fields import PublicIdField, QuantityField, TenantForeignKey
from apps.core.models import Row, TenantRow
from apps.engine.aggregation import Aggregation
from apps.usage.checking import PUBLIC_PREFIX, VOID
from apps.usage.columns import (
    CurrentTransaction,
    DedupeKey,
    LaneField,
    TotalField,
    TransactionIdField,
)

# Both bounds on every time: 'infinity' passes a lower one.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)


class Meter(Row):
    """How events of one type become one quantity. Its meaning never changes."""

    class Kind(models.TextChoices):
        COUNT = Aggregation.COUNT.value, "Number of events"
        SUM = Aggregation.SUM.value, "Sum of the values"
        MAX = Aggregation.MAX.value, "Largest value"
        MIN = Aggregation.MIN.value, "Smallest value"
        AVG = Aggregation.AVG.value, "Mean of the values"
        UNIQUE_COUNT = Aggregation.UNIQUE_COUNT.value, "Number of different values"
        LATEST = Aggregation.LATEST.value, "Last value"
        WEIGHTED_SUM = Aggregation.WEIGHTED_SUM.value, "Mean level over time"

    public_id = PublicIdField("meter")
    key = models.CharField(max_length=64, unique=True, db_collation="C")
    event_type = models.CharField(max_length=200, db_collation="C")
    aggregation = models.CharField(max_length=20, choices=Kind)
    value = models.CharField(
        max_length=200, blank=True, default="", help_text="key of the event's data, dots go deeper"
    )
    unit = models.CharField(max_length=40, blank=True, default="")
    description = models.TextField(blank=True, default="")
    allow_negative = models.BooleanField(default=False)
    dimensions = models.JSONField(
        default=list, blank=True, help_text="keys of the data that buckets are kept by"
    )
    filter = models.JSONField(
        default=dict, blank=True, help_text="which events it counts: include and exclude"
    )

    class Meta:
        ordering = ["key"]
        constraints = [
            models.CheckConstraint(
                condition=Q(aggregation="count", value="") | ~Q(aggregation="count") & ~Q(value=""),
                name="meter_reads_what_it_needs",
            )
        ]
        indexes = [models.Index(fields=["event_type"], name="meter_by_event_type")]

    def __str__(self) -> str:
        return self.key


class Event(TenantRow):
    """One fact of use. Never changes; `digest` and `xid` are set by the statement that stores it.

    What was wrong is taken back by a later event that `voids` it: everything is then measured as if
    the voided one were absent. A correction is a voiding event that counts itself.

    The organization has no database constraint here: it would lock the organization's row once per
    event. Row-level security fixes the column, and an organization is never deleted.
    """

    created_at = None  # type: ignore[assignment]
    organization = models.ForeignKey(
        "tenants.Organization",
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    dedupe_key = models.UUIDField(help_text="made of source and key")
    source = models.TextField()
    key = models.TextField(help_text="the event's id, unique within its source")
    type = models.TextField(db_collation="C")
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField(db_default=Now())
    data = models.JSONField()
    digest = models.BinaryField(help_text="SHA-256 of the content and when it came")
    xid = TransactionIdField(db_default=CurrentTransaction())
    voids = TenantForeignKey("self", null=True, help_text="the event that it takes back")

    class Meta:
        db_table = "usage_event"
        constraints = [
            models.UniqueConstraint(fields=["organization", "dedupe_key"], name="event_once"),
            models.UniqueConstraint(
                fields=["organization", "voids"],
                name="event_voided_once",
                condition=Q(voids__isnull=False),
            ),
            models.CheckConstraint(condition=Q(voids__lt=F("id")), name="event_voids_an_earlier"),
            models.CheckConstraint(
                condition=~Q(type=VOID) | Q(voids__isnull=False), name="event_void_names_another"
            ),
            models.CheckConstraint(
                condition=Q(dedupe_key=DedupeKey("source", "key")),
                name="event_key_is_made_of_source_and_key",
            ),
            models.CheckConstraint(
                condition=Q(occurred_at__gte=EARLIEST, occurred_at__lt=LATEST),
                name="event_occurred_in_bounds",
            ),
            models.CheckConstraint(
                condition=Q(received_at__gte=EARLIEST, received_at__lt=LATEST),
                name="event_received_in_bounds",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "type", "occurred_at"], name="event_by_time"),
            models.Index(fields=["organization", "xid"], name="event_tail"),
            models.Index(fields=["xid"], name="event_to_roll_up"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.key}"

    @property
    def public_id(self) -> str:
        """Its name for the outside world, made of source and key: the same in every copy."""
        return f"{PUBLIC_PREFIX}{self.dedupe_key.hex}"


class RejectedEvent(TenantRow):
    """What came and could not be counted, whole, with the reason; it may be tried again.

    Without an organization the subject was unknown; only staff see such rows.
    """

    organization = models.ForeignKey(  # type: ignore[assignment]
        "tenants.Organization",
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )
    public_id = PublicIdField("rej")
    code = models.CharField(max_length=40)
    detail = models.TextField()
    pointer = models.CharField(max_length=300, blank=True, default="")
    payload = models.TextField(help_text="what came, as it came")
    fingerprint = models.BinaryField(help_text="SHA-256 of the payload")
    origin = models.CharField(max_length=300, blank=True, default="", help_text="file or door")
    line = models.BigIntegerField(null=True, help_text="line or row in the file, from 1")
    application = models.CharField(max_length=50, blank=True, default="")
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    times_seen = models.PositiveIntegerField(default=1)
    replayed_at = models.DateTimeField(null=True)
    event = TenantForeignKey(Event, null=True)

    class Meta:
        db_table = "usage_rejected_event"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "fingerprint"],
                name="rejected_once",
                nulls_distinct=False,
            )
        ]
        indexes = [
            models.Index(fields=["id"], name="rejected_open", condition=Q(replayed_at=None)),
            # The key's check when an event goes.
            models.Index(
                fields=["organization", "event"],
                name="rejected_by_event",
                condition=Q(event__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class UsageBucket(TenantRow):
    """What a meter makes of one organization's rolled-up events of one hour (UTC) and one slice.

    A slice is the events with the same values in all of the meter's dimensions; voided events are
    in none. What only some aggregations read is kept for their meters only.
    """

    created_at = None  # type: ignore[assignment]
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+", db_index=False)
    hour = models.DateTimeField(help_text="its start")
    slice = models.JSONField(default=dict, help_text="the value of each dimension")
    event_count = models.BigIntegerField()
    value_count = models.BigIntegerField()
    total = TotalField()
    maximum = QuantityField(null=True)
    minimum = QuantityField(null=True)
    moment = TotalField(default=0, help_text="sum of value x microseconds since the hour began")
    latest_at = models.DateTimeField(null=True)
    latest_id = models.BigIntegerField(null=True, help_text="the event, which breaks ties")
    latest_value = QuantityField(null=True)
    lane_a = LaneField()
    lane_b = LaneField()

    class Meta:
        db_table = "usage_bucket"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "meter", "hour", "slice"], name="bucket_once"
            ),
            models.CheckConstraint(
                condition=Q(value_count__gte=0, event_count__gte=F("value_count")),
                name="bucket_counts_add_up",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.meter} {self.hour:%Y-%m-%d %H}h"


class UsageDistinct(TenantRow):
    """A value that a unique_count meter saw in one hour, as a hash."""

    created_at = None  # type: ignore[assignment]
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+", db_index=False)
    hour = models.DateTimeField()
    value = models.UUIDField(help_text="the first half of its SHA-256")

    class Meta:
        db_table = "usage_distinct"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "meter", "hour", "value"], name="distinct_once"
            )
        ]

    def __str__(self) -> str:
        return str(self.value)


class DeviceReport(TenantRow):
    """How many devices an instance at a customer's site has and uses, as it said then."""

    public_id = PublicIdField("udr")
    instance = models.CharField(max_length=96, db_collation="C", help_text="as it names itself")
    active_devices = models.PositiveIntegerField(help_text="in use")
    total_devices = models.PositiveIntegerField(help_text="configured")
    reported_at = models.DateTimeField()

    class Meta:
        db_table = "usage_device_report"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "instance", "reported_at"], name="device_report_once"
            ),
            models.CheckConstraint(
                condition=Q(active_devices__lte=F("total_devices")),
                name="device_report_adds_up",
            ),
            models.CheckConstraint(
                condition=Q(reported_at__gte=EARLIEST, reported_at__lt=LATEST),
                name="device_report_in_bounds",
            ),
        ]
        indexes = [models.Index(fields=["reported_at"], name="device_report_by_age")]

    def __str__(self) -> str:
        return f"{self.instance}: {self.active_devices} of {self.total_devices}"


class UsageDoubt(TenantRow):
    """Says that what an organization used of a meter from `since` until `until` may not be so.

    Who bills those hours waits for somebody, until whoever raised it (`source`) settles it.
    """

    public_id = PublicIdField("ud")
    source = models.CharField(max_length=40, db_collation="C", help_text="id of what raised it")
    meter = models.CharField(max_length=64)
    reason = models.CharField(max_length=500)
    since = models.DateTimeField()
    until = models.DateTimeField()
    settled_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "usage_doubt"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "source"], name="usage_doubt_once"),
            models.CheckConstraint(condition=Q(since__lt=F("until")), name="usage_doubt_has_hours"),
        ]
        indexes = [
            models.Index(
                fields=["organization"], name="usage_doubt_standing", condition=Q(settled_at=None)
            )
        ]

    def __str__(self) -> str:
        return self.reason


class UsageSeal(TenantRow):
    """Says that an organization's events before `until` have done their work and may go.

    From then on the buckets of those hours are what is known, and stand as they are. The audit
    entry of the seal holds the same facts.
    """

    public_id = PublicIdField("seal")
    since = models.DateTimeField(help_text="where the seal before it ends")
    until = models.DateTimeField(help_text="the start of an hour: events before it may go")
    closed_until = models.DateTimeField(help_text="nothing of before is taken or voided any more")
    events = models.BigIntegerField(help_text="how many there were from since to until")
    buckets = models.CharField(max_length=64, help_text="SHA-256 over the buckets of its hours")
    proof = models.CharField(max_length=64, help_text="SHA-256 over what was billed of them")
    sealed_at = models.DateTimeField()

    class Meta:
        db_table = "usage_seal"
        constraints = [
            models.UniqueConstraint(fields=["organization", "until"], name="sealed_once"),
            models.CheckConstraint(
                condition=Q(since__lt=F("until"), closed_until__gte=F("until")),
                name="seal_goes_forward",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} until {self.until:%Y-%m-%dT%H:%MZ}"


class PrunedEvent(TenantRow):
    """What is left of an event that went: enough to know it when it comes again.

    It went by retention, or because ClickHouse has it. Its integer id is the event's. `content` is
    64 bits of the SHA-256 over what was sent: it tells a repetition from a conflict, and neither is
    counted.
    """

    created_at = None  # type: ignore[assignment]
    dedupe_key = models.UUIDField()
    content = models.BigIntegerField()

    class Meta:
        db_table = "usage_pruned_event"
        constraints = [
            models.UniqueConstraint(fields=["organization", "dedupe_key"], name="pruned_once")
        ]

    def __str__(self) -> str:
        return f"{PUBLIC_PREFIX}{self.dedupe_key.hex}"


class UsageEpoch(Row):
    """How far events are rolled up, in one database cluster.

    Events up to `base_event_id` are all rolled up, whatever their transaction number: those numbers
    are another cluster's. Later ones are when their transaction is below `watermark`.
    """

    number = models.PositiveIntegerField(unique=True)
    system_identifier = models.BigIntegerField(help_text="the cluster whose numbers count here")
    base_event_id = models.BigIntegerField()
    watermark = TransactionIdField()
    started_at = models.DateTimeField()

    class Meta:
        db_table = "usage_epoch"

    def __str__(self) -> str:
        return f"epoch {self.number}"


class UsageShipment(Row):
    """A block of events that stands in ClickHouse, read back from there and found whole.

    Blocks follow each other in the order of transactions: this one holds the events of its epoch
    from transaction `since` to before `until`. What no row names is not there, whatever
    ClickHouse holds.

    Once PostgreSQL begins to let a block's rows go, ClickHouse alone may have them: then the row
    stays, and says up to where that is so.
    """

    number = models.BigIntegerField(unique=True, help_text="counts from 1, without a gap")
    epoch = models.PositiveIntegerField()
    since = TransactionIdField()
    until = TransactionIdField()
    events = models.BigIntegerField()
    voids = models.BigIntegerField(help_text="how many of them take another one back")
    lane_a = LaneField()
    lane_b = LaneField()
    complete = models.BooleanField(help_text="nothing that was rolled up was left behind it")
    shipped_at = models.DateTimeField()
    thinning_at = models.DateTimeField(null=True, help_text="when its rows began to go from here")
    thinned_at = models.DateTimeField(null=True, help_text="when all had gone that may")
    occurred_until = models.DateTimeField(
        null=True, help_text="no event of this block or one before occurred later"
    )
    last_event_id = models.BigIntegerField(
        null=True, help_text="no event of this block or one before has a larger id"
    )

    class Meta:
        db_table = "usage_shipment"
        constraints = [
            models.CheckConstraint(
                condition=Q(voids__gte=0, events__gte=F("voids")), name="shipment_counts_add_up"
            ),
            models.CheckConstraint(
                condition=Q(
                    thinning_at=None, thinned_at=None, occurred_until=None, last_event_id=None
                )
                | Q(
                    thinning_at__isnull=False,
                    occurred_until__isnull=False,
                    last_event_id__isnull=False,
                ),
                name="shipment_thinning_is_told",
            ),
        ]
        indexes = [
            # The trigger's question when an event goes.
            models.Index(
                fields=["occurred_until"],
                name="shipment_thinned",
                condition=Q(thinning_at__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"block {self.number}"
