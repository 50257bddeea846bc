"""Questions about who is who. Answers are typed; rooms above never see these rows' tables."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core import signing
from django.db import connection
from django.db.models import Q

from apps.core import ids, statements
from apps.core.actor import Actor
from apps.core.errors import NotFound
from apps.core.statements import instant
from apps.tenants import places, roles
from apps.tenants.errors import InvitationInvalid, UnknownOrganization
from apps.tenants.models import (
    ApiKey,
    Application,
    BillingEntity,
    ExternalId,
    Invitation,
    Membership,
    Organization,
    TestClock,
    User,
)

INVITATION_SALT = "tenants.invitation"
KEY = re.compile(r"bk_(?:live|test)_([0-9a-z]{38})([0-9a-z]{6})")
ASK_AGAIN_AFTER = timedelta(hours=1)  # a register that did not answer
PAYERS_ABOVE = """
WITH RECURSIVE above(id) AS (
  SELECT %s::bigint
  UNION
  SELECT o.parent_id FROM tenants_organization o JOIN above ON o.id = above.id
  WHERE o.parent_id IS NOT NULL
) SELECT id FROM above
"""


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """An API key that was presented and found: who acts, and the state of the key."""

    key_id: int
    actor: Actor
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def is_good(self, at: datetime) -> bool:
        """Tell whether the key works at this instant."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


@dataclass(frozen=True, slots=True)
class Belonging:
    """An organization that a user belongs to, and the role there."""

    organization_id: int
    public_id: str
    slug: str
    name: str
    role: str


def find_organization(reference: str, *, application: str | None = None) -> Organization | None:
    """Return the organization with this slug, public id or external id (of the application).

    Without `application` an external id counts only when it means one organization.
    """
    found = Organization.objects.filter(
        Q(public_id=reference) if ids.is_public_id(reference, "org") else Q(slug=reference)
    ).first()
    if found is not None and application is None:
        return found
    external = ExternalId.objects.filter(
        kind=ExternalId.Kind.ORGANIZATION, external_id=reference
    ).select_related("organization")
    if application is not None:
        external = external.filter(application__slug=application)
    matches = {row.organization_id: row.organization for row in external[:2]}
    return next(iter(matches.values())) if len(matches) == 1 else found


def get_organization(reference: str) -> Organization:
    """Return the organization with this slug, public id or external id, or raise."""
    found = find_organization(reference)
    if found is None:
        raise UnknownOrganization(
            f"There is no organization '{reference}'; create_organization makes one."
        )
    return found


def organization(organization_id: int) -> Organization:
    """Return the organization with this integer id."""
    return Organization.objects.select_related("billing_entity").get(pk=organization_id)


def organizations(organization_ids: Collection[int]) -> dict[int, Organization]:
    """Return many organizations with their issuers, by integer id, in two statements.

    Organizations of one issuer share its row.
    """
    rows = Organization.objects.filter(pk__among=organization_ids).order_by()
    return {row.pk: row for row in rows.prefetch_related("billing_entity")}


def billing_entity(reference: str) -> BillingEntity | None:
    """Return the issuer with this slug or public id."""
    wanted = Q(public_id=reference) if ids.is_public_id(reference, "be") else Q(slug=reference)
    return BillingEntity.objects.filter(wanted).first()


def payers_above(organization_id: int) -> set[int]:
    """Return the organization's id and those of its payer, that one's payer and so on.

    Needs the ops scope: in its own an organization sees itself only.
    """
    with connection.cursor() as cursor:
        cursor.execute(PAYERS_ABOVE, [organization_id])
        return {found for (found,) in cursor.fetchall()}


def paid_for_by(organization_id: int) -> Sequence[Organization]:
    """Return the organizations whose invoices this one pays, by name; needs the ops scope."""
    return list(Organization.objects.filter(parent_id=organization_id))


