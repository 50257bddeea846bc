"""Seats: buy more or fewer, after seeing what it does to the next invoice."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from apps.core import clock
from apps.core.errors import DomainError, Forbidden
from apps.invoicing import selectors as invoicing
from apps.invoicing.document import Document, Line
from apps.portal.access import PortalRequest, page
from apps.portal.agreements import starts_later
from apps.portal.forms import SeatsForm, refuse
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions import services
from apps.subscriptions.selectors import SubscriptionFacts


@dataclass(frozen=True, slots=True)
class Preview:
    """The next invoice without and with the change; amounts in minor units."""

    quantity: int
    before: int
    after: int
    lines: tuple[Line, ...]
    document: Document | None

    @property
    def difference(self) -> int:
        """What the change adds to the next invoice, negative when it takes away."""
        return self.after - self.before

    @property
    def credit(self) -> int:
        """What the next invoice leaves the customer, where it comes to less than nothing."""
        return max(0, -self.after)


@page("plan", "manage_billing", methods=("GET", "HEAD", "POST"))
def seats(request: PortalRequest, subscription: str, key: str) -> HttpResponse:
    """Preview a total quantity (GET with one), and buy it (POST)."""
    facts = subscriptions.get(subscription, organization_id=request.organization.pk)
    if key not in facts.quantities(clock.now()):
        raise Http404
    if starts_later(facts, clock.now()):
        messages.info(request, _("Quantities can be changed once the subscription has started."))
        return redirect("portal:plan")
    asked = request.POST if request.method == "POST" else request.GET
    held = _held(facts, key)
    form = SeatsForm(asked if "quantity" in asked else None, initial={"quantity": held})
    valid = form.is_bound and form.is_valid()
    if request.method == "POST" and valid and _bought(request, facts, key, form):
        messages.success(request, _("Changed. The next invoice carries the difference."))
        return redirect("portal:plan")
    valid = valid and not form.errors
    context = {
        "facts": facts,
        "item": facts.licensed(key),
        "held": held,
        "form": form,
        "preview": _preview(facts, key, form.cleaned_data["quantity"]) if valid else None,
    }
    return render(request, "portal/seats.html", context, status=422 if form.errors else 200)


def _held(facts: SubscriptionFacts, key: str) -> int:
    return int(facts.quantities(clock.now())[key])


def _preview(facts: SubscriptionFacts, key: str, quantity: int) -> Preview:
    before = invoicing.upcoming_of(facts)
    after = invoicing.upcoming_with_quantity(
        facts, quantity=Decimal(quantity), at=clock.now(), key=key
    )
    changed = tuple(line for line in after.lines if line.key == key) if after else ()
    return Preview(
        quantity, before.total if before else 0, after.total if after else 0, changed, after
    )


def _bought(request: PortalRequest, facts: SubscriptionFacts, key: str, form: SeatsForm) -> bool:
    try:
        services.change_quantity(
            facts.public_id,
            quantity=form.cleaned_data["quantity"],
            actor=request.actor,
            at=clock.now(),
            key=key,
        )
    except Forbidden:
        raise
    except DomainError as refusal:
        refuse(form, refusal)
        return False
    return True
