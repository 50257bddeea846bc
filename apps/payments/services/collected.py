"""What comes of having an invoice collected: the provider's answers, and what it tells by itself.

Both say the same things about the same rows, in any order and more than once. Money is recorded by
the provider's reference of it, which an invoice takes once.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from apps.core import outbox
from apps.engine.money import Money
from apps.invoicing import selectors as invoices
from apps.payments.currencies import from_provider, to_provider
from apps.payments.errors import NotChargeable, ProviderRefused
from apps.payments.events import PaymentActionRequired, PaymentCollected
from apps.payments.gateway import Answer, Write
from apps.payments.models import Collection, Payment, PaymentAttempt, ProviderCall
from apps.payments.objects import Json, follows
from apps.payments.projections import (
    Declined,
    SeenInvoice,
    SeenPayment,
    see_decline,
    see_intent,
    see_invoice,
)
from apps.payments.pushing import provider_amounts, pushed_lines
from apps.payments.services import calls
from apps.payments.services.collecting import (
    ACTOR,
    OPEN,
    WAITING,
    Trying,
    advance,
    begin_anew,
    end_attempt,
    end_collection,
    refuse,
    running_attempt,
    say,
    tell_failure,
)
from apps.payments.services.recording import record_payment
from apps.tenants import selectors as tenants_read
from apps.tenants import services as tenants

if TYPE_CHECKING:
    from apps.engine.period import Period

CHUNK = 100  # lines told in one call
NEEDS_CUSTOMER = {"invoice_payment_intent_requires_action", "authentication_required"}


# --- answers --------------------------------------------------------------------------------------
@calls.answered(Write.CREATE_CUSTOMER)
def customer_is_known(call: ProviderCall, answer: Answer, *, at: datetime) -> None:
    """Go on with the invoices that waited for the customer to be known there."""
    if call.organization_id is None:
        return
    tenants.lock(call.organization_id)
    for one in Collection.objects.filter(organization_id=call.organization_id, status=WAITING):
        advance(one)


@calls.answered(Write.CREATE_INVOICE)
def invoice_is_there(call: ProviderCall, answer: Answer, *, at: datetime) -> None:
    """Tell the lines of the invoice as it is now."""
    collection = _of_call(call)
    if collection is None:
        return
    collection.provider_id = answer["id"]
    document = invoices.document(invoices.by_id(collection.invoice_id))
    try:
        lines = pushed_lines(document)
        amounts = provider_amounts(lines, document.currency)
    except NotChargeable as refusal:
        collection.save(update_fields=["provider_id"])
        _withdraw(collection, str(refusal))
        return
    collection.amount = document.amount_due
    collection.save(update_fields=["provider_id", "amount"])
    told = [
        {"amount": amount, "description": line.words[:500], "discountable": False}
        | {"metadata": {"key": line.key, "kind": line.kind}}
        | ({} if line.period is None else {"period": _seconds(line.period)})
        for line, amount in zip(lines, amounts, strict=True)
    ]
    for start in range(0, len(told), CHUNK):
        say(
            Write.ADD_LINES,
            collection,
            part=str(start),
            lines=told[start : start + CHUNK],
            invoice_metadata={"told": str(start)},  # by which it is known that they are there
        )


@calls.answered(Write.ADD_LINES)
def lines_are_there(call: ProviderCall, answer: Answer, *, at: datetime) -> None:
    """Make the invoice final there, if the provider comes to the same amount, to the cent."""
    collection = _of_call(call)
    if collection is None or calls.is_waiting(collection.public_id):
        return
    seen = see_invoice(answer)
    wanted = to_provider(Money(collection.amount, collection.currency))
    if seen.due == wanted:
        say(Write.FINALIZE_INVOICE, collection, auto_advance=False)
    else:
        came_to = f"{seen.due} {seen.currency.upper()}"
        _withdraw(collection, f"The provider came to {came_to} where we came to {wanted}.")


@calls.answered(Write.FINALIZE_INVOICE)
def invoice_is_final(call: ProviderCall, answer: Answer, *, at: datetime) -> None:
    """Note that the invoice can be paid there; charge it if that is asked for."""
    collection = _of_call(call)
    if collection is None:
        return
    collection.status = OPEN
    collection.hosted_url = see_invoice(answer).hosted_url
    collection.save(update_fields=["status", "hosted_url"])
    advance(collection)


@calls.answered(Write.PAY_INVOICE)
def invoice_was_paid(call: ProviderCall, answer: Answer, *, at: datetime) -> None:
    """Record what charging brought, or that it is on its way."""
    attempt = _attempt_of(call)
    if attempt is None:
        collection = _of_call(call)
        if collection is not None:
            end_collection(collection, Collection.Status.CLOSED)
        return
    seen = see_invoice(answer)
    attempt.provider_id = seen.intent
    if seen.status != "paid":
        attempt.status = Trying.PROCESSING
    attempt.save(update_fields=["provider_id", "status"])
    _take_over(attempt.collection, seen, at)


@calls.refused(Write.PAY_INVOICE)
def charge_was_refused(call: ProviderCall, refusal: ProviderRefused, *, at: datetime) -> None:
    """Note that the charge was refused, or waits for the customer."""
    attempt = _attempt_of(call)
    if attempt is None or attempt.status not in PaymentAttempt.UNDER_WAY:
        return
    if {refusal.provider_code, refusal.decline_code} & NEEDS_CUSTOMER:
        _ask_customer(attempt, at)
        return
    said = {"decline_code": refusal.decline_code, "code": refusal.provider_code}
    _fail(attempt, see_decline(said | {"message": refusal.message}), at)


@calls.answered(Write.VOID_INVOICE)
def invoice_is_void(call: ProviderCall, answer: Answer, *, at: datetime) -> None:
    """Tell it anew, if anything is owed on it still."""
    collection = _of_call(call)
    if collection is None:
        return
    if collection.status == OPEN:
        begin_anew(collection)
    advance(collection)


@calls.refused(Write.CREATE_CUSTOMER)
def customer_was_refused(call: ProviderCall, refusal: ProviderRefused, *, at: datetime) -> None:
    """Note that nothing can be collected from an organization that the provider does not take."""
    if call.organization_id is None:
        return
    tenants.lock(call.organization_id)
    for one in Collection.objects.filter(organization_id=call.organization_id, status=WAITING):
        refuse(one, f"The provider refused: {refusal}")


@calls.refused(Write.CREATE_INVOICE)
@calls.refused(Write.ADD_LINES)
@calls.refused(Write.FINALIZE_INVOICE)
@calls.refused(Write.VOID_INVOICE)
def invoice_was_refused(call: ProviderCall, refusal: ProviderRefused, *, at: datetime) -> None:
    """Note that the provider does not take the invoice, or does not let go of it.

    One that was paid there at the same moment is told of by itself, and its money recorded.
    """
    collection = _of_call(call)
    if collection is not None:
        refuse(collection, f"The provider refused: {refusal}")


# --- what the provider tells by itself ------------------------------------------------------------
@follows("invoice")
def follow_invoice(told: Json, *, at: datetime) -> None:
    """Take over how an invoice of ours stands at the provider."""
    if told.get("deleted"):
        return
    seen = see_invoice(told)
    name, _, generation = seen.billing_id.partition(":")
    collection = _locked(Collection.objects.filter(public_id=name).first())
    if collection is None:
        return
    if generation == str(collection.generation):
        _take_over(collection, seen, at)
    else:  # one that was withdrawn: what was paid on it all the same is money
        _record_money(collection, seen, at)


@follows("payment_intent")
def follow_intent(told: Json, *, at: datetime) -> None:
    """Take over what became of a charge that was on its way."""
    seen = see_intent(told)
    attempt = PaymentAttempt.objects.filter(provider_id=seen.id).order_by("-number").first()
    if attempt is None or _locked(attempt.collection) is None:
        return
    attempt.refresh_from_db()
    if attempt.status not in PaymentAttempt.UNDER_WAY:
        return
    if seen.status == "requires_action":
        _ask_customer(attempt, at)
    elif seen.status in {"requires_payment_method", "canceled"} and seen.declined:
        _fail(attempt, seen.declined, at)


def _take_over(collection: Collection, seen: SeenInvoice, at: datetime) -> None:
    _record_money(collection, seen, at)
    if collection.status not in (WAITING, OPEN):
        return
    if seen.status == "paid":
        end_collection(collection, Collection.Status.PAID)
    elif seen.status in {"void", "uncollectible"} and not calls.is_waiting(collection.public_id):
        end_collection(collection, Collection.Status.CLOSED, f"It was made {seen.status} there.")


def _record_money(collection: Collection, seen: SeenInvoice, at: datetime) -> None:
    """Record each payment of an invoice that is not recorded yet."""
    for one in seen.payments:
        known = Payment.objects.filter(
            invoice_id=collection.invoice_id, reference=one.reference
        ).exists()
        if not known:
            _record_one(collection, seen, one, at)


def _record_one(collection: Collection, seen: SeenInvoice, one: SeenPayment, at: datetime) -> None:
    row = invoices.by_id(collection.invoice_id)
    attempt = running_attempt(collection)
    money = from_provider(one.amount, seen.currency)
    payment = record_payment(
        row.public_id,
        amount=money.major,
        reference=one.reference,
        keep_excess=True,
        method=_method_of(attempt),
        actor=ACTOR,
        at=tenants_read.now_for(collection.organization_id, at),
    )
    if attempt is not None:
        end_attempt(attempt, Trying.SUCCEEDED, at, provider_id=one.reference)
    fact = PaymentCollected(row.public_id, payment.public_id, row.organization_id)
    outbox.emit(fact, at=at, organization_id=row.organization_id)


def _method_of(attempt: PaymentAttempt | None) -> str:
    if attempt is None or attempt.method is None:
        return Payment.Method.CARD
    return Payment.Method.of_kind(attempt.method.kind)


# --- attempts -------------------------------------------------------------------------------------
def _fail(attempt: PaymentAttempt, why: Declined, at: datetime) -> None:
    end_attempt(
        attempt,
        Trying.FAILED,
        at,
        decline_code=why.code,
        decline_class=why.kind,
        message=why.message,
    )
    tell_failure(invoices.by_id(attempt.invoice_id), attempt.number, why, at)


def _ask_customer(attempt: PaymentAttempt, at: datetime) -> None:
    """Note that the customer's bank wants them to confirm, and tell them where, once."""
    if attempt.status == Trying.ACTION:
        return
    attempt.status = Trying.ACTION
    attempt.action_url = attempt.collection.hosted_url
    attempt.save(update_fields=["status", "action_url"])
    row = invoices.by_id(attempt.invoice_id)
    fact = PaymentActionRequired(
        row.public_id, row.organization_id, attempt.action_url, at.isoformat()
    )
    outbox.emit(fact, at=at, organization_id=row.organization_id)


