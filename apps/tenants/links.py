"""The links of mails about accounts: signed, dated, and nothing secret is stored for them."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.core import signing
from django.utils.crypto import constant_time_compare, salted_hmac

from apps.tenants.errors import LinkInvalid
from apps.tenants.models import User

ADDRESS_SALT, RESET_SALT = "tenants.address", "tenants.reset"
ADDRESS_LASTS, RESET_LASTS = timedelta(days=3), timedelta(hours=1)
OVER = "This link was used, is too old or was not copied whole; ask for another one."


def address_token(user: User, *, at: datetime) -> str:
    """Return what shows that the user's address, or the one they want instead, is theirs."""
    address = user.email_wanted or user.email
    return signing.dumps([user.public_id, address, int(at.timestamp())], salt=ADDRESS_SALT)


def read_address(token: str, *, at: datetime) -> tuple[str, str]:
    """Return whose (public id) and which address a token is about. Raises LinkInvalid."""
    user_id, address, issued = _read(token, ADDRESS_SALT)
    _refuse_old(issued, ADDRESS_LASTS, at)
    return user_id, address


def reset_token(user: User, *, at: datetime) -> str:
    """Return what lets whoever reads the user's mail choose another password, once."""
    said = [user.public_id, _fingerprint(user), int(at.timestamp())]
    return signing.dumps(said, salt=RESET_SALT)


def read_reset(token: str, *, at: datetime) -> User:
    """Return whose password may be chosen anew.

    Raises LinkInvalid, also after another password, another address and the next sign-in.
    """
    user_id, fingerprint, issued = _read(token, RESET_SALT)
    _refuse_old(issued, RESET_LASTS, at)
    user = User.objects.filter(public_id=user_id, is_active=True).first()
    if user is None or not constant_time_compare(fingerprint, _fingerprint(user)):
        raise LinkInvalid(OVER)
    return user


def _fingerprint(user: User) -> str:
    """Return what changes when the link must not work any more."""
    said = f"{user.password}\n{user.last_login}\n{user.email}"
    return salted_hmac(RESET_SALT, said, algorithm="sha256").hexdigest()[:32]


def _read(token: str, salt: str) -> tuple[str, str, int]:
    try:
        who, what, issued = signing.loads(token, salt=salt)
    except signing.BadSignature:
        raise LinkInvalid(OVER) from None
    return str(who), str(what), int(issued)


def _refuse_old(issued: int, lasts: timedelta, at: datetime) -> None:
    if at.timestamp() - issued > lasts.total_seconds():
        raise LinkInvalid(OVER)
