"""Taking up a seat that waits, by the link that came by mail."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from apps.core import clock, rls
from apps.core.errors import DomainError
from apps.portal import arrivals
from apps.portal.access import CHOSEN, open_page
from apps.portal.forms import UNPROCESSABLE, JoinForm
from apps.portal.languages import language_of
from apps.portal.pages.doors import GONE, refuse_joining
from apps.portal.refusals import sentence
from apps.seats import selectors, services
from apps.seats.errors import ClaimInvalid


@open_page
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def claim(request: HttpRequest, token: str) -> HttpResponse:
    """Claim the seat as a new person, or as who is signed in; a link that is over says so."""
    user = request.user if request.user.is_authenticated else None  # before the scope is open
    with translation.override(language_of(request)):
        try:
            if request.method == "POST":
                return _claimed(request, token, user)
            return _offered(request, token, JoinForm())
        except ClaimInvalid as refusal:
            context = {"sentence": sentence(refusal)}
            return render(request, "portal/claim_over.html", context, status=GONE)


def _offered(request: HttpRequest, token: str, form: JoinForm, status: int = 200) -> HttpResponse:
    with rls.ops_scope("portal: show a seat"):
        seat = selectors.find_claim(token)
    mine = request.user.is_authenticated and request.user.email.lower() == seat.email
    context = {"seat": seat, "form": form, "mine": mine}
    return render(request, "portal/claim.html", context, status=status)


def _claimed(request: HttpRequest, token: str, user: Any) -> HttpResponse:
    form = JoinForm(request.POST)
    if user is None and not form.is_valid():
        return _offered(request, token, form, UNPROCESSABLE)
    said = {} if user is not None else form.cleaned_data
    try:
        with rls.ops_scope("portal: claim a seat"):
            seat = services.claim_seat(
                token,
                user=user,
                password=said.get("password", ""),
                name=said.get("name", ""),
                at=clock.now(),
            )
            person, chosen = seat.user, seat.organization.public_id
    except ClaimInvalid:
        raise
    except DomainError as refusal:
        refuse_joining(form, refusal)
        return _offered(request, token, form, UNPROCESSABLE)
    if user is None and person is not None:
        arrivals.begin(request, person, second_factor=False)
    request.session[CHOSEN] = chosen
    messages.success(request, _("The seat is yours."))
    return redirect("portal:overview")
