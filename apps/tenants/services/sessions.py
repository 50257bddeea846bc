"""Everything that changes who is signed in at the API: register, sign in, refresh, sign out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import transaction

from apps.audit import services as audit
from apps.core import outbox
from apps.core.actor import Actor, system
from apps.core.errors import Forbidden, NotFound
from apps.core.ids import new_id, random_text
from apps.core.throttle import Limit
from apps.tenants import own_tokens, securing, selectors
from apps.tenants.errors import SecondFactorRequired, SessionOver
from apps.tenants.events import AddressToProve, SignUpRepeated
from apps.tenants.models import ApiSession, RefreshToken, User
from apps.tenants.services.accounts import check_password
from apps.tenants.services.browsers import end_browser, end_browsers
from apps.tenants.services.checks import check_email
from apps.tenants.services.identities import Identity, connect
from apps.tenants.services.organizations import create_organization, free_slug
from apps.tenants.services.people import add_member, check_strength, new_user
from apps.tenants.services.second_factors import use_code
from apps.tenants.services.telling import own, record_change

SESSION_LASTS = timedelta(days=30)
REGISTRATIONS = Limit("register", 20, 3600)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What somebody has who is signed in: tokens, shown this once, and until when they count."""

    user: User
    session: ApiSession
    access: str
    refresh: str
    access_expires_at: datetime


@dataclass(frozen=True, slots=True)
class Customer:
    """The organization that somebody registers; an empty slug is made of the name."""

    name: str
    slug: str = ""
    currency: str = "USD"
    timezone: str = "UTC"
    country: str = "US"
    locale: str = "en"


@transaction.atomic
def register(
    email: str, *, password: str, name: str, customer: Customer, address: str, at: datetime
) -> SignedIn:
    """Create a user and their organization, whose owner they are, and sign them in.

    Needs the ops scope. Raises Forbidden where ENABLE_REGISTRATION is off, TooManyAttempts,
    Invalid for a weak password, AlreadyMember for a known address, and SlugTaken.
    """
    _refuse_where_closed()
    REGISTRATIONS.spend(address, at=at)
    user = new_user(email, password=password, name=name)
    organization = _found(user, customer, at)
    outbox.emit(AddressToProve(user.pk, new_id("mail")), at=at)
    return _begin(user, organization, at)


@transaction.atomic
def sign_up(
    email: str,
    *,
    password: str,
    name: str,
    customer: Customer,
    address: str,
    locale: str,
    at: datetime,
) -> None:
    """Create a user and their organization as `register` does, signed in nowhere yet.

    What comes by mail decides: to somebody new a link that shows that the address is theirs, to
    somebody known that they have an account. Whoever asks is told the same. Needs the ops scope.
    Raises Forbidden, TooManyAttempts, and Invalid for a weak password.
    """
    _refuse_where_closed()
    REGISTRATIONS.spend(address, at=at)
    check_email(email)
    known = User.objects.filter(email__iexact=email.strip()).first()
    if known is not None:
        check_strength(password, User(email=email.lower(), name=name))
        make_password(password)  # as long as a new account takes
        if known.is_active:
            outbox.emit(SignUpRepeated(known.pk, new_id("mail")), at=at)
        return
    user = new_user(email, password=password, name=name, locale=locale)
    _found(user, customer, at)
    outbox.emit(AddressToProve(user.pk, new_id("mail")), at=at)


@transaction.atomic
def sign_up_with(
    identity: Identity, *, name: str, customer: Customer, address: str, locale: str, at: datetime
) -> User:
    """Create a user whom another provider signs in, and their organization; return the user.

    The provider must have verified the address. Needs the ops scope. Raises Forbidden,
    TooManyAttempts, AlreadyMember for a known address, and IdentityUnmatched.
    """
    _refuse_where_closed()
    REGISTRATIONS.spend(address, at=at)
    identity.require_proof()
    user = new_user(identity.email, password=None, name=name, verified_at=at, locale=locale)
    _found(user, customer, at)
    connect(user, identity=identity, at=at)
    return user


def _refuse_where_closed() -> None:
    if not settings.ENABLE_REGISTRATION:
        raise Forbidden("Nobody registers here on their own; ask for an invitation.")


def _found(user: User, customer: Customer, at: datetime) -> str:
    """Create the organization that the user owns; return its public id."""
    actor = system("registration")
    organization = create_organization(
        customer.slug or free_slug(customer.name),
        name=customer.name,
        currency=customer.currency,
        timezone=customer.timezone,
        country=customer.country,
        locale=customer.locale,
        actor=actor,
        at=at,
    )
    add_member(organization.pk, user_id=user.pk, role="OWNER", actor=actor, at=at)
    audit.record(action="user.registered", target=user.public_id, actor=actor, at=at)
    return organization.public_id


