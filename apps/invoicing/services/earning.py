"""Earning what was billed ahead: month by month, from deferred revenue to revenue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import connection
from django.db.models import Sum

from apps.audit import services as audit
from apps.core import rls
from apps.core.actor import Actor, require
from apps.core.errors import Invalid
from apps.core.faults import point
from apps.engine.recognition import Month
from apps.invoicing import recognition
from apps.invoicing.models import Invoice, LedgerEntry, LedgerTransaction
from apps.invoicing.services.booking import DEFERRED, REVENUE, Movement, book_all

CHUNK = 200

# What is deferred still, or serves in the month; what was issued before anything was deferred has
# no settlement and is earned already.
UNEARNED = """
SELECT i.id FROM invoicing_invoice i
WHERE i.id > %(after)s AND i.status IN ('open', 'paid', 'uncollectible') AND i.settlement <> '{}'
  AND (%(organization)s::bigint IS NULL OR i.organization_id = %(organization)s::bigint)
  AND (upper(i.period) > greatest(i.finalized_at, %(begins)s::timestamptz) OR 0 <> (
    SELECT sum(e.amount) FROM invoicing_ledgertransaction t
    JOIN invoicing_ledgerentry e
      ON e.organization_id = t.organization_id AND e.transaction_id = t.id
    WHERE t.organization_id = i.organization_id AND t.source = i.public_id
      AND e.account = 'deferred_revenue'))
ORDER BY i.id LIMIT %(limit)s
"""


@dataclass(slots=True)
class Recognized:
    """What a run earned: of how many invoices, and how much by currency, in minor units."""

    invoices: int = 0
    totals: Counter[str] = field(default_factory=Counter)


def recognize_revenue(
    month: Month,
    *,
    actor: Actor,
    at: datetime,
    organization_id: int | None = None,
    step: Callable[[int], None] = lambda _: None,
) -> Recognized:
    """Book what was earned until the end of a month that is over, each month for itself.

    A month of an invoice is booked once, dated its last instant in the invoice's zone; months that
    were left out before are booked with it. What credit notes took back is no longer deferred from
    the month of the note on. Safe to repeat, to double and to kill: a chunk of invoices is one
    transaction. Opens its own scopes. Raises Invalid for a month that is not over.
    """
    require("manage_invoices", actor=actor, organization_id=organization_id)
    if recognition.end_of(month, "UTC") >= at:
        raise Invalid("Nothing is earned ahead of time: this month is not over.", param="month")
    done = Recognized()
    last = 0
    while True:
        with rls.ops_scope("revenue: earn a month"):
            ids = _unearned(month, after=last, organization_id=organization_id)
            if not ids:
                break
            _earn(ids, month, done, at)
            point("revenue.before_commit")
        last = ids[-1]
        step(len(ids))
    _record(month, done, actor=actor, at=at, organization_id=organization_id)
    return done


def _unearned(month: Month, *, after: int, organization_id: int | None) -> list[int]:
    parameters = {
        "after": after,
        "organization": organization_id,
        "begins": month.first,
        "limit": CHUNK,
    }
    with connection.cursor() as cursor:
        cursor.execute(UNEARNED, parameters)
        return [invoice_id for (invoice_id,) in cursor.fetchall()]


def _earn(ids: Sequence[int], month: Month, done: Recognized, at: datetime) -> None:
    """Book a chunk. Whoever voids or credits one of the invoices waits, or is waited for."""
    list(Invoice.objects.select_for_update().filter(pk__in=ids).order_by("pk").values_list("pk"))
    rows = Invoice.objects.filter(pk__in=ids).exclude(status=Invoice.Status.VOID)
    rows = rows.prefetch_related("lines__credit_lines", "credit_notes").order_by("pk")
    for row in rows:
        movements = [
            movement for movement in _movements(row, month, at) if movement.amounts[DEFERRED]
        ]
        book_all(movements)
        done.invoices += bool(movements)
        done.totals[row.currency] += sum(movement.amounts[DEFERRED] for movement in movements)


def _movements(row: Invoice, month: Month, at: datetime) -> Iterable[Movement]:
    """Return what brings the invoice's deferred revenue to its schedule, month by month."""
    if row.finalized_at is None:
        return
    booked = _booked(row)
    first = Month.of(recognition.local_day(row, row.finalized_at))
    left = _deferred(row)
    billed = recognition.Billed.of(row)
    for each in recognition.months(first, month):
        ends = recognition.end_of(each, row.timezone)
        kind = recognition.kind_of(each)
        if kind in booked or ends >= at:
            continue
        earned = left - recognition.deferred(billed, each.last)
        moved = {DEFERRED: earned, REVENUE: -earned}
        yield Movement(row.organization_id, row.currency, row.public_id, kind, ends, moved)
        left -= earned


def _booked(row: Invoice) -> set[str]:
    mine = LedgerTransaction.objects.filter(
        organization_id=row.organization_id, source=row.public_id
    )
    return set(mine.values_list("kind", flat=True))


def _deferred(row: Invoice) -> int:
    entries = LedgerEntry.objects.filter(
        organization_id=row.organization_id,
        transaction__source=row.public_id,
        account=DEFERRED,
    )
    return -(entries.aggregate(sum=Sum("amount"))["sum"] or 0)


def _record(
    month: Month, done: Recognized, *, actor: Actor, at: datetime, organization_id: int | None
) -> None:
    if not done.invoices:
        return
    with rls.ops_scope("revenue: put on record"):
        audit.record(
            action="revenue.recognized",
            target=f"{month.year:04d}-{month.month:02d}",
            actor=actor,
            at=at,
            organization_id=organization_id,
            after={"invoices": done.invoices, "totals": dict(done.totals)},
        )
