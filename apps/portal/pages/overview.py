"""The first page: what runs, what it comes to, what is due."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpResponse
from django.shortcuts import render

from apps.invoicing import selectors as invoicing
from apps.invoicing.selectors import Prospect
from apps.portal.access import PortalRequest, page
from apps.portal.agreements import standings
from apps.portal.balances import balances_of
from apps.subscriptions import selectors as subscriptions

RECENT = 5


@page("overview", "view_usage")
def overview(request: PortalRequest) -> HttpResponse:
    """Show the live subscriptions and, to those who may see amounts, what is owed."""
    at, organization = request.at, request.organization
    live = subscriptions.of_organization(organization.pk, live=True)
    ahead = invoicing.prospect(live, organization, at=at)
    context = {
        "now": at,
        "standings": standings(live, ahead.upcoming, at=at),
        **(_money(organization.pk, ahead, at) if request.actor.may("view_invoices") else {}),
    }
    return render(request, "portal/overview.html", context)


def _money(organization_id: int, ahead: Prospect, at: datetime) -> dict[str, object]:
    account = invoicing.account(organization_id, at=at, recent=RECENT)
    owed = balances_of(account.standing)
    return {"owed": owed, "credit": ahead.credit, "recent": account.recent}
