"""Coming in: who has shown a password, or come by another provider, may have more to show.

Until then nobody is signed in; the session only remembers, for ten minutes, whom it waits for.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, cast

from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.utils.http import url_has_allowed_host_and_scheme

from apps.core import clock, rls
from apps.core.throttle import address_of
from apps.portal.languages import language_of
from apps.tenants import presence, securing, services

if TYPE_CHECKING:
    from apps.tenants.models import User

BACKEND = "django.contrib.auth.backends.ModelBackend"
PENDING = "portal_pending"
WAITS = 600  # seconds
SCOPE = "portal: sign in"


def where_to(request: HttpRequest) -> str:
    """Return the page that the visitor wanted, of this system; the overview when they said none."""
    wanted = request.POST.get("next") or request.GET.get("next", "")
    return wanted if is_ours(request, wanted) else reverse("portal:overview")


def is_ours(request: HttpRequest, address: str) -> bool:
    """Tell whether an address is one of this system."""
    return url_has_allowed_host_and_scheme(
        address, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )


def arrive(request: HttpRequest, person: User, *, wanted: str) -> HttpResponse:
    """Let somebody in who has shown one factor, or ask for the second one."""
    with rls.ops_scope(SCOPE):
        asks = securing.has_second_factor(person.pk)
    if not asks:
        return enter(request, person, wanted=wanted, second_factor=False)
    request.session.cycle_key()
    request.session[PENDING] = {
        "user": person.pk,
        "proof": person.get_session_auth_hash(),
        "until": int(clock.now().timestamp()) + WAITS,
        "next": wanted,
    }
    return HttpResponseRedirect(reverse("portal:second_factor"))


def waiting(request: HttpRequest) -> User | None:
    """Return who has shown one factor in this browser and not the second one yet."""
    held = request.session.get(PENDING)
    if held is None or held["until"] < clock.now().timestamp():
        return None
    with rls.ops_scope(SCOPE):
        person = securing.get_user(held["user"])
    if person is None or not constant_time_compare(held["proof"], person.get_session_auth_hash()):
        return None
    return person


def wanted_by_waiting(request: HttpRequest) -> str:
    """Return the page that whoever is waited for had wanted."""
    return str(request.session[PENDING]["next"])


def enter(request: HttpRequest, person: User, *, wanted: str, second_factor: bool) -> HttpResponse:
    """Sign somebody in in this browser, whose session gets another key, and go on."""
    begin(request, person, second_factor=second_factor)
    return HttpResponseRedirect(wanted)


def begin(request: HttpRequest, person: User, *, second_factor: bool) -> None:
    """Sign somebody in in this browser. Nothing of whoever was there before is left."""
    at = clock.now()
    request.session.pop(PENDING, None)
    login(request, person, backend=BACKEND)
    presence.begin(request.session, second_factor=second_factor, at=at)
    with rls.ops_scope(SCOPE):
        services.begin_browser_session(
            person,
            key=key_of(request),
            address=address_of(request),
            agent=request.headers.get("User-Agent", ""),
            locale=language_of(request),
            at=at,
        )


def note_visit(request: HttpRequest) -> None:
    """Note, a few times an hour, that whoever is signed in in this browser is still there."""
    at = clock.now()
    if presence.see(request.session, at=at):
        note(request, at=at)


def note(request: HttpRequest, *, at: datetime) -> None:
    """Note where somebody is signed in, under the key that the session has now."""
    with rls.ops_scope(SCOPE):
        services.note_browser_session(
            request.user,  # type: ignore[arg-type] # a tenants.User
            key=key_of(request),
            address=address_of(request),
            agent=request.headers.get("User-Agent", ""),
            at=at,
        )


def key_of(request: HttpRequest) -> str:
    """Return the key of the browser's session."""
    return cast(str, request.session.session_key)
