"""Organizations and the people, programs and issuers around them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models import F, Q

from apps.core.fields import CurrencyField, PublicIdField, TenantForeignKey
from apps.core.models import Row, TenantRow
from apps.engine.money import Money
from apps.tenants import roles


class TestClock(Row):
    """A sandbox's own time for the organizations attached to it. It never goes back."""

    __test__ = False  # pytest takes classes named Test… for tests

    public_id = PublicIdField("clk")
    name = models.CharField(max_length=100)
    now = models.DateTimeField(help_text="what time it is for its organizations")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name


class BillingEntity(Row):
    """The issuer of invoices: a legal person with numbers of its own, and how it bills."""

    class TaxRounding(models.TextChoices):
        PER_LINE = "per_line", "Per line and rate"
        PER_RATE = "per_rate", "Per rate"
        ONCE = "once", "Once per invoice"

    class InclusiveRounding(models.TextChoices):
        NET_FIRST = "net_first", "Net first, tax is the rest"
        TAX_FIRST = "tax_first", "Tax first, net is the rest"

    class LateUsage(models.TextChoices):
        CORRECT = "correct", "Correct it on the next invoice"
        CREDIT_NOTE = "credit_note", "Correct it with a credit note"
        REJECT = "reject", "Leave the issued invoice as it is"

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
    city = models.CharField(max_length=100, blank=True, default="")
    postcode = models.CharField(max_length=20, blank=True, default="")
    region = models.CharField(max_length=60, blank=True, default="")
    credit_note_prefix = models.CharField(
        max_length=16, unique=True, db_collation="C", help_text="starts every credit note's number"
    )
    grace_days = models.PositiveSmallIntegerField(
        default=0, help_text="days that a draft waits for late usage before it is issued"
    )
    tax_rounding = models.CharField(
        max_length=10, choices=TaxRounding, default=TaxRounding.PER_LINE
    )
    inclusive_rounding = models.CharField(
        max_length=10, choices=InclusiveRounding, default=InclusiveRounding.NET_FIRST
    )
    tax_registrations = models.JSONField(
        default=dict,
        blank=True,
        help_text="{place: tax id}; a place is a country, country-region, or EU (One-Stop Shop)",
    )
    late_usage = models.CharField(max_length=12, choices=LateUsage, default=LateUsage.CORRECT)
    correction_limits = models.JSONField(
        default=dict,
        blank=True,
        help_text="{currency: minor units} up to which corrections need no review",
    )
    hold_factor = models.DecimalField(
        max_digits=8,
        decimal_places=2,
        null=True,
        blank=True,
        default=Decimal(10),
        help_text="holds a draft above so many times the customer's usual amount; empty: never",
    )
    max_items_per_day = models.PositiveIntegerField(
        default=100, help_text="one-off items that an organization may be billed in a day"
    )
    max_months_ahead = models.PositiveSmallIntegerField(
        default=13, help_text="how far ahead anything may be dated"
    )

    class Meta:
        verbose_name_plural = "billing entities"
        constraints = [
            models.CheckConstraint(condition=Q(grace_days__lte=90), name="grace_is_bounded"),
            models.CheckConstraint(  # NaN is above every bound, so both are needed
                condition=Q(hold_factor=None) | Q(hold_factor__gte=1, hold_factor__lt=10**6),
                name="hold_factor_is_a_factor",
            ),
            models.CheckConstraint(
                condition=Q(max_items_per_day__gte=1, max_months_ahead__range=(1, 120)),
                name="abuse_limits_are_limits",
            ),
        ]

    def __str__(self) -> str:
        return self.legal_name

    def must_review(self, correction: Money) -> bool:
        """Tell whether a correction (of either sign) is too large to go out unseen.

        A currency without a limit has none: then every correction is automatic.
        """
        limit = self.correction_limits.get(correction.currency)
        return limit is not None and abs(correction.minor) > limit


