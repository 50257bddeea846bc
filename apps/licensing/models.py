"""Keys that sign, licences, the instances they are for, and how long licences last for whom."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import models
from django.db.models import F, Q

from apps.core.fields import PublicIdField, TenantForeignKey
from apps.core.models import Row, TenantRow

LONGEST_LIFETIME = 366  # days: one year, leap or not
LONGEST_GRACE = 90
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class SigningKey(Row):
    """A key pair. One signs; the next is published ahead of its turn, the last until nothing that
    it signed is good any more. The private part is sealed (`core.crypto`).
    """

    class Status(models.TextChoices):
        NEXT = "next", "Published, signs next"
        SIGNING = "signing", "Signs"
        RETIRED = "retired", "Signs no more"
        WITHDRAWN = "withdrawn", "Not to be trusted"

    class Algorithm(models.TextChoices):
        RS256 = "RS256", "RS256 (RSA)"
        EDDSA = "EdDSA", "EdDSA (Ed25519)"

    kid = models.CharField(
        max_length=64, unique=True, db_collation="C", help_text="RFC 7638 thumbprint"
    )
    algorithm = models.CharField(max_length=5, choices=Algorithm)
    public_pem = models.TextField()
    sealed_private_pem = models.TextField()
    status = models.CharField(max_length=9, choices=Status)
    made_at = models.DateTimeField()
    signs_from = models.DateTimeField(null=True)
    retired_at = models.DateTimeField(null=True)
    published_until = models.DateTimeField(null=True, help_text="when all it signed has ended")

    class Meta:
        db_table = "licensing_signing_key"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["status"], name="one_key_signs", condition=Q(status="signing")
            ),
            models.UniqueConstraint(
                fields=["status"], name="one_key_is_next", condition=Q(status="next")
            ),
        ]

    def __str__(self) -> str:
        return self.kid

    def is_published(self, at: datetime) -> bool:
        """Whether what it signed may be trusted."""
        if self.status == self.Status.WITHDRAWN:
            return False
        return self.published_until is None or at < self.published_until


class LicenseTerms(TenantRow):
    """How an organization's licences are, where it was agreed: how long, and bound to instances."""

    public_id = PublicIdField("lt")
    lifetime_days = models.PositiveSmallIntegerField()
    grace_days = models.PositiveSmallIntegerField()
    bound = models.BooleanField(default=False, help_text="each is for one instance")
    set_at = models.DateTimeField()
    set_by = models.CharField(max_length=200)

    class Meta:
        db_table = "licensing_terms"
        verbose_name_plural = "licence terms"
        constraints = [
            models.UniqueConstraint(fields=["organization"], name="one_licence_terms"),
            models.CheckConstraint(
                condition=Q(
                    lifetime_days__range=(1, LONGEST_LIFETIME), grace_days__lte=LONGEST_GRACE
                ),
                name="licence_terms_are_bounded",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.lifetime_days} + {self.grace_days} days"


class Instance(TenantRow):
    """An installation at a customer's site, by the name it gives itself."""

    public_id = PublicIdField("ins")
    name = models.CharField(max_length=96, db_collation="C", help_text="as it names itself")
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField(help_text="when it last asked for a licence, by the hour")
    blocked_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "licensing_instance"
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="one_instance_a_name"),
        ]

    def __str__(self) -> str:
        return self.name


class License(TenantRow):
    """What was signed: its public id is the token's `jti`, its claims never change.

    It ought to be renewed by `expires_at` and is good until `ends_at`, the grace included.
    """

    public_id = PublicIdField("lic")
    subscription = TenantForeignKey("subscriptions.Subscription")
    subscription_id: int
    instance = TenantForeignKey(Instance, null=True)
    instance_id: int | None
    key = models.ForeignKey(
        SigningKey, on_delete=models.PROTECT, to_field="kid", related_name="+", db_column="kid"
    )
    key_id: str
    plan = models.CharField(max_length=64, help_text="its code")
    claims: models.JSONField[Any, Any] = models.JSONField()
    token = models.TextField()
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    superseded_at = models.DateTimeField(null=True, help_text="when another took its place")
    revoked_at = models.DateTimeField(null=True)
    revoked_because = models.CharField(max_length=200, blank=True, default="")
    revoked_by = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        db_table = "licensing_license"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "subscription", "instance"],
                name="one_current_licence",
                condition=Q(superseded_at=None, revoked_at=None),
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                condition=Q(
                    issued_at__gte=EARLIEST,
                    issued_at__lt=F("expires_at"),
                    expires_at__lte=F("ends_at"),
                    ends_at__lt=LATEST,
                ),
                name="licence_times_in_order",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "-id"], name="licences_latest"),
            models.Index(
                fields=["ends_at"], name="licences_revoked", condition=Q(revoked_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return self.public_id
