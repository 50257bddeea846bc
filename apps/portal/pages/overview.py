"""The first page: what runs, what it comes to, what is due."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render

from apps.invoicing import credit
from apps.invoicing import selectors as invoicing
from apps.portal.access import PortalRequest, page
from apps.portal.agreements import standings
from apps.portal.balances import balances
from apps.subscriptions import selectors as subscriptions

RECENT = 5


@page("overview", "view_usage")
def overview(request: PortalRequest) -> HttpResponse:
    """Show the live subscriptions and, to those who may see amounts, what is owed."""
    at, organization_id = request.at, request.organization.pk
    live = subscriptions.of_organization(organization_id, live=True)
    with_money = request.actor.may("view_invoices")
    context = {
        "now": at,
        "standings": standings(live, request.organization, at=at),
        "owed": balances(organization_id, at=at) if with_money else [],
        "credit": credit.credit_of(organization_id, at=at) if with_money else [],
        "recent": invoicing.final_invoices(organization_id, at=at, limit=RECENT)
        if with_money
        else [],
    }
    return render(request, "portal/overview.html", context)
