"""Signing up, the links of mails about accounts, and passwords that were forgotten."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from apps.core import clock, rls
from apps.core.errors import DomainError
from apps.core.throttle import address_of
from apps.portal import arrivals, providers
from apps.portal.access import open_page, personal_page
from apps.portal.account_forms import AddressForm, CustomerForm, NewPasswordForm
from apps.portal.forms import Refusing, form_page
from apps.portal.languages import language_of
from apps.portal.pages.doors import GONE
from apps.portal.pages.elsewhere import NEWCOMER
from apps.portal.refusals import sentence
from apps.tenants import links, securing, services
from apps.tenants.errors import LinkInvalid
from apps.tenants.services import Identity


@open_page
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_up(request: HttpRequest) -> HttpResponse:
    """Take in a new customer; what comes by mail decides, so everybody is told the same."""
    _refuse_where_closed()
    with translation.override(language_of(request)):
        form = CustomerForm(request.POST or None)
        if request.method == "POST" and form.is_valid() and _signed_up(request, form):
            context = {"email": form.cleaned_data["email"]}
            return render(request, "portal/mail_sent.html", {**context, "is_new": True})
        return form_page(request, "portal/sign_up.html", form, providers=providers.offered())


def _refuse_where_closed() -> None:
    if not settings.ENABLE_REGISTRATION:
        raise Http404


def _signed_up(request: HttpRequest, form: CustomerForm) -> bool:
    said, language = form.cleaned_data, language_of(request)
    with Refusing(form), rls.ops_scope("portal: sign up"):
        services.sign_up(
            said["email"],
            password=said["password"],
            name=said["name"],
            customer=form.customer(language),
            address=address_of(request),
            locale=language,
            at=clock.now(),
        )
        return True
    return False


@open_page
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_up_with(request: HttpRequest) -> HttpResponse:
    """Take in a new customer who came by another provider: nothing is made before they say so."""
    held = request.session.get(NEWCOMER)
    if held is None or held["until"] < clock.now().timestamp():
        return redirect("portal:login")
    with translation.override(language_of(request)):
        if not settings.ENABLE_REGISTRATION:
            messages.error(
                request, _("There is no account for this address; ask for an invitation.")
            )
            return redirect("portal:login")
        form = CustomerForm(
            request.POST or None, has_password=False, initial={"name": held["name"]}
        )
        if request.method == "POST" and form.is_valid():
            person = _signed_up_with(request, form, held)
            if person is not None:
                del request.session[NEWCOMER]
                wanted = reverse("portal:overview")
                return arrivals.enter(request, person, wanted=wanted, second_factor=False)
        return form_page(request, "portal/sign_up.html", form, email=held["email"])


def _signed_up_with(request: HttpRequest, form: CustomerForm, held: dict[str, Any]) -> Any:
    language = language_of(request)
    identity = Identity(held["provider"], held["uid"], held["email"], is_verified=True)
    with Refusing(form), rls.ops_scope("portal: sign up"):
        return services.sign_up_with(
            identity,
            name=form.cleaned_data["name"],
            customer=form.customer(language),
            address=address_of(request),
            locale=language,
            at=clock.now(),
        )
    return None


@open_page
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def forgotten(request: HttpRequest) -> HttpResponse:
    """Send a link for another password, if there is an account; say the same if there is none."""
    with translation.override(language_of(request)):
        form = AddressForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            email = form.cleaned_data["email"]
            with Refusing(form), rls.ops_scope("portal: a password was forgotten"):
                services.ask_for_password(email, address=address_of(request), at=clock.now())
            if form.is_valid():
                return render(request, "portal/mail_sent.html", {"email": email})
        return form_page(request, "portal/forgotten.html", form)


@open_page
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def reset(request: HttpRequest, token: str) -> HttpResponse:
    """Choose another password by the link of a mail; a link that is over says so."""
    with translation.override(language_of(request)):
        form: forms.Form = NewPasswordForm(request.POST or None)
        try:
            if request.method == "POST" and form.is_valid() and _reset(form, token):
                messages.success(request, _("Your password is changed. Sign in with it."))
                return redirect("portal:login")
            with rls.ops_scope("portal: show a link"):
                whose = links.read_reset(token, at=clock.now())
        except LinkInvalid as refusal:
            return _over(request, refusal)
        return form_page(request, "portal/reset.html", form, whose=whose)


def _reset(form: forms.Form, token: str) -> bool:
    password = form.cleaned_data["password"]
    try:
        with rls.ops_scope("portal: another password"):
            services.reset_password(token, password=password, at=clock.now())
    except LinkInvalid:
        raise
    except DomainError as refusal:
        form.add_error("password", sentence(refusal))
        return False
    return True


def _over(request: HttpRequest, refusal: DomainError) -> HttpResponse:
    context = {"sentence": sentence(refusal)}
    return render(request, "portal/link_over.html", context, status=GONE)


@personal_page(methods=("GET", "HEAD", "POST"))
def prove(request: HttpRequest, token: str) -> HttpResponse:
    """Confirm an address by the link of a mail, signed in as whom it was sent to.

    It takes a press of the button: programs that read mails follow links.
    """
    actor = securing.own_actor(request.user)  # type: ignore[arg-type] # nobody else is let in
    try:
        whose, address = links.read_address(token, at=clock.now())
        if whose != actor.id:
            raise LinkInvalid(links.OVER)
        if request.method == "POST":
            services.prove_address(token, actor=actor, at=clock.now())
            messages.success(request, _("%(email)s is confirmed.") % {"email": address})
            return redirect("portal:security")
    except LinkInvalid as refusal:
        return _over(request, refusal)
    return render(request, "portal/prove.html", {"email": address})


@personal_page(methods=("POST",))
def prove_again(request: HttpRequest) -> HttpResponse:
    """Send the link again."""
    actor = securing.own_actor(request.user)  # type: ignore[arg-type] # nobody else is let in
    try:
        services.ask_to_prove_address(actor.id, actor=actor, at=clock.now())
    except DomainError as refusal:
        messages.error(request, sentence(refusal))
    else:
        messages.success(request, _("The mail is on its way."))
    return redirect("portal:security")