class Organization(Row):
    """The customer: the tenant whose rows nobody else sees."""

    class TaxExemption(models.TextChoices):
        NONE = "none", "None: derived from who and where"
        EXEMPT = "exempt", "Exempt"
        REVERSE_CHARGE = "reverse_charge", "Reverse charge, always"

    class TaxIdStatus(models.TextChoices):
        UNCHECKED = "unchecked", "Not checked"
        INVALID = "invalid", "Invalid"
        VALID_FORMAT = "valid_format", "Well-formed"
        VERIFIED = "verified", "Verified"
        UNREACHABLE = "unreachable", "Well-formed; the register did not answer"

    class InvoiceGrouping(models.TextChoices):
        PER_APPLICATION = "per_application", "One invoice per application"
        CONSOLIDATED = "consolidated", "One invoice for all applications"

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
    city = models.CharField(max_length=100, blank=True, default="")
    postcode = models.CharField(max_length=20, blank=True, default="")
    region = models.CharField(
        max_length=60, blank=True, default="", help_text="ISO 3166-2 without the country, or a name"
    )
    tax_exemption = models.CharField(max_length=20, choices=TaxExemption, default=TaxExemption.NONE)
    tax_exemption_reason = models.CharField(
        max_length=200, blank=True, default="", help_text="a VATEX code, or words for the invoice"
    )
    tax_id_status = models.CharField(
        max_length=20, choices=TaxIdStatus, default=TaxIdStatus.UNCHECKED
    )
    tax_id_checked_at = models.DateTimeField(null=True, blank=True)
    invoice_grouping = models.CharField(
        max_length=20, choices=InvoiceGrouping, default=InvoiceGrouping.PER_APPLICATION
    )
    parent = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="who pays its invoices; nobody: it does itself",
    )
    parent_id: int | None
    invoice_hold = models.BooleanField(default=False, help_text="every draft waits for a review")
    test_clock = models.ForeignKey(
        TestClock, on_delete=models.PROTECT, null=True, blank=True, related_name="organizations"
    )
    test_clock_id: int | None

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(parent=None) | ~Q(parent=F("id")), name="nobody_is_their_own_payer"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def organization_id(self) -> int:
        """The organization is its own tenant."""
        return self.pk

    def time(self, at: datetime) -> datetime:
        """Return what time it is for it: its test clock's, or else `at`."""
        return at if self.test_clock is None else self.test_clock.now


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
    email_verified_at = models.DateTimeField(
        null=True, help_text="empty: nobody has shown that the address is theirs"
    )
    email_wanted = models.EmailField(
        blank=True, default="", help_text="the next address, once it is shown to be theirs"
    )
    locale = models.CharField(max_length=20, default="en", help_text="of mails to them")

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


class ApiSession(Row):
    """Somebody's sign-in at the API: as long as it is open, its tokens count."""

    public_id = PublicIdField("ses")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="api_sessions")
    user_id: int
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.public_id

    def is_good(self, at: datetime) -> bool:
        """Tell whether its tokens count at this instant."""
        return self.revoked_at is None and at < self.expires_at


class RefreshToken(Row):
    """What keeps a session open, once: stored as SHA-256, used ones to know them again."""

    session = models.ForeignKey(ApiSession, on_delete=models.CASCADE, related_name="tokens")
    session_id: int
    hash = models.CharField(max_length=64, unique=True, db_collation="C")
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.session} ({'used' if self.used_at else 'good'})"


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


class TokenIssuer(Row):
    """Somebody else whose tokens say who calls: Clerk, or any issuer of OpenID Connect."""

    class Kind(models.TextChoices):
        CLERK = "clerk", "Clerk"
        OIDC = "oidc", "OpenID Connect"

    public_id = PublicIdField("tki")
    issuer = models.CharField(max_length=255, unique=True, db_collation="C", help_text="`iss`")
    kind = models.CharField(max_length=10, choices=Kind)
    application = models.ForeignKey(
        Application,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        help_text="whose external ids it names; nobody: any application's",
    )
    application_id: int | None
    audiences = models.JSONField(default=list, help_text="`aud`: one of these")
    authorized_parties = models.JSONField(default=list, help_text="`azp`: one of these")
    jwks_url = models.CharField(max_length=500, blank=True, default="")
    public_key = models.TextField(blank=True, default="", help_text="PEM; needs no network")
    role_map = models.JSONField(default=dict, help_text="{its role: ours}")
    matches_email = models.BooleanField(
        default=False, help_text="an address that it has verified makes somebody ours"
    )
    disabled_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["issuer"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(jwks_url="", public_key=""), name="token_issuer_has_keys"
            )
        ]

    def __str__(self) -> str:
        return self.issuer


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
    rotated_from = TenantForeignKey("self", null=True, help_text="what it replaces")
    rotated_from_id: int | None

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def facts(self) -> dict[str, Any]:
        """Return what the audit records of a key: never the key."""
        return {"name": self.name, "prefix": self.prefix, "scopes": self.scopes}

    def is_good(self, at: datetime) -> bool:
        """Tell whether the key works at this instant."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)
