"""Credit: what there is, grant by grant, where it went, and buying more of it."""

from __future__ import annotations

import secrets
from decimal import Decimal
from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from apps.core.errors import DomainError, Forbidden
from apps.engine.money import Money
from apps.invoicing import credit as wallet
from apps.invoicing import services
from apps.portal.access import PortalRequest, page
from apps.portal.forms import AmountForm, RechargeForm, Refusing, refuse

if TYPE_CHECKING:
    from apps.invoicing.models import Invoice, RechargeRule

PAGE = 20


@page("credit", "view_invoices")
def credit(request: PortalRequest) -> HttpResponse:
    """Show what credit there is and what moved it."""
    return _page(request)


@page("credit", "manage_billing", methods=("POST",))
def buy(request: PortalRequest) -> HttpResponse:
    """Buy credit: an invoice is issued now, or after a look at it; paid, it brings the credit."""
    form = AmountForm(request.POST, currency=request.organization.currency, auto_id="buy_%s")
    if form.is_valid():
        try:
            made = services.buy_credit(
                request.organization.pk,
                amount=form.cleaned_data["amount"],
                source=f"portal {form.cleaned_data['once']}",
                actor=request.actor,
                at=request.at,
            )
        except Forbidden:
            raise
        except DomainError as refusal:
            form = _anew(form)
            if refusal.param == "source":
                form.add_error(None, _("This form has bought credit already. Buy more with it?"))
            else:
                refuse(form, refusal)
        else:
            return _bought(request, made)
    return _page(request, buying=form, status=422)


def _anew(form: AmountForm) -> AmountForm:
    """Return the form as a purchase of its own: what it stood for may be bought or void."""
    said = {"amount": form.data["amount"], "once": secrets.token_hex(16)}
    return AmountForm(said, currency=form.currency, auto_id="buy_%s")


def _bought(request: PortalRequest, made: Invoice) -> HttpResponse:
    """Tell what became of a purchase: an invoice, or one that staff look at before it is issued."""
    if made.number is None:
        messages.info(
            request, _("Thank you. We look at your purchase first; then you get its invoice.")
        )
        return redirect("portal:credit")
    told = {"number": made.number}
    messages.success(
        request, _("Invoice %(number)s is there; the credit comes when it is paid.") % told
    )
    return redirect("portal:invoice", made.number)


@page("credit", "manage_billing", methods=("POST",))
def recharge(request: PortalRequest) -> HttpResponse:
    """Set when credit is bought by itself."""
    form = RechargeForm(request.POST, currency=request.organization.currency, auto_id="recharge_%s")
    if form.is_valid():
        with Refusing(form):
            services.set_recharge(
                request.organization.pk,
                threshold=form.cleaned_data["threshold"],
                amount=form.cleaned_data["amount"],
                monthly_cap=form.cleaned_data["monthly_cap"],
                actor=request.actor,
                at=request.at,
            )
            messages.success(request, _("Saved: credit is bought by itself from now on."))
            return redirect("portal:credit")
    return _page(request, recharging=form, status=422)


@page("credit", "manage_billing", methods=("POST",))
def stop_recharge(request: PortalRequest) -> HttpResponse:
    """Buy no more credit by itself."""
    services.stop_recharge(request.organization.pk, actor=request.actor, at=request.at)
    messages.success(request, _("Credit is no longer bought by itself."))
    return redirect("portal:credit")


def _page(
    request: PortalRequest,
    *,
    buying: AmountForm | None = None,
    recharging: RechargeForm | None = None,
    status: int = 200,
) -> HttpResponse:
    organization_id, currency = request.organization.pk, request.organization.currency
    before = request.GET.get("before", "")
    rules = {rule.currency: rule for rule in wallet.recharge_rules(organization_id)}
    rule = rules.get(currency)
    moves = wallet.movements_of(organization_id, before=before, limit=PAGE + 1)
    context = {
        "currency": currency,
        "balances": wallet.credit_of(organization_id, at=request.at),
        "on_order": wallet.on_order(organization_id, currency),
        "moves": moves[:PAGE],
        "next": moves[PAGE - 1].id if len(moves) > PAGE else "",
        "is_first": not before,
        "rule": rule,
        "buying": buying
        or AmountForm(initial={"once": secrets.token_hex(16)}, auto_id="buy_%s", currency=currency),
        "recharging": recharging
        or RechargeForm(initial=_initial(rule), auto_id="recharge_%s", currency=currency),
    }
    return render(request, "portal/credit.html", context, status=status)


def _initial(rule: RechargeRule | None) -> dict[str, Decimal]:
    """Return a rule in major units, as its form takes it."""
    if rule is None:
        return {}
    said = {"threshold": rule.threshold, "amount": rule.amount}
    said |= {"monthly_cap": rule.monthly_cap} if rule.monthly_cap else {}
    return {name: Money(minor, rule.currency).major for name, minor in said.items()}
