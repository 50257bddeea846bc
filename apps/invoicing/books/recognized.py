"""Deferred revenue in the ledger against the schedules of the invoices that deferred it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.db.models import Sum

from apps.engine.recognition import Month
from apps.invoicing import recognition
from apps.invoicing.books.findings import Finding, about
from apps.invoicing.books.reading import Chunk
from apps.invoicing.models import Invoice, LedgerEntry
from apps.invoicing.recognition import Billed


@dataclass(slots=True)
class Booked:
    """What the ledger has of an invoice: how much is deferred, and which months were recognized."""

    deferred: int = 0
    months: list[Month] = field(default_factory=list)


def findings(chunk: Chunk) -> list[Finding]:
    """Check that what is deferred of each invoice is what its schedule leaves."""
    booked = _booked([one.row for one in chunk.invoices])
    found = []
    for one in chunk.invoices:
        row = one.row
        if row.status == Invoice.Status.VOID or not row.settlement:
            continue  # reversed whole; or issued before anything was deferred
        mine = booked.get((row.organization_id, row.public_id), Booked())
        expected = _expected(Billed(row, one.lines, one.notes, chunk.credit_lines), mine)
        if mine.deferred != expected:
            said = f"{mine.deferred} of its revenue is deferred; its schedule leaves {expected}"
            found.append(about(row, said))
    return found


def _expected(billed: Billed, booked: Booked) -> int:
    if booked.months:
        return recognition.deferred(billed, max(booked.months).last)
    if billed.row.finalized_at is None:
        return 0
    return recognition.not_yet_served(billed.row, billed.lines, billed.row.finalized_at)


def _booked(rows: Sequence[Invoice]) -> Mapping[tuple[int, str], Booked]:
    entries = LedgerEntry.objects.filter(
        organization_id__among={row.organization_id for row in rows},
        transaction__source__in=[row.public_id for row in rows],
        account=LedgerEntry.Account.DEFERRED_REVENUE,
    ).order_by()
    sums = entries.values_list("organization_id", "transaction__source", "transaction__kind")
    found: dict[tuple[int, str], Booked] = {}
    for organization_id, source, kind, amount in sums.annotate(sum=Sum("amount")):
        mine = found.setdefault((organization_id, source), Booked())
        mine.deferred -= amount
        month = recognition.month_of(kind)
        if month is not None:
            mine.months.append(month)
    return found
