"""Who may listen: a signed-in member, staff, or a program with an API key; asked again and again.

An organization that one may not see and one that does not exist get the same refusal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import auth
from django.http import HttpRequest
from django.http.request import split_domain_port, validate_host

from apps.core import clock, ids, rls
from apps.core.actor import Actor
from apps.tenants import selectors as tenants
from apps.tenants import services
from apps.tenants.selectors import KeyHolder

if TYPE_CHECKING:
    from apps.tenants.models import User

CAPABILITY = "view_usage"
LONGEST_KEY = 200


class Refused(Exception):
    """Nobody listens here: `code` closes a WebSocket, `status` answers a request."""

    def __init__(self, code: int, status: int, title: str) -> None:
        super().__init__(title)
        self.code, self.status, self.title = code, status, title


def _nobody() -> Refused:
    return Refused(4401, 401, "Sign in, or send an API key: 'Authorization: Bearer bk_…'.")


def _unknown() -> Refused:
    return Refused(4404, 404, "There is no such organization.")


def _forbidden() -> Refused:
    return Refused(4403, 403, f"This needs the capability '{CAPABILITY}'; a key: usage:read.")


@dataclass(frozen=True, slots=True)
class Credential:
    """What somebody shows: the key of a session (`session`) or an API key (`key`)."""

    kind: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Viewer:
    """Somebody who may listen to an organization, and what else they may see of it."""

    credential: Credential
    organization: str
    organization_id: int
    capabilities: frozenset[str]


def credential_of(headers: Mapping[str, str], *, needs_origin: bool) -> Credential:
    """Return what the request shows, or raise Refused.

    Browsers send cookies along with whatever page asks, so a session counts only for our own pages:
    a WebSocket must say where it comes from, a request must not come from elsewhere.
    """
    if not validate_host(split_domain_port(headers.get("host", ""))[0], settings.ALLOWED_HOSTS):
        raise Refused(4400, 400, "This is not one of the ALLOWED_HOSTS.")
    if "authorization" in headers:
        return _presented_key(headers["authorization"])
    origin = headers.get("origin")
    if needs_origin if origin is None else not is_ours(origin, headers):
        raise Refused(4403, 403, "This page may not listen here.")
    session = _cookies(headers.get("cookie", "")).get(settings.SESSION_COOKIE_NAME, "")
    if not (session.isascii() and session.isalnum()):
        raise _nobody()
    return Credential("session", session)


def is_ours(origin: str, headers: Mapping[str, str]) -> bool:
    """Tell whether pages of this origin are ours.

    That is the public address, the host that was asked itself, and, where no proxy brings them
    together, the web server's port on that host.
    """
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    found, host = urlsplit(origin), headers.get("host", "").lower()
    if found.scheme not in {"http", "https"} or not host:
        return False
    beside = f"{split_domain_port(host)[0]}:{settings.PORT}"
    return found.netloc == host or (not settings.PRODUCTION and found.netloc == beside)


def _presented_key(given: str) -> Credential:
    scheme, _, key = given.partition(" ")
    key = key.strip()
    plausible = key.isascii() and key.isprintable() and 0 < len(key) <= LONGEST_KEY
    if scheme.lower() != "bearer" or not plausible:
        raise _nobody()
    return Credential("key", key)


def _cookies(header: str) -> dict[str, str]:
    try:
        return {name: one.value for name, one in SimpleCookie(header).items()}
    except CookieError:
        return {}


def admit(credential: Credential, organization: str) -> Viewer:
    """Return who listens to the organization (its public id), or raise Refused."""
    try:
        actors = _holders if credential.kind == "key" else _people
        actor, organization_id = next(actors(credential.secret, organization))
    except StopIteration:
        raise _unknown() from None
    if not actor.may(CAPABILITY):
        raise _forbidden()
    return Viewer(credential, organization, organization_id, actor.capabilities)


def _people(session: str, organization: str) -> Iterator[tuple[Actor, int]]:
    """Yield who the session's user is to the organization: its member, or staff."""
    user = _user_of(session)
    for one in tenants.belongings(user.pk):
        if one.public_id == organization:
            yield tenants.member_actor(user, one), one.organization_id
    actor = tenants.staff_actor(user) if user.is_staff else None
    if actor is not None and actor.may("view_platform"):
        yield from _of_platform(actor, organization)


def _user_of(session: str) -> User:
    request: Any = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session)
    user: Any = auth.get_user(request)  # checks the password's hash and that the user is active
    if not user.is_authenticated:
        raise _nobody()
    return user  # type: ignore[no-any-return]


def _holders(key: str, organization: str) -> Iterator[tuple[Actor, int]]:
    """Yield who the key's holder is to the organization."""
    holder = tenants.key_holder(key)
    if holder is None or not holder.is_good(clock.now()):
        raise _nobody()
    own = holder.actor.organization_id
    if own is None:
        yield from _of_platform(holder.actor, organization)
        return
    with rls.tenant_scope(own):
        public_id = tenants.organization(own).public_id
    if public_id == organization:
        yield holder.actor, own


def _of_platform(actor: Actor, organization: str) -> Iterator[tuple[Actor, int]]:
    if not ids.is_public_id(organization, "org"):
        return
    with rls.ops_scope(f"live: {actor.kind} {actor.id}"):
        found = tenants.find_organization(organization)
    if found is not None:
        yield actor, found.pk


def note_use(viewer: Viewer) -> None:
    """Note that an API key was used, as the API does; a session needs none."""
    if viewer.credential.kind != "key":
        return
    holder, at = tenants.key_holder(viewer.credential.secret), clock.now()
    if holder is not None and _is_worth_a_note(holder):
        scope = rls.ops_scope(f"live: platform key {holder.actor.id}")
        if holder.actor.organization_id is not None:
            scope = rls.tenant_scope(holder.actor.organization_id)
        with scope:
            services.note_key_use(holder, at=at)


def _is_worth_a_note(holder: KeyHolder) -> bool:
    last = holder.last_used_at
    return last is None or clock.now() - last >= services.LAST_USED_GRAIN
