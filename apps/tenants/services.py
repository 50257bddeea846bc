"""Everything that changes who is who."""

from __future__ import annotations

import re
import secrets
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import available_timezones

from babel import Locale
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from apps.audit import services as audit
from apps.core import outbox
from apps.core.actor import Actor, require
from apps.core.errors import Invalid, NotFound
from apps.core.ids import ALPHABET
from apps.engine.money import UnknownCurrency, exponent
from apps.tenants import roles, selectors
from apps.tenants.errors import AlreadyMember, LastOwner, SlugTaken
from apps.tenants.events import MemberInvited
from apps.tenants.models import (
    ApiKey,
    Application,
    BillingEntity,
    ExternalId,
    Invitation,
    Membership,
    Organization,
    User,
)

SLUG = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
INVITATION_LASTS = timedelta(days=7)
LAST_USED_GRAIN = timedelta(minutes=1)
EDITABLE_ISSUER = (
    "legal_name", "address", "country", "tax_id", "email", "invoice_prefix", "payment_terms_days",
    "bank_details",
)  # fmt: skip
PREFIX = re.compile(r"^[A-Z0-9][A-Z0-9-]{0,11}$")
LONGEST_TERMS = 365
NO_COUNTRIES = {"EU", "EZ", "QO", "UN", "XA", "XB", "ZZ"}  # CLDR's groups and test regions
COUNTRIES = frozenset(
    code
    for code in map(str, Locale("en").territories)
    if re.fullmatch("[A-Z]{2}", code) and code not in NO_COUNTRIES
)
EDITABLE = (
    "name", "legal_name", "email", "address", "country", "tax_id", "timezone", "locale",
    "industry", "metadata",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made. `secret` is shown this once and cannot be read again."""

    row: ApiKey
    secret: str


def lock(organization_id: int) -> Organization:
    """Lock the organization's row: first of the locks (organization, subscription, invoice…)."""
    found = Organization.objects.select_for_update().filter(pk=organization_id).first()
    if found is None:
        raise NotFound("There is no such organization.")
    return found


@transaction.atomic
def create_organization(  # noqa: PLR0913 - an organization has this many facts
    slug: str,
    *,
    name: str,
    actor: Actor,
    at: datetime,
    currency: str = "USD",
    timezone: str = "UTC",
    country: str = "US",
    email: str = "",
    industry: str = "",
) -> Organization:
    """Create an organization; needs the ops scope.

    Raises Invalid for a malformed slug, currency, zone or country and SlugTaken. Not idempotent:
    the slug guards against doing it twice.
    """
    require("manage_platform", actor=actor)
    if not SLUG.match(slug):
        raise Invalid(
            f"'{slug}' is no slug: use lower-case letters, digits and inner hyphens, 63 at most.",
            param="slug",
        )
    if Organization.objects.filter(slug=slug).exists():
        raise SlugTaken(f"The slug '{slug}' is taken; choose another.", param="slug")
    row = Organization(
        slug=slug,
        name=name.strip(),
        currency=currency.upper(),
        timezone=timezone,
        country=country.upper(),
        email=email,
        industry=industry,
        billing_entity=BillingEntity.objects.order_by("id").first(),
    )
    _check_organization(row)
    row.save(force_insert=True)
    audit.record(
        action="organization.created",
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.pk,
        after={"slug": slug, "currency": row.currency, "timezone": timezone},
    )
    return row


@transaction.atomic
def update_organization(
    organization_id: int, *, changes: dict[str, Any], actor: Actor, at: datetime
) -> Organization:
    """Change descriptive fields (see EDITABLE). A new zone counts from the next subscription on.

    Safe to repeat: what is so already changes nothing. Raises Invalid.
    """
    require("manage_organization", actor=actor, organization_id=organization_id)
    unknown = sorted(set(changes) - set(EDITABLE))
    if unknown:
        raise Invalid(f"'{unknown[0]}' cannot be changed.", param=unknown[0])
    row = lock(organization_id)
    changed = {key: value for key, value in changes.items() if getattr(row, key) != value}
    if not changed:
        return row
    for key, value in changed.items():
        setattr(row, key, value)
    _check_organization(row)
    row.save(update_fields=[*changed])
    audit.record(
        action="organization.updated",
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.pk,
        after={"fields": sorted(changed)},
    )
    return row


def _check_organization(row: Organization) -> None:
    if not row.name:
        raise Invalid("An organization needs a name.", param="name")
    try:
        exponent(row.currency)
    except UnknownCurrency:
        raise Invalid(f"'{row.currency}' is no ISO 4217 currency.", param="currency") from None
    if row.timezone not in available_timezones():
        raise Invalid(f"'{row.timezone}' is no time zone; see the IANA list.", param="timezone")
    if row.country not in COUNTRIES:
        raise Invalid(f"'{row.country}' is no ISO 3166 country.", param="country")
    _check_metadata(row.metadata)
    if row.email:
        _check_email(row.email)


def _check_metadata(metadata: object) -> None:
    fine = isinstance(metadata, dict) and len(metadata) <= 50
    if not fine or not all(isinstance(value, str) for value in metadata.values()):  # type: ignore[attr-defined]
        raise Invalid("metadata is an object of at most 50 strings.", param="metadata")


def _check_email(email: str) -> None:
    try:
        validate_email(email)
    except ValidationError:
        raise Invalid(f"'{email}' is no e-mail address.", param="email") from None


@transaction.atomic
def update_billing_entity(
    entity_id: str, *, changes: dict[str, Any], actor: Actor, at: datetime
) -> BillingEntity:
    """Change what stands on the issuer's invoices from now on (see EDITABLE_ISSUER); final ones
    keep what they were issued with. Needs the ops scope. Raises Invalid and NotFound.
    """
    require("manage_platform", actor=actor)
    unknown = sorted(set(changes) - set(EDITABLE_ISSUER))
    if unknown:
        raise Invalid(f"'{unknown[0]}' cannot be changed.", param=unknown[0])
    row = BillingEntity.objects.select_for_update().filter(public_id=entity_id).first()
    if row is None:
        raise NotFound("There is no such billing entity.")
    for key, value in changes.items():
        setattr(row, key, value)
    _check_issuer(row)
    row.save(update_fields=[*changes] or None)
    audit.record(
        action="billing_entity.updated",
        target=row.public_id,
        actor=actor,
        at=at,
        after={"fields": sorted(changes)},
    )
    return row


def _check_issuer(row: BillingEntity) -> None:
    if not row.legal_name.strip():
        raise Invalid("An issuer needs a legal name.", param="legal_name")
    if row.country and row.country not in COUNTRIES:
        raise Invalid(f"'{row.country}' is no ISO 3166 country.", param="country")
    if not PREFIX.match(row.invoice_prefix):
        raise Invalid(
            "A prefix is 1 to 12 capital letters, digits and hyphens.", param="invoice_prefix"
        )
    if not 0 <= row.payment_terms_days <= LONGEST_TERMS:
        raise Invalid("Payment terms are 0 to 365 days.", param="payment_terms_days")
    # Two issuers with one prefix would give two invoices one number.
    if BillingEntity.objects.exclude(pk=row.pk).filter(invoice_prefix=row.invoice_prefix).exists():
        raise Invalid("Another issuer has this prefix.", param="invoice_prefix")
    if row.email:
        _check_email(row.email)


@transaction.atomic
def define_application(
    slug: str, *, name: str, actor: Actor, at: datetime, industry: str = ""
) -> Application:
    """Create the application or bring its name up to date; safe to repeat. Needs the ops scope."""
    require("manage_catalog", actor=actor)
    row = Application.objects.filter(slug=slug).first() or Application(slug=slug)
    wanted = {"name": name, "industry": industry}
    if row.pk is not None and all(getattr(row, key) == value for key, value in wanted.items()):
        return row
    action = "application.created" if row.pk is None else "application.updated"
    row.name, row.industry = name, industry
    row.save()
    audit.record(action=action, target=row.public_id, actor=actor, at=at, after=wanted)
    return row


@transaction.atomic
def map_external_id(
    organization_id: int, *, application: str, external_id: str, actor: Actor, at: datetime
) -> ExternalId:
    """Let the application's id stand for the organization; safe to repeat."""
    require("manage_organization", actor=actor, organization_id=organization_id)
    app = selectors.find_application(application)
    if app is None:
        raise NotFound(f"There is no application '{application}'.", param="application")
    row, created = ExternalId.objects.get_or_create(
        organization_id=organization_id,
        application=app,
        kind=ExternalId.Kind.ORGANIZATION,
        external_id=external_id,
    )
    if created:
        audit.record(
            action="external_id.mapped",
            target=row.public_id,
            actor=actor,
            at=at,
            organization_id=organization_id,
            after={"application": application, "external_id": external_id},
        )
    return row


@transaction.atomic
def create_user(
    email: str,
    *,
    password: str,
    actor: Actor,
    at: datetime,
    name: str = "",
    groups: list[str] | None = None,
) -> User:
    """Create a user who can sign in; `groups` (Admin, Finance, Support) make them staff.

    Needs the ops scope. Raises Invalid for a weak password and AlreadyMember for a known e-mail.
    """
    require("manage_platform", actor=actor)
    row = _new_user(email, password=password, name=name)
    row.is_staff = bool(groups)
    row.save(update_fields=["is_staff"])
    for group in groups or []:
        row.groups.add(_group(group))
    audit.record(
        action="user.created",
        target=row.public_id,
        actor=actor,
        at=at,
        after={"groups": groups or []},
    )
    return row


@transaction.atomic
def change_password(user_id: str, *, password: str, actor: Actor, at: datetime) -> None:
    """Give a user another password: their own, or with manage_platform anybody's.

    Raises Invalid for a weak one. Doors check the old password first.
    """
    if actor.id != user_id:
        require("manage_platform", actor=actor)
    row = User.objects.filter(public_id=user_id).first()
    if row is None:
        raise NotFound("There is no such user.")
    try:
        validate_password(password, row)
    except ValidationError as error:
        raise Invalid(" ".join(error.messages), param="password") from None
    row.set_password(password)
    row.save(update_fields=["password"])
    audit.record(action="user.password_changed", target=user_id, actor=actor, at=at)


def _group(name: str) -> int:
    found = User.groups.field.related_model.objects.filter(name=name).first()  # type: ignore[attr-defined]
    if found is None:
        raise Invalid(f"There is no staff group '{name}'.", param="groups")
    return int(found.pk)


def _new_user(email: str, *, password: str, name: str) -> User:
    _check_email(email)
    row = User(email=email.lower(), name=name)
    try:
        validate_password(password, row)
    except ValidationError as error:
        raise Invalid(" ".join(error.messages), param="password") from None
    if User.objects.filter(email__iexact=email).exists():
        raise AlreadyMember(f"{email} has an account; sign in with it.", param="email")
    row.set_password(password)
    row.save(force_insert=True)
    return row


@transaction.atomic
def add_member(
    organization_id: int, *, user_id: int, role: str, actor: Actor, at: datetime
) -> Membership:
    """Give a user a role in the organization. Raises AlreadyMember."""
    require("manage_platform", actor=actor)
    return _join(organization_id, user_id=user_id, role=role, actor=actor, at=at)


def _join(
    organization_id: int, *, user_id: int, role: str, actor: Actor, at: datetime
) -> Membership:
    if role not in roles.ROLES:
        raise Invalid(f"'{role}' is no role; use one of {', '.join(roles.ROLES)}.", param="role")
    if Membership.objects.filter(organization_id=organization_id, user_id=user_id).exists():
        raise AlreadyMember("This person is a member already.")
    row = Membership.objects.create(organization_id=organization_id, user_id=user_id, role=role)
    audit.record(
        action="member.joined",
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=organization_id,
        after={"role": role},
    )
    return row


@transaction.atomic
def change_role(membership_id: str, *, role: str, actor: Actor, at: datetime) -> Membership:
    """Give a member another role. Raises LastOwner when no owner would be left."""
    row = _lock_member(membership_id, actor=actor)
    if role not in roles.ROLES:
        raise Invalid(f"'{role}' is no role; use one of {', '.join(roles.ROLES)}.", param="role")
    if role != roles.OWNER:
        _keep_an_owner(row)
    before, row.role = row.role, role
    row.save(update_fields=["role"])
    _record_member(
        row, "member.role_changed", actor, at, before={"role": before}, after={"role": role}
    )
    return row


@transaction.atomic
def remove_member(membership_id: str, *, actor: Actor, at: datetime) -> None:
    """Take a member's role away. Raises LastOwner when no owner would be left."""
    row = _lock_member(membership_id, actor=actor)
    _keep_an_owner(row)
    _record_member(row, "member.removed", actor, at, before={"role": row.role})
    row.delete()


def _lock_member(membership_id: str, *, actor: Actor) -> Membership:
    row = Membership.objects.filter(public_id=membership_id).first()
    if row is None:
        raise NotFound("There is no such member.")
    require("manage_roles", actor=actor, organization_id=row.organization_id)
    lock(row.organization_id)  # two owners leaving at once take turns, so the second is refused
    return Membership.objects.get(pk=row.pk)


def _keep_an_owner(row: Membership) -> None:
    if row.role != roles.OWNER:
        return
    owners = Membership.objects.filter(organization_id=row.organization_id, role=roles.OWNER)
    if owners.count() == 1:
        raise LastOwner("An organization keeps at least one owner; make somebody else owner first.")


def _record_member(row: Membership, action: str, actor: Actor, at: datetime, **facts: Any) -> None:
    audit.record(
        action=action,
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        **facts,
    )


@transaction.atomic
def invite_member(
    organization_id: int, *, email: str, role: str, actor: Actor, at: datetime
) -> Invitation:
    """Offer a role by mail; the link lasts 7 days. Emits MemberInvited.

    Nobody offers more than they hold: only owners invite owners and billing admins.
    """
    require("invite_members", actor=actor, organization_id=organization_id)
    if role not in roles.ROLES:
        raise Invalid(f"'{role}' is no role; use one of {', '.join(roles.ROLES)}.", param="role")
    if role in {roles.OWNER, roles.BILLING_ADMIN}:
        require("manage_roles", actor=actor, organization_id=organization_id)
    email = email.strip().lower()
    _check_email(email)
    lock(organization_id)
    _refuse_known(organization_id, email=email, at=at)
    row = Invitation.objects.create(
        organization_id=organization_id, email=email, role=role, expires_at=at + INVITATION_LASTS
    )
    audit.record(
        action="member.invited",
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=organization_id,
        after={"role": role},
    )
    outbox.emit(
        MemberInvited(row.public_id, organization_id), at=at, organization_id=organization_id
    )
    return row


def _refuse_known(organization_id: int, *, email: str, at: datetime) -> None:
    if Membership.objects.filter(organization_id=organization_id, user__email=email).exists():
        raise AlreadyMember(f"{email} is a member already.", param="email")
    waiting = Invitation.objects.filter(
        organization_id=organization_id, email=email, accepted_at=None, revoked_at=None
    )
    if waiting.filter(expires_at__gt=at).exists():
        raise AlreadyMember(
            f"{email} is invited already; revoke that invitation first.", param="email"
        )
    waiting.update(revoked_at=at)


@transaction.atomic
def revoke_invitation(invitation_id: str, *, actor: Actor, at: datetime) -> None:
    """Withdraw an open invitation; its link stops working."""
    row = Invitation.objects.filter(public_id=invitation_id, accepted_at=None).first()
    if row is None:
        raise NotFound("There is no such open invitation.")
    require("invite_members", actor=actor, organization_id=row.organization_id)
    if row.role in {roles.OWNER, roles.BILLING_ADMIN}:  # nobody withdraws what they may not offer
        require("manage_roles", actor=actor, organization_id=row.organization_id)
    row.revoked_at = at
    row.save(update_fields=["revoked_at"])
    audit.record(
        action="member.invitation_revoked",
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
    )


@transaction.atomic
def accept_invitation(
    token: str, *, user: User | None, password: str, name: str, at: datetime
) -> Membership:
    """Take up an invitation: as the signed-in user, or with a new account for the invited e-mail.

    Needs the ops scope. A signed-in user must own the invited address. Raises InvitationInvalid.
    """
    invitation = selectors.find_invitation(token, at=at)
    lock(invitation.organization_id)
    invitation = selectors.find_invitation(token, at=at)
    if user is None:
        user = _new_user(invitation.email, password=password, name=name)
    elif user.email.lower() != invitation.email:
        raise Invalid(f"This invitation is for {invitation.email}; sign in as that user.")
    actor = Actor("user", user.public_id, invitation.role, invitation.organization_id)
    row = _join(
        invitation.organization_id, user_id=user.pk, role=invitation.role, actor=actor, at=at
    )
    invitation.accepted_at = at
    invitation.save(update_fields=["accepted_at"])
    return row


@transaction.atomic
def create_api_key(
    organization_id: int | None,
    *,
    name: str,
    scopes: list[str],
    actor: Actor,
    at: datetime,
    expires_at: datetime | None = None,
) -> NewKey:
    """Make a key for an organization, or (None) for the platform, which needs the ops scope.

    The key is `bk_live_` or, outside production, `bk_test_`, then 38 random characters and a
    checksum of 6, so that a scanner can tell a leaked key from noise.
    """
    capability = "manage_api_keys" if organization_id is not None else "manage_platform"
    require(capability, actor=actor, organization_id=organization_id)
    unknown = sorted(set(scopes) - set(roles.SCOPES))
    if unknown or not scopes:
        raise Invalid(
            f"Scopes are one or more of {', '.join(roles.SCOPES)}"
            + (f"; '{unknown[0]}' is none." if unknown else "."),
            param="scopes",
        )
    if expires_at is not None and expires_at <= at:
        raise Invalid("A key must expire in the future.", param="expires_at")
    secret = _new_secret()
    row = ApiKey.objects.create(
        organization_id=organization_id,
        name=name.strip()[:100] or "API key",
        prefix=secret[:14],
        hash=selectors.hash_key(secret),
        scopes=sorted(set(scopes)),
        expires_at=expires_at,
    )
    audit.record(
        action="api_key.created",
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=organization_id,
        after=row.facts(),
    )
    return NewKey(row, secret)


def _new_secret() -> str:
    mode = "live" if settings.PRODUCTION else "test"
    body = "".join(secrets.choice(ALPHABET) for _ in range(38))
    check = zlib.crc32(body.encode())
    tail = "".join(ALPHABET[(check >> shift) & 31] for shift in range(25, -1, -5))
    return f"bk_{mode}_{body}{tail}"


@transaction.atomic
def revoke_api_key(key_id: str, *, actor: Actor, at: datetime) -> ApiKey:
    """Make a key stop working at once; safe to repeat."""
    row = ApiKey.objects.select_for_update().filter(public_id=key_id).first()
    if row is None:
        raise NotFound("There is no such API key.")
    capability = "manage_api_keys" if row.organization_id is not None else "manage_platform"
    require(capability, actor=actor, organization_id=row.organization_id)
    if row.revoked_at is None:
        row.revoked_at = at
        row.save(update_fields=["revoked_at"])
        audit.record(
            action="api_key.revoked",
            target=row.public_id,
            actor=actor,
            at=at,
            organization_id=row.organization_id,
            before=row.facts(),
        )
    return row


def note_key_use(holder: selectors.KeyHolder, *, at: datetime) -> None:
    """Remember when a key was last used, at most once a minute."""
    if holder.last_used_at is None or at - holder.last_used_at >= LAST_USED_GRAIN:
        ApiKey.objects.filter(pk=holder.key_id).update(last_used_at=at)
