"""Billing details: what stands on invoices, and how the organization reads."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from apps.core import clock
from apps.core.errors import DomainError
from apps.portal.access import PortalRequest, page
from apps.portal.forms import DetailsForm, refuse
from apps.tenants import services

FIELDS = tuple(DetailsForm.base_fields)


@page("details", "manage_organization", methods=("GET", "HEAD", "POST"))
def details(request: PortalRequest) -> HttpResponse:
    """Show the details and take changes to them."""
    row = request.organization
    initial = {name: getattr(row, name) for name in FIELDS}
    if request.method != "POST":
        return render(request, "portal/details.html", {"form": DetailsForm(initial=initial)})
    form = DetailsForm(request.POST, initial=initial)
    if form.is_valid() and _changed(request, form):
        messages.success(request, _("Saved. Invoices issued so far keep the old details."))
        return redirect("portal:details")
    return render(request, "portal/details.html", {"form": form}, status=422)


def _changed(request: PortalRequest, form: DetailsForm) -> bool:
    changes = {name: form.cleaned_data[name] for name in form.changed_data}
    if not changes:
        return True
    try:
        services.update_organization(
            request.organization.pk, changes=changes, actor=request.actor, at=clock.now()
        )
    except DomainError as refusal:
        refuse(form, refusal)
        return False
    return True