def tax_ids_to_verify(at: datetime, *, limit: int) -> Sequence[Organization]:
    """Return organizations in the EU whose tax id is well-formed and that no register has judged,
    longest waiting first; one that did not answer is asked again after an hour. Ops scope.
    """
    status = Organization.TaxIdStatus
    again = Q(tax_id_status=status.UNREACHABLE, tax_id_checked_at__lte=at - ASK_AGAIN_AFTER)
    countries = [
        *places.EU,
        *(alias for alias, area in places.ALIASES.items() if area in places.EU),
    ]
    european = Q(country__in=countries) | Q(country="GB", tax_id__istartswith="XI")
    due = Organization.objects.filter(Q(tax_id_status=status.VALID_FORMAT) | again, european)
    return list(due.order_by("tax_id_checked_at", "id")[:limit])


def find_test_clock(reference: str) -> TestClock | None:
    """Return the test clock with this public id."""
    return TestClock.objects.filter(public_id=reference).first()


def organizations_on_clock(clock_id: int) -> Sequence[Organization]:
    """Return the organizations that live by a test clock (its integer id); needs the ops scope."""
    return list(Organization.objects.filter(test_clock_id=clock_id).order_by("slug"))


def clocked_organizations() -> dict[int, datetime]:
    """Return what time it is for each organization with a test clock; needs the ops scope."""
    attached = Organization.objects.filter(test_clock__isnull=False)
    return dict(attached.values_list("pk", "test_clock__now"))


def now_for(organization_id: int, at: datetime) -> datetime:
    """Return what time it is for the organization: its test clock's, or else `at`."""
    found = TestClock.objects.filter(organizations=organization_id)
    return found.values_list("now", flat=True).first() or at


def timezones(organization_ids: Collection[int] | None = None) -> dict[int, str]:
    """Return the zones of these organizations, or of all that live by real time, by integer id;
    needs the ops scope.
    """
    rows = Organization.objects.filter(test_clock=None)
    if organization_ids is not None:
        rows = Organization.objects.filter(pk__in=organization_ids)
    return dict(rows.order_by("pk").values_list("pk", "timezone"))


def billing_people(organization_id: int) -> Sequence[User]:
    """Return the owners and billing admins of an organization, by address."""
    return [
        row.user
        for row in Membership.objects.filter(
            organization_id=organization_id,
            role__in=[roles.OWNER, roles.BILLING_ADMIN],
            user__is_active=True,
        )
        .select_related("user")
        .order_by("user__email")
    ]


def staff_who_may(capability: str) -> Sequence[User]:
    """Return the staff who have the capability by a group, by address; needs the ops scope."""
    groups = [name for name, held in roles.STAFF_CAPABILITIES.items() if capability in held]
    rows = User.objects.filter(is_staff=True, is_active=True, groups__name__in=groups)
    return list(rows.distinct().order_by("email"))


def find_application(slug: str) -> Application | None:
    """Return the application with this slug."""
    return Application.objects.filter(slug=slug).first()


