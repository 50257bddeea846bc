"""Who calls: the API key or the token in the Authorization header, before any scope is open."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from apps.api.errors import InvalidKey, KeyExpired, KeyRevoked, MissingKey
from apps.core import clock, rls
from apps.core.actor import Actor
from apps.tenants import bearers, selectors, services
from apps.tenants.errors import NotAMember
from apps.tenants.selectors import KeyHolder

LONGEST_REFERENCE = 220
ORGANIZATION = "HTTP_X_ORGANIZATION"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is behind a request, a program or a person: what DRF calls its user.

    `holder` is the API key's, None for a person with a token.
    """

    actor: Actor
    holder: KeyHolder | None = None
    is_authenticated: bool = True

    @property
    def public_id(self) -> str:
        """The key's or the person's public id, for the log."""
        return self.actor.id

    @property
    def is_platform(self) -> bool:
        """Whether the key is the platform's and not one organization's."""
        return self.actor.organization_id is None

    def scope(self) -> AbstractContextManager[None]:
        """Open the transaction in which this caller sees what is theirs."""
        if self.actor.organization_id is None:
            return rls.ops_scope(f"api: platform key {self.actor.id}")
        return rls.tenant_scope(self.actor.organization_id)


def caller_of(request: Request) -> Caller:
    """Return who calls; DRF keeps it as the request's user."""
    found: Any = request.user
    if not isinstance(found, Caller):
        raise TypeError("this request was not authenticated")
    return found


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer` with an API key or a token; neither is read from anywhere else."""

    def authenticate(self, request: Request) -> tuple[Caller, None]:
        """Return the caller, or raise one of the refusals."""
        return identify(request._request, clock.now()), None

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401."""
        return 'Bearer realm="api"'


def identify(request: HttpRequest, at: datetime) -> Caller:
    """Return who calls; raises a 401, and for tokens what `bearers` refuses.

    The use of a key is noted. A token's person is looked up in a transaction of its own, and its
    issuer is asked for keys, if need be, before that.
    """
    given = _credential(request)
    if "." in given:  # keys have none
        claims = bearers.claims_of(given, at=at)
        with rls.ops_scope("api: who a token names"):
            return Caller(bearers.bearer(claims, organization=_organization(request)).actor)
    holder = _good(_holder(given), at)
    caller = Caller(holder.actor, holder)
    _note_use(caller, holder, at)
    return caller


def _credential(request: HttpRequest) -> str:
    given = request.META.get("HTTP_AUTHORIZATION", "")
    scheme, _, credential = given.partition(" ")
    if scheme.lower() != "bearer" or not credential.strip():
        raise MissingKey("Send an API key or a token: 'Authorization: Bearer bk_…'.")
    return str(credential).strip()


def _organization(request: HttpRequest) -> str:
    """Return which organization a person wants to work for: an id, a slug or an `ext:` id."""
    given = str(request.META.get(ORGANIZATION, "")).strip()
    if len(given) > LONGEST_REFERENCE or not given.isprintable():
        raise NotAMember("This token names no member of the organization.")
    return given


def _holder(key: str) -> KeyHolder:
    holder = selectors.key_holder(key) if selectors.is_key(key) else None
    if holder is None:
        raise InvalidKey("This API key is not known.")
    return holder


def _good(holder: KeyHolder, at: datetime) -> KeyHolder:
    if holder.revoked_at is not None:
        raise KeyRevoked("This API key was revoked; use another one.")
    if not holder.is_good(at):
        raise KeyExpired("This API key has expired; make a new one.")
    return holder


def _note_use(caller: Caller, holder: KeyHolder, at: datetime) -> None:
    """Note the use in a transaction of its own: a key's requests must not wait for each other."""
    last = holder.last_used_at
    if last is None or at - last >= services.LAST_USED_GRAIN:
        with caller.scope():
            services.note_key_use(holder, at=at)
