"""Organizations and the people, programs and issuers around them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models import Q

from apps.core.fields import CurrencyField, PublicIdField
from apps.core.models import Row, TenantRow
from apps.tenants import roles


class BillingEntity(Row):
    """The issuer of invoices: a legal person with numbers of its own."""

    public_id = PublicIdField("be")
    slug = models.SlugField(unique=True)
    legal_name = models.CharField(max_length=200)
    address = models.TextField(blank=True, default="")
    country = models.CharField(max_length=2, blank=True, default="")
    tax_id = models.CharField(max_length=40, blank=True, default="")
    email = models.EmailField(blank=True, default="")
    invoice_prefix = models.CharField(
        max_length=12, unique=True, db_collation="C", help_text="starts every number it issues"
    )
    payment_terms_days = models.PositiveSmallIntegerField(default=14)
    bank_details = models.TextField(blank=True, default="")

    class Meta:
        verbose_name_plural = "billing entities"

    def __str__(self) -> str:
        return self.legal_name


class Organization(Row):
    """The customer: the tenant whose rows nobody else sees."""

    public_id = PublicIdField("org")
    slug = models.SlugField(max_length=63, unique=True, db_collation="C")
    name = models.CharField(max_length=200)
    legal_name = models.CharField(max_length=200, blank=True, default="")
    email = models.EmailField(blank=True, default="", help_text="where invoices are mailed")
    address = models.TextField(blank=True, default="")
    country = models.CharField(max_length=2, default="US", help_text="ISO 3166-1")
    tax_id = models.CharField(max_length=40, blank=True, default="")
    currency = CurrencyField(default="USD")
    timezone = models.CharField(max_length=64, default="UTC")
    locale = models.CharField(max_length=20, default="en")
    industry = models.CharField(max_length=40, blank=True, default="")
    billing_entity = models.ForeignKey(BillingEntity, on_delete=models.PROTECT, related_name="+")
    metadata = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def organization_id(self) -> int:
        """The organization is its own tenant."""
        return self.pk


if TYPE_CHECKING:
    Users = BaseUserManager["User"]
else:
    Users = BaseUserManager


class UserManager(Users):
    """Finds users by e-mail, whatever its case."""

    def get_by_natural_key(self, username: str | None) -> User:
        """Return the user with this e-mail; Django's login asks by this name."""
        return self.get(email__iexact=username)


class User(AbstractBaseUser, PermissionsMixin, Row):
    """A person who signs in. Staff belong to the groups Admin, Finance and Support."""

    public_id = PublicIdField("usr")
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=200, blank=True, default="")
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)

    objects: ClassVar[UserManager] = UserManager()
    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    def __str__(self) -> str:
        return self.name or self.email

    def get_full_name(self) -> str:
        """Return the name to greet with."""
        return self.name or self.email

    def get_short_name(self) -> str:
        """Return the first word of the name."""
        return self.get_full_name().split(" ")[0]


class Membership(TenantRow):
    """A user's role in an organization."""

    class Role(models.TextChoices):
        OWNER = roles.OWNER, "Owner"
        BILLING_ADMIN = roles.BILLING_ADMIN, "Billing admin"
        ADMIN = roles.ADMIN, "Admin"
        MEMBER = roles.MEMBER, "Member"

    public_id = PublicIdField("mem")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="one_role_per_member")
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"


class Invitation(TenantRow):
    """An offer of a role, taken up through a signed link; nothing secret is stored."""

    public_id = PublicIdField("invt")
    email = models.EmailField()
    role = models.CharField(max_length=20, choices=Membership.Role)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "email"],
                name="one_open_invitation",
                condition=Q(accepted_at=None, revoked_at=None),
            )
        ]

    def __str__(self) -> str:
        return f"{self.email} as {self.role}"


class Application(Row):
    """A product that is sold, and that asks for access."""

    public_id = PublicIdField("app")
    slug = models.SlugField(unique=True, db_collation="C")
    name = models.CharField(max_length=200)
    industry = models.CharField(max_length=40, blank=True, default="")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class ExternalId(TenantRow):
    """What a product application calls an organization or a user of ours."""

    class Kind(models.TextChoices):
        ORGANIZATION = "organization", "Organization"
        USER = "user", "User"

    public_id = PublicIdField("ext")
    application = models.ForeignKey(Application, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=20, choices=Kind)
    external_id = models.CharField(max_length=200, db_collation="C")
    user = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["application", "external_id"],
                name="one_organization_per_external_id",
                condition=Q(kind="organization"),
            ),
            models.UniqueConstraint(
                fields=["organization", "application", "external_id"],
                name="one_user_per_external_id",
                condition=Q(kind="user"),
            ),
            models.CheckConstraint(
                condition=Q(kind="organization", user=None) | Q(kind="user", user__isnull=False),
                name="external_id_has_its_target",
            ),
        ]

    def __str__(self) -> str:
        return self.external_id


class ApiKey(Row):
    """A program's key: shown once, stored as SHA-256. No organization means a platform key."""

    public_id = PublicIdField("key")
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, null=True, related_name="+"
    )
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=20, help_text="the start of the key, to recognise it by")
    hash = models.CharField(max_length=64, unique=True, db_collation="C")
    scopes = models.JSONField(default=list)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def facts(self) -> dict[str, Any]:
        """Return what the audit records of a key: never the key."""
        return {"name": self.name, "prefix": self.prefix, "scopes": self.scopes}

    def is_good(self, at: datetime) -> bool:
        """Tell whether the key works at this instant."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)
