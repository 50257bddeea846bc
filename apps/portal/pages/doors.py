"""The pages before any organization: signing out, choosing one, taking up an invitation."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.views import LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from apps.core import clock, rls
from apps.core.errors import DomainError
from apps.portal import arrivals, providers
from apps.portal.access import CHOSEN, REFUSED_FROM, open_page
from apps.portal.forms import UNPROCESSABLE, JoinForm, refuse
from apps.portal.languages import language_of
from apps.portal.refusals import sentence
from apps.tenants import selectors, services
from apps.tenants.errors import AlreadyMember, InvitationInvalid

GONE = 410

sign_out = open_page(LogoutView.as_view(next_page="portal:login"))


@open_page
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def choose(request: HttpRequest) -> HttpResponse:
    """Choose the organization to work for; the choice lasts as long as the session."""
    if not request.user.is_authenticated:
        return redirect("portal:login")
    belongings = selectors.belongings(request.user.pk)
    wanted = request.POST.get("organization", "")
    if request.method == "POST" and wanted in {one.public_id for one in belongings}:
        request.session[CHOSEN] = wanted
        return redirect("portal:overview")
    with translation.override(language_of(request)):
        return render(request, "portal/choose.html", {"belongings": belongings})


@open_page
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Join as a new person, or as the one who is signed in; a link that is over says so."""
    user = request.user if request.user.is_authenticated else None  # before the scope is open
    with translation.override(language_of(request)):
        try:
            if request.method == "POST":
                return _accept(request, token, user)
            return _invited(request, token, JoinForm())
        except InvitationInvalid as refusal:
            context = {"sentence": sentence(refusal)}
            return render(request, "portal/invitation_over.html", context, status=GONE)


def _invited(request: HttpRequest, token: str, form: JoinForm, status: int = 200) -> HttpResponse:
    with rls.ops_scope("portal: show an invitation"):
        found = selectors.find_invitation(token, at=clock.now())
    mine = request.user.is_authenticated and request.user.email.lower() == found.email
    context = {
        "invitation": found,
        "form": form,
        "mine": mine,
        "token": token,
        "providers": providers.offered(),
    }
    return render(request, "portal/invitation.html", context, status=status)


def _accept(request: HttpRequest, token: str, user: object) -> HttpResponse:
    form = JoinForm(request.POST)
    if user is None and not form.is_valid():
        return _invited(request, token, form, UNPROCESSABLE)
    try:
        with rls.ops_scope("portal: accept an invitation"):
            joined = services.accept_invitation(
                token,
                user=user,  # type: ignore[arg-type] # the signed-in user is a tenants.User
                password=form.cleaned_data["password"] if user is None else "",
                name=form.cleaned_data["name"] if user is None else "",
                at=clock.now(),
            )
            person, chosen = joined.user, joined.organization.public_id
    except InvitationInvalid:
        raise
    except DomainError as refusal:
        return _refused(request, token, form, refusal, signed_in=user is not None)
    if user is None:
        arrivals.begin(request, person, second_factor=False)
    request.session[CHOSEN] = chosen
    messages.success(request, _("Welcome! You have joined."))
    return redirect("portal:overview")


def _refused(
    request: HttpRequest, token: str, form: JoinForm, refusal: DomainError, *, signed_in: bool
) -> HttpResponse:
    if signed_in:
        messages.error(request, sentence(refusal))
    else:
        refuse_joining(form, refusal)
    status = refusal.status if isinstance(refusal, AlreadyMember) else UNPROCESSABLE
    return _invited(request, token, form, max(status, REFUSED_FROM))


def refuse_joining(form: JoinForm, refusal: DomainError) -> None:
    """Say on the form why nobody new can join so."""
    if isinstance(refusal, AlreadyMember):
        form.add_error(None, _("There is an account for this e-mail already; sign in with it."))
    else:
        refuse(form, refusal)
