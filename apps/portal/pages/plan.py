"""Plans: what runs, what is on offer, subscribing, leaving and coming back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from apps.core import clock
from apps.core.errors import DomainError, Forbidden, NotFound
from apps.engine.period import Period
from apps.invoicing import selectors as invoicing
from apps.plans import selectors as plans
from apps.plans.selectors import FeatureWords, PlanOffer
from apps.portal.access import PortalRequest, page
from apps.portal.agreements import quantities, starts_later, status_of
from apps.portal.forms import CancelForm, SeatsForm, refuse
from apps.portal.prices import Grant, PriceWords, grants, price_words
from apps.portal.refusals import sentence
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions import services
from apps.subscriptions.selectors import SubscriptionFacts

FEW_SHELVES = 3


@dataclass(frozen=True, slots=True)
class Running:
    """A live subscription with its prices in words and the period under way."""

    facts: SubscriptionFacts
    period: Period
    prices: tuple[PriceWords, ...]
    grants: tuple[Grant, ...]
    seats: tuple[tuple[str, str, int], ...]
    status: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan on offer; `state` is current, open, taken, custom or currency."""

    plan: PlanOffer
    prices: tuple[PriceWords, ...]
    grants: tuple[Grant, ...]
    state: str


@dataclass(frozen=True, slots=True)
class Shelf:
    """An application and its plans; open where one of them runs, or where there is little else."""

    application: str
    offers: tuple[Offer, ...]
    is_open: bool


@page("plan", "manage_billing")
def plan(request: PortalRequest) -> HttpResponse:
    """Show what runs and what may be had instead or besides."""
    live = subscriptions.of_organization(request.organization.pk, live=True)
    features = {feature.key: feature for feature in plans.features()}
    context = {
        "running": [_running(request, facts, features, clock.now()) for facts in live],
        "shelves": list(_shelves(request, live, features)),
        "issuer": request.organization.billing_entity,
    }
    return render(request, "portal/plan.html", context)


def _running(
    request: PortalRequest,
    facts: SubscriptionFacts,
    features: dict[str, FeatureWords],
    at: datetime,
) -> Running:
    formats, currency = request.formats, facts.agreement.currency
    return Running(
        facts=facts,
        period=facts.current_period(at),
        prices=tuple(price_words(i.price, i.item.terms, formats, currency) for i in facts.standing),
        grants=tuple(grants(facts.version.entitlements, features, formats)),
        seats=tuple(
            (item.item.key, item.price.name, int(held)) for item, held in quantities(facts, at)
        ),
        status=status_of(facts, at),
    )


def _offers(request: PortalRequest) -> list[PlanOffer]:
    found = plans.list_plans(industry=request.organization.industry)
    return [offer for offer in found if offer.kind == "base"]


def _shelves(
    request: PortalRequest,
    live: Sequence[SubscriptionFacts],
    features: dict[str, FeatureWords],
) -> Iterator[Shelf]:
    running = {facts.version.application_slug for facts in live}
    found = {slug: tuple(offers) for slug, offers in groupby(_offers(request), key=_application_of)}
    few = len(found) <= FEW_SHELVES
    for slug in sorted(found, key=lambda slug: slug not in running):
        offers = tuple(_offer(request, one, live, features) for one in found[slug])
        if all(offer.state == "current" for offer in offers):
            continue  # it stands above already, and there is nothing else to have
        yield Shelf(found[slug][0].application_name, offers, few or slug in running)


def _application_of(offer: PlanOffer) -> str:
    return offer.application_slug


def _offer(
    request: PortalRequest,
    offer: PlanOffer,
    live: Sequence[SubscriptionFacts],
    features: dict[str, FeatureWords],
) -> Offer:
    formats, version = request.formats, offer.version
    return Offer(
        plan=offer,
        prices=tuple(price_words(p, p.terms, formats, version.currency) for p in version.prices),
        grants=tuple(grants(version.entitlements, features, formats)),
        state=_state(request, offer, live),
    )


def _state(request: PortalRequest, offer: PlanOffer, live: Sequence[SubscriptionFacts]) -> str:
    taken = [one for one in live if one.version.application_slug == offer.application_slug]
    if any(one.version.plan_code == offer.code for one in taken):
        return "current"
    if taken:
        return "taken"
    if offer.custom:
        return "custom"
    return "open" if offer.version.currency == request.organization.currency else "currency"


