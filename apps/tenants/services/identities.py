"""Accounts at other providers that sign people in here. Needs the ops scope."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from allauth.socialaccount.models import SocialAccount
from django.db import transaction

from apps.core.actor import Actor
from apps.core.errors import NotFound
from apps.tenants import selectors
from apps.tenants.errors import EmailUnproved, IdentityUnmatched, WrongCredentials
from apps.tenants.models import Membership, User
from apps.tenants.securing import own_actor
from apps.tenants.services.people import accept_invitation
from apps.tenants.services.telling import own, record_change


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a provider says that it has in front of it."""

    provider: str
    uid: str
    email: str
    is_verified: bool
    name: str = ""

    def require_proof(self) -> None:
        """Raise IdentityUnmatched unless the provider has verified the address."""
        if not self.is_verified or not self.email:
            raise IdentityUnmatched(
                "The provider has not verified your e-mail address: confirm it there, or sign in "
                "with your password."
            )


@transaction.atomic
def enter_with(identity: Identity, *, at: datetime) -> User | None:
    """Return who signs in with this account of another provider; None for nobody we know.

    The account was connected; else it is matched by its address, verified there and proved here,
    and connected by that. Staff are never matched: whoever sets addresses at a provider would be
    staff here. Raises IdentityUnmatched, and WrongCredentials for who is switched off.
    """
    user = _connected(identity)
    if user is not None:
        return _refuse_switched_off(user)
    identity.require_proof()
    user = User.objects.filter(email__iexact=identity.email).first()
    if user is None:
        return None
    _refuse_switched_off(user)
    if user.is_staff or user.email_verified_at is None:
        raise IdentityUnmatched(
            "There is an account with this address: sign in with its password, confirm the address "
            "and connect the provider on your security page."
        )
    connect(user, identity=identity, at=at)
    return user


@transaction.atomic
def connect_identity(user_id: str, *, identity: Identity, actor: Actor, at: datetime) -> None:
    """Let another provider's account sign in as this user; safe to repeat.

    Raises EmailUnproved, and IdentityUnmatched for one that signs in as somebody else.
    """
    user = own(user_id, actor=actor)
    if user.email_verified_at is None:
        raise EmailUnproved("Confirm your e-mail address first.")
    connected = _connected(identity)
    if connected is None:
        connect(user, identity=identity, at=at)
    elif connected.pk != user.pk:
        raise IdentityUnmatched("This account is connected to somebody else's here.")


@transaction.atomic
def disconnect_identity(user_id: str, *, connection: int, actor: Actor, at: datetime) -> None:
    """Let another provider's account sign in no more. Raises NotFound.

    Nobody is locked out: a link for a password comes by mail.
    """
    user = own(user_id, actor=actor)
    row = SocialAccount.objects.filter(user_id=user.pk, pk=connection).first()
    if row is None:
        raise NotFound("There is no such connection.")
    after = {"provider": row.provider}
    row.delete()
    record_change(user, what="provider_disconnected", actor=actor, at=at, after=after)


@transaction.atomic
def join_with(token: str, *, identity: Identity, at: datetime) -> Membership:
    """Take up an invitation with a new account that another provider signs in.

    Raises InvitationInvalid, AlreadyMember for a known address, and IdentityUnmatched unless the
    provider has verified the very address that is invited.
    """
    identity.require_proof()
    if selectors.find_invitation(token, at=at).email != identity.email.lower():
        raise IdentityUnmatched("This invitation is for another e-mail address.")
    row = accept_invitation(token, user=None, password=None, name=identity.name, at=at)
    connect(row.user, identity=identity, at=at)
    return row


def connect(user: User, *, identity: Identity, at: datetime) -> None:
    """Connect the account and tell the person. Whoever calls this has made sure it is theirs."""
    SocialAccount.objects.create(
        user_id=user.pk,
        provider=identity.provider,
        uid=identity.uid,
        extra_data={"email": identity.email},
    )
    actor = own_actor(user)
    after = {"provider": identity.provider}
    record_change(user, what="provider_connected", actor=actor, at=at, after=after)


def _connected(identity: Identity) -> User | None:
    rows = SocialAccount.objects.filter(provider=identity.provider, uid=identity.uid)
    found = rows.values_list("user_id", flat=True).first()
    return None if found is None else User.objects.get(pk=found)


def _refuse_switched_off(user: User) -> User:
    if not user.is_active:
        raise WrongCredentials("The e-mail address or the password is wrong.")
    return user
