"""Other plans, add-ons and quantities: shown with their price first, and confirmed for that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from apps.core.errors import DomainError, Forbidden, NotFound
from apps.invoicing.services import Changed
from apps.plans.selectors import PlanOffer, VersionTerms
from apps.portal import quotes
from apps.portal.access import PortalRequest, page
from apps.portal.agreements import add_ons, starts_later
from apps.portal.forms import ChangeForm, refuse
from apps.portal.offers import offers_to, taken_in
from apps.portal.quotes import WHEN, Quote
from apps.portal.words import full_name
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions.changes import AddItem, ChangePlan, ChangeQuantity, RemoveItem, Wish
from apps.subscriptions.selectors import SubscriptionFacts

METHODS = ("GET", "HEAD", "POST")


@dataclass(frozen=True, slots=True)
class Intent:
    """What a page changes: its words, and the wish that a total quantity makes of it.

    `quantity` is what the form begins with; None where there is nothing to count. `lead` says what
    there is now.
    """

    title: str
    lead: str
    wish: Callable[[Decimal | None], Wish]
    quantity: int | None = None
    unit: str = ""


@page("plan", "manage_billing", methods=METHODS)
def change_plan(request: PortalRequest, subscription: str, code: str) -> HttpResponse:
    """Change to another plan of the application."""
    facts = _facts(request, subscription)
    offer = _offer(request, facts, code, kind="base")
    version = offer.version
    key, name = _counted(version)
    intent = Intent(
        title=_("Change to %(plan)s") % {"plan": version.plan_name},
        lead=_("You have %(plan)s.") % {"plan": full_name(facts.version)},
        wish=lambda quantity: ChangePlan(
            version.public_id, {} if quantity is None else {key: quantity}
        ),
        quantity=_carried(facts, version, key, request.at),
        unit=name,
    )
    return _decide(request, facts, intent)


@page("plan", "manage_billing", methods=METHODS)
def add(request: PortalRequest, subscription: str, code: str) -> HttpResponse:
    """Add an add-on."""
    facts = _facts(request, subscription)
    offer = _offer(request, facts, code, kind="add_on")
    version = offer.version
    key, name = _counted(version)
    intent = Intent(
        title=_("Add %(plan)s") % {"plan": version.plan_name},
        lead=offer.description,
        wish=lambda quantity: AddItem(
            version.public_id, {} if quantity is None else {key: quantity}
        ),
        quantity=int(version.price(key).included) if key else None,
        unit=name,
    )
    return _decide(request, facts, intent)


@page("plan", "manage_billing", methods=METHODS)
def remove(request: PortalRequest, subscription: str, code: str) -> HttpResponse:
    """End an add-on."""
    facts = _facts(request, subscription)
    held = {one.plan_code: one for one in add_ons(facts, request.at)}
    if code not in held:
        raise Http404
    intent = Intent(
        title=_("Remove %(plan)s") % {"plan": held[code].plan_name},
        lead=_("You have %(plan)s.") % {"plan": full_name(held[code])},
        wish=lambda _quantity: RemoveItem(code),
    )
    return _decide(request, facts, intent)


@page("plan", "manage_billing", methods=METHODS)
def seats(request: PortalRequest, subscription: str, key: str) -> HttpResponse:
    """Change how many there are of a licensed price."""
    facts = _facts(request, subscription)
    bought = facts.quantities(max(request.at, facts.started_at))
    if key not in bought:
        raise Http404
    item = facts.licensed(key, at=request.at)
    told = {
        "plan": full_name(facts.version),
        "held": request.formats.number(bought[key]),
        "included": request.formats.number(item.item.included),
    }
    intent = Intent(
        title=_("Change %(name)s") % {"name": item.price.name},
        lead=_("%(plan)s: you have %(held)s, of which %(included)s are included.") % told,
        wish=lambda quantity: ChangeQuantity(quantity or Decimal(0), key),
        quantity=int(bought[key]),
        unit=item.price.name,
    )
    return _decide(request, facts, intent)


def _facts(request: PortalRequest, subscription: str) -> SubscriptionFacts:
    return subscriptions.get(subscription, organization_id=request.organization.pk)


def _offer(request: PortalRequest, facts: SubscriptionFacts, code: str, *, kind: str) -> PlanOffer:
    """Return what is on offer to everybody by that code; nothing else can be had here."""
    taken = taken_in(facts, request.at)
    for offer in offers_to(request.organization):
        fits = offer.application_slug == facts.version.application_slug and not offer.custom
        if fits and offer.code == code and offer.kind == kind and code not in taken:
            return offer
    raise Http404


def _counted(version: VersionTerms) -> tuple[str, str]:
    """Return the key and name of the one price whose quantity is bought; empty without one."""
    sold = [price for price in version.prices if price.type == "licensed"]
    return (sold[0].key, sold[0].name) if len(sold) == 1 else ("", "")


def _carried(facts: SubscriptionFacts, version: VersionTerms, key: str, at: datetime) -> int | None:
    """Return the quantity to begin with: what is bought now, or else what is included."""
    if not key:
        return None
    bought = facts.quantities(max(at, facts.started_at))
    if len(bought) == 1:
        return int(next(iter(bought.values())))
    return int(bought.get(key, version.price(key).included))


def _decide(request: PortalRequest, facts: SubscriptionFacts, intent: Intent) -> HttpResponse:
    """Show the price of the change (GET), or carry out what was shown (POST)."""
    if starts_later(facts, request.at):
        messages.info(request, _("Changes can be made once the subscription has started."))
        return redirect("portal:plan")
    form = _form(request, intent)
    if not form.is_valid():
        return _page(request, facts, intent, form, None, 422)
    wish, behaviour = intent.wish(form.asked), WHEN[form.cleaned_data["when"]]
    status = 200
    if request.method == "POST":
        try:
            return _done(request, quotes.confirm(request, facts, wish, behaviour))
        except (Forbidden, NotFound):
            raise
        except DomainError as refusal:
            if not quotes.is_stale(refusal):
                refuse(form, refusal)
                return _page(request, facts, intent, form, None, 422)
            status = refusal.status
    try:
        quote = quotes.ask(request, facts, wish, behaviour)
    except (Forbidden, NotFound):
        raise
    except DomainError as refusal:
        refuse(form, refusal)
        return _page(request, facts, intent, form, None, 422)
    return _page(request, facts, intent, form, quote, status)


def _form(request: PortalRequest, intent: Intent) -> ChangeForm:
    asked = request.POST if request.method == "POST" else request.GET
    begins = {"when": "now"} | ({} if intent.quantity is None else {"quantity": intent.quantity})
    said = {name: asked.get(name, str(value)) for name, value in begins.items()}
    return ChangeForm(said, initial=begins, counts=intent.quantity is not None, unit=intent.unit)


def _page(
    request: PortalRequest,
    facts: SubscriptionFacts,
    intent: Intent,
    form: ChangeForm,
    quote: Quote | None,
    status: int,
) -> HttpResponse:
    context = {
        "facts": facts,
        "intent": intent,
        "form": form,
        "quote": quote,
        "moved": quote is not None and status != 200,
    }
    return render(request, "portal/change.html", context, status=status)


def _done(request: PortalRequest, changed: Changed) -> HttpResponse:
    considered = changed.quoted.considered
    if considered.waits:
        zone = changed.facts.timezone
        on = {"date": request.formats.day(considered.effective_at, zone)}
        messages.success(request, _("Scheduled for %(date)s. Until then you can call it off.") % on)
    elif changed.invoice is not None and changed.invoice.number:
        messages.success(
            request, _("Changed. Invoice %(number)s is there.") % {"number": changed.invoice.number}
        )
    else:
        messages.success(request, _("Changed. The next invoice carries the difference."))
    return redirect("portal:plan")
