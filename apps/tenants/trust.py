"""Whose tokens count: the issuers that operators and staff trust, and what their tokens say.

Clerk's session tokens say the organization in two ways (version 1: `org_id`, `org_role`; version 2:
`o` with `id` and `rol`); other issuers that know organizations use the names of version 1.
https://clerk.com/docs/backend-requests/resources/session-tokens
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from apps.tenants import jwks, jwts, roles
from apps.tenants.errors import InvalidToken

CLERK, OIDC = "clerk", "oidc"
KINDS = (CLERK, OIDC)
PENDING = "pending"  # a Clerk session whose tasks, such as a second factor, are not done


@dataclass(frozen=True, slots=True)
class Trust:
    """An issuer, and which of its tokens are meant for us.

    `parties` are who its tokens may be handed to (`azp`), `public_key` a PEM that needs no network
    (else its keys come from `jwks_url`), `role_map` its roles in ours. Without an `application_id`
    it names organizations and people by any application's external ids, else by that one's alone.
    Only where `matches_email` holds does an address that it has verified make somebody ours.
    """

    issuer: str
    kind: str = OIDC
    audiences: frozenset[str] = frozenset()
    parties: frozenset[str] = frozenset()
    jwks_url: str = ""
    public_key: str = field(default="", repr=False)
    role_map: Mapping[str, str] = field(default_factory=dict)
    application_id: int | None = None
    matches_email: bool = False


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says: who, for which organization, and at most as what.

    `organization` and `role` (one of ours) are empty where the token says nothing of them; `email`
    is the address that the issuer has verified, or empty; `session` is our own, of our own tokens.
    """

    subject: str
    email: str
    organization: str
    role: str
    expires_at: datetime
    trust: Trust
    session: str = ""


def believe(token: jwts.Token, trust: Trust, *, at: datetime) -> Claims:
    """Return what the token says once all of it is checked; raises InvalidToken.

    May ask the issuer for its keys: never call it inside a transaction.
    """
    token.verify(_key(token, trust, at))
    claims = token.claims
    ends = jwts.check_life(claims, at=at)
    if claims["iss"] != trust.issuer:
        raise InvalidToken("The token's issuer is not who it was taken for.")
    jwts.check_audience(claims, trust.audiences)
    _check_party(claims, trust)
    _check_session(claims, trust)
    organization, role = _organization_and_role(claims)
    return Claims(
        _subject(claims),
        _verified_email(claims) if trust.matches_email else "",
        organization,
        _our_role(role, trust),
        ends,
        trust,
    )


def _key(token: jwts.Token, trust: Trust, at: datetime) -> jwks.Key:
    if trust.public_key:
        return _key_of_pem(trust.public_key)
    if not token.key_id:
        raise InvalidToken("The token does not say which key it is signed with.")
    return jwks.KEY_SETS.key(trust.jwks_url, token.key_id, at=at)


@functools.lru_cache(maxsize=64)
def _key_of_pem(pem: str) -> jwks.Key:
    return jwks.key_of_pem(pem)


def _check_party(claims: Mapping[str, Any], trust: Trust) -> None:
    party = jwts.text_of(claims, "azp")
    if trust.parties and party not in trust.parties:
        raise InvalidToken("The token was handed to somebody else: its 'azp' is not ours.")


def _check_session(claims: Mapping[str, Any], trust: Trust) -> None:
    if "act" in claims:  # the audit would name the wrong one
        raise InvalidToken("The token lets somebody act as somebody else; that is not taken.")
    if trust.kind != CLERK:
        return
    if not jwts.text_of(claims, "sid"):
        raise InvalidToken("The token belongs to no session.")
    if claims.get("sts") == PENDING:
        raise InvalidToken("The session is not complete yet.")


def _subject(claims: Mapping[str, Any]) -> str:
    subject = jwts.text_of(claims, "sub")
    if not subject:
        raise InvalidToken("The token names nobody.")
    return subject


def _verified_email(claims: Mapping[str, Any]) -> str:
    """Return the address in lower case; one that is not verified could be anybody's."""
    verified = claims.get("email_verified") is True
    return jwts.text_of(claims, "email").strip().lower() if verified else ""


def _organization_and_role(claims: Mapping[str, Any]) -> tuple[str, str]:
    first = jwts.text_of(claims, "org_id"), jwts.text_of(claims, "org_role")
    if "o" not in claims:
        return first
    nested = claims["o"]
    if not isinstance(nested, dict):
        raise InvalidToken("The token's 'o' is no organization.")
    second = jwts.text_of(nested, "id"), jwts.text_of(nested, "rol")
    if "org_id" in claims and first[0] != second[0]:
        raise InvalidToken("The token names two organizations.")
    return second


def _our_role(name: str, trust: Trust) -> str:
    """Return one of our roles for the issuer's; Clerk writes `org:admin` and, shorter, `admin`."""
    if not name:
        return ""
    short = name.removeprefix("org:").casefold()
    known = {**roles.FOREIGN_ROLES, **{key.casefold(): to for key, to in trust.role_map.items()}}
    found = known.get(name.casefold()) or known.get(short)
    if found is None:
        raise InvalidToken("The token's role is none that is mapped to a role here.")
    return found
