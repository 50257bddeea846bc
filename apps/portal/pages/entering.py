"""Signing in: by password, by passkey, with a second factor; and showing again that it is you."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect, render
from django.utils import translation
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from apps.core import clock, rls
from apps.core.errors import DomainError
from apps.core.throttle import TooManyAttempts, address_of
from apps.portal import arrivals, providers
from apps.portal.access import open_page, personal_page
from apps.portal.account_forms import AnswerForm, CodeForm, ConfirmForm, SignInForm
from apps.portal.forms import UNPROCESSABLE, refuse
from apps.portal.languages import language_of
from apps.tenants import passkeys, presence, securing, services

QUESTION = "passkey_question"
ADMIN = "/admin/"


@open_page
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in by password or passkey; who is signed in already goes on."""
    wanted = arrivals.where_to(request)
    if request.user.is_authenticated:
        return HttpResponseRedirect(wanted)
    with translation.override(language_of(request)):
        form = SignInForm(request.POST if "username" in request.POST else None)
        if request.method == "POST":
            return _answer_sign_in(request, form, wanted)
        return _show_sign_in(request, form)


def _answer_sign_in(request: HttpRequest, form: SignInForm, wanted: str) -> HttpResponse:
    try:
        if "answer" in request.POST:
            person = _by_passkey(request)
            return arrivals.enter(request, person, wanted=wanted, second_factor=True)
        if form.is_valid():
            with rls.ops_scope(arrivals.SCOPE):
                person = services.check_password(
                    form.cleaned_data["username"],
                    password=form.cleaned_data["password"],
                    address=address_of(request),
                    at=clock.now(),
                )
            return arrivals.arrive(request, person, wanted=wanted)
    except DomainError as refusal:
        return _show_sign_in(request, form, refusal)
    return _show_sign_in(request, form)


def _by_passkey(request: HttpRequest, person: Any = None) -> Any:
    """Return whose passkey has answered. Raises WrongCode."""
    form = AnswerForm(request.POST)
    answer = form.cleaned_data["answer"] if form.is_valid() else {}
    with rls.ops_scope(arrivals.SCOPE):
        return services.use_passkey(
            answer, state=request.session.pop(QUESTION, None), user=person, at=clock.now()
        )


def _show_sign_in(
    request: HttpRequest, form: SignInForm, refusal: DomainError | None = None
) -> HttpResponse:
    wanted = arrivals.where_to(request)
    context = {
        "form": form,
        "next": wanted,
        "providers": providers.offered(),
        "registration": settings.ENABLE_REGISTRATION,
        "is_staff_door": wanted.startswith(ADMIN),
    }
    return _shown(request, "portal/login.html", context, form, refusal)


def _shown(
    request: HttpRequest,
    template: str,
    context: dict[str, Any],
    form: forms.Form,
    refusal: DomainError | None,
) -> HttpResponse:
    """Show a form with what was refused above it, and how long to wait where that helps."""
    status = 200
    if refusal is not None:
        form.cleaned_data = {}
        refuse(form, refusal)
        status = refusal.status if isinstance(refusal, TooManyAttempts) else UNPROCESSABLE
    elif form.errors:
        status = UNPROCESSABLE
    response = render(request, template, context, status=status)
    if isinstance(refusal, TooManyAttempts):
        response["Retry-After"] = str(refusal.extra["retry_after"])
    return response


@open_page
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def second_factor(request: HttpRequest) -> HttpResponse:
    """Ask whoever has shown a password for a code or a passkey; nobody else is asked anything."""
    person = arrivals.waiting(request)
    if person is None:
        return redirect("portal:login")
    with translation.override(language_of(request)):
        form = CodeForm(request.POST if "code" in request.POST else None)
        refusal: DomainError | None = None
        if request.method == "POST":
            try:
                if _has_shown(request, form, person):
                    wanted = arrivals.wanted_by_waiting(request)
                    return arrivals.enter(request, person, wanted=wanted, second_factor=True)
            except DomainError as refused:
                refusal = refused
        with rls.ops_scope(arrivals.SCOPE):
            context = {"form": form, "security": securing.security(person.pk)}
        return _shown(request, "portal/second_factor.html", context, form, refusal)


def _has_shown(request: HttpRequest, form: CodeForm, person: Any) -> bool:
    """Use up the code or the passkey that was sent; False when neither can be read."""
    if "answer" in request.POST:
        _by_passkey(request, person)
        return True
    if not form.is_valid():
        return False
    with rls.ops_scope(arrivals.SCOPE):
        services.use_code(person, code=form.cleaned_data["code"], at=clock.now())
    return True


@open_page
@never_cache
@require_http_methods(["GET"])
def question(request: HttpRequest, purpose: str) -> HttpResponse:
    """Ask the browser for a passkey: `anybody`'s, that of who is `waited` for, one's `own`, or a
    `new` one.
    """
    user = request.user if request.user.is_authenticated else None
    person = arrivals.waiting(request) if purpose == "waited" else user
    if purpose not in {"anybody", "waited", "own", "new"} or (
        person is None and purpose != "anybody"
    ):
        raise Http404
    with rls.ops_scope(arrivals.SCOPE):
        if purpose == "new":
            options, state = passkeys.ask_new(person)  # type: ignore[arg-type] # a tenants.User
        else:
            options, state = passkeys.ask(None if purpose == "anybody" else person)
    request.session[QUESTION] = state
    return JsonResponse(options)


@personal_page(methods=("GET", "HEAD", "POST"))
def confirm(request: HttpRequest) -> HttpResponse:
    """Show again that it is you: by the second factor where there is one, else by the password."""
    security = securing.security(request.user.pk)  # type: ignore[arg-type] # nobody else is let in
    by_code = security.has_second_factor
    form = (CodeForm if by_code else ConfirmForm)(
        request.POST if request.method == "POST" and "answer" not in request.POST else None
    )
    refusal: DomainError | None = None
    if request.method == "POST":
        try:
            if _confirmed(request, form, by_code=by_code):
                return HttpResponseRedirect(arrivals.where_to(request))
        except DomainError as refused:
            refusal = refused
    context = {"form": form, "security": security, "next": arrivals.where_to(request)}
    return _shown(request, "portal/confirm.html", context, form, refusal)


def _confirmed(request: HttpRequest, form: forms.Form, *, by_code: bool) -> bool:
    at, user = clock.now(), request.user
    if by_code:
        if not _has_shown(request, form, user):  # type: ignore[arg-type] # then it is a CodeForm
            return False
        presence.show_second_factor(request.session, at=at)
        return True
    if not form.is_valid():
        return False
    password = form.cleaned_data["password"]
    services.check_password(user.email, password=password, address=address_of(request), at=at)  # type: ignore[union-attr]
    presence.confirm(request.session, at=at)
    return True