def belongings(user_id: int) -> list[Belonging]:
    """Return the organizations of a user, by name. Works before any scope is open."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenants_belongings(%s)", [user_id])
        return [Belonging(*row) for row in cursor.fetchall()]


def member_actor(user: User, belonging: Belonging) -> Actor:
    """Return the actor for a member at work in one organization."""
    return Actor(
        "user",
        user.public_id,
        belonging.role,
        belonging.organization_id,
        roles.capabilities_of(belonging.role),
    )


def staff_actor(user: User) -> Actor:
    """Return the actor for a staff user at work on the platform."""
    groups = list(user.groups.values_list("name", flat=True))
    held = frozenset({"*"}) if user.is_superuser else roles.capabilities_of_staff(groups)
    return Actor("staff", user.public_id, "/".join(groups) or "staff", None, held)


def members(organization_id: int) -> Sequence[Membership]:
    """Return the members with their users, owners first."""
    rows = Membership.objects.filter(organization_id=organization_id).select_related("user")
    return sorted(rows, key=lambda row: (roles.ROLES.index(row.role), row.user.email))


def find_member(
    organization_id: int, reference: str, *, application_id: int | None = None
) -> User | None:
    """Return the member with this public id or e-mail, or whom the application calls so."""
    mine = User.objects.filter(memberships__organization_id=organization_id)
    if application_id is not None:
        external = ExternalId.objects.filter(
            organization_id=organization_id,
            application_id=application_id,
            kind=ExternalId.Kind.USER,
            external_id=reference,
        )
        known = mine.filter(pk__in=external.values("user_id")).first()
        if known is not None:
            return known
    if "@" in reference:
        return mine.filter(email__iexact=reference).first()
    return mine.filter(public_id=reference).first()


def membership_of(organization_id: int, user_id: str) -> Membership:
    """Return the membership of a user (a public id); raises NotFound."""
    rows = Membership.objects.filter(organization_id=organization_id, user__public_id=user_id)
    found = rows.first()
    if found is None:
        raise NotFound("There is no such member.")
    return found


def get_member(organization_id: int, email: str) -> Membership:
    """Return the member with this e-mail, with the user; raises NotFound."""
    rows = Membership.objects.filter(organization_id=organization_id).select_related("user")
    found = rows.filter(user__email__iexact=email).first()
    if found is None:
        raise NotFound(f"{email} is no member of this organization.", param="email")
    return found


def open_invitations(organization_id: int, *, at: datetime) -> Sequence[Invitation]:
    """Return the invitations that may still be accepted."""
    return list(
        Invitation.objects.filter(
            organization_id=organization_id, accepted_at=None, revoked_at=None, expires_at__gt=at
        ).order_by("email")
    )


def invitation_token(invitation: Invitation) -> str:
    """Return the signed token that the invitation's link carries."""
    return signing.dumps(invitation.public_id, salt=INVITATION_SALT)


def find_invitation(token: str, *, at: datetime) -> Invitation:
    """Return the open invitation of a signed token; needs the ops scope. Raises when it is not."""
    try:
        public_id = signing.loads(token, salt=INVITATION_SALT)
    except signing.BadSignature:
        raise InvitationInvalid("This invitation link is not valid; ask for a new one.") from None
    found = (
        Invitation.objects.select_related("organization")
        .filter(public_id=public_id, accepted_at=None, revoked_at=None, expires_at__gt=at)
        .first()
    )
    if found is None:
        raise InvitationInvalid("This invitation was used, withdrawn or has expired; ask anew.")
    return found


def invitation_for_mail(invitation_id: str) -> Invitation | None:
    """Return the invitation a mail is about, unless it was taken up or withdrawn meanwhile."""
    return (
        Invitation.objects.select_related("organization")
        .filter(public_id=invitation_id, accepted_at=None, revoked_at=None)
        .first()
    )


def api_keys(organization_id: int | None) -> Sequence[ApiKey]:
    """Return the keys of an organization (None: the platform's), newest first."""
    if organization_id is None:
        return list(ApiKey.objects.filter(organization=None).order_by("-id"))
    return list(ApiKey.objects.filter(organization_id=organization_id).order_by("-id"))


def checksum(body: str) -> str:
    """Return the six characters at the end of a key: a CRC-32 of its random part."""
    check = zlib.crc32(body.encode())
    return "".join(ids.ALPHABET[(check >> shift) & 31] for shift in range(25, -1, -5))


def is_key(text: str) -> bool:
    """Tell whether this is a key by its form and checksum, without asking the database."""
    found = KEY.fullmatch(text)
    return found is not None and checksum(found[1]) == found[2]


def key_holder(key: str) -> KeyHolder | None:
    """Return who holds this API key; None when there is no such key. Works without a scope."""
    key_id, public_id, owner, name, scopes, expires_at, revoked_at, used_at = statements.one_row(
        "SELECT * FROM tenants_key_holder($1::text)", [hash_key(key)]
    )
    if key_id is None:
        return None
    organization_id = None if owner is None else int(owner)
    held = roles.capabilities_of_scopes(json.loads(str(scopes)), platform=organization_id is None)
    actor = Actor("api_key", str(public_id), str(name), organization_id, held)
    return KeyHolder(int(key_id), actor, instant(expires_at), instant(revoked_at), instant(used_at))


def hash_key(key: str) -> str:
    """Return the SHA-256 under which a key is stored: the key has 190 bits, no salt is needed."""
    return hashlib.sha256(key.encode()).hexdigest()
