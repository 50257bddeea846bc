"""Everything that makes, settles and voids invoices."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, connection, transaction
from psycopg.types.range import TimestamptzRange

from apps.audit import services as audit
from apps.core import outbox, rls
from apps.core.actor import Actor, require
from apps.core.errors import Conflict, NotFound
from apps.core.faults import point
from apps.engine.money import Money
from apps.engine.period import Period
from apps.invoicing import selectors
from apps.invoicing.errors import FutureBilling, NotADraft, NotPayable, NotVoidable, Overpayment
from apps.invoicing.events import (
    InvoiceFinalized,
    InvoicePaid,
    InvoiceVoided,
    SubscriptionParked,
)
from apps.invoicing.models import (
    Invoice,
    InvoiceLine,
    LedgerEntry,
    LedgerTransaction,
    Parked,
)
from apps.invoicing.selectors import Composed
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions import services as subscriptions
from apps.subscriptions import states
from apps.subscriptions.selectors import Due, SubscriptionFacts
from apps.tenants import selectors as tenant_selectors
from apps.tenants import services as tenants
from apps.usage.errors import UsageNotReady

log = logging.getLogger(__name__)

RECEIVABLE, CASH, REVENUE = LedgerEntry.Account.RECEIVABLE, "cash", "revenue"


@dataclass(frozen=True, slots=True)
class Issued:
    """An invoice that a run made. Amounts in minor units."""

    id: str
    number: str | None
    organization_id: int
    currency: str
    total: int


@dataclass(slots=True)
class BillingReport:
    """What a run did: invoices in the order of their numbers, and whom it had to leave aside."""

    issued: list[Issued] = field(default_factory=list)
    parked: list[tuple[str, str]] = field(default_factory=list)

    def totals(self) -> dict[str, int]:
        """Return the sum of the invoices by currency, in minor units."""
        sums: dict[str, int] = {}
        for invoice in self.issued:
            sums[invoice.currency] = sums.get(invoice.currency, 0) + invoice.total
        return sums


def lock(invoice_id: int) -> Invoice:
    """Lock the invoice's row: after the subscription's, before a payment's."""
    return Invoice.objects.select_for_update().get(pk=invoice_id)


def bill_due(
    *,
    as_of: datetime,
    actor: Actor,
    at: datetime,
    scheduled: bool = False,
    keep_drafts: bool = False,
    step: Callable[[], None] = lambda: None,
) -> BillingReport:
    """Issue one invoice for every subscription and boundary up to `as_of`.

    Each boundary is one transaction of its own, oldest first, so that numbers follow time. A run
    may be repeated, doubled or killed at any point: the cursor moves in the transaction that
    writes the invoice, and the database refuses a second one. A subscription that fails is parked
    with the reason and left out until it is released; the others go on. `scheduled` runs leave
    backdated boundaries alone. Opens its own scopes; must not be called inside a transaction.
    Raises FutureBilling.
    """
    require("manage_invoices", actor=actor)
    if as_of > at:
        raise FutureBilling(
            f"Nothing is billed ahead of time: --as-of is after {at:%Y-%m-%d %H:%M}."
        )
    report = BillingReport()
    while True:
        with rls.ops_scope("billing: what is due"):
            aside = selectors.parked_subscriptions()
            waiting = subscription_selectors.due(as_of, scheduled=scheduled)
        batch = [due for due in waiting if due.subscription_id not in aside]
        if not batch:
            return report
        for due in batch:
            _bill_or_park(due, report, as_of=as_of, actor=actor, at=at, keep_drafts=keep_drafts)
            step()


def _bill_or_park(
    due: Due,
    report: BillingReport,
    *,
    as_of: datetime,
    actor: Actor,
    at: datetime,
    keep_drafts: bool,
) -> None:
    try:
        issued = bill_boundary(due, as_of=as_of, actor=actor, at=at, keep_draft=keep_drafts)
    except (OperationalError, InterfaceError, UsageNotReady):
        raise  # the database is away, busy or just restored: nobody's fault, the next run goes on
    except Exception as error:
        log.exception("billing_parked", extra={"subscription": due.subscription_id})
        report.parked.append(_park(due, error, actor=actor, at=at))
    else:
        if issued is not None:
            report.issued.append(issued)


