"""Plans: what runs, what is on offer, and subscribing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from apps.core.errors import DomainError, Forbidden
from apps.engine.money import Money
from apps.engine.period import Period
from apps.invoicing import selectors as invoicing
from apps.invoicing import services as billing
from apps.invoicing.paper.totals import notices, totals
from apps.invoicing.services import Begun
from apps.payments import gateway
from apps.payments import selectors as payments
from apps.plans import selectors as plans
from apps.plans.offers import CouponRules
from apps.plans.selectors import FeatureWords, PlanOffer, VersionTerms
from apps.portal.access import PortalRequest, page
from apps.portal.agreements import add_ons, quantities, starts_later, status_of
from apps.portal.forms import CodeForm, StartForm, refuse
from apps.portal.offers import offers_to, priced, taken_in
from apps.portal.pages.payment import charged
from apps.portal.prices import Grant, PriceWords, grants, price_words
from apps.portal.refusals import sentence
from apps.portal.words import change_words, discount_worth
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions import services, states
from apps.subscriptions.selectors import ChangeFacts, DiscountFacts, ItemFacts, SubscriptionFacts

FEW_SHELVES = 3
MANUAL, STRIPE = "manual", "stripe_invoice"


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A change to come, in words; some can be called off here."""

    change: ChangeFacts
    words: str
    can_call_off: bool


@dataclass(frozen=True, slots=True)
class InForce:
    """A discount that counts, and what it takes off."""

    facts: DiscountFacts
    worth: str


@dataclass(frozen=True, slots=True)
class Running:
    """A live subscription with its prices in words and the period under way.

    `extras` are add-ons that it has, `more` those that it may have besides.
    """

    facts: SubscriptionFacts
    period: Period
    prices: tuple[PriceWords, ...]
    grants: tuple[Grant, ...]
    seats: tuple[tuple[ItemFacts, int], ...]
    status: str
    extras: tuple[VersionTerms, ...]
    more: tuple[Offer, ...]
    scheduled: tuple[Scheduled, ...]
    discounts: tuple[InForce, ...]
    code: CodeForm

    @property
    def may_change(self) -> bool:
        """Whether plan and add-ons can be changed: it runs, and is not to end or to pause."""
        return self.status in {"active", "trialing", "past_due", "unpaid"}


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan on offer; `state` is current, open, taken, custom or currency.

    `change` is the public id of the subscription that can be changed to it, `wanted` the currency
    in which it would be paid.
    """

    plan: PlanOffer
    prices: tuple[PriceWords, ...]
    grants: tuple[Grant, ...]
    state: str
    change: str = ""
    wanted: str = ""


@dataclass(frozen=True, slots=True)
class Shelf:
    """An application and its plans; open where one of them runs, or where there is little else."""

    application: str
    offers: tuple[Offer, ...]
    is_open: bool


@dataclass(frozen=True, slots=True)
class _Shop:
    """What every part of the page needs: who looks, at what moment, and what is on offer."""

    request: PortalRequest
    at: datetime
    offers: Sequence[PlanOffer]
    features: Mapping[str, FeatureWords]
    codes: Mapping[str, CodeForm]

    def priced(self, offer: PlanOffer, state: str, change: str = "") -> Offer:
        """Return an offer with its prices in words."""
        formats, version = self.request.formats, offer.version
        return Offer(
            plan=offer,
            prices=tuple(
                price_words(p, p.terms, formats, version.currency) for p in version.prices
            ),
            grants=tuple(grants(version.entitlements, self.features, formats)),
            state=state,
            change=change,
        )


@page("plan", "manage_billing")
def plan(request: PortalRequest) -> HttpResponse:
    """Show what runs and what may be had instead or besides."""
    return shown(request)


def shown(
    request: PortalRequest, *, codes: Mapping[str, CodeForm] | None = None, status: int = 200
) -> HttpResponse:
    """Return the page; `codes` are forms that were refused, by the subscription's public id."""
    offers = offers_to(request.organization)
    known = [offer.version for offer in offers]
    every = subscriptions.of_organization(request.organization.pk, known=known)
    live = [facts for facts in every if facts.is_live]
    features = {feature.key: feature for feature in plans.features()}
    shop = _Shop(request, request.at, offers, features, codes or {})
    versions = plans.find_versions(list(_versions_to_come(live)))
    context = {
        "running": [_running(shop, facts, versions) for facts in live],
        "ended": list(_ended(shop, every)),
        "shelves": list(_shelves(shop, live)),
        "issuer": request.organization.billing_entity,
    }
    return render(request, "portal/plan.html", context, status=status)


