"""What protects a person's account: password, second factor, passkeys, where they are signed in."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters

from apps.core import clock, crypto
from apps.core.actor import Actor
from apps.core.errors import DomainError, NotFound
from apps.portal import agents, arrivals, providers
from apps.portal.access import personal_page
from apps.portal.account_forms import CodeForm, NewAddressForm, NewPasswordForm, PasskeyForm
from apps.portal.forms import Refusing, form_page
from apps.portal.pages.entering import QUESTION
from apps.portal.refusals import sentence
from apps.tenants import presence, securing, services, totp

SECRET = "authenticator_secret"  # noqa: S105 - the name under which a session keeps it, sealed
BOTH = ("GET", "HEAD", "POST")


def _me(request: HttpRequest) -> Any:
    """Return who is signed in: a tenants.User, since nobody else is let in."""
    return request.user


def _actor(request: HttpRequest) -> Actor:
    return securing.own_actor(_me(request))


@personal_page()
def security(request: HttpRequest) -> HttpResponse:
    """Show what protects the account, and where it is signed in."""
    me, at = _me(request), clock.now()
    found = securing.security(me.pk)
    connected = {one.provider for one in found.connections}
    names = {one.id: one.name for one in providers.offered()}
    context = {
        "me": me,
        "security": found,
        "places": [
            (one, agents.words(one.agent))
            for one in securing.places(me.pk, current=arrivals.key_of(request), at=at)
        ],
        "connections": [(one, names.get(one.provider, one.provider)) for one in found.connections],
        "providers": [one for one in providers.offered() if one.id not in connected],
        "must_have": settings.STAFF_SECOND_FACTOR and me.is_staff and not found.has_second_factor,
    }
    return render(request, "portal/security.html", context)


def _done(request: HttpRequest, said: str | Promise) -> HttpResponse:
    messages.success(request, str(said))
    return redirect("portal:security")


@sensitive_post_parameters("password")
@personal_page(fresh=True, methods=BOTH)
def password(request: HttpRequest) -> HttpResponse:
    """Choose another password; every other session ends."""
    form, me = NewPasswordForm(request.POST or None), _me(request)
    if request.method == "POST" and form.is_valid():
        with Refusing(form):
            chosen, actor, at = form.cleaned_data["password"], _actor(request), clock.now()
            services.change_password(me.public_id, password=chosen, actor=actor, at=at)
            _stay(request)
            return _done(request, _("Your password is changed; you are signed in here only."))
    return form_page(request, "portal/password.html", form)


def _stay(request: HttpRequest) -> None:
    """Keep this browser signed in under another key: all sessions have just ended."""
    me = _me(request)
    me.refresh_from_db()
    update_session_auth_hash(request, me)
    arrivals.note(request, at=clock.now())


@personal_page(fresh=True, methods=BOTH)
def address(request: HttpRequest) -> HttpResponse:
    """Ask for another e-mail address; it counts once it is confirmed."""
    form = NewAddressForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        email, actor = form.cleaned_data["email"], _actor(request)
        with Refusing(form):
            services.want_address(actor.id, email=email, actor=actor, at=clock.now())
            said = _("Open the link that we have mailed to %(email)s.") % {"email": email}
            return _done(request, said)
    return form_page(request, "portal/address.html", form)


@personal_page(fresh=True, methods=BOTH)
def authenticator(request: HttpRequest) -> HttpResponse:
    """Set up an authenticator app: it is asked from the moment it has shown a code."""
    form, me = CodeForm(request.POST or None), _me(request)
    secret = _secret(request)
    if request.method == "POST" and form.is_valid():
        code, actor, at = form.cleaned_data["code"], _actor(request), clock.now()
        with Refusing(form):
            codes = services.add_authenticator(
                me.public_id, secret=secret, code=code, actor=actor, at=at
            )
            del request.session[SECRET]
            presence.show_second_factor(request.session, at=at)
            return _protected(request, codes, _("The authenticator app is set up."))
    return form_page(request, "portal/authenticator.html", form, setup=totp.setup(me, secret))


def _secret(request: HttpRequest) -> str:
    """Return the secret that is being set up, the same until it is: mistyped codes happen."""
    if SECRET not in request.session:
        request.session[SECRET] = crypto.seal(totp.new_secret())
    return crypto.opened(request.session[SECRET])


def _protected(request: HttpRequest, codes: list[str], said: str) -> HttpResponse:
    """Show new recovery codes this once, or go back where there are some already."""
    if not codes:
        return _done(request, said)
    return render(request, "portal/recovery_codes.html", {"codes": codes, "said": said})


@personal_page(fresh=True, methods=("POST",))
def remove_authenticator(request: HttpRequest) -> HttpResponse:
    """Ask for the app's codes no more."""
    actor = _actor(request)
    services.remove_authenticator(actor.id, actor=actor, at=clock.now())
    return _done(request, _("The authenticator app is removed."))


@personal_page(fresh=True, methods=("POST",))
def recovery_codes(request: HttpRequest) -> HttpResponse:
    """Make new recovery codes and show them this once."""
    actor = _actor(request)
    try:
        codes = services.renew_recovery_codes(actor.id, actor=actor, at=clock.now())
    except DomainError as refusal:
        messages.error(request, sentence(refusal))
        return redirect("portal:security")
    return _protected(request, codes, _("The former codes work no more."))


@personal_page(fresh=True, methods=BOTH)
def passkey(request: HttpRequest) -> HttpResponse:
    """Add a passkey: it signs in alone, and is a second factor beside the password."""
    form = PasskeyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        said, actor, at = form.cleaned_data, _actor(request), clock.now()
        state = request.session.pop(QUESTION, None)
        with Refusing(form):
            codes = services.add_passkey(
                actor.id, name=said["name"], answer=said["answer"], state=state, actor=actor, at=at
            )
            presence.show_second_factor(request.session, at=at)
            return _protected(request, codes, _("The passkey is added."))
    name = agents.words(request.headers.get("User-Agent", ""))
    return form_page(request, "portal/passkey.html", form, suggested=name)


@personal_page(fresh=True, methods=("POST",))
def remove_passkey(request: HttpRequest, number: int) -> HttpResponse:
    """Let a passkey sign in no more."""
    actor = _actor(request)
    services.remove_passkey(actor.id, passkey=number, actor=actor, at=clock.now())
    return _done(request, _("The passkey is removed; delete it in your device, too."))


@personal_page(fresh=True, methods=("POST",))
def disconnect(request: HttpRequest, number: int) -> HttpResponse:
    """Let another provider's account sign in no more."""
    actor = _actor(request)
    services.disconnect_identity(actor.id, connection=number, actor=actor, at=clock.now())
    return _done(request, _("The account is disconnected."))


@personal_page(methods=("POST",))
def end_session(request: HttpRequest, session: str) -> HttpResponse:
    """End one session; who ends their own is signed out."""
    actor = _actor(request)
    try:
        services.end_session(actor.id, session=session, actor=actor, at=clock.now())
    except NotFound:
        messages.info(request, _("That session was over already."))
        return redirect("portal:security")
    if not request.session.exists(arrivals.key_of(request)):
        request.session.flush()
    return _done(request, _("The session is over."))


@personal_page(methods=("POST",))
def end_all_sessions(request: HttpRequest) -> HttpResponse:
    """Sign out everywhere, here too."""
    actor = _actor(request)
    services.end_all_sessions(actor.id, actor=actor, at=clock.now())
    request.session.flush()
    return HttpResponseRedirect(reverse("portal:login"))
