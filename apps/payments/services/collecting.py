"""Having the provider collect an invoice: it is told, it charges, and what came of it is recorded.

Every step at the provider is a call that is written down first (`calls`); what it answers is
recorded here, in the transaction that settles the call, together with the next step. All calls
about one invoice stand in one lane, so nothing is said while an answer is open.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Max

from apps.audit import services as audit
from apps.core import clock, outbox, rls
from apps.core.actor import Actor, system
from apps.core.faults import point
from apps.engine.money import Money
from apps.invoicing import selectors as invoices
from apps.invoicing import services as invoicing
from apps.invoicing.errors import NotPayable
from apps.payments import gateway, selectors
from apps.payments.currencies import check_chargeable
from apps.payments.errors import (
    AttemptUnderWay,
    NotChargeable,
    NotConfigured,
)
from apps.payments.events import DeclineClass, PaymentFailed
from apps.payments.gateway import Write
from apps.payments.models import Collection, PaymentAttempt
from apps.payments.projections import Declined
from apps.payments.services import calls, customers
from apps.payments.steps import Standing, Step, next_step
from apps.tenants import services as tenants

if TYPE_CHECKING:
    from apps.invoicing.models import Invoice

ACTOR = system("payment provider")
NO_METHOD = Declined(
    "no_payment_method", DeclineClass.METHOD, "There is no payment method to charge."
)
NOT_COLLECTIBLE = "not_collectible"
SUPERSEDED, SETTLED = "superseded", "settled"
WAITING, OPEN = Collection.Status.WAITING, Collection.Status.OPEN
Trying = PaymentAttempt.Status


# --- wishing --------------------------------------------------------------------------------------
@transaction.atomic
def collect(invoice: str, *, actor: Actor, at: datetime, method: str = "") -> PaymentAttempt:
    """Charge what is due on an invoice (number or public id) to a payment method, within seconds.

    `method` is a public id; without it the organization's default. What waits for the customer's
    confirmation is given up for the new attempt. Emits PaymentCollected, PaymentFailed or
    PaymentActionRequired once the provider has answered. Raises UnknownInvoice, also to strangers,
    Forbidden, NotConfigured, NoPaymentMethod, AttemptUnderWay, NotPayable and NotChargeable.
    """
    row = invoicing.find_and_lock(invoice, actor=actor, capability="manage_billing")
    if not gateway.configured():
        raise NotConfigured("No payment provider is configured: record the payment by hand.")
    if row.status not in invoicing.PAYABLE or not row.amount_due:
        raise NotPayable(f"Invoice {row} is {row.status} and takes no payment.")
    due = Money(row.amount_due, row.currency)
    check_chargeable(due)
    chosen = selectors.method_to_charge(row.organization_id, method)
    _make_room(row.pk, at)
    collection = _collection(row)
    attempt = PaymentAttempt.objects.create(
        organization_id=row.organization_id,
        invoice_id=row.pk,
        collection=collection,
        number=_attempts(row.pk) + 1,
        method=chosen,
        amount=due.minor,
        currency=due.currency,
        asked_by=actor.id,
        asked_at=at,
    )
    audit.record(
        action="invoice.collection_asked",
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        after={"attempt": attempt.number, "amount": due.minor, "currency": due.currency},
    )
    point("collecting.asked")
    advance(collection)
    return attempt


def charge_now(invoice: str, *, actor: Actor, at: datetime, method: str = "") -> PaymentAttempt:
    """Do what `collect` does and wait for what comes of it; never inside a transaction.

    An attempt that is under way already is the one, unless another method is named. Where the
    provider does not answer, it goes on without the caller. Raises what `collect` raises, but not
    that a card was refused: the attempt says so.
    """
    with _scope(actor):
        attempt = _asked(invoice, actor, at, method)
        lane, organization_id = attempt.collection.public_id, attempt.organization_id
    customers.deliver_wish(organization_id)
    calls.deliver_lane(lane)
    with rls.tenant_scope(organization_id):
        return PaymentAttempt.objects.select_related("method").get(pk=attempt.pk)


def _asked(invoice: str, actor: Actor, at: datetime, method: str) -> PaymentAttempt:
    try:
        return collect(invoice, actor=actor, at=at, method=method)
    except AttemptUnderWay:
        row = invoices.get(invoice, organization_id=actor.organization_id)
        running = selectors.attempt_under_way(row.pk)
        if running is None or method not in {"", running.method and running.method.public_id}:
            raise
        return running


def _scope(actor: Actor) -> AbstractContextManager[None]:
    if actor.organization_id is None:
        return rls.ops_scope("payments: collect an invoice")
    return rls.tenant_scope(actor.organization_id)


@transaction.atomic
def hand_over(invoice: str, *, at: datetime) -> None:
    """Have the provider collect an invoice that was issued for that; safe to repeat.

    Without a payment method it is told all the same: the customer can pay on its page. That, and
    what the provider does not charge, is told as a failure, so that it is chased.
    """
    row = invoicing.find_and_lock(invoice, actor=ACTOR, capability="manage_billing")
    if not _is_wanted(row) or Collection.objects.filter(invoice_id=row.pk).exists():
        return
    try:
        check_chargeable(Money(row.amount_due, row.currency))
        if selectors.default_method(row.organization_id) is not None:
            collect(invoice, actor=ACTOR, at=at)
            return
        advance(_collection(row))
        tell_failure(row, 0, NO_METHOD, at)
    except NotChargeable as refusal:
        refuse(_collection(row), str(refusal))


@transaction.atomic
def look_again(invoice_id: int) -> None:
    """Do what follows at the provider from a change of the invoice here."""
    collection = Collection.objects.filter(invoice_id=invoice_id).first()
    if collection is not None:
        tenants.lock(collection.organization_id)
        advance(Collection.objects.get(pk=collection.pk))


def _is_wanted(row: Invoice) -> bool:
    return bool(
        gateway.configured()
        and row.amount_due > 0
        and row.status == "open"
        and row.collection == "stripe_invoice"
    )


def _make_room(invoice_id: int, at: datetime) -> None:
    """Give up an attempt that waits for the customer. Raises AttemptUnderWay for any other."""
    running = PaymentAttempt.objects.filter(
        invoice_id=invoice_id, status__in=PaymentAttempt.UNDER_WAY
    ).first()
    if running is None:
        return
    if running.status != Trying.ACTION:
        raise AttemptUnderWay("This invoice is being charged already; wait for what comes of it.")
    end_attempt(running, Trying.FAILED, at, decline_code=SUPERSEDED)


def _attempts(invoice_id: int) -> int:
    found = PaymentAttempt.objects.filter(invoice_id=invoice_id).aggregate(last=Max("number"))
    return int(found["last"] or 0)


def _collection(row: Invoice) -> Collection:
    """Return the invoice's collection, begun anew if it was closed."""
    found, is_new = Collection.objects.get_or_create(
        organization_id=row.organization_id,
        invoice_id=row.pk,
        defaults={"currency": row.currency},
    )
    if not is_new and found.status not in (WAITING, OPEN):
        begin_anew(found)
    return found


