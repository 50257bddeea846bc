"""Who calls: the API key in the Authorization header, before any scope is open."""

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
from apps.tenants import selectors, services
from apps.tenants.selectors import KeyHolder

LONGEST_KEY = 200


@dataclass(frozen=True, slots=True)
class Caller:
    """The program behind a request: what DRF calls its user."""

    holder: KeyHolder
    is_authenticated: bool = True

    @property
    def actor(self) -> Actor:
        """Who acts."""
        return self.holder.actor

    @property
    def public_id(self) -> str:
        """The key's public id, for the log."""
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
        raise TypeError("this request was not authenticated by an API key")
    return found


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer bk_…`; keys are never read from anywhere else."""

    def authenticate(self, request: Request) -> tuple[Caller, KeyHolder]:
        """Return the caller, or raise one of the 401 refusals."""
        caller = identify(request._request, clock.now())
        return caller, caller.holder

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401."""
        return 'Bearer realm="api"'


def identify(request: HttpRequest, at: datetime) -> Caller:
    """Return who calls, with the use of the key noted; raises one of the 401 refusals."""
    caller = Caller(_good(_holder(request), at))
    _note_use(caller, at)
    return caller


def _holder(request: HttpRequest) -> KeyHolder:
    given = request.META.get("HTTP_AUTHORIZATION", "")
    scheme, _, key = given.partition(" ")
    if not given or scheme.lower() != "bearer" or not key.strip():
        raise MissingKey("Send an API key: 'Authorization: Bearer bk_…'.")
    key = key.strip()
    plausible = key.isascii() and key.isprintable() and len(key) <= LONGEST_KEY
    holder = selectors.key_holder(key) if plausible else None
    if holder is None:
        raise InvalidKey("This API key is not known.")
    return holder


def _good(holder: KeyHolder, at: datetime) -> KeyHolder:
    if holder.revoked_at is not None:
        raise KeyRevoked("This API key was revoked; use another one.")
    if not holder.is_good(at):
        raise KeyExpired("This API key has expired; make a new one.")
    return holder


def _note_use(caller: Caller, at: datetime) -> None:
    """Note the use in a transaction of its own: a key's requests must not wait for each other."""
    last = caller.holder.last_used_at
    if last is None or at - last >= services.LAST_USED_GRAIN:
        with caller.scope():
            services.note_key_use(caller.holder, at=at)
