"""The pages that say no: what happened, and what to do now. None holds a form or a secret."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import translation
from django.utils.translation import gettext as _

from apps.core.errors import DomainError
from apps.core.middleware import request_id
from apps.portal.languages import language_of
from apps.portal.refusals import sentence
from apps.portal.words import role_words
from apps.tenants.roles import ROLE_CAPABILITIES


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer a request that cannot be read."""
    return _page(request, "400.html", 400)


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer a request that is not allowed to anybody like this, such as one without a token."""
    return _page(request, "403.html", 403)


def page_not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer for what is not there, or is somebody else's: the same body, whatever the address."""
    return _page(request, "404.html", 404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer for a fault of ours, with the id under which the log knows it."""
    return _page(request, "500.html", 500, request_id=request_id(request))


def forbidden(request: HttpRequest, capability: str) -> HttpResponse:
    """Tell a member who can do what they cannot."""
    able = [role for role, held in ROLE_CAPABILITIES.items() if capability in held]
    return _page(request, "403.html", 403, who_can=[role_words(role) for role in able])


def refused(request: HttpRequest, refusal: DomainError) -> HttpResponse:
    """Show a refusal that the page itself had no place for."""
    return _page(
        request,
        "portal/refused.html",
        refusal.status,
        sentence=sentence(refusal),
        title=_("That did not work"),
    )


def _page(request: HttpRequest, template: str, status: int, **context: object) -> HttpResponse:
    formats = getattr(request, "formats", None)  # a member's page had begun
    with translation.override(language_of(request, formats.locale if formats else "")):
        return render(request, template, context, status=status)
