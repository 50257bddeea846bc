"""Limits: how much of each is used, when it counts anew, and how much usage may cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from apps.engine.money import Money
from apps.entitlements import selectors, services
from apps.entitlements.selectors import CapStanding, Decision
from apps.portal.access import PortalRequest, page
from apps.portal.forms import Refusing, SpendCapForm

FULL = 100


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit with how full it is, in percent; None: there is no end."""

    decision: Decision
    percent: int | None

    @property
    def is_over(self) -> bool:
        """Whether nothing is left."""
        return self.percent is not None and self.percent >= FULL


@page("usage", "view_usage")
def limits(request: PortalRequest) -> HttpResponse:
    """Show the limits and the spend caps in force."""
    return _page(request)


@page("usage", "manage_billing", methods=("POST",))
def set_cap(request: PortalRequest) -> HttpResponse:
    """Bound what usage may cost in a billing period, in the organization's currency."""
    form = SpendCapForm(request.POST, currency=request.organization.currency, auto_id="cap_%s")
    if form.is_valid():
        with Refusing(form):
            services.set_spend_cap(
                request.organization.pk,
                amount=form.cleaned_data["amount"],
                on_limit=form.cleaned_data["on_limit"],
                actor=request.actor,
                at=request.at,
            )
            messages.success(request, _("Saved: the spend cap holds from now on."))
            return redirect("portal:limits")
    return _page(request, form=form, status=422)


@page("usage", "manage_billing", methods=("POST",))
def remove_cap(request: PortalRequest, cap: str) -> HttpResponse:
    """Let usage cost what it costs."""
    services.remove_spend_cap(cap, actor=request.actor, at=request.at)
    messages.success(request, _("The spend cap was removed."))
    return redirect("portal:limits")


def _page(
    request: PortalRequest, *, form: SpendCapForm | None = None, status: int = 200
) -> HttpResponse:
    organization_id, currency = request.organization.pk, request.organization.currency
    caps = selectors.cap_standings(organization_id, at=request.at)
    context = {
        "bars": [_bar(one) for one in selectors.limits_of(organization_id, at=request.at)],
        "caps": caps,
        "currency": currency,
        "form": form
        or SpendCapForm(initial=_initial(caps, currency), currency=currency, auto_id="cap_%s"),
    }
    return render(request, "portal/limits.html", context, status=status)


def _bar(one: Decision) -> Bar:
    standing = one.standing
    if standing is None or standing.limit is None:
        return Bar(one, None)
    full = not standing.limit or standing.taken >= standing.limit
    return Bar(one, FULL if full else max(0, int(standing.taken * FULL / standing.limit)))


def _initial(caps: Sequence[CapStanding], currency: str) -> dict[str, object]:
    """Return the cap over everything in the currency, as its form takes it."""
    for one in caps:
        if one.subscription is None and one.currency == currency:
            return {"amount": Money(one.amount, currency).major, "on_limit": one.on_limit}
    return {"on_limit": "block"}
