"""JSON Web Tokens (RFC 7519): what must hold of any of them before a word of it is believed.

The signature is PyJWT's business; everything that its defaults let through is refused here: other
algorithms than the key's own, keys that the token brings along, claims without which a token never
ends, ID tokens, and JSON that two readers would read differently.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from apps.tenants.errors import InvalidToken, TokenExpired
from apps.tenants.jwks import Key

LONGEST_TOKEN = 8192
LONGEST_CLAIM = 255
DEEPEST = 8
LONGEST_LIFE = timedelta(hours=24)
SKEW = timedelta(seconds=5)  # of the issuer's clock against ours, either way
REQUIRED = ("exp", "iat", "iss", "sub")
# RFC 9068 calls access tokens at+jwt; Clerk and most others say JWT. An ID token may say JWT too.
ACCESS_TYPES = frozenset({"", "jwt", "at+jwt", "application/at+jwt"})
# What only ID tokens carry (OpenID Connect Core 1.0, 2 and 3.3.2.11).
ID_TOKEN_CLAIMS = frozenset({"nonce", "at_hash", "c_hash", "s_hash"})
# How issuers say outside the standard what a token is for: Keycloak's `typ`, Cognito's `token_use`.
PURPOSES = {"typ": frozenset({"bearer"}), "token_use": frozenset({"access"})}
# Nothing in a header may say where the key is, nor how else to read the token.
FORBIDDEN_HEADERS = frozenset({"crit", "b64", "jku", "jwk", "x5u", "x5c", "enc", "zip"})
SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Token:
    """A token that is well-formed and that nobody has verified yet."""

    text: str = field(repr=False)
    header: Mapping[str, Any]
    claims: Mapping[str, Any]

    @property
    def algorithm(self) -> str:
        """What the header says it is signed with; a key decides whether that is so."""
        return str(self.header.get("alg", ""))

    @property
    def key_id(self) -> str:
        """Which of the issuer's keys is meant; empty when the header does not say."""
        found = self.header.get("kid", "")
        return found if isinstance(found, str) and len(found) <= LONGEST_CLAIM else ""

    def verify(self, key: Key) -> None:
        """Raise InvalidToken unless this key signed it, with the one algorithm of that key."""
        if self.algorithm != key.algorithm:
            raise InvalidToken(f"The token's key signs with {key.algorithm} and nothing else.")
        try:
            jwt.PyJWS(algorithms=[key.algorithm]).decode(
                self.text, key.public, algorithms=[key.algorithm]
            )
        except jwt.InvalidTokenError:
            raise InvalidToken("The token's signature is not its issuer's.") from None


def read(text: str) -> Token:
    """Return a well-formed access token, not verified; raises InvalidToken."""
    if len(text) > LONGEST_TOKEN or not SHAPE.fullmatch(text):
        raise InvalidToken(f"A token is three parts of base64url, at most {LONGEST_TOKEN} long.")
    header, claims, _ = text.split(".")
    found = Token(text, _object_of(header), _object_of(claims))
    _check_header(found.header)
    _check_purpose(found.claims)
    return found


def _object_of(part: str) -> dict[str, Any]:
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        found = json.loads(raw, object_pairs_hook=_once, parse_constant=_no_number)
    except (binascii.Error, ValueError, RecursionError):
        raise InvalidToken("A part of the token is no JSON object.") from None
    if not isinstance(found, dict) or _depth(found) > DEEPEST:
        raise InvalidToken("A part of the token is no plain JSON object.")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a claim that stands twice: two readers may take different ones."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


def _check_header(header: Mapping[str, Any]) -> None:
    if forbidden := sorted(FORBIDDEN_HEADERS & header.keys()):
        raise InvalidToken(f"A token's header may not say '{forbidden[0]}'.")
    if str(header.get("typ", "")).lower() not in ACCESS_TYPES:
        raise InvalidToken("This is no access token by its type.")


def _check_purpose(claims: Mapping[str, Any]) -> None:
    if ID_TOKEN_CLAIMS & claims.keys():
        raise InvalidToken("This is an ID token; send an access token.")
    for claim, accepted in PURPOSES.items():
        if claim in claims and str(claims[claim]).lower() not in accepted:
            raise InvalidToken("This token is not for access.")


def check_life(claims: Mapping[str, Any], *, at: datetime) -> datetime:
    """Return when the token ends.

    Raises TokenExpired, and InvalidToken for a token that lacks a claim of `REQUIRED`, is not valid
    yet, or lives longer than `LONGEST_LIFE`.
    """
    if missing := [name for name in REQUIRED if name not in claims]:
        raise InvalidToken(f"The token lacks the claim '{missing[0]}'.")
    ends, begins = _instant(claims, "exp"), _instant(claims, "iat")
    if begins > at + SKEW or _instant(claims, "nbf", default=begins) > at + SKEW:
        raise InvalidToken("The token is not valid yet.")
    if ends - begins > LONGEST_LIFE:
        raise InvalidToken("The token lives longer than 24 hours.")
    if at >= ends + SKEW:
        raise TokenExpired("The token has expired; get a new one.")
    return ends


def _instant(claims: Mapping[str, Any], name: str, *, default: datetime | None = None) -> datetime:
    """Return a NumericDate (RFC 7519, 2)."""
    if name not in claims and default is not None:
        return default
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidToken(f"The token's '{name}' is no instant.")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):  # 1e400, or ten million years from now
        raise InvalidToken(f"The token's '{name}' is no instant.") from None


def check_audience(claims: Mapping[str, Any], accepted: Collection[str]) -> None:
    """Raise InvalidToken unless the token is meant for one of these.

    With none of our own, one that names anybody else is refused (RFC 7519, 4.1.3).
    """
    given = claims.get("aud", [])
    named = given if isinstance(given, list) else [given]
    if not accepted and not named:
        return
    if not any(isinstance(one, str) and one in accepted for one in named):
        raise InvalidToken("The token is meant for somebody else: its 'aud' is not ours.")


def text_of(claims: Mapping[str, Any], name: str) -> str:
    """Return a claim that is a short text, empty when there is none; raises InvalidToken."""
    value = claims.get(name, "")
    if not isinstance(value, str) or len(value) > LONGEST_CLAIM or not value.isprintable():
        raise InvalidToken(f"The token's '{name}' is no short text.")
    return value