def bill_boundary(
    due: Due, *, as_of: datetime, actor: Actor, at: datetime, keep_draft: bool = False
) -> Issued | None:
    """Bill the subscription's next boundary, when it is still due; one transaction.

    Returns None when somebody else was faster, when there is nothing to bill, or when a trial ended
    with nobody to charge.
    """
    with rls.tenant_scope(due.organization_id):
        tenants.lock(due.organization_id)
        row = subscriptions.lock(due.subscription_id)
        if row.status not in states.BILLED or row.next_boundary_at > as_of:
            return None
        point("billing.locked")
        if row.status == states.TRIALING:
            subscriptions.end_trial(row, actor=actor, at=at)
            if row.status not in states.BILLED:
                return None
        facts = subscription_selectors.by_id(row.pk)
        invoice = _draft(facts, facts.next_boundary)
        point("billing.drafted")
        subscriptions.pass_boundary(row, actor=actor, at=at)
        point("billing.passed")
        if invoice is None:
            return None
        if not keep_draft:
            _finalize(invoice, actor=actor, at=at)
        point("billing.before_commit")
    point("billing.committed")
    return _issued(invoice)


def _issued(row: Invoice) -> Issued:
    return Issued(row.public_id, row.number, row.organization_id, row.currency, row.total)


def _draft(facts: SubscriptionFacts, boundary: int, *, revision: int = 0) -> Invoice | None:
    composed = selectors.compose(facts, boundary)
    if not composed:
        return None
    document = selectors.upcoming_document(facts, composed)
    organization = tenant_selectors.organization(facts.organization_id)
    issued_at = facts.agreement.cycle.boundary(boundary)
    row = Invoice.objects.create(
        organization_id=facts.organization_id,
        billing_entity=organization.billing_entity,
        subscription_id=facts.id,
        currency=document.currency,
        collection=facts.collection,
        timezone=document.timezone,
        locale=document.locale,
        boundary_at=issued_at,
        boundary_index=boundary,
        revision=revision,
        period=_range(document.period),
        issued_at=issued_at,
        due_at=issued_at + timedelta(days=organization.billing_entity.payment_terms_days),
        subtotal=document.subtotal,
        total=document.total,
        parties=document.parties,
    )
    InvoiceLine.objects.bulk_create(
        _line(row, composed_line, position) for position, composed_line in enumerate(composed, 1)
    )
    return row


def _line(invoice: Invoice, composed: Composed, position: int) -> InvoiceLine:
    proposal = composed.proposal
    return InvoiceLine(
        organization_id=invoice.organization_id,
        invoice=invoice,
        item_id=proposal.item_id,
        step_id=proposal.step_id,
        price_id=composed.price_id,
        position=position,
        key=proposal.key,
        kind=proposal.kind.value,
        reason=proposal.reason.value,
        name=composed.name,
        during=_range(proposal.period),
        quantity=proposal.quantity,
        amount=proposal.amount.minor,
        explanation=composed.explanation,
        usage_epoch=composed.usage_epoch,
        usage_snapshot=composed.usage_snapshot,
    )


def _range(period: Period) -> TimestamptzRange:
    return TimestamptzRange(period.start, period.end, "[)")


def _finalize(row: Invoice, *, actor: Actor, at: datetime) -> None:
    """Issue the draft. The number comes last: its counter stays locked until the commit."""
    _book(row, "issued", {RECEIVABLE: row.total, REVENUE: -row.total}, source=row.public_id, at=at)
    _record(row, "invoice.finalized", actor, at, after=_money(row.total, row.currency))
    fact = InvoiceFinalized(row.public_id, row.organization_id)
    outbox.emit(fact, at=at, organization_id=row.organization_id)
    if row.total == 0:
        _tell_paid(row, actor=actor, at=at)
    point("billing.before_number")
    row.sequence = _take_number(row)
    point("billing.numbered")
    row.number = f"{row.billing_entity.invoice_prefix}-{row.sequence:06d}"
    row.status, row.finalized_at = Invoice.Status.OPEN, at
    row.content_hash = selectors.document(selectors.get(row.public_id), number=row.number).hash()
    row.save(update_fields=["sequence", "number", "status", "finalized_at", "content_hash"])
    # Nothing to pay is paid. A negative total stays open: it is owed to the customer, and what is
    # due in all counts it against the other invoices until credit notes can settle it.
    if row.total == 0:
        row.status, row.paid_at = Invoice.Status.PAID, at
        row.save(update_fields=["status", "paid_at"])


