"""Access tokens of our own: short-lived, and worth nothing once their session is over."""

from __future__ import annotations

from datetime import datetime, timedelta

import jwt
from django.conf import settings
from django.utils.crypto import salted_hmac

from apps.tenants import jwts
from apps.tenants.errors import InvalidToken
from apps.tenants.trust import Claims, Trust

ALGORITHM = "HS256"
LASTS = timedelta(minutes=15)
SALT = "tenants.access_token"


def issuer() -> str:
    """Return what our tokens call us: the public address."""
    return str(settings.API_BASE_URL)


def issue(*, user: str, session: str, organization: str, at: datetime) -> str:
    """Return an access token of 15 minutes; all are public ids, `organization` may be empty."""
    claims = {
        "iss": issuer(),
        "aud": issuer(),
        "sub": user,
        "sid": session,
        "iat": int(at.timestamp()),
        "exp": int((at + LASTS).timestamp()),
        **({"org_id": organization} if organization else {}),
    }
    return jwt.encode(claims, _secret(), ALGORITHM, headers={"typ": "at+jwt"})


def believe(token: jwts.Token, *, at: datetime) -> Claims:
    """Return what a token of our own says; raises InvalidToken. The session is asked elsewhere."""
    if token.algorithm != ALGORITHM:
        raise InvalidToken("The token is not signed as ours are.")
    try:
        jwt.PyJWS(algorithms=[ALGORITHM]).decode(token.text, _secret(), algorithms=[ALGORITHM])
    except jwt.InvalidTokenError:
        raise InvalidToken("The token's signature is not ours.") from None
    ends = jwts.check_life(token.claims, at=at)
    jwts.check_audience(token.claims, {issuer()})
    return Claims(
        subject=jwts.text_of(token.claims, "sub"),
        email="",
        organization=jwts.text_of(token.claims, "org_id"),
        role="",
        expires_at=ends,
        trust=Trust(issuer()),
        session=jwts.text_of(token.claims, "sid"),
    )


def _secret() -> bytes:
    """Return the key: of JWT_SECRET, else of SECRET_KEY, and never one of them itself."""
    secret = settings.JWT_SECRET or settings.SECRET_KEY
    return salted_hmac(SALT, "HS256", secret=secret, algorithm="sha256").digest()
