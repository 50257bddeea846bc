"""Licences: what installations may do, the tokens and the key that say so, and who has one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from apps.core import clock
from apps.core.errors import DomainError, Forbidden
from apps.licensing import selectors, services
from apps.licensing.selectors import InstanceFacts, LicenseFacts
from apps.portal.access import PortalRequest, page
from apps.portal.forms import LicenceForm, refuse
from apps.portal.words import LICENCE_STATES
from apps.subscriptions import selectors as subscriptions

SHOWN = 30
KINDS = {"valid": "active", "grace": "past_due", "superseded": "circle", "expired": "canceled"}
DEVICES = "maxDevices"


@dataclass(frozen=True, slots=True)
class Shown:
    """A licence as people read it: `kind` is the sign of its state."""

    facts: LicenseFacts
    state: str
    kind: str
    words: str
    granted: Sequence[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Installation:
    """An installation and how many devices its licence allows; None: as many as it likes."""

    facts: InstanceFacts
    allowed: int | None
    is_licensed: bool


@page("licences", "view_licences")
def licences(request: PortalRequest) -> HttpResponse:
    """Show the licences in force, the public key and the installations."""
    return _page(request)


@page("licences", "manage_licences", methods=("POST",))
def fetch(request: PortalRequest) -> HttpResponse:
    """Fetch the licence that holds, for one installation or for any; a fresh one when it is due."""
    form = LicenceForm(request.POST, applications=_applications(request), auto_id="licence_%s")
    if not form.is_valid():
        return _page(request, form=form, status=422)
    try:
        services.current_license(
            request.organization.pk, **form.wanted(), actor=request.actor, at=request.at
        )
    except Forbidden:
        raise
    except DomainError as refusal:
        refuse(form, refusal)
        return _page(request, form=form, status=422)
    messages.success(request, _("The licence below is good."))
    return redirect("portal:licences")


@page("licences", "view_licences")
def token(request: PortalRequest, licence: str) -> HttpResponse:
    """Hand over a licence as a file."""
    found = selectors.get(licence, organization_id=request.organization.pk)
    response = HttpResponse(found.token, content_type="application/jwt")
    response["Content-Disposition"] = f'attachment; filename="{found.public_id}.jwt"'
    return response


@page("licences", "manage_licences", methods=("POST",))
def revoke(request: PortalRequest, licence: str) -> HttpResponse:
    """Take a licence back."""
    found = selectors.get(licence, organization_id=request.organization.pk)
    services.revoke_license(found.public_id, actor=request.actor, at=request.at)
    messages.success(request, _("The licence is revoked."))
    return redirect("portal:licences")


@page("licences", "manage_licences", methods=("POST",))
def block(request: PortalRequest, instance: str) -> HttpResponse:
    """Revoke an installation's licences and give it none any more."""
    found = selectors.get_instance(instance, organization_id=request.organization.pk)
    services.block_instance(found.public_id, actor=request.actor, at=request.at)
    messages.success(request, _("The installation is blocked: it gets no licence any more."))
    return redirect("portal:licences")


@page("licences", "manage_licences", methods=("POST",))
def unblock(request: PortalRequest, instance: str) -> HttpResponse:
    """Let an installation have licences again."""
    found = selectors.get_instance(instance, organization_id=request.organization.pk)
    services.unblock_instance(found.public_id, actor=request.actor, at=request.at)
    messages.success(request, _("The installation may fetch licences again."))
    return redirect("portal:licences")


def _page(
    request: PortalRequest, *, form: LicenceForm | None = None, status: int = 200
) -> HttpResponse:
    organization_id = request.organization.pk
    current = selectors.current_licenses(organization_id, at=request.at)
    good = {one.id for one in current}
    latest = selectors.licenses_of(organization_id, limit=SHOWN)
    keys = selectors.public_keys(clock.now())
    context = {
        "current": [_shown(request, one) for one in current],
        "earlier": [_shown(request, one) for one in latest if one.id not in good],
        "installations": _installations(organization_id, current),
        "terms": selectors.terms_of(organization_id),
        "key": keys[0] if keys else None,
        "form": form or LicenceForm(applications=_applications(request), auto_id="licence_%s"),
    }
    return render(request, "portal/licences.html", context, status=status)


def _shown(request: PortalRequest, one: LicenseFacts) -> Shown:
    state = one.state(request.at)
    granted = [
        *sorted(one.claims["features"].items()),
        *sorted(one.claims["limits"].items()),
    ]
    return Shown(one, state, KINDS.get(state, "void"), str(LICENCE_STATES[state]), granted)


def _installations(organization_id: int, current: Sequence[LicenseFacts]) -> list[Installation]:
    anybodys = next((one for one in current if not one.instance), None)
    by_name = {one.instance: one for one in current if one.instance}
    found = []
    for one in selectors.instances_of(organization_id):
        licensed = by_name.get(one.name, anybodys)
        allowed = None if licensed is None else licensed.claims["features"].get(DEVICES)
        found.append(Installation(one, allowed, licensed is not None))
    return found


def _applications(request: PortalRequest) -> list[tuple[str, str]]:
    live = subscriptions.of_organization(request.organization.pk, live=True)
    found = {one.version.application_slug: one.version.application_name for one in live}
    return sorted(found.items(), key=lambda pair: pair[1])
