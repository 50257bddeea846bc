"""Everything that changes who signs in, and as what."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from apps.audit import services as audit
from apps.core import outbox
from apps.core.actor import Actor, require
from apps.core.errors import Conflict, Invalid, NotFound
from apps.tenants import roles, selectors
from apps.tenants.errors import AlreadyMember, LastOwner
from apps.tenants.events import MemberInvited, MemberRemoved
from apps.tenants.models import ApiSession, Invitation, Membership, User
from apps.tenants.services.browsers import end_browsers
from apps.tenants.services.checks import check_email
from apps.tenants.services.organizations import lock
from apps.tenants.services.telling import record_change

INVITATION_LASTS = timedelta(days=7)


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
    row = new_user(email, password=password, name=name, verified_at=at)
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

    Whoever is signed in as them, in the portal or at the API, is no more, and they are told.
    Raises Invalid for a weak one. Doors check the old password first.
    """
    if actor.id != user_id:
        require("manage_platform", actor=actor)
    row = User.objects.filter(public_id=user_id).first()
    if row is None:
        raise NotFound("There is no such user.")
    check_strength(password, row)
    row.set_password(password)
    row.email_wanted = ""  # whoever wanted another address may be whom this locks out
    row.save(update_fields=["password", "email_wanted"])
    ApiSession.objects.filter(user=row, revoked_at=None).update(revoked_at=at)
    end_browsers(row)
    record_change(row, what="password_changed", actor=actor, at=at)


def _group(name: str) -> int:
    found = User.groups.field.related_model.objects.filter(name=name).first()  # type: ignore[attr-defined]
    if found is None:
        raise Invalid(f"There is no staff group '{name}'.", param="groups")
    return int(found.pk)


def new_user(
    email: str,
    *,
    password: str | None,
    name: str,
    verified_at: datetime | None = None,
    locale: str = "en",
) -> User:
    """Create a user; without a password for somebody whom another provider signs in.

    Raises Invalid for a weak password and AlreadyMember for a known e-mail.
    """
    check_email(email)
    row = User(email=email.lower(), name=name, email_verified_at=verified_at, locale=locale)
    if password is not None:
        check_strength(password, row)
    if User.objects.filter(email__iexact=email).exists():
        raise AlreadyMember(f"{email} has an account; sign in with it.", param="email")
    row.set_password(password)
    row.save(force_insert=True)
    return row


def check_strength(password: str, user: User) -> None:
    """Raise Invalid for a password that is too easily guessed, for this user."""
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Invalid(" ".join(error.messages), param="password") from None


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
def admit(
    organization_id: int,
    *,
    email: str,
    user: User | None,
    password: str,
    name: str,
    at: datetime,
) -> User:
    """Let whom an address belongs to in as a member: a known user, or with a new account.

    Rooms above call this for somebody who has proved that the address is theirs. Needs the ops
    scope. Who is a member stays what they are. Raises Invalid and AlreadyMember as signing up does.
    """
    person = user or new_user(email, password=password, name=name, verified_at=at)
    if not Membership.objects.filter(organization_id=organization_id, user=person).exists():
        actor = Actor("user", person.public_id, roles.MEMBER, organization_id)
        _join(organization_id, user_id=person.pk, role=roles.MEMBER, actor=actor, at=at)
    return person


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
    fact = MemberRemoved(row.organization_id, row.user_id)
    outbox.emit(fact, at=at, organization_id=row.organization_id)


@transaction.atomic
def transfer_ownership(
    membership_id: str, *, successor: str, actor: Actor, at: datetime
) -> Membership:
    """Make another member (a membership's public id) owner in place of this one, who becomes
    billing admin. Returns the new owner.

    Raises NotFound, and Conflict for who is no owner or is one already.
    """
    owner = _lock_member(membership_id, actor=actor)
    rows = Membership.objects.filter(organization_id=owner.organization_id)
    heir = rows.filter(public_id=successor).first()
    if heir is None:
        raise NotFound("There is no such member.", param="successor")
    if owner.role != roles.OWNER or heir.role == roles.OWNER:
        raise Conflict("An owner hands over to somebody who is none.")
    for row, role in ((heir, roles.OWNER), (owner, roles.BILLING_ADMIN)):
        before, row.role = row.role, role
        row.save(update_fields=["role"])
        _record_member(
            row, "member.role_changed", actor, at, before={"role": before}, after={"role": role}
        )
    return heir


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
    check_email(email)
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
def resend_invitation(invitation_id: str, *, actor: Actor, at: datetime) -> Invitation:
    """Offer the same again for 7 days, by another mail; the former link stops working.

    Emits MemberInvited. Raises NotFound for one that was taken up or withdrawn.
    """
    row = _open_invitation(invitation_id, actor=actor)
    row.revoked_at = at
    row.save(update_fields=["revoked_at"])
    return invite_member(row.organization_id, email=row.email, role=row.role, actor=actor, at=at)


def _open_invitation(invitation_id: str, *, actor: Actor) -> Invitation:
    rows = Invitation.objects.filter(public_id=invitation_id, accepted_at=None, revoked_at=None)
    found = rows.first()
    if found is not None:
        lock(found.organization_id)  # as whoever invites and whoever accepts
    row = rows.first()
    if row is None:
        raise NotFound("There is no such open invitation.")
    require("invite_members", actor=actor, organization_id=row.organization_id)
    if row.role in {roles.OWNER, roles.BILLING_ADMIN}:  # nobody touches what they may not offer
        require("manage_roles", actor=actor, organization_id=row.organization_id)
    return row


@transaction.atomic
def revoke_invitation(invitation_id: str, *, actor: Actor, at: datetime) -> None:
    """Withdraw an open invitation; its link stops working."""
    row = _open_invitation(invitation_id, actor=actor)
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
    token: str, *, user: User | None, password: str | None, name: str, at: datetime
) -> Membership:
    """Take up an invitation: as the signed-in user, or with a new account for the invited e-mail.

    Needs the ops scope. A signed-in user must own the invited address; without a password another
    provider has signed the new one in by that address. Raises InvitationInvalid.
    """
    invitation = selectors.find_invitation(token, at=at)
    lock(invitation.organization_id)
    invitation = selectors.find_invitation(token, at=at)
    if user is None:
        locale = invitation.organization.locale
        user = new_user(
            invitation.email, password=password, name=name, verified_at=at, locale=locale
        )
    elif user.email.lower() != invitation.email:
        raise Invalid(f"This invitation is for {invitation.email}; sign in as that user.")
    elif user.email_verified_at is None:  # its link came to the address
        user.email_verified_at = at
        user.save(update_fields=["email_verified_at"])
    actor = Actor("user", user.public_id, invitation.role, invitation.organization_id)
    row = _join(
        invitation.organization_id, user_id=user.pk, role=invitation.role, actor=actor, at=at
    )
    invitation.accepted_at = at
    invitation.save(update_fields=["accepted_at"])
    return row
