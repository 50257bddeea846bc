"""Visits to the provider's pages: saving a payment method there, or paying an invoice there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from apps.core import clock, rls
from apps.core.actor import Actor, require, system
from apps.core.errors import Invalid
from apps.engine.money import Money
from apps.invoicing import selectors as invoices
from apps.invoicing import services as invoicing
from apps.invoicing.errors import NotPayable
from apps.payments import gateway, selectors
from apps.payments.currencies import check_chargeable, from_provider
from apps.payments.errors import AttemptUnderWay, NotConfigured
from apps.payments.gateway import Answer, Write
from apps.payments.models import CheckoutSession, Payment, PaymentAttempt, ProviderCall
from apps.payments.objects import Json, follows
from apps.payments.projections import SeenCheckout, see_checkout, see_method
from apps.payments.services import calls, customers
from apps.payments.services.collecting import look_again
from apps.payments.services.methods import keep_method
from apps.payments.services.recording import record_payment
from apps.tenants import selectors as tenants_read
from apps.tenants import services as tenants

ACTOR = system("payment provider")
Mode, Status = CheckoutSession.Mode, CheckoutSession.Status
PLACE = "/portal/checkout"


# --- beginning ------------------------------------------------------------------------------------
@transaction.atomic
def begin_setup(organization_id: int, *, back: str, actor: Actor, at: datetime) -> CheckoutSession:
    """Begin a visit that saves a payment method; `back` is where to return to: a path of the
    portal, or an https address of the caller's.

    While one is open it is the one: two tabs do not save two cards. Raises Forbidden,
    NotConfigured.
    """
    require("manage_billing", actor=actor, organization_id=organization_id)
    tenants.lock(organization_id)
    return _begin(organization_id, Mode.SETUP, Mode.SETUP, back=back, actor=actor, at=at)


@transaction.atomic
def begin_payment(invoice: str, *, back: str, actor: Actor, at: datetime) -> CheckoutSession:
    """Begin a visit that pays what is due on an invoice (number or public id).

    While one is open it is the one: an invoice is not paid twice from two tabs. Raises
    UnknownInvoice, Forbidden, NotConfigured, NotPayable, NotChargeable and AttemptUnderWay.
    """
    row = invoicing.find_and_lock(invoice, actor=actor, capability="manage_billing")
    if row.status not in invoicing.PAYABLE or not row.amount_due:
        raise NotPayable(f"Invoice {row} is {row.status} and takes no payment.")
    check_chargeable(Money(row.amount_due, row.currency))
    if selectors.attempt_under_way(row.pk, besides=PaymentAttempt.Status.ACTION):
        raise AttemptUnderWay("This invoice is being charged already; wait for what comes of it.")
    purpose = f"{Mode.PAYMENT}:{row.public_id}"
    session = _begin(row.organization_id, Mode.PAYMENT, purpose, back=back, actor=actor, at=at)
    if session.invoice_id is None:
        session.invoice_id = row.pk
        session.save(update_fields=["invoice"])
    return session


def _begin(
    organization_id: int, mode: str, purpose: str, *, back: str, actor: Actor, at: datetime
) -> CheckoutSession:
    if not gateway.configured():
        raise NotConfigured("No payment provider is configured: payments are recorded by hand.")
    if not (back.startswith("https://") or (back.startswith("/") and back[:2] != "//")):
        raise Invalid("Say where to return to: a path of ours or an https address.", param="back")
    session, _is_new = CheckoutSession.objects.get_or_create(
        organization_id=organization_id,
        purpose=purpose,
        status__in=(Status.NEW, Status.OPEN),
        defaults={"mode": mode, "back": back, "asked_by": actor.id, "asked_at": at},
    )
    return session


# --- opening and closing --------------------------------------------------------------------------
def open_checkout(checkout: str, *, organization_id: int) -> str:
    """Return where the customer goes on, at the provider; never inside a transaction.

    Raises UnknownCheckout, and ProviderDown or ProviderBusy, after which it may be tried again.
    """
    customer = customers.ensure_customer(organization_id)
    with rls.tenant_scope(organization_id):
        session = selectors.checkout(checkout, organization_id=organization_id)
        params = _described(session, customer)
    if session.url:
        return session.url
    answer = calls.call(
        Write.CREATE_CHECKOUT,
        about=session.public_id,
        params=params,
        organization_id=organization_id,
    )
    return see_checkout(answer).url


def settle_checkout(checkout: str, *, organization_id: int) -> CheckoutSession:
    """Take over how a visit ended, now and without waiting to be told; never inside a transaction.

    Raises UnknownCheckout, ProviderDown and ProviderBusy.
    """
    with rls.tenant_scope(organization_id):
        session = selectors.checkout(checkout, organization_id=organization_id)
    if session.status == Status.OPEN:
        told = gateway.retrieve("checkout.session", session.provider_id)
        with rls.tenant_scope(organization_id):
            follow_checkout(told, at=clock.now())
            session.refresh_from_db()
    return session


def cancel_checkout(
    checkout: str, *, organization_id: int, actor: Actor, at: datetime
) -> CheckoutSession:
    """Give up a visit, so that another can begin; never inside a transaction.

    The provider closes its page first: what is done there until then counts. Where it does not
    answer, it is asked again by the worker. Raises UnknownCheckout, Forbidden.
    """
    with rls.tenant_scope(organization_id):
        _give_up(checkout, organization_id, actor, at)
    calls.deliver_lane(checkout)
    with rls.tenant_scope(organization_id):
        return selectors.checkout(checkout, organization_id=organization_id)


@transaction.atomic
def _give_up(checkout: str, organization_id: int, actor: Actor, at: datetime) -> None:
    require("manage_billing", actor=actor, organization_id=organization_id)
    tenants.lock(organization_id)
    session = selectors.checkout(checkout, organization_id=organization_id)
    if session.status == Status.NEW:
        _end(session, Status.EXPIRED, at)
    elif session.status == Status.OPEN:
        calls.enqueue(
            Write.EXPIRE_CHECKOUT,
            about=session.public_id,
            params={},
            organization_id=organization_id,
            target=session.provider_id,
        )


def _described(session: CheckoutSession, customer: str) -> dict[str, Any]:
    """Return what the provider is told of the visit."""
    place = f"{settings.API_BASE_URL}{PLACE}/{session.public_id}"
    told: dict[str, Any] = {
        "mode": session.mode,
        "customer": customer,
        "client_reference_id": session.public_id,
        "success_url": f"{place}/done/" if session.back.startswith("/") else session.back,
        "cancel_url": f"{place}/left/" if session.back.startswith("/") else session.back,
    }
    organization = tenants_read.organization(session.organization_id)
    if session.mode == Mode.SETUP:
        return told | {"currency": organization.currency.lower()}
    row = invoices.by_id(session.invoice_id or 0)
    money = Money(row.amount_due, row.currency)
    item = {
        "quantity": 1,
        "price_data": {
            "currency": row.currency.lower(),
            "unit_amount": check_chargeable(money),
            "product_data": {"name": str(row.number)},
        },
    }
    named = {"billing_id": session.public_id, "invoice": row.public_id}
    return told | {"line_items": [item], "payment_intent_data": {"metadata": named}}


# --- what the provider says -----------------------------------------------------------------------
@calls.answered(Write.CREATE_CHECKOUT)
def checkout_is_open(call: ProviderCall, answer: Answer, *, at: datetime) -> None:
    """Note where the visit takes place."""
    seen = see_checkout(answer)
    rows = CheckoutSession.objects.filter(public_id=call.about, status=Status.NEW)
    rows.update(status=Status.OPEN, provider_id=seen.id, url=seen.url)


@calls.answered(Write.EXPIRE_CHECKOUT)
def checkout_is_closed(call: ProviderCall, answer: Answer, *, at: datetime) -> None:
    """Note that nothing can come of the visit any more."""
    follow_checkout(answer, at=at)


@follows("checkout.session")
def follow_checkout(told: Json, *, at: datetime) -> None:
    """Take over how a visit stands: what was saved or paid, or that it is over."""
    seen = see_checkout(told)
    session = CheckoutSession.objects.filter(provider_id=seen.id).first()
    if session is None:
        return
    tenants.lock(session.organization_id)
    session = CheckoutSession.objects.get(pk=session.pk)
    if session.status != Status.OPEN:
        return
    if seen.status == "expired":
        _end(session, Status.EXPIRED, at)
    elif seen.status == "complete":
        _complete(session, seen, told, at)


def _complete(session: CheckoutSession, seen: SeenCheckout, told: Json, at: datetime) -> None:
    """Record what came of a visit that was completed; a bank debit completes before it pays."""
    if session.mode == Mode.SETUP:
        method = (told.get("setup_intent") or {}).get("payment_method")
        if isinstance(method, Mapping):
            keep_method(session.organization_id, seen=see_method(method), at=at)
    elif not seen.paid:
        return
    elif session.invoice_id is not None:
        _record_money(session, seen, at)
    _end(session, Status.COMPLETE, at)


def _record_money(session: CheckoutSession, seen: SeenCheckout, at: datetime) -> None:
    row = invoices.by_id(session.invoice_id or 0)
    reference = seen.intent or seen.id
    if Payment.objects.filter(invoice_id=row.pk, reference=reference).exists():
        return
    record_payment(
        row.public_id,
        amount=from_provider(seen.amount, seen.currency).major,
        reference=reference,
        keep_excess=True,
        method=Payment.Method.CARD,
        actor=ACTOR,
        at=tenants_read.now_for(row.organization_id, at),
    )
    look_again(row.pk)


def _end(session: CheckoutSession, status: str, at: datetime) -> None:
    session.status, session.ended_at = status, at
    session.save(update_fields=["status", "ended_at"])
