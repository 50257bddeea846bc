"""How an organization pays: its payment methods, and visits to the provider's pages and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from apps.core.errors import DomainError, Forbidden, NotFound
from apps.invoicing import selectors as invoicing
from apps.payments import gateway, selectors, services
from apps.payments.errors import ProviderError
from apps.portal.access import PortalRequest, page
from apps.portal.refusals import sentence

if TYPE_CHECKING:
    from apps.payments.models import PaymentAttempt

UNREACHABLE = 503


@page("payment", "manage_billing")
def payment(request: PortalRequest) -> HttpResponse:
    """List the payment methods."""
    context = {
        "methods": selectors.methods_of(request.organization.pk),
        "configured": gateway.configured(),
        "now": request.at,
        "issuer": request.organization.billing_entity,
    }
    return render(request, "portal/payment.html", context)


@page("payment", "manage_billing", methods=("POST",))
def add(request: PortalRequest) -> HttpResponse:
    """Begin a visit that saves a payment method."""
    session = services.begin_setup(
        request.organization.pk,
        back=_back(request),
        actor=request.actor,
        at=request.at,
    )
    return redirect("portal:checkout", session.public_id)


@page("payment", "manage_billing", methods=("POST",))
def choose(request: PortalRequest, method: str) -> HttpResponse:
    """Charge this method from now on."""

    def chosen() -> str:
        row = services.choose_method(method, actor=request.actor, at=request.at)
        return _("%(method)s is charged from now on.") % {"method": row}

    return _act(request, chosen)


@page("payment", "manage_billing", methods=("POST",))
def remove(request: PortalRequest, method: str) -> HttpResponse:
    """Forget a payment method."""

    def removed() -> str:
        services.remove_method(method, actor=request.actor, at=request.at)
        return _("Removed.")

    return _act(request, removed)


def _act(request: PortalRequest, act: Callable[[], str]) -> HttpResponse:
    try:
        messages.success(request, act())
    except (Forbidden, NotFound):
        raise
    except DomainError as refusal:
        messages.error(request, sentence(refusal))
    return redirect("portal:payment")


# --- invoices -------------------------------------------------------------------------------------
@page("invoices", "manage_billing", methods=("POST",), outside=True)
def pay(request: PortalRequest, reference: str) -> HttpResponse:
    """Charge an invoice now, to the method that was chosen or the default one."""
    with request.scope():
        row = invoicing.final(reference, organization_id=request.organization.pk)
    charged(request, str(row.number), method=request.POST.get("method", ""))
    return redirect("portal:invoice", row.number)


def charged(request: PortalRequest, number: str, *, method: str = "") -> None:
    """Charge an invoice, outside of any transaction, and say what came of it."""
    try:
        attempt = services.charge_now(number, actor=request.actor, at=request.at, method=method)
    except (Forbidden, NotFound):
        raise
    except DomainError as refusal:
        messages.error(request, sentence(refusal))
    else:
        _say(request, attempt)


@page("invoices", "manage_billing", methods=("POST",))
def pay_there(request: PortalRequest, reference: str) -> HttpResponse:
    """Begin a visit that pays an invoice on the provider's page, by any method."""
    row = invoicing.final(reference, organization_id=request.organization.pk)
    try:
        session = services.begin_payment(
            row.public_id,
            back=reverse("portal:invoice", args=[row.number]),
            actor=request.actor,
            at=request.at,
        )
    except (Forbidden, NotFound):
        raise
    except DomainError as refusal:
        messages.error(request, sentence(refusal))
        return redirect("portal:invoice", row.number)
    return redirect("portal:checkout", session.public_id)


def _say(request: PortalRequest, attempt: PaymentAttempt) -> None:
    """Say what came of an attempt; one without an answer is shown on the invoice."""
    match attempt.status:
        case "succeeded":
            messages.success(request, _("Paid. Thank you."))
        case "failed":
            told = {"why": attempt.message or _("It was refused.")}
            messages.error(request, _("The payment did not go through. %(why)s") % told)
        case "action":
            messages.warning(request, _("Your bank wants you to confirm this payment."))
        case _:
            messages.info(request, _("The payment is on its way."))


# --- visits to the provider -----------------------------------------------------------------------
@page("payment", "manage_billing", outside=True)
def checkout(request: PortalRequest, session: str) -> HttpResponse:
    """Go on to the provider's page."""
    try:
        place = services.open_checkout(session, organization_id=request.organization.pk)
    except ProviderError as error:
        return render(
            request, "portal/unreachable.html", {"why": sentence(error)}, status=UNREACHABLE
        )
    return redirect(place)


@page("payment", "manage_billing", outside=True)
def back(request: PortalRequest, session: str) -> HttpResponse:
    """Come back from the provider's page: what came of the visit is known at once."""
    try:
        row = services.settle_checkout(session, organization_id=request.organization.pk)
    except ProviderError:
        with request.scope():
            row = selectors.checkout(session, organization_id=request.organization.pk)
    if row.status != "complete":
        messages.info(request, _("We have not heard of it yet; this takes a moment at times."))
    elif row.mode == "setup":
        messages.success(request, _("Your payment method is saved."))
    else:
        messages.success(request, _("Paid. Thank you."))
    return redirect(row.back)


@page("payment", "manage_billing", outside=True)
def left(request: PortalRequest, session: str) -> HttpResponse:
    """Come back from the provider's page without having done anything there."""
    row = services.cancel_checkout(
        session, organization_id=request.organization.pk, actor=request.actor, at=request.at
    )
    messages.info(request, _("Nothing was changed."))
    return redirect(row.back)


def _back(request: PortalRequest) -> str:
    """Return the page of ours to return to."""
    wanted = request.POST.get("back", "")
    is_ours = wanted.startswith("/portal/") and url_has_allowed_host_and_scheme(wanted, None)
    return wanted if is_ours else reverse("portal:payment")
