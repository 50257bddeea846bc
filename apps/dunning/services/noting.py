"""What comes from outside: a payment failed, has to be confirmed, or the invoice is settled."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.core import outbox
from apps.core.actor import Actor
from apps.dunning import selectors
from apps.dunning.events import ActionNeeded, StaffNeeded
from apps.dunning.models import Entry, Run
from apps.dunning.services.acting import SKIPPED, try_again
from apps.dunning.services.beginning import begin
from apps.dunning.services.rows import Held, add_entry, has_entry, hold, lock, settle
from apps.engine.dunning import Cause
from apps.invoicing import selectors as invoices
from apps.payments.events import DeclineClass

MOVED_BY_METHOD = ("", DeclineClass.RETRY, DeclineClass.METHOD, DeclineClass.ACTION)


@transaction.atomic
def note_failure(
    invoice: str,
    *,
    attempt: int,
    decline_code: str,
    decline_class: str,
    failed_at: datetime,
    actor: Actor,
    at: datetime,
) -> Run | None:
    """Note that an attempt to collect an invoice (its public id) failed; the first begins a run.

    What must not be tried again is told to staff. Safe to repeat: an attempt is noted once. Return
    the run; None for an invoice that is settled, or whose run is over.
    """
    held = hold(invoices.get(invoice).pk, actor=actor, at=at)
    run = _running(held, failed_at)
    cause = f"failed:{attempt}:{failed_at.isoformat()}"
    if run is None or has_entry(run, cause):
        return run
    run.decline_class, run.attempts = decline_class, run.attempts + 1
    run.save(update_fields=["decline_class", "attempts"])
    entry = add_entry(
        run,
        held,
        Entry.Kind.FAILED,
        cause=cause,
        note=decline_code,
        details={"attempt": attempt, "code": decline_code, "class": decline_class},
    )
    if decline_class == DeclineClass.NEVER:
        fact = StaffNeeded(entry.public_id, run.organization_id)
        outbox.emit(fact, at=at, organization_id=run.organization_id)
    return run


@transaction.atomic
def note_action(
    invoice: str, *, url: str, asked_at: datetime, actor: Actor, at: datetime
) -> Run | None:
    """Note that the customer has to confirm a payment at their bank, and tell them where.

    Begins a run where there is none. Emits ActionNeeded, once for each time it was asked.
    """
    held = hold(invoices.get(invoice).pk, actor=actor, at=at)
    run = _running(held, asked_at)
    cause = f"action:{asked_at.isoformat()}"
    if run is None or has_entry(run, cause):
        return run
    run.decline_class = DeclineClass.ACTION
    run.save(update_fields=["decline_class"])
    entry = add_entry(run, held, Entry.Kind.ACTION, cause=cause, details={"url": url})
    fact = ActionNeeded(entry.public_id, run.organization_id, url)
    outbox.emit(fact, at=at, organization_id=run.organization_id)
    return run


@transaction.atomic
def note_method(
    organization_id: int, *, changed_at: datetime, actor: Actor, at: datetime
) -> list[Run]:
    """Note that an organization pays by another method: what the old one declined is tried again
    at once, except where nobody may, and where the run is paused. Return the runs it concerns.

    Safe to repeat: a change is noted once.
    """
    found = selectors.runs(organization_id).filter(
        status__in=("running", "paused"), decline_class__in=MOVED_BY_METHOD
    )
    cause = f"method:{changed_at.isoformat()}"
    return [run for run in found if _forget(run, cause, actor=actor, at=at)]


def _forget(found: Run, cause: str, *, actor: Actor, at: datetime) -> bool:
    held = hold(found.invoice_id, actor=actor, at=at)
    run = lock(found.pk)
    if not run.is_open or settle(run, held) or has_entry(run, cause):
        return False
    run.decline_class = ""
    run.save(update_fields=["decline_class"])
    paused = run.status == Run.Status.PAUSED
    result, note = (SKIPPED, run.reason) if paused else try_again(run, held)
    add_entry(run, held, Entry.Kind.METHOD, cause=cause, result=result, note=note)
    return True


@transaction.atomic
def settle_invoice(invoice: str, *, actor: Actor, at: datetime) -> Run | None:
    """End the run of an invoice (its public id) that was paid, credited, voided or given up, and
    take back what it had put in force. Safe to repeat; nothing where it is owed.
    """
    row = invoices.get(invoice)
    found = selectors.counting(row.organization_id, row.pk).first()
    if found is None:
        return None
    held = hold(row.pk, actor=actor, at=at)
    run = lock(found.pk)
    settle(run, held)
    return run


def _running(held: Held, moment: datetime) -> Run | None:
    """Return the invoice's open run, locked, or begin one."""
    row = held.invoice
    found = selectors.counting(row.organization_id, row.pk).first()
    if found is None:
        return begin(held, because=Cause.FAILED, anchor=moment)
    run = lock(found.pk)
    return None if settle(run, held) or not run.is_open else run