# --- deciding -------------------------------------------------------------------------------------
def advance(collection: Collection) -> None:
    """Take the next step about an invoice, if every call about it is answered.

    In a transaction that holds the organization's lock.
    """
    if collection.status not in (WAITING, OPEN) or calls.is_waiting(collection.public_id):
        return
    row = invoices.by_id(collection.invoice_id)
    attempt = running_attempt(collection)
    step = next_step(_standing(collection, row, attempt))
    match step:
        case Step.HAND_OVER:
            _hand_over(collection)
        case Step.CHARGE if attempt is not None:
            _charge(collection, attempt)
        case Step.PAID_ELSEWHERE:
            say(Write.PAY_INVOICE, collection, part="outside", paid_out_of_band=True)
        case Step.WITHDRAW:
            say(Write.VOID_INVOICE, collection)
        case Step.CLOSE:
            _close(collection, attempt)


def _standing(collection: Collection, row: Invoice, attempt: PaymentAttempt | None) -> Standing:
    status = attempt.status if attempt else ""
    payable = row.status == "open" or (row.status in invoicing.PAYABLE and bool(attempt))
    return Standing(
        due=row.amount_due if payable else 0,
        paid=row.status == "paid",
        is_there=collection.status == OPEN,
        told=collection.amount,
        wanted=status == Trying.PENDING,
        under_way=status in (Trying.PROCESSING, Trying.ACTION),
    )


