"""API keys: made and shown once, rotated, revoked."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from apps.core import clock
from apps.core.errors import DomainError, Forbidden, NotFound
from apps.portal.access import PortalRequest, page
from apps.portal.forms import KeyForm, Refusing
from apps.portal.refusals import sentence
from apps.tenants import selectors, services
from apps.tenants.services import NewKey


@page("developers", "manage_api_keys", methods=("GET", "HEAD", "POST"))
def developers(request: PortalRequest) -> HttpResponse:
    """Show the keys and make one. The answer to the making is the only page that shows the key."""
    if request.method != "POST":
        return _show(request, KeyForm())
    form = KeyForm(request.POST)
    made = _make(request, form) if form.is_valid() else None
    return _show(request, form, status=422) if made is None else _shown_once(request, made)


def _shown_once(request: PortalRequest, made: NewKey) -> HttpResponse:
    context = {
        "made": made,
        "base_url": settings.API_BASE_URL,
        "subject": request.organization.slug,
    }
    return render(request, "portal/key_made.html", context)


def _show(request: PortalRequest, form: KeyForm, status: int = 200) -> HttpResponse:
    at = clock.now()
    keys = selectors.api_keys(request.organization.pk)
    context = {
        "active": [key for key in keys if key.is_good(at)],
        "past": [key for key in keys if not key.is_good(at)],
        "form": form,
        "base_url": settings.API_BASE_URL,
    }
    return render(request, "portal/developers.html", context, status=status)


def _make(request: PortalRequest, form: KeyForm) -> NewKey | None:
    at, days = clock.now(), form.cleaned_data["expires"]
    with Refusing(form):
        return services.create_api_key(
            request.organization.pk,
            name=form.cleaned_data["name"],
            scopes=form.cleaned_data["scopes"],
            actor=request.actor,
            at=at,
            expires_at=at + timedelta(days=int(days)) if days else None,
        )
    return None


@page("developers", "manage_api_keys", methods=("POST",))
def rotate(request: PortalRequest, key: str) -> HttpResponse:
    """Make a key that may do the same and show it; the old one works on for a day."""
    try:
        made = services.rotate_api_key(key, actor=request.actor, at=clock.now())
    except (Forbidden, NotFound):
        raise
    except DomainError as refusal:
        messages.error(request, sentence(refusal))
        return redirect("portal:developers")
    return _shown_once(request, made)


@page("developers", "manage_api_keys", methods=("POST",))
def revoke(request: PortalRequest, key: str) -> HttpResponse:
    """Make a key stop working."""
    services.revoke_api_key(key, actor=request.actor, at=clock.now())
    messages.success(request, _("The key is revoked; whoever uses it is refused from now on."))
    return redirect("portal:developers")