def may_call_off(change: ChangeFacts) -> bool:
    """Whether a customer may: agreed prices and moves to new versions are the office's."""
    return change.action != "price" and not change.arguments.get("keep_agreed")


def _versions_to_come(live: Iterable[SubscriptionFacts]) -> Iterator[str]:
    for facts in live:
        for change in facts.scheduled:
            if "version" in change.arguments:
                yield str(change.arguments["version"])


def _running(
    shop: _Shop, facts: SubscriptionFacts, versions: Mapping[str, VersionTerms]
) -> Running:
    formats, currency, at = shop.request.formats, facts.agreement.currency, shop.at
    return Running(
        facts=facts,
        period=facts.current_period(at),
        prices=tuple(price_words(i.price, i.item.terms, formats, currency) for i in facts.standing),
        grants=tuple(grants(facts.version.entitlements, shop.features, formats)),
        seats=tuple((item, int(held)) for item, held in quantities(facts, at)),
        status=status_of(facts, at),
        extras=tuple(add_ons(facts, at)),
        more=tuple(_more(shop, facts)),
        scheduled=tuple(
            Scheduled(one, change_words(one, facts, versions), may_call_off(one))
            for one in facts.scheduled
        ),
        discounts=tuple(
            InForce(one, discount_worth(one, currency, formats))
            for one in facts.discounts
            if one.counts_at(at)
        ),
        code=shop.codes.get(facts.public_id) or CodeForm(auto_id=f"{facts.public_id}_%s"),
    )


def _more(shop: _Shop, facts: SubscriptionFacts) -> Iterator[Offer]:
    """Yield the add-ons that the subscription may have besides."""
    taken = taken_in(facts, shop.at)
    for offer in shop.offers:
        mine = offer.application_slug == facts.version.application_slug and not offer.custom
        sold = facts.currency in offer.version.currencies
        if offer.kind == "add_on" and mine and sold and offer.code not in taken:
            yield shop.priced(offer, "open")


def _ended(shop: _Shop, every: Iterable[SubscriptionFacts]) -> Iterator[SubscriptionFacts]:
    """Yield what has ended and can be had again: the last one of each application without one."""
    seen = {facts.version.application_slug for facts in every if facts.is_live}
    codes = {offer.code for offer in shop.offers}
    for facts in every:
        slug = facts.version.application_slug
        if facts.status == states.CANCELED and slug not in seen:
            seen.add(slug)
            if facts.version.plan_code in codes:
                yield facts


def _base_offers(request: PortalRequest) -> list[PlanOffer]:
    return [offer for offer in offers_to(request.organization) if offer.kind == "base"]


def _shelves(shop: _Shop, live: Sequence[SubscriptionFacts]) -> Iterator[Shelf]:
    running = {facts.version.application_slug for facts in live}
    base = [offer for offer in shop.offers if offer.kind == "base"]
    found = {slug: tuple(offers) for slug, offers in groupby(base, key=_application_of)}
    few = len(found) <= FEW_SHELVES
    for slug in sorted(found, key=lambda slug: slug not in running):
        offers = tuple(_offer(shop, one, live) for one in found[slug])
        if all(offer.state == "current" for offer in offers):
            continue  # it stands above already, and there is nothing else to have
        yield Shelf(found[slug][0].application_name, offers, few or slug in running)


def _application_of(offer: PlanOffer) -> str:
    return offer.application_slug


def _offer(shop: _Shop, offer: PlanOffer, live: Sequence[SubscriptionFacts]) -> Offer:
    taken = [one for one in live if one.version.application_slug == offer.application_slug]
    wanted = taken[0].currency if taken else shop.request.organization.currency
    state, change = _state(shop, offer, taken, wanted)
    return replace(shop.priced(priced(offer, wanted), state, change), wanted=wanted)


def _state(
    shop: _Shop, offer: PlanOffer, taken: Sequence[SubscriptionFacts], wanted: str
) -> tuple[str, str]:
    if any(one.version.plan_code == offer.code for one in taken):
        return "current", ""
    if offer.custom:
        return "custom", ""
    if wanted not in offer.version.currencies:
        return "currency", ""
    if not taken:
        return "open", ""
    return "taken", "" if starts_later(taken[0], shop.at) else taken[0].public_id