# --- whose it is ----------------------------------------------------------------------------------
def _withdraw(collection: Collection, reason: str) -> None:
    """Take a draft back that is not to be charged."""
    say(Write.DELETE_INVOICE, collection)
    refuse(collection, reason)


def _of_call(call: ProviderCall) -> Collection | None:
    """Return the collection that a call is about, locked, if it is still about that."""
    name, _, generation = call.about.partition(":")
    collection = _locked(Collection.objects.filter(public_id=name).first())
    current = collection and generation.partition(":")[0] == str(collection.generation)
    return collection if current else None


def _attempt_of(call: ProviderCall) -> PaymentAttempt | None:
    attempt = PaymentAttempt.objects.filter(public_id=call.about).first()
    if attempt is None or _locked(attempt.collection) is None:
        return None
    return PaymentAttempt.objects.select_related("collection", "method").get(pk=attempt.pk)


def _locked(collection: Collection | None) -> Collection | None:
    """Lock the organization, the first of all locks, and read the collection again."""
    if collection is None:
        return None
    tenants.lock(collection.organization_id)
    return Collection.objects.get(pk=collection.pk)


def _seconds(period: Period) -> dict[str, int]:
    """Return a period as the provider writes it: whole seconds, and never empty."""
    start = int(period.start.timestamp())
    return {"start": start, "end": max(start + 1, int(period.end.timestamp()))}
