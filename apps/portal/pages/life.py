"""Ending, pausing and taking up again; codes to redeem, and changes to call off."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from apps.core.errors import DomainError, Forbidden, NotFound
from apps.engine.calendar import zone
from apps.invoicing import selectors as invoicing
from apps.invoicing.document import Document
from apps.plans.errors import UnknownPromotionCode
from apps.portal.access import PortalRequest, page
from apps.portal.agreements import starts_later
from apps.portal.forms import CancelForm, CodeForm, PauseForm, form_page, refuse
from apps.portal.pages.plan import may_call_off, shown
from apps.portal.refusals import sentence
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions import services, states
from apps.subscriptions.selectors import SubscriptionFacts

METHODS = ("GET", "HEAD", "POST")


@page("plan", "manage_billing", methods=METHODS)
def cancel(request: PortalRequest, subscription: str) -> HttpResponse:
    """Ask why, say what follows, and end the subscription when its period does."""
    at = request.at
    facts = subscriptions.get(subscription, organization_id=request.organization.pk)
    at_once = facts.status == states.PAUSED or starts_later(facts, at)
    chooses = facts.status == states.TRIALING and not at_once
    form = CancelForm(request.POST if request.method == "POST" else None, chooses=chooses)
    if request.method == "POST" and form.is_valid():
        left = services.cancel(
            facts.public_id,
            actor=request.actor,
            at=at,
            reason=form.told(),
            when=form.chosen,
        )
        scheduled = _("The cancellation is scheduled; you can take it back.")
        messages.success(request, scheduled if left.is_live else _("The subscription has ended."))
        return redirect("portal:plan")
    return form_page(
        request,
        "portal/cancel.html",
        form,
        facts=facts,
        period=facts.current_period(at),
        at_once=at_once,
        last=None if at_once else _last_invoice(request, facts),
    )


def _last_invoice(request: PortalRequest, facts: SubscriptionFacts) -> Document | None:
    """Return what the last invoice comes to so far, where it can be ended."""
    if facts.cancel_at is not None or not facts.is_live:
        return None
    return invoicing.upcoming_of(
        subscriptions.preview_cancel(
            facts.public_id, at=request.at, organization_id=request.organization.pk
        )
    )


@page("plan", "manage_billing", methods=METHODS)
def pause(request: PortalRequest, subscription: str) -> HttpResponse:
    """Say what a pause means, and let the subscription pause when its period ends."""
    facts = subscriptions.get(subscription, organization_id=request.organization.pk)
    form = PauseForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid() and _paused(request, facts, form):
        messages.success(request, _("The pause is scheduled; you can take it back."))
        return redirect("portal:plan")
    period = facts.current_period(request.at)
    return form_page(request, "portal/pause.html", form, facts=facts, period=period)


def _paused(request: PortalRequest, facts: SubscriptionFacts, form: PauseForm) -> bool:
    day = form.cleaned_data["until"]
    until = None if day is None else datetime.combine(day, time(), tzinfo=zone(facts.timezone))
    try:
        services.pause(facts.public_id, actor=request.actor, at=request.at, until=until)
    except (Forbidden, NotFound):
        raise
    except DomainError as refusal:
        refuse(form, refusal)
        return False
    return True


@page("plan", "manage_billing", methods=("POST",))
def keep(request: PortalRequest, subscription: str) -> HttpResponse:
    """Take a cancellation back."""
    done = _("The subscription goes on.")
    return _act(request, subscription, services.uncancel, done)


@page("plan", "manage_billing", methods=("POST",))
def resume(request: PortalRequest, subscription: str) -> HttpResponse:
    """Take up a paused subscription, or take back a pause that has not begun."""
    facts = subscriptions.get(subscription, organization_id=request.organization.pk)
    pending = facts.status != states.PAUSED
    done = (
        _("The subscription goes on.") if pending else _("The subscription runs again, from today.")
    )
    return _act(request, subscription, services.resume, done)


@page("plan", "manage_billing", methods=("POST",))
def reactivate(request: PortalRequest, subscription: str) -> HttpResponse:
    """Begin anew what has ended."""
    done = _("The subscription runs again, from today.")
    return _act(request, subscription, services.reactivate, done)


@page("plan", "manage_billing", methods=("POST",))
def call_off(request: PortalRequest, subscription: str, change: str) -> HttpResponse:
    """Call off a scheduled change that a customer may call off."""
    facts = subscriptions.get(subscription, organization_id=request.organization.pk)
    if any(one.public_id == change and not may_call_off(one) for one in facts.scheduled):
        raise Http404

    def called_off(found: str, **who: object) -> SubscriptionFacts:
        return services.cancel_scheduled_change(found, change_id=change, **who)  # type: ignore[arg-type]

    return _act(request, subscription, called_off, _("Called off; everything stays as it is."))


@page("plan", "manage_billing", methods=("POST",))
def redeem(request: PortalRequest, subscription: str) -> HttpResponse:
    """Redeem a promotion code for a subscription."""
    facts = subscriptions.get(subscription, organization_id=request.organization.pk)
    form = CodeForm(request.POST, auto_id=f"{facts.public_id}_%s")
    if form.is_valid():
        try:
            taken = services.apply_discount(
                request.organization.pk,
                code=form.cleaned_data["code"],
                subscription_id=facts.public_id,
                owed=invoicing.owed_next(facts.public_id),
                actor=request.actor,
                at=request.at,
            )
        except UnknownPromotionCode as refusal:
            form.add_error("code", sentence(refusal))
        except (Forbidden, NotFound):
            raise
        except DomainError as refusal:
            form.add_error("code", sentence(refusal))
        else:
            told = {"name": taken.coupon.name}
            messages.success(request, _("%(name)s counts from the next invoice on.") % told)
            return redirect("portal:plan")
    return shown(request, codes={facts.public_id: form}, status=422)


def _act(
    request: PortalRequest, subscription: str, change: Callable[..., SubscriptionFacts], done: str
) -> HttpResponse:
    try:
        change(subscription, actor=request.actor, at=request.at)
    except (Forbidden, NotFound):
        raise
    except DomainError as refusal:
        messages.error(request, sentence(refusal))
    else:
        messages.success(request, done)
    return redirect("portal:plan")