def _take_number(row: Invoice) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT invoicing_take_number(%s, %s)", [row.billing_entity_id, row.series])
        return int(cursor.fetchone()[0])


@transaction.atomic
def finalize_invoice(reference: str, *, actor: Actor, at: datetime) -> Invoice:
    """Issue a draft that a run kept. Raises NotADraft: of two who try, one wins."""
    row = _locked(reference, "manage_invoices", actor=actor)
    if row.status != Invoice.Status.DRAFT:
        raise NotADraft(f"Invoice {row} is final already.")
    _finalize(row, actor=actor, at=at)
    return row


@transaction.atomic
def void_invoice(reference: str, *, reason: str, actor: Actor, at: datetime) -> Invoice:
    """Declare an unpaid invoice void: it keeps its number, its booking is reversed, and its periods
    may be billed anew, which only `rebill_invoice` does. Emits InvoiceVoided. Raises NotVoidable.
    """
    row = _locked(reference, "manage_invoices", actor=actor)
    if not reason.strip():
        raise NotVoidable("Say why the invoice is void.", param="reason")
    if row.status not in {Invoice.Status.OPEN, Invoice.Status.UNCOLLECTIBLE} or row.amount_paid:
        raise NotVoidable(f"Invoice {row} is {row.status}; only an unpaid open one can be voided.")
    row.status, row.voided_at, row.void_reason = Invoice.Status.VOID, at, reason.strip()[:200]
    row.save(update_fields=["status", "voided_at", "void_reason"])
    InvoiceLine.objects.filter(organization_id=row.organization_id, invoice=row).update(live=False)
    _book(row, "voided", {RECEIVABLE: -row.total, REVENUE: row.total}, source=row.public_id, at=at)
    _record(row, "invoice.voided", actor, at, after={"reason": row.void_reason})
    fact = InvoiceVoided(row.public_id, row.organization_id, str(row.number))
    outbox.emit(fact, at=at, organization_id=row.organization_id)
    return row


@transaction.atomic
def rebill_invoice(reference: str, *, actor: Actor, at: datetime) -> Invoice:
    """Bill the boundary of a void invoice anew, with the usage as it stands now.

    Raises Conflict when the invoice is not void, when the boundary stands billed again, or when
    there is nothing to bill.
    """
    row = _locked(reference, "manage_invoices", actor=actor)
    if row.status != Invoice.Status.VOID or row.subscription_id is None:
        raise Conflict(f"Only a void invoice of a subscription is billed anew; {row} is not one.")
    subscriptions.lock(row.subscription_id)
    facts = subscription_selectors.by_id(row.subscription_id)
    index = row.boundary_index or 0
    if facts.agreement.cycle.boundary(index) != row.boundary_at:
        raise Conflict("The subscription has started a new cycle since; its old one is closed.")
    standing = Invoice.objects.filter(
        organization_id=row.organization_id,
        subscription_id=row.subscription_id,
        boundary_at=row.boundary_at,
    )
    if standing.exclude(status=Invoice.Status.VOID).exists():
        raise Conflict(f"The period of {row} has been billed anew already.")
    invoice = _draft(facts, index, revision=standing.count())
    if invoice is None:
        raise Conflict(f"There is nothing to bill anew for {row}.")
    _finalize(invoice, actor=actor, at=at)
    return invoice


