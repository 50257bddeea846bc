"""What becomes of corrections when the invoices that bear them are issued or void."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from apps.core.actor import Actor
from apps.invoicing.errors import NotVoidable
from apps.invoicing.models import Correction, Invoice, InvoiceLine

Status = Correction.Status


def corrections_billed(lines: Iterable[InvoiceLine]) -> None:
    """Mark the corrections that these lines of a final invoice bear as billed."""
    borne = {(line.corrects_id, line.revision) for line in lines if line.corrects_id}
    if borne:
        rows = Correction.objects.filter(
            line_id__in=[line_id for line_id, _ in borne], status=Status.APPROVED
        )
        ids = [row.pk for row in rows if (row.line_id, row.revision) in borne]
        Correction.objects.filter(pk__in=ids).update(status=Status.BILLED)


def refuse_when_corrected(row: Invoice) -> None:
    """Raise NotVoidable when a standing invoice bears corrections of this one's lines: what is
    billed anew has them in it.
    """
    borne = InvoiceLine.objects.filter(corrects__invoice=row, live=True).select_related("invoice")
    first = borne.first()
    if first is not None:
        raise NotVoidable(
            f"Invoice {first.invoice} corrects invoice {row}; void that first, or credit both."
        )


def corrections_of_void(row: Invoice, *, actor: Actor, at: datetime) -> None:
    """Let the corrections that a void invoice bore wait for the next one, and drop those of its own
    lines: whoever bills its period anew counts what is there.
    """
    for line in row.lines.filter(corrects__isnull=False):
        Correction.objects.filter(
            line_id=line.corrects_id, revision=line.revision, status=Status.BILLED
        ).update(status=Status.APPROVED)
    Correction.objects.filter(
        line__invoice=row, status__in=[Status.WAITING, Status.APPROVED]
    ).update(
        status=Status.REJECTED, decided_at=at, decided_by=actor.id, reason="The invoice is void."
    )
