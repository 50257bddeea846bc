"""Issuing: from a draft to a final invoice with a number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db import connection

from apps.audit import services as audit
from apps.core import bulk, outbox, statements
from apps.core.actor import Actor
from apps.core.faults import point
from apps.invoicing import recognition, selectors
from apps.invoicing.composition import CREDIT_PURCHASE
from apps.invoicing.events import InvoiceFinalized, InvoicePaid
from apps.invoicing.models import CreditGrant, CreditMovement, Invoice
from apps.invoicing.services.booking import (
    CREDIT,
    DEFERRED,
    PROMOTION,
    RECEIVABLE,
    REVENUE,
    TAX,
    Movement,
    book_all,
)
from apps.invoicing.services.drafting import Drafted
from apps.invoicing.services.finding import money
from apps.invoicing.services.lowness import Spender, tell_low
from apps.invoicing.services.standing import corrections_billed

PAID = Invoice.Status.PAID

ISSUE = """
UPDATE invoicing_invoice i SET sequence = given.sequence, number = given.number, status = 'open',
  finalized_at = %s, content_hash = given.hash
FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[])
  AS given (id, sequence, number, hash)
WHERE i.id = given.id
"""


def issue(drafted: Sequence[Drafted], *, actor: Actor, at: datetime) -> None:
    """Make the drafts final, in their order: what is not stored yet is stored so.

    The numbers come last: their counter stays locked until the commit.
    """
    _move_credit(drafted, actor=actor, at=at)
    tell_low([_spender(draft) for draft in drafted if draft.row.credits > 0], at=at)
    book_all([_issued(draft, at) for draft in drafted])
    corrections_billed(line for draft in drafted for line in draft.lines)
    _tell(drafted, actor=actor, at=at)
    point("billing.before_number")
    _number([draft.row for draft in drafted])
    point("billing.numbered")
    _seal(drafted, at)
    _settle_free([draft.row for draft in drafted], at)


def _move_credit(drafted: Sequence[Drafted], *, actor: Actor, at: datetime) -> None:
    """Use grants up, and keep what a negative sum owes as a grant of its own."""
    bulk.insert(
        CreditMovement(
            organization_id=draft.row.organization_id,
            grant=grant,
            invoice=draft.row,
            kind=CreditMovement.Kind.USED,
            amount=-used,
            at=at,
        )
        for draft in drafted
        for grant, used in _used(draft)
    )
    owed = bulk.insert(
        CreditGrant(
            organization_id=draft.row.organization_id,
            kind=CreditGrant.Kind.REFUND,
            name="Credit from an earlier invoice",
            currency=draft.row.currency,
            amount=-draft.row.credits,
            priority=0,
            granted_at=at,
            source=draft.row.public_id,
            granted_by=actor.id,
        )
        for draft in drafted
        if draft.row.credits < 0
    )
    bulk.insert(
        CreditMovement(
            organization_id=grant.organization_id,
            grant=grant,
            kind=CreditMovement.Kind.GRANTED,
            amount=grant.amount,
            at=at,
        )
        for grant in owed
    )


def _spender(draft: Drafted) -> Spender:
    return Spender(draft.row.organization_id, draft.row.currency, draft.row.public_id)


def _used(draft: Drafted) -> Iterable[tuple[CreditGrant, int]]:
    grants = {grant.public_id: grant for grant in draft.reckoned.conditions.grants}
    for spent in draft.reckoned.settlement.grants:
        if spent.amount:
            yield grants[spent.grant.id], spent.amount.minor


def _issued(draft: Drafted, at: datetime) -> Movement:
    """Owed by the customer, or paid by credit; earned by us, now or later, or owed to the tax
    office.
    """
    row = draft.row
    later = recognition.not_yet_served(row, draft.lines, at)
    promoted = sum(used for grant, used in _used(draft) if not grant.is_funded)
    bought = sum(line.amount for line in draft.lines if line.kind == CREDIT_PURCHASE)
    return Movement(
        row.organization_id,
        row.currency,
        row.public_id,
        "issued",
        at,
        {
            RECEIVABLE: row.total,
            CREDIT: row.credits - promoted - bought,
            PROMOTION: promoted,
            REVENUE: later - (row.subtotal - bought - row.discount - row.tax_included),
            DEFERRED: -later,
            TAX: -row.tax,
        },
    )


def _tell(drafted: Sequence[Drafted], *, actor: Actor, at: datetime) -> None:
    entries: list[audit.Entry] = []
    facts: list[tuple[outbox.Fact, int | None]] = []
    for draft in drafted:
        row = draft.row
        final = money(row.total, row.currency)
        entries.append(
            audit.Entry("invoice.finalized", row.public_id, row.organization_id, after=final)
        )
        facts.append((InvoiceFinalized(row.public_id, row.organization_id), row.organization_id))
        if row.total == 0:
            entries.append(audit.Entry("invoice.paid", row.public_id, row.organization_id))
            facts.append((InvoicePaid(row.public_id, row.organization_id), row.organization_id))
    audit.record_all(entries, actor=actor, at=at)
    outbox.emit_all(facts, at=at)


def _number(rows: Sequence[Invoice]) -> None:
    """Give out numbers in the order of the rows, one block for each issuer and series."""
    blocks: defaultdict[tuple[int, str], list[Invoice]] = defaultdict(list)
    for row in rows:
        blocks[row.billing_entity_id, row.series].append(row)
    for (entity, series), block in sorted(blocks.items()):
        first = take_numbers(entity, series, len(block))
        for sequence, row in enumerate(block, first):
            row.sequence = sequence
            row.number = f"{row.billing_entity.invoice_prefix}-{sequence:06d}"


def take_numbers(billing_entity_id: int, series: str, count: int = 1) -> int:
    """Take the next numbers of a series and return the first; they are ours at the commit."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT invoicing_take_numbers(%s, %s, %s)", [billing_entity_id, series, count]
        )
        return int(cursor.fetchone()[0])


def _seal(drafted: Sequence[Drafted], at: datetime) -> None:
    for draft in drafted:
        draft.row.status, draft.row.finalized_at = Invoice.Status.OPEN, at
    rows = [draft.row for draft in drafted]
    for row, said in zip(rows, selectors.drafted_documents(drafted), strict=True):
        row.content_hash = said.hash()
    _open([row for row in rows if not row._state.adding], at)
    bulk.insert(row for row in rows if row._state.adding)


def _open(rows: Sequence[Invoice], at: datetime) -> None:
    """Make stored drafts final."""
    if not rows:
        return
    statements.bound(
        ISSUE,
        [
            at,
            bulk.array(row.pk for row in rows),
            bulk.array(row.sequence for row in rows),
            bulk.array(row.number for row in rows),
            bulk.array(row.content_hash for row in rows),
        ],
    )


def _settle_free(rows: Sequence[Invoice], at: datetime) -> None:
    """Mark as paid what leaves nothing to pay."""
    free = [row for row in rows if row.total == 0]
    for row in free:
        row.status, row.paid_at = PAID, at
    if free:
        Invoice.objects.filter(pk__in=[row.pk for row in free]).update(status=PAID, paid_at=at)
