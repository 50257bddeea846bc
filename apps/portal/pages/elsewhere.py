"""Signing in by another provider, connecting one, and joining or signing up that way."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from apps.core import clock, rls
from apps.core.errors import DomainError
from apps.portal import arrivals, providers
from apps.portal.access import CHOSEN, open_page
from apps.portal.languages import language_of
from apps.portal.providers import Arrival
from apps.portal.refusals import sentence
from apps.tenants import presence, securing, services

NEWCOMER = "portal_newcomer"


@open_page
@never_cache
@require_POST
def leave(request: HttpRequest, provider: str) -> HttpResponse:
    """Send the browser to the provider: to sign in, to join (`invitation`), or to connect."""
    state = {
        "next": arrivals.where_to(request),
        "invitation": request.POST.get("invitation", ""),
        "connects": request.user.public_id if request.user.is_authenticated else "",
    }
    with translation.override(language_of(request)):
        try:
            return HttpResponseRedirect(providers.address(request, provider, **state))
        except DomainError as refusal:
            return _back(request, refusal)


@open_page
@never_cache
@require_GET
def back(request: HttpRequest, provider: str) -> HttpResponse:
    """Take in who comes back from a provider."""
    with translation.override(language_of(request)):
        try:
            arrival = providers.arrival(request, provider)
            if request.user.is_authenticated:
                return _connect(request, arrival)
            return _come_in(request, arrival)
        except DomainError as refusal:
            return _back(request, refusal)


def _back(request: HttpRequest, refusal: DomainError) -> HttpResponse:
    messages.error(request, sentence(refusal))
    return redirect("portal:security" if request.user.is_authenticated else "portal:login")


def _connect(request: HttpRequest, arrival: Arrival) -> HttpResponse:
    """Connect what was begun by the same person, who has lately shown that it is they."""
    user, at = request.user, clock.now()
    if arrival.state["connects"] != user.public_id:  # type: ignore[union-attr]
        return redirect("portal:security")
    if not presence.is_fresh(request.session, at=at):
        return redirect(f"{reverse('portal:confirm')}?next={reverse('portal:security')}")
    actor = securing.own_actor(user)  # type: ignore[arg-type] # a tenants.User
    with rls.ops_scope(arrivals.SCOPE):
        services.connect_identity(actor.id, identity=arrival.identity, actor=actor, at=at)
    messages.success(request, _("The account is connected; you can sign in with it."))
    return redirect("portal:security")


def _come_in(request: HttpRequest, arrival: Arrival) -> HttpResponse:
    with rls.ops_scope(arrivals.SCOPE):
        person = services.enter_with(arrival.identity, at=clock.now())
    if person is not None:
        return arrivals.arrive(request, person, wanted=arrival.state["next"])
    if arrival.state["invitation"]:
        return _join(request, arrival)
    request.session[NEWCOMER] = {
        "provider": arrival.identity.provider,
        "uid": arrival.identity.uid,
        "email": arrival.identity.email,
        "name": arrival.identity.name,
        "until": int(clock.now().timestamp()) + arrivals.WAITS,
    }
    return redirect("portal:sign_up_with")


def _join(request: HttpRequest, arrival: Arrival) -> HttpResponse:
    with rls.ops_scope(arrivals.SCOPE):
        joined = services.join_with(
            arrival.state["invitation"], identity=arrival.identity, at=clock.now()
        )
        person, chosen = joined.user, joined.organization.public_id
    arrivals.begin(request, person, second_factor=False)
    request.session[CHOSEN] = chosen
    messages.success(request, _("Welcome! You have joined."))
    return redirect("portal:overview")
