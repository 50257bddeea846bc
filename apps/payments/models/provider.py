"""What was said to and heard from the payment provider."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.models import Row, TenantRow


class ProviderCustomer(TenantRow):
    """Who an organization is to the provider: one customer each, until the provider deletes it."""

    provider_id = models.CharField(max_length=80, unique=True, db_collation="C")
    livemode = models.BooleanField(help_text="false: money of the provider's test mode")
    gone_at = models.DateTimeField(null=True, help_text="deleted at the provider")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization"],
                name="one_customer_an_organization",
                condition=Q(gone_at=None),
            )
        ]

    def __str__(self) -> str:
        return self.provider_id


class ProviderCall(Row):
    """Something to be done at the provider: written before it is said, so that a crash repeats it.

    `about` names what it is for; with the operation and the generation it makes the idempotency
    key. Calls with the same `lane` are made one after the other. Without an organization it is the
    platform's, such as a price.
    """

    class State(models.TextChoices):
        PENDING = "pending", "To be done"
        DONE = "done", "Done"
        REFUSED = "refused", "Refused"
        STUCK = "stuck", "Stuck"

    organization = models.ForeignKey(
        "tenants.Organization",
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        null=True,
    )
    organization_id: int | None
    operation = models.CharField(max_length=60)
    about = models.CharField(max_length=140, help_text="what it is for, in our ids")
    lane = models.CharField(max_length=80, help_text="calls of one lane keep their order")
    target = models.CharField(max_length=80, blank=True, help_text="the object it acts on")
    params = models.JSONField(default=dict)
    generation = models.PositiveSmallIntegerField(default=1)
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    tries = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, help_text="this generation, for the first time")
    settled_at = models.DateTimeField(null=True)
    provider_id = models.CharField(max_length=80, blank=True, db_collation="C")
    error_class = models.CharField(max_length=10, blank=True)
    error_code = models.CharField(max_length=60, blank=True)
    decline_code = models.CharField(max_length=60, blank=True)
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "operation", "about"],
                name="one_call_a_purpose",
                nulls_distinct=False,
            )
        ]
        indexes = [
            models.Index(fields=["next_try_at"], name="call_due", condition=Q(state="pending")),
            models.Index(fields=["lane", "id"], name="call_lane", condition=Q(state="pending")),
        ]

    def __str__(self) -> str:
        return f"{self.operation} {self.about}"

    @property
    def key(self) -> str:
        """The idempotency key: the same for every repetition of this generation."""
        owner = self.organization_id or "platform"
        return f"{self.operation}:{owner}:{self.about}:{self.generation}"


class ProviderEvent(Row):
    """Something that the provider told, stored as it came; the object is read anew to handle it."""

    class State(models.TextChoices):
        PENDING = "pending", "To be handled"
        DONE = "done", "Handled"
        SKIPPED = "skipped", "Of no interest"
        DEAD = "dead", "Given up"

    class Source(models.TextChoices):
        WEBHOOK = "webhook", "Webhook"
        BACKFILL = "backfill", "List of events"

    event_id = models.CharField(max_length=80, unique=True, db_collation="C")
    type = models.CharField(max_length=80)
    object_type = models.CharField(max_length=60)
    object_id = models.CharField(max_length=80, blank=True, db_collation="C")
    livemode = models.BooleanField()
    api_version = models.CharField(max_length=40, blank=True)
    happened_at = models.DateTimeField(help_text="when the provider says it happened")
    received_at = models.DateTimeField()
    source = models.CharField(max_length=10, choices=Source, default=Source.WEBHOOK)
    payload = models.JSONField()
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    tries = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField()
    handled_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["next_try_at"], name="event_due", condition=Q(state="pending")),
            models.Index(fields=["object_id", "id"], name="event_of_object"),
            models.Index(fields=["received_at"], name="event_received"),
            models.Index(fields=["id"], name="event_dead", condition=Q(state="dead")),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"


class ObjectLease(Row):
    """Who reads and writes an object of the provider's right now.

    It is taken before the object is fetched, and whoever writes what was fetched still has it.
    """

    object_id = models.CharField(max_length=80, unique=True, db_collation="C")
    token = models.UUIDField()
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.object_id


class EventCursor(Row):
    """Up to when the provider's own list of events was read into the inbox; one row."""

    name = models.CharField(max_length=20, unique=True)
    through = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name}: {self.through:%F %T}"