@page("plan", "manage_billing", methods=("GET", "HEAD", "POST"), outside=True)
def subscribe(request: PortalRequest, code: str) -> HttpResponse:
    """Show what a plan would bill first, subscribe to it, and pay that."""
    with request.scope():
        answer, begun = _subscribe(request, code)
    if begun is not None and begun.facts.collection != MANUAL:
        for one in begun.issued:
            if one.number and one.total > 0:
                charged(request, one.number)
    return answer


def _subscribe(request: PortalRequest, code: str) -> tuple[HttpResponse, Begun | None]:
    offer = next((one for one in _base_offers(request) if one.code == code), None)
    if offer is None or offer.custom:  # a private plan is as good as none
        raise Http404
    form = _start_form(request, offer)
    if request.method == "POST" and form.is_valid():
        begun = _begun(request, offer, form)
        if begun is not None:
            messages.success(request, _("You are subscribed to %(plan)s.") % {"plan": offer.name})
            return redirect("portal:overview"), begun
        return _confirm(request, offer, form, status=422), None
    return _confirm(request, offer, form, status=422 if request.method == "POST" else 200), None


def _start_form(request: PortalRequest, offer: PlanOffer) -> StartForm:
    """Return the form for what can be chosen of the plan; it may have no field."""
    sold = [price for price in offer.version.prices if price.type == "licensed"]
    included = str(int(sold[0].included)) if sold else ""
    initial = {"quantity": included, "currency": offer.version.currency, "code": ""}
    asked = request.POST if request.method == "POST" else request.GET
    said = request.method == "POST" or not initial.keys().isdisjoint(asked)
    return StartForm(
        {**initial, **asked.dict()} if said else None,
        initial=initial,
        counts=bool(sold),
        currencies=offer.version.currencies,
    )


def _confirm(
    request: PortalRequest, offer: PlanOffer, form: StartForm, status: int
) -> HttpResponse:
    asked = form.cleaned_data if form.is_valid() else {}
    offer = priced(offer, asked.get("currency", offer.version.currency))
    facts = subscriptions.considered(
        request.organization.pk,
        offer.version,
        start=request.at,
        timezone=request.organization.timezone,
        seats=asked.get("quantity"),
        coupon=_coupon(request, form, asked.get("code", "")),
    )
    formats, currency = request.formats, offer.version.currency
    first = invoicing.upcoming_of(facts)
    context = {
        "offer": offer,
        "facts": facts,
        "first": first,
        "totals": totals(first, formats.words(first.currency, first.timezone)) if first else [],
        "notices": notices(first) if first else [],
        "prices": [price_words(p, p.terms, formats, currency) for p in offer.version.prices],
        "form": form,
        "quoted": "" if facts.trial_end else first.total if first else 0,
        **_payment(request, offer.version, facts),
    }
    return render(request, "portal/subscribe.html", context, status=status)


def _payment(
    request: PortalRequest, version: VersionTerms, facts: SubscriptionFacts
) -> dict[str, object]:
    """Return what it would be charged to, and whether that has to be said first."""
    method = payments.default_method(request.organization.pk)
    at_once = facts.trial_end is None or version.trial_requires_card
    return {
        "by_card": gateway.configured(),
        "method": method,
        "needs_method": gateway.configured() and method is None and at_once,
        "here": request.get_full_path(),
    }


def _coupon(request: PortalRequest, form: StartForm, code: str) -> CouponRules | None:
    """Return what a code would take off; a refusal stands at its field."""
    if not code:
        return None
    try:
        return services.check_discount(
            request.organization.pk, code=code, owed=None, actor=request.actor, at=request.at
        )
    except Forbidden:
        raise
    except DomainError as refusal:
        form.add_error("code", sentence(refusal))
        return None


def _begun(request: PortalRequest, offer: PlanOffer, form: StartForm) -> Begun | None:
    at, asked = request.at, form.cleaned_data
    currency = asked.get("currency") or offer.version.currency
    quoted = asked.get("quoted")
    by_card = gateway.configured()
    card = payments.default_method(request.organization.pk) is not None
    try:
        return billing.subscribe_and_bill(
            request.organization.pk,
            plan=offer.code,
            seats=asked.get("quantity"),
            collection=STRIPE if by_card else MANUAL,
            code=asked.get("code", ""),
            quoted=None if quoted is None else Money(quoted, currency),
            begin=services.Begin(currency=asked.get("currency", ""), card=card),
            actor=request.actor,
            at=at,
        )
    except Forbidden:
        raise
    except DomainError as refusal:
        if refusal.param in form.fields:
            refuse(form, refusal)
        else:
            messages.error(request, sentence(refusal))
        return None
