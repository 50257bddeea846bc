"""Billing details: what stands on invoices, how it is taxed, and how the organization reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from apps.core.errors import DomainError
from apps.portal import words
from apps.portal.access import PortalRequest, page
from apps.portal.forms import DetailsForm, refuse
from apps.tenants import services, vat

if TYPE_CHECKING:
    from apps.tenants.models import Organization

FIELDS = tuple(DetailsForm.base_fields)


@page("details", "manage_organization", methods=("GET", "HEAD", "POST"))
def details(request: PortalRequest) -> HttpResponse:
    """Show the details and take changes to them."""
    row = request.organization
    initial = {name: getattr(row, name) for name in FIELDS}
    if request.method != "POST":
        return _shown(request, DetailsForm(initial=initial), _verdict(row))
    form = DetailsForm(request.POST, initial=initial)
    if form.is_valid() and _changed(request, form):
        messages.success(request, _("Saved. Invoices issued so far keep the old details."))
        return redirect("portal:details")
    told = _words(request.POST.get("tax_id", ""), request.POST.get("country", ""))
    return _shown(request, form, told, status=422)


@page("details", "manage_organization")
def tax_id(request: PortalRequest) -> HttpResponse:
    """Say in words what the form of a tax id is worth, while it is being typed."""
    told = _words(request.GET.get("tax_id", "")[:40], request.GET.get("country", ""))
    return HttpResponse(told, content_type="text/plain; charset=utf-8")


def _shown(
    request: PortalRequest, form: DetailsForm, tax_id: str, status: int = 200
) -> HttpResponse:
    context = {"form": form, "tax_id": tax_id}
    return render(request, "portal/details.html", context, status=status)


def _verdict(row: Organization) -> str:
    """Return what is known of the stored tax id: from a register, or else from its form."""
    if row.tax_id_status in {"verified", "unreachable"}:
        return str(words.TAX_IDS[row.tax_id_status])
    by_form = vat.read(row.tax_id, row.country)
    if row.tax_id_status == "invalid" and not by_form.problem:
        return str(words.TAX_IDS["invalid"])
    return _words(row.tax_id, row.country)


def _words(tax_id: str, country: str) -> str:
    """Return what the form of a tax id says; nothing where nobody knows its rules."""
    reading = vat.read(tax_id, country if country in services.COUNTRIES else "")
    key = reading.problem or ("valid_format" if reading.number else "")
    return str(words.TAX_IDS[key]) if key else ""


def _changed(request: PortalRequest, form: DetailsForm) -> bool:
    changes = {name: form.cleaned_data[name] for name in form.changed_data}
    if not changes:
        return True
    try:
        services.update_organization(
            request.organization.pk, changes=changes, actor=request.actor, at=request.at
        )
    except DomainError as refusal:
        refuse(form, refusal)
        return False
    return True