def running_attempt(collection: Collection) -> PaymentAttempt | None:
    """Return the attempt that is under way, if one is."""
    rows = PaymentAttempt.objects.filter(collection=collection, status__in=PaymentAttempt.UNDER_WAY)
    return rows.first()


def _hand_over(collection: Collection) -> None:
    """Tell the provider of the invoice; its lines follow when it has one."""
    customer = selectors.customer_of(collection.organization_id)
    if customer is None:
        customers.wish_customer(collection.organization_id)
        return
    row = invoices.by_id(collection.invoice_id)
    say(
        Write.CREATE_INVOICE,
        collection,
        customer=customer.provider_id,
        currency=row.currency.lower(),
        auto_advance=False,
        collection_method="charge_automatically",
        pending_invoice_items_behavior="exclude",
        description=row.number or "",
        metadata={"invoice": row.public_id, "number": row.number or ""},
    )


def _charge(collection: Collection, attempt: PaymentAttempt) -> None:
    """Have the invoice charged, as the attempt says."""
    if attempt.amount != collection.amount:
        attempt.amount = collection.amount
        attempt.save(update_fields=["amount"])
    method = attempt.method
    calls.enqueue(
        Write.PAY_INVOICE,
        about=attempt.public_id,
        params={
            "payment_method": method.provider_id if method else "",
            "off_session": True,
            "expand": ["payments"],
        },
        organization_id=collection.organization_id,
        target=collection.provider_id,
        lane=collection.public_id,
    )


def _close(collection: Collection, attempt: PaymentAttempt | None) -> None:
    """Give up telling the provider of an invoice that is not owed any more."""
    if collection.provider_id:
        say(Write.DELETE_INVOICE, collection)
    end_collection(collection, Collection.Status.CLOSED)


def about(collection: Collection, part: str = "") -> str:
    """Return what a call is about: the collection, its generation, and a part of that."""
    return ":".join(filter(None, (collection.public_id, str(collection.generation), part)))


def say(write: Write, collection: Collection, *, part: str = "", **params: Any) -> None:
    """Have something said about the invoice, after all that is being said about it already."""
    calls.enqueue(
        write,
        about=about(collection, part),
        params=params,
        organization_id=collection.organization_id,
        target="" if write.creates else collection.provider_id,
        lane=collection.public_id,
    )


# --- recording ------------------------------------------------------------------------------------
def begin_anew(collection: Collection) -> None:
    """Forget what the provider has of it: the invoice will be told again, as another one."""
    collection.generation += 1
    collection.status, collection.reason = WAITING, ""
    collection.provider_id, collection.hosted_url, collection.amount = "", "", 0
    collection.save()


def end_collection(collection: Collection, status: str, reason: str = "") -> None:
    """Close it, and give up a charge that was asked for and not sent."""
    at = clock.now()
    collection.status, collection.reason = status, reason[:300]
    collection.save(update_fields=["status", "reason"])
    attempt = running_attempt(collection)
    if attempt is not None:
        end_attempt(attempt, Trying.FAILED, at, decline_code=SETTLED)


def refuse(collection: Collection, reason: str) -> None:
    """Note why the provider cannot collect it, and tell that it failed."""
    attempt = running_attempt(collection)
    end_collection(collection, Collection.Status.REFUSED, reason)
    why = Declined(NOT_COLLECTIBLE, DeclineClass.NEVER, reason)
    row = invoices.by_id(collection.invoice_id)
    tell_failure(row, attempt.number if attempt else 0, why, clock.now())


def end_attempt(attempt: PaymentAttempt, status: str, at: datetime, **said: str) -> None:
    """Write down how an attempt ended, and what was said of it."""
    attempt.status, attempt.ended_at, attempt.action_url = status, at, ""
    for name, value in said.items():
        setattr(attempt, name, value)
    attempt.save()


def tell_failure(row: Invoice, attempt: int, why: Declined, at: datetime) -> None:
    """Tell the rooms above that an invoice could not be collected."""
    fact = PaymentFailed(
        invoice=row.public_id,
        organization_id=row.organization_id,
        attempt=attempt,
        decline_code=why.code,
        decline_class=why.kind,
        at=at.isoformat(),
    )
    outbox.emit(fact, at=at, organization_id=row.organization_id)
