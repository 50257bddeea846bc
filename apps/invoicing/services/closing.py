"""The ends of an invoice that are not payment: void, billed anew, or given up."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef

from apps.core import outbox
from apps.core.actor import Actor
from apps.core.errors import Conflict
from apps.engine.invoice import LineKind
from apps.invoicing.errors import NotUncollectible, NotVoidable
from apps.invoicing.events import InvoiceUncollectible, InvoiceVoided
from apps.invoicing.models import CreditMovement, Invoice, InvoiceLine, LedgerTransaction
from apps.invoicing.services import drafts, run
from apps.invoicing.services.booking import RECEIVABLE, WRITE_OFF, Movement, book
from apps.invoicing.services.finding import find_and_lock, record
from apps.invoicing.services.issuing import issue
from apps.invoicing.services.standing import corrections_of_void, refuse_when_corrected
from apps.subscriptions import services as subscriptions

STANDING = (Invoice.Status.OPEN, Invoice.Status.UNCOLLECTIBLE)


@transaction.atomic
def void_invoice(reference: str, *, reason: str, actor: Actor, at: datetime) -> Invoice:
    """Declare an unpaid invoice void: it keeps its number, its booking is reversed, the credit it
    used goes back, and its periods may be billed anew, which only `rebill_invoice` does.

    Emits InvoiceVoided. Raises NotVoidable, also when a later invoice that stands corrects this one
    or gives back part of it.
    """
    row = find_and_lock(reference, actor=actor, capability="manage_invoices")
    if not reason.strip():
        raise NotVoidable("Say why the invoice is void.", param="reason")
    if row.status not in STANDING or row.amount_paid or row.credit_notes.exists():
        raise NotVoidable(
            f"Invoice {row} is {row.status}; only an unpaid open one without credit notes can be "
            "voided."
        )
    if row.credits < 0:
        raise NotVoidable(f"Invoice {row} became credit; withdraw that credit instead.")
    refuse_when_corrected(row)
    _refuse_when_given_back(row)
    row.status, row.voided_at, row.void_reason = Invoice.Status.VOID, at, reason.strip()[:200]
    row.written_off = 0
    row.save(update_fields=["status", "voided_at", "void_reason", "written_off"])
    InvoiceLine.objects.filter(organization_id=row.organization_id, invoice=row).update(live=False)
    _give_credit_back(row, at)
    corrections_of_void(row, actor=actor, at=at)
    used = row.discounts.values_list("discount", flat=True)
    subscriptions.restore_discounts(used, actor=actor, at=at)
    book(_reversal(row, at))
    record(row, "invoice.voided", actor, at, after={"reason": row.void_reason})
    fact = InvoiceVoided(row.public_id, row.organization_id, str(row.number))
    outbox.emit(fact, at=at, organization_id=row.organization_id)
    return row


def _refuse_when_given_back(row: Invoice) -> None:
    """Raise NotVoidable when a later invoice that stands gives back what this one billed: nobody
    would owe that any more, and the credit for it would stay.
    """
    billed = row.lines.filter(
        amount__gt=0, item_id=OuterRef("item_id"), during__overlap=OuterRef("during")
    )
    given = InvoiceLine.objects.filter(
        Exists(billed),
        organization_id=row.organization_id,
        invoice_id__gt=row.pk,
        kind=LineKind.PRORATION,
        amount__lt=0,
        live=True,
    )
    first = given.select_related("invoice").order_by("invoice_id").first()
    if first is not None:
        raise NotVoidable(
            f"Invoice {first.invoice} gives back what invoice {row} billed; void that first, or "
            "credit this one."
        )


def _give_credit_back(row: Invoice, at: datetime) -> None:
    used = row.credit_movements.filter(kind=CreditMovement.Kind.USED)
    CreditMovement.objects.bulk_create(
        CreditMovement(
            organization_id=row.organization_id,
            grant_id=move.grant_id,
            invoice=row,
            kind=CreditMovement.Kind.RETURNED,
            amount=-move.amount,
            at=at,
        )
        for move in used
    )


def _reversal(row: Invoice, at: datetime) -> Movement:
    """Everything that was booked for the invoice, the other way round."""
    booked: dict[str, int] = {}
    for movement in LedgerTransaction.objects.filter(
        organization_id=row.organization_id, source=row.public_id
    ).prefetch_related("entries"):
        for entry in movement.entries.all():
            booked[entry.account] = booked.get(entry.account, 0) - entry.amount
    return Movement(row.organization_id, row.currency, row.public_id, "voided", at, booked)


@transaction.atomic
def mark_uncollectible(reference: str, *, reason: str, actor: Actor, at: datetime) -> Invoice:
    """Give up an open invoice: what is due is written off, and may still be paid later.

    Emits InvoiceUncollectible. Raises NotUncollectible.
    """
    row = find_and_lock(reference, actor=actor, capability="manage_invoices")
    if not reason.strip():
        raise NotUncollectible("Say why nobody will pay the invoice.", param="reason")
    if row.status != Invoice.Status.OPEN:
        raise NotUncollectible(f"Invoice {row} is {row.status}; only an open one is given up.")
    row.written_off = row.amount_due
    row.status, row.uncollectible_at = Invoice.Status.UNCOLLECTIBLE, at
    row.uncollectible_reason = reason.strip()[:200]
    row.save(update_fields=["status", "written_off", "uncollectible_at", "uncollectible_reason"])
    lost = {WRITE_OFF: row.written_off, RECEIVABLE: -row.written_off}
    book(Movement(row.organization_id, row.currency, row.public_id, "written_off", at, lost))
    record(row, "invoice.uncollectible", actor, at, after={"reason": row.uncollectible_reason})
    fact = InvoiceUncollectible(row.public_id, row.organization_id, str(row.number))
    outbox.emit(fact, at=at, organization_id=row.organization_id)
    return row


@transaction.atomic
def rebill_invoice(reference: str, *, actor: Actor, at: datetime) -> Invoice:
    """Bill the boundary of a void invoice anew, with the usage as it stands now.

    Raises Conflict when the invoice is not void, when the boundary stands billed again, or when
    there is nothing to bill.
    """
    row = find_and_lock(reference, actor=actor, capability="manage_invoices")
    if row.status != Invoice.Status.VOID or row.boundary_at is None:
        raise Conflict(f"Only a void invoice of a subscription is billed anew; {row} is not one.")
    boundaries = drafts.boundaries_of(row)
    subscriptions.lock_many([facts.id for facts, _ in boundaries])
    if any(facts.agreement.cycle.boundary(k) != row.boundary_at for facts, k in boundaries):
        raise Conflict("The subscription has started a new cycle since; its old one is closed.")
    standing = Invoice.objects.filter(
        organization_id=row.organization_id,
        subscription=row.subscription,
        boundary_at=row.boundary_at,
        currency=row.currency,
    )
    if standing.exclude(status=Invoice.Status.VOID).exists():
        raise Conflict(f"The period of {row} has been billed anew already.")
    drafted = run.draft_boundaries(boundaries, revision=standing.count(), actor=actor, at=at)
    made = [draft for draft in drafted if draft is not None]
    if not made:
        raise Conflict(f"There is nothing to bill anew for {row}.")
    issue(made, actor=actor, at=at)
    return made[0].row