def sign_in(
    email: str, *, password: str, address: str, at: datetime, organization: str = "", code: str = ""
) -> SignedIn:
    """Sign somebody in by password; `organization` (id or slug) is put into the access token.

    Where the account has a second factor, `code` is of the authenticator app, or a recovery code.
    Needs the ops scope. Raises TooManyAttempts, and WrongCredentials: the same, and as late, for an
    unknown address, a wrong password and an account that is switched off. Then
    SecondFactorRequired and WrongCode, and NotFound for an organization that the person does not
    belong to.
    """
    user = check_password(email, password=password, address=address, at=at)
    if securing.has_second_factor(user.pk):
        if not code:
            raise SecondFactorRequired("Send the code of the authenticator app too.", param="code")
        use_code(user, code=code, at=at)
    with transaction.atomic():
        found = _begin(user, _belonging(user, organization), at)
        _record(found.session, "user.signed_in", at)
    return found


@transaction.atomic
def refresh(token: str, *, at: datetime, organization: str = "") -> SignedIn | None:
    """Return new tokens for a refresh token, which is thereby used up. Needs the ops scope.

    None for one that was used before: somebody else has it, so the session ends for both. That is
    returned and not raised, because it has to be committed. Raises SessionOver, and NotFound for an
    organization that the person does not belong to.
    """
    row = _lock_token(token)
    session = row.session
    if not session.is_good(at) or not session.user.is_active:
        raise SessionOver("This session is over; sign in again.")
    if row.used_at is not None:
        _end([session], "user.session_stolen", at)
        return None
    row.used_at = at
    row.save(update_fields=["used_at"])
    return _renewed(session, _belonging(session.user, organization), at)


@transaction.atomic
def sign_out(token: str, *, at: datetime) -> None:
    """End the session of a refresh token, used or not; safe to repeat. Needs the ops scope."""
    session = _lock_token(token).session
    if session.revoked_at is None:
        _end([session], "user.signed_out", at)


@transaction.atomic
def sign_out_everywhere(user_id: int, *, at: datetime) -> int:
    """End all of a user's sessions at the API and return how many there were. Ops scope."""
    open_ones = ApiSession.objects.select_for_update().filter(user_id=user_id, revoked_at=None)
    found = list(open_ones.select_related("user").order_by("id"))
    _end(found, "user.signed_out", at)
    return len(found)


@transaction.atomic
def end_session(user_id: str, *, session: str, actor: Actor, at: datetime) -> None:
    """End one session: a browser's (its number) or an API's (its public id). Raises NotFound.

    Needs the ops scope, as all that ends sessions does.
    """
    user = own(user_id, actor=actor)
    if session.isdecimal() and len(session) < 19:
        ended = end_browser(user, number=int(session))
    else:
        rows = ApiSession.objects.filter(user=user, public_id=session, revoked_at=None)
        ended = rows.update(revoked_at=at) == 1
    if not ended:
        raise NotFound("There is no such session.")
    audit.record(action="user.session_ended", target=user_id, actor=actor, at=at)


@transaction.atomic
def end_all_sessions(user_id: str, *, actor: Actor, at: datetime) -> None:
    """Sign somebody out everywhere: in every browser and at the API."""
    user = own(user_id, actor=actor)
    end_browsers(user)
    sign_out_everywhere(user.pk, at=at)
    record_change(user, what="signed_out_everywhere", actor=actor, at=at)


def _begin(user: User, organization: str, at: datetime) -> SignedIn:
    session = ApiSession.objects.create(user=user, expires_at=at + SESSION_LASTS)
    return _renewed(session, organization, at)


def _renewed(session: ApiSession, organization: str, at: datetime) -> SignedIn:
    secret = f"rt_{random_text(48)}"
    RefreshToken.objects.create(session=session, hash=selectors.hash_key(secret))
    session.expires_at, session.last_used_at = at + SESSION_LASTS, at
    session.save(update_fields=["expires_at", "last_used_at"])
    access = own_tokens.issue(
        user=session.user.public_id, session=session.public_id, organization=organization, at=at
    )
    return SignedIn(session.user, session, access, secret, at + own_tokens.LASTS)


def _lock_token(token: str) -> RefreshToken:
    """Lock the session before its token: two who use one token at once take turns."""
    found = RefreshToken.objects.filter(hash=selectors.hash_key(token)).first()
    if found is None:
        raise SessionOver("This refresh token is not known; sign in again.")
    ApiSession.objects.select_for_update().get(pk=found.session_id)
    return RefreshToken.objects.select_related("session__user").get(pk=found.pk)


def _belonging(user: User, reference: str) -> str:
    """Return the public id of an organization that the user belongs to; empty for none."""
    if not reference:
        return ""
    for one in selectors.belongings(user.pk):
        if reference in {one.public_id, one.slug}:
            return one.public_id
    raise NotFound("There is no such organization.", param="organization")


def _end(sessions: list[ApiSession], action: str, at: datetime) -> None:
    for session in sessions:
        session.revoked_at = at
        session.save(update_fields=["revoked_at"])
        _record(session, action, at)


def _record(session: ApiSession, action: str, at: datetime) -> None:
    user = session.user
    audit.record(
        action=action,
        target=session.public_id,
        actor=securing.own_actor(user),
        at=at,
    )
