"""Questions about what protects a person's account. The tables are private: ops scope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session

from apps.core.actor import Actor
from apps.tenants.models import ApiSession, User

Kind = Authenticator.Type


@dataclass(frozen=True, slots=True)
class Passkey:
    """A passkey, by the name its holder gave it."""

    id: int
    name: str
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody is signed in: `id` is the browser session's, or the public id of the API's."""

    id: str
    is_browser: bool
    is_current: bool
    agent: str
    address: str
    began_at: datetime
    last_seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class Connection:
    """Another provider's account that signs in here."""

    id: int
    provider: str
    email: str
    connected_at: datetime


@dataclass(frozen=True, slots=True)
class Security:
    """What protects an account."""

    authenticator_since: datetime | None
    passkeys: Sequence[Passkey]
    recovery_codes_left: int
    connections: Sequence[Connection]

    @property
    def has_second_factor(self) -> bool:
        """Whether signing in takes more than a password."""
        return self.authenticator_since is not None or bool(self.passkeys)


def own_actor(user: User) -> Actor:
    """Return a person acting on their own account, which takes no role anywhere."""
    return Actor("user", user.public_id, "user")


def find_user(reference: str) -> User | None:
    """Return the user with this e-mail or public id."""
    named = {"email__iexact": reference} if "@" in reference else {"public_id": reference}
    return User.objects.filter(**named).first()


def get_user(user_id: int) -> User | None:
    """Return the user with this integer id, unless they are switched off or gone."""
    return User.objects.filter(pk=user_id, is_active=True).first()


def has_second_factor(user_id: int) -> bool:
    """Tell whether signing in as this user (an integer id) takes a second factor."""
    rows = Authenticator.objects.filter(user_id=user_id)
    return bool(rows.exclude(type=Kind.RECOVERY_CODES).exists())


def security(user_id: int) -> Security:
    """Return what protects the account of a user (an integer id)."""
    rows = list(Authenticator.objects.filter(user_id=user_id).order_by("pk"))
    single = {row.type: row for row in rows if row.type != Kind.WEBAUTHN}
    app, codes = single.get(Kind.TOTP), single.get(Kind.RECOVERY_CODES)
    return Security(
        authenticator_since=app.created_at if app else None,
        passkeys=[
            Passkey(row.pk, row.data["name"], row.created_at, row.last_used_at)
            for row in rows
            if row.type == Kind.WEBAUTHN
        ],
        recovery_codes_left=len(codes.wrap().get_unused_codes()) if codes else 0,
        connections=[
            Connection(row.pk, row.provider, row.extra_data.get("email", ""), row.date_joined)
            for row in SocialAccount.objects.filter(user_id=user_id).order_by("pk")
        ],
    )


def places(user_id: int, *, current: str, at: datetime) -> list[Place]:
    """Return where somebody is signed in, this browser first; `current` is its session's key."""
    alive = Session.objects.filter(expire_date__gt=at).values("session_key")
    browsers = [
        Place(
            str(row.pk),
            True,
            row.session_key == current,
            row.user_agent,
            row.ip or "",
            row.created_at,
            row.last_seen_at,
        )
        for row in UserSession.objects.filter(user_id=user_id, session_key__in=alive).order_by(
            "-last_seen_at"
        )
    ]
    open_ones = ApiSession.objects.filter(user_id=user_id, revoked_at=None, expires_at__gt=at)
    programs = [
        Place(row.public_id, False, False, "", "", row.created_at, row.last_used_at)
        for row in open_ones.order_by("-last_used_at")
    ]
    return sorted(browsers, key=lambda one: not one.is_current) + programs
