"""Audit entries: append-only, each holding the hash of the one before it."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from apps.core.fields import PublicIdField
from apps.core.models import Row


class AuditEntry(Row):
    """One act. `seq`, `previous` and `hash` are set by the database's trigger."""

    public_id = PublicIdField("aud")
    organization_id = models.BigIntegerField(null=True, editable=False)
    seq = models.BigIntegerField(default=0, editable=False)
    at = models.DateTimeField()
    actor_kind = models.CharField(max_length=20)
    actor_id = models.CharField(max_length=60)
    actor_label = models.CharField(max_length=200)
    action = models.CharField(max_length=80, help_text="room.verb, such as invoice.finalized")
    target = models.CharField(max_length=60, help_text="public id of what it was done to")
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    request_id = models.CharField(max_length=64, blank=True, default="")
    recorded_at = models.DateTimeField(db_default=Now())
    previous = models.BinaryField(default=b"", editable=False)
    hash = models.BinaryField(default=b"", editable=False)

    class Meta:
        verbose_name_plural = "audit entries"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization_id", "seq"], name="audit_chain", nulls_distinct=False
            )
        ]
        indexes = [models.Index(fields=["organization_id", "target"], name="audit_by_target")]

    def __str__(self) -> str:
        return f"{self.action} {self.target}"


class AuditHead(models.Model):
    """The last entry of each chain (0 is the platform's): a cut tail shows here."""

    chain = models.BigIntegerField(primary_key=True)
    seq = models.BigIntegerField(default=0)
    hash = models.BinaryField(default=b"")

    def __str__(self) -> str:
        return f"chain {self.chain} at {self.seq}"
