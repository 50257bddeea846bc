"""What every row has, and the kernel's own rows: outbox and idempotency keys."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from apps.core.fields import (
    CurrentTransaction,
    PublicIdField,
    TenantForeignKey,
    TransactionIdField,
)


class Row(models.Model):
    """A row with an integer key inside; subclasses add `public_id = PublicIdField("xyz")`."""

    id = models.BigAutoField(primary_key=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        abstract = True


class TenantRow(Row):
    """A row of one organization. Its migration isolates the table with `operations.TenantTable`."""

    organization = models.ForeignKey(
        "tenants.Organization", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    organization_id: int

    class Meta:
        abstract = True


class PartRow(TenantRow):
    """A row that belongs to another one of its organization, and is nothing without it.

    The key to that row names the organization too, and that row has its own key to it: one of each
    part would have every commit look the organization up once more a row.
    """

    organization = models.ForeignKey(
        "tenants.Organization",
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )

    class Meta:
        abstract = True


class OutboxEvent(Row):
    """A fact that a room tells the rooms above it; written with the change that made it true."""

    public_id = PublicIdField("evt")
    organization_id = models.BigIntegerField(null=True, editable=False)
    name = models.CharField(max_length=100, help_text="room.FactName")
    payload = models.JSONField()
    occurred_at = models.DateTimeField()
    xid = TransactionIdField(db_default=CurrentTransaction(), editable=False)

    class Meta:
        indexes = [
            models.Index(fields=["organization_id", "id"], name="outbox_by_organization"),
            models.Index(fields=["organization_id", "xid"], name="outbox_by_transaction"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.public_id}"


class OutboxDelivery(Row):
    """One handler's copy of a fact: delivered on its own, retried, and finally dead-lettered."""

    class Status(models.TextChoices):
        PENDING = "pending", "Pending"
        DELIVERED = "delivered", "Delivered"
        DEAD = "dead", "Dead"

    event = TenantForeignKey(OutboxEvent, related_name="deliveries")
    organization_id = models.BigIntegerField(null=True, editable=False)
    handler = models.CharField(max_length=200)
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    tries = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True, default="")

    class Meta:
        verbose_name_plural = "outbox deliveries"
        constraints = [
            models.UniqueConstraint(fields=["event", "handler"], name="one_delivery_per_handler")
        ]
        indexes = [
            models.Index(fields=["next_try_at"], name="delivery_due", condition=Q(status="pending"))
        ]

    def __str__(self) -> str:
        return f"{self.event} → {self.handler}"


class IdempotencyKey(Row):
    """A request that was answered: the same key and body get the same answer again."""

    organization_id = models.BigIntegerField(null=True, editable=False)
    owner = models.CharField(max_length=60, help_text="the API key or user that sent it")
    key = models.CharField(max_length=255)
    route = models.CharField(max_length=200)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of the request body")
    status = models.PositiveSmallIntegerField()
    body = models.JSONField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization_id", "owner", "route", "key"],
                name="one_answer_per_key",
                nulls_distinct=False,
            )
        ]

    def __str__(self) -> str:
        return self.key
