"""Alerts: which limits are watched, and what has reached them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from apps.notifications import watching
from apps.portal.access import PortalRequest, page
from apps.portal.forms import AlertRuleForm, Refusing
from apps.portal.words import ALERT_KINDS
from apps.subscriptions import selectors as subscriptions
from apps.watch import selectors, services

if TYPE_CHECKING:
    from apps.watch.models import Alert, AlertRule

PERCENT_KINDS = ("percent_of_included", "forecast_percent")
SHOWN = 30


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as people read it: its public id, what it watches, of what, and the limit."""

    public_id: str
    kind: str
    meter: str
    limit: str


@dataclass(frozen=True, slots=True)
class Told:
    """An alert and what it says."""

    alert: Alert
    sentence: str


@page("alerts", "view_invoices")
def alerts(request: PortalRequest) -> HttpResponse:
    """Show the rules and what they told."""
    return _page(request)


@page("alerts", "manage_billing", methods=("POST",))
def set_rule(request: PortalRequest) -> HttpResponse:
    """Watch one more limit."""
    form = AlertRuleForm(request.POST, meters=_meters(request), auto_id="rule_%s")
    if form.is_valid():
        with Refusing(form):
            services.set_rule(
                request.organization.pk,
                **_said(form, request.organization.currency),
                actor=request.actor,
                at=request.at,
            )
            messages.success(request, _("Saved: you will be told by e-mail."))
            return redirect("portal:alerts")
    return _page(request, form=form, status=422)


@page("alerts", "manage_billing", methods=("POST",))
def end_rule(request: PortalRequest, rule: str) -> HttpResponse:
    """Watch a limit no more."""
    services.end_rule(rule, actor=request.actor, at=request.at)
    messages.success(request, _("This limit is no longer watched."))
    return redirect("portal:alerts")


def _said(form: AlertRuleForm, currency: str) -> dict[str, Any]:
    kind, limit = form.cleaned_data["kind"], form.cleaned_data["limit"]
    if kind in PERCENT_KINDS:
        return {"kind": kind, "percent": limit, "meter": form.cleaned_data["meter"]}
    return {"kind": kind, "amount": limit, "currency": currency}


def _meters(request: PortalRequest) -> list[tuple[str, str]]:
    """Return what the organization's plans meter, by key, with the names of their prices."""
    found: dict[str, str] = {}
    for facts in subscriptions.of_organization(request.organization.pk, live=True):
        for one in facts.standing:
            if one.item.meter is not None and one.item.included > 0:
                found.setdefault(one.item.meter, one.price.name)
    return sorted(found.items(), key=lambda pair: pair[1])


def _page(
    request: PortalRequest, *, form: AlertRuleForm | None = None, status: int = 200
) -> HttpResponse:
    meters = _meters(request)
    context = {
        "rules": list(_rules(request, dict(meters))),
        "told": list(_told(request)),
        "currency": request.organization.currency,
        "form": form
        or AlertRuleForm(initial={"limit": Decimal(80)}, meters=meters, auto_id="rule_%s"),
    }
    return render(request, "portal/alerts.html", context, status=status)


def _rules(request: PortalRequest, names: dict[str, str]) -> Iterator[Rule]:
    for row in selectors.rules_of(request.organization.pk):
        meter = names.get(row.meter, row.meter)
        yield Rule(row.public_id, str(ALERT_KINDS[row.kind]), meter, _limit(request, row))


def _limit(request: PortalRequest, row: AlertRule) -> str:
    words = request.formats.words(row.currency)
    return words.percent(row.limit) if row.percent is not None else words.money(int(row.limit))


def _told(request: PortalRequest) -> Iterator[Told]:
    for alert in selectors.alerts_of(request.organization.pk, limit=SHOWN):
        yield Told(alert, watching.of_alert(alert, request.formats.words(alert.currency)))