@page("plan", "manage_billing", methods=("GET", "HEAD", "POST"))
def subscribe(request: PortalRequest, code: str) -> HttpResponse:
    """Show what a plan would bill first, and subscribe to it."""
    offer = next((one for one in _offers(request) if one.code == code), None)
    if offer is None or offer.custom:  # a private plan is as good as none
        raise Http404
    form = _seats_form(request, offer)
    if request.method == "POST" and (form is None or form.is_valid()):
        seats = form.cleaned_data["quantity"] if form is not None else None
        if _subscribed(request, offer, form, seats):
            messages.success(request, _("You are subscribed to %(plan)s.") % {"plan": offer.name})
            return redirect("portal:overview")
        return _confirm(request, offer, form, status=422)
    return _confirm(request, offer, form, status=422 if request.method == "POST" else 200)


def _seats_form(request: PortalRequest, offer: PlanOffer) -> SeatsForm | None:
    """Return the form for the total quantity, where the plan sells one."""
    sold = [price for price in offer.version.prices if price.type == "licensed"]
    if not sold:
        return None
    initial = {"quantity": int(sold[0].included)}
    asked = request.POST if request.method == "POST" else request.GET
    return SeatsForm(asked if "quantity" in asked else None, initial=initial)


def _confirm(
    request: PortalRequest, offer: PlanOffer, form: SeatsForm | None, status: int
) -> HttpResponse:
    seats = form.cleaned_data["quantity"] if form is not None and form.is_valid() else None
    facts = subscriptions.considered(
        request.organization.pk,
        offer.version,
        start=clock.now(),
        timezone=request.organization.timezone,
        seats=seats,
    )
    formats, currency = request.formats, offer.version.currency
    context = {
        "offer": offer,
        "facts": facts,
        "first": invoicing.upcoming_of(facts),
        "prices": [price_words(p, p.terms, formats, currency) for p in offer.version.prices],
        "form": form,
    }
    return render(request, "portal/subscribe.html", context, status=status)


def _subscribed(
    request: PortalRequest, offer: PlanOffer, form: SeatsForm | None, seats: int | None
) -> bool:
    at = clock.now()
    try:
        services.subscribe(
            request.organization.pk,
            plan=offer.code,
            start=at,
            seats=seats,
            actor=request.actor,
            at=at,
        )
    except Forbidden:
        raise
    except DomainError as refusal:
        if form is None:
            messages.error(request, sentence(refusal))
        else:
            refuse(form, refusal)
        return False
    return True


@page("plan", "manage_billing", methods=("GET", "HEAD", "POST"))
def cancel(request: PortalRequest, subscription: str) -> HttpResponse:
    """Ask why, say what follows, and end the subscription when its period does."""
    at = clock.now()
    facts = subscriptions.get(subscription, organization_id=request.organization.pk)
    form = CancelForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        left = services.cancel(facts.public_id, actor=request.actor, at=at, reason=form.told())
        scheduled = _("The cancellation is scheduled; you can take it back.")
        messages.success(request, scheduled if left.is_live else _("The subscription has ended."))
        return redirect("portal:plan")
    context = {
        "facts": facts,
        "form": form,
        "period": facts.current_period(at),
        "at_once": facts.status == "paused" or starts_later(facts, at),
    }
    return render(request, "portal/cancel.html", context, status=422 if form.errors else 200)


@page("plan", "manage_billing", methods=("POST",))
def keep(request: PortalRequest, subscription: str) -> HttpResponse:
    """Take a cancellation back."""
    done = _("The subscription goes on.")
    return _act(request, subscription, services.uncancel, done)


@page("plan", "manage_billing", methods=("POST",))
def resume(request: PortalRequest, subscription: str) -> HttpResponse:
    """Take up a paused subscription."""
    done = _("The subscription runs again, from today.")
    return _act(request, subscription, services.resume, done)


def _act(
    request: PortalRequest, subscription: str, change: Callable[..., SubscriptionFacts], done: str
) -> HttpResponse:
    try:
        change(subscription, actor=request.actor, at=clock.now())
    except (Forbidden, NotFound):
        raise
    except DomainError as refusal:
        messages.error(request, sentence(refusal))
    else:
        messages.success(request, done)
    return redirect("portal:plan")