@transaction.atomic
def apply_payment(
    invoice_id: int, *, amount: Money, payment: str, actor: Actor, at: datetime
) -> Invoice:
    """Count a payment (its public id) against an invoice; payments call this, once a payment.

    Emits InvoicePaid when it is paid in full. Raises NotPayable and Overpayment; the booking's
    unique cause makes a second call for the same payment impossible.
    """
    row = lock(invoice_id)
    if row.status not in {Invoice.Status.OPEN, Invoice.Status.UNCOLLECTIBLE}:
        raise NotPayable(f"Invoice {row} is {row.status} and takes no payment.")
    if amount.currency != row.currency:
        raise NotPayable(f"Invoice {row} is in {row.currency}, not {amount.currency}.")
    if amount.minor > row.amount_due:
        due = Money(row.amount_due, row.currency)
        raise Overpayment(f"{due} is due on {row}; {amount} is more. Record at most what is due.")
    row.amount_paid += amount.minor
    row.save(update_fields=["amount_paid"])
    _book(row, "paid", {CASH: amount.minor, RECEIVABLE: -amount.minor}, source=payment, at=at)
    _record(row, "invoice.payment_applied", actor, at, after=_money(amount.minor, row.currency))
    if row.amount_paid == row.total:
        row.status, row.paid_at = Invoice.Status.PAID, at
        row.save(update_fields=["status", "paid_at"])
        _tell_paid(row, actor=actor, at=at)
    return row


def _tell_paid(row: Invoice, *, actor: Actor, at: datetime) -> None:
    _record(row, "invoice.paid", actor, at)
    fact = InvoicePaid(row.public_id, row.organization_id)
    outbox.emit(fact, at=at, organization_id=row.organization_id)


def find_and_lock(reference: str, *, actor: Actor, capability: str) -> Invoice:
    """Return the invoice with this number or id, locked after its organization."""
    return _locked(reference, capability, actor=actor)


def _locked(reference: str, capability: str, *, actor: Actor) -> Invoice:
    row = selectors.get(reference, organization_id=actor.organization_id)
    require(capability, actor=actor, organization_id=row.organization_id)
    tenants.lock(row.organization_id)
    return lock(row.pk)


def _book(
    row: Invoice, kind: str, amounts: Mapping[str, int], *, source: str, at: datetime
) -> None:
    """Add a balanced movement; debits positive. Nothing moves when the amount is zero."""
    if not any(amounts.values()):
        return
    movement = LedgerTransaction.objects.create(
        organization_id=row.organization_id, currency=row.currency, source=source, kind=kind, at=at
    )
    LedgerEntry.objects.bulk_create(
        LedgerEntry(
            organization_id=row.organization_id,
            transaction=movement,
            currency=row.currency,
            account=account,
            amount=minor,
        )
        for account, minor in amounts.items()
    )


def _money(minor: int, currency: str) -> dict[str, Any]:
    return {"amount": minor, "currency": currency}


def _record(row: Invoice, action: str, actor: Actor, at: datetime, **facts: Any) -> None:
    audit.record(
        action=action,
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        **facts,
    )


def _park(due: Due, error: Exception, *, actor: Actor, at: datetime) -> tuple[str, str]:
    reason = f"{type(error).__name__}: {error}"[:2000]
    with rls.tenant_scope(due.organization_id):
        facts = subscription_selectors.by_id(due.subscription_id)
        row, created = Parked.objects.get_or_create(
            organization_id=due.organization_id,
            subscription_id=due.subscription_id,
            released_at=None,
            defaults={
                "boundary_at": facts.next_boundary_at,
                "reason": reason,
                "parked_at": at,
            },
        )
        if created:
            audit.record(
                action="billing.parked",
                target=facts.public_id,
                actor=actor,
                at=at,
                organization_id=due.organization_id,
                after={"reason": reason[:200]},
            )
            fact = SubscriptionParked(facts.public_id, due.organization_id, reason[:200])
            outbox.emit(fact, at=at, organization_id=due.organization_id)
    return facts.public_id, row.reason


@transaction.atomic
def release_parked(parked_id: str, *, actor: Actor, at: datetime) -> Parked:
    """Let runs bill a parked subscription again; safe to repeat."""
    row = Parked.objects.select_for_update().filter(public_id=parked_id).first()
    if row is None:
        raise NotFound(f"Nothing is parked as '{parked_id}'.")
    require("manage_invoices", actor=actor, organization_id=row.organization_id)
    if row.released_at is None:
        row.released_at = at
        row.save(update_fields=["released_at"])
        audit.record(
            action="billing.released",
            target=row.public_id,
            actor=actor,
            at=at,
            organization_id=row.organization_id,
        )
    return row
