"""Everything that changes how an account is reached: its address and its password. Ops scope."""

from __future__ import annotations

from datetime import datetime

from django.contrib.auth import authenticate
from django.db import IntegrityError, transaction

from apps.audit import services as audit
from apps.core import outbox
from apps.core.actor import Actor
from apps.core.errors import Invalid
from apps.core.ids import new_id
from apps.core.throttle import Limit
from apps.tenants import links
from apps.tenants.errors import LinkInvalid, WrongCredentials
from apps.tenants.events import AddressToProve, PasswordForgotten
from apps.tenants.models import User
from apps.tenants.securing import own_actor
from apps.tenants.services.checks import check_email
from apps.tenants.services.people import change_password
from apps.tenants.services.telling import own, record_change

# Of one account from one address, of one account, of one address.
PAIR = Limit("sign-in", 5, 300)
ACCOUNT = Limit("sign-in-account", 50, 3600)
ADDRESS = Limit("sign-in-address", 100, 900)
MAILS = Limit("account-mails", 5, 3600)
ASKING = Limit("account-mails-address", 30, 3600)


def check_password(email: str, *, password: str, address: str, at: datetime) -> User:
    """Return whose e-mail and password these are: the same at every door.

    Raises TooManyAttempts, and WrongCredentials: the same, and as late, for an unknown address, a
    wrong password and an account that is switched off.
    """
    account = email.strip().lower()
    pair = f"{account}\n{address}"
    for limit, who in ((ADDRESS, address), (ACCOUNT, account), (PAIR, pair)):
        limit.spend(who, at=at)
    user = authenticate(username=account, password=password)
    if not isinstance(user, User):
        raise WrongCredentials("The e-mail address or the password is wrong.")
    PAIR.forgive(pair, at=at)
    return user


@transaction.atomic
def ask_to_prove_address(user_id: str, *, actor: Actor, at: datetime) -> None:
    """Send a link that shows that an address is theirs. Emits AddressToProve.

    Nothing is sent where there is nothing to show. Raises TooManyAttempts.
    """
    user = own(user_id, actor=actor)
    if user.email_verified_at is not None and not user.email_wanted:
        return
    MAILS.spend(user_id, at=at)
    outbox.emit(AddressToProve(user.pk, new_id("mail")), at=at)


@transaction.atomic
def want_address(user_id: str, *, email: str, actor: Actor, at: datetime) -> None:
    """Ask for another address; the old one stays until the new one is shown to be theirs.

    Emits AddressToProve and tells the old address. An address that somebody else has looks no
    different here: its owner's link leads nowhere. Raises Invalid, TooManyAttempts.
    """
    user = own(user_id, actor=actor)
    email = email.strip().lower()
    check_email(email)
    if email == user.email:
        raise Invalid("This is your address already.", param="email")
    MAILS.spend(user_id, at=at)
    user.email_wanted = email
    user.save(update_fields=["email_wanted"])
    record_change(user, what="address_wanted", actor=actor, at=at)
    if not User.objects.filter(email__iexact=email).exists():
        outbox.emit(AddressToProve(user.pk, new_id("mail")), at=at)


@transaction.atomic
def prove_address(token: str, *, actor: Actor, at: datetime) -> User:
    """Take it that the address of a link is the person's who is signed in; safe to repeat.

    Only they can: who reads the mail and does not know the password did not make this account.
    Raises LinkInvalid.
    """
    user_id, address = links.read_address(token, at=at)
    if user_id != actor.id:
        raise LinkInvalid(links.OVER)
    user = own(user_id, actor=actor)
    if address not in {user.email, user.email_wanted}:
        raise LinkInvalid(links.OVER)
    if address != user.email:
        _take_address(user, actor, at)
    elif user.email_verified_at is None:
        user.email_verified_at = at
        user.save(update_fields=["email_verified_at"])
        audit.record(action="user.address_proved", target=user_id, actor=actor, at=at)
    return user


def _take_address(user: User, actor: Actor, at: datetime) -> None:
    if User.objects.filter(email__iexact=user.email_wanted).exists():
        raise LinkInvalid(links.OVER)
    user.email, user.email_wanted, user.email_verified_at = user.email_wanted, "", at
    try:
        with transaction.atomic():
            user.save(update_fields=["email", "email_wanted", "email_verified_at"])
    except IntegrityError:  # somebody else was faster, by a moment
        raise LinkInvalid(links.OVER) from None
    record_change(user, what="address_changed", actor=actor, at=at)


@transaction.atomic
def ask_for_password(email: str, *, address: str, at: datetime) -> None:
    """Send a link for another password to whoever has this e-mail. Emits PasswordForgotten.

    Does the same for everybody else, and sends nothing. Raises TooManyAttempts.
    """
    account = email.strip().lower()
    ASKING.spend(address, at=at)
    MAILS.spend(account, at=at)
    user = User.objects.filter(email__iexact=account, is_active=True).first()
    if user is not None:
        outbox.emit(PasswordForgotten(user.pk, new_id("mail")), at=at)


@transaction.atomic
def reset_password(token: str, *, password: str, at: datetime) -> User:
    """Choose another password by the link of a mail, which is thereby used up.

    The mail has shown that the address is theirs. Whoever was signed in is so no more, and second
    factors are asked for as before. Raises LinkInvalid, and Invalid for a weak password.
    """
    User.objects.select_for_update().get(pk=links.read_reset(token, at=at).pk)
    user = links.read_reset(token, at=at)  # two at once take turns, and the second is refused
    actor = own_actor(user)
    if user.email_verified_at is None:
        user.email_verified_at = at
        user.save(update_fields=["email_verified_at"])
    change_password(user.public_id, password=password, actor=actor, at=at)
    return user
