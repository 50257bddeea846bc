"""Beginning a run: one an invoice, of the campaign that is most specific for it."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q

from apps.core.faults import point
from apps.dunning import selectors
from apps.dunning.models import Entry, Run
from apps.dunning.services.rows import Held, add_entry, go_on, record
from apps.engine.dunning import Cause, Pace, begun
from apps.tenants import selectors as tenants


def begin(held: Held, *, because: Cause, anchor: datetime) -> Run | None:
    """Begin a run of a locked invoice; None when it is not owed, has a run, was stopped, or when
    no step is before the due date and that has not come.
    """
    row = held.invoice
    if not held.is_owed or has_run(row.organization_id, row.pk):
        return None
    version = selectors.version_for(row)
    run = Run(
        organization_id=row.organization_id,
        invoice_id=row.pk,
        number=row.number or "",
        version=version,
        because=because,
        anchor=anchor,
        timezone=tenants.organization(row.organization_id).timezone,
        began_at=held.at,
    )
    pace = begun(run.plan, Pace(anchor, run.timezone, version.hour), as_of=held.at)
    run.shift = pace.shift
    go_on(run)
    if held.at < anchor and (run.next_at is None or held.at < run.next_at):
        return None
    run.save(force_insert=True)
    add_entry(run, held, Entry.Kind.BEGUN, cause="begun", note=str(version))
    record(run, held, "begun", {"because": because.value, "campaign": str(version)})
    point("dunning.begun")
    return run


def has_run(organization_id: int, invoice_id: int) -> bool:
    """Whether nobody may begin a run of the invoice: one counts, or staff stopped the last."""
    stopped = Q(outcome=Run.Outcome.STOPPED)
    return (
        selectors.runs(organization_id)
        .filter(Q(released_at=None) | stopped, invoice_id=invoice_id)
        .exists()
    )
