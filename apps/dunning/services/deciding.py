"""What finance decides about a run: to wait, to go on, to stop."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.core.actor import Actor, require
from apps.core.errors import Invalid
from apps.dunning import selectors
from apps.dunning.errors import RunOver
from apps.dunning.models import Entry, Run
from apps.dunning.services.rows import Held, add_entry, end, go_on, hold, lock, record, settle
from apps.engine.dunning import whole_days

Status = Run.Status


@transaction.atomic
def pause_run(
    reference: str, *, reason: str, actor: Actor, at: datetime, until: datetime | None = None
) -> Run:
    """Take no step of a run (its public id) until an instant, or until somebody takes it up again.

    What is still to come then comes as many days later. Of one that is paused, the reason and the
    end change. Raises UnknownRun, Forbidden, RunOver, and Invalid without a reason.
    """
    held, run = _mine(reference, actor=actor, at=at)
    said = _said(reason)
    if until is not None and until <= at:
        raise Invalid("A pause ends after it begins.", param="until")
    if not run.is_open or settle(run, held):
        raise RunOver("This run has ended: there is nothing to pause.")
    run.status, run.reason, run.paused_until = Status.PAUSED, said, until
    run.paused_at = run.paused_at or at
    run.save(update_fields=["status", "reason", "paused_at", "paused_until"])
    told = {"reason": said, "until": "" if until is None else until.isoformat()}
    add_entry(run, held, Entry.Kind.PAUSED, note=said, details=told)
    record(run, held, "paused", told)
    return run


@transaction.atomic
def resume_run(reference: str, *, actor: Actor, at: datetime) -> Run:
    """Take up a paused run (its public id) again. Safe to repeat.

    Raises UnknownRun, Forbidden and RunOver.
    """
    held, run = _mine(reference, actor=actor, at=at)
    if not run.is_open:
        raise RunOver("This run has ended: there is nothing to take up.")
    if run.status == Status.PAUSED and not settle(run, held):
        take_up(run, held, since=at)
    return run


@transaction.atomic
def stop_run(reference: str, *, reason: str, actor: Actor, at: datetime) -> Run:
    """End a run (its public id) for good, whatever is owed, and take back what it put in force: the
    subscription is active again unless another run holds it. No other run of the invoice begins by
    itself while it stays unpaid.

    Raises UnknownRun, Forbidden, RunOver, and Invalid without a reason.
    """
    held, run = _mine(reference, actor=actor, at=at)
    said = _said(reason)
    if run.released_at is not None or (run.is_open and settle(run, held)):
        raise RunOver("This run is over: there is nothing to stop.")
    run.reason = said
    end(run, held, Run.Outcome.STOPPED, note=said)
    return run


def take_up(run: Run, held: Held, *, since: datetime) -> None:
    """Go on with a locked run whose pause was over at `since`, as many days later as it lasted."""
    began = run.paused_at or since
    run.status, run.paused_at, run.paused_until, run.reason = Status.RUNNING, None, None, ""
    run.shift += whole_days(since - began)
    go_on(run)
    run.save(
        update_fields=[
            "status", "paused_at", "paused_until", "reason", "shift", "following", "next_at"
        ]
    )  # fmt: skip
    add_entry(run, held, Entry.Kind.RESUMED)
    record(run, held, "resumed", {})


def _mine(reference: str, *, actor: Actor, at: datetime) -> tuple[Held, Run]:
    found = selectors.get_run(reference, organization_id=actor.organization_id)
    require("manage_invoices", actor=actor, organization_id=found.organization_id)
    held = hold(found.invoice_id, actor=actor, at=at)
    return held, lock(found.pk)


def _said(reason: str) -> str:
    if not reason.strip():
        raise Invalid("Say why: whoever looks at it later will ask.", param="reason")
    return reason.strip()[:200]
