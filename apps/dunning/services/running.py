"""The scheduled run: begin what is overdue, take up what paused, and take the steps that are due.

Every invoice is looked at in transactions of its own, so the run may be repeated, run twice at once
and killed: a step and what it leads to are one commit, and each is taken once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from apps.core import rls
from apps.core.actor import Actor, require
from apps.core.faults import point
from apps.dunning import selectors
from apps.dunning.models import Run
from apps.dunning.services.acting import take
from apps.dunning.services.beginning import begin
from apps.dunning.services.deciding import take_up
from apps.dunning.services.rows import Held, end, hold, lock, settle
from apps.engine.dunning import Cause, due, instants
from apps.invoicing import selectors as invoices
from apps.payments import selectors as payments
from apps.tenants import selectors as tenants

log = logging.getLogger(__name__)

Found = Sequence[tuple[int, int]]
"""Rows by (organization, integer id)."""


@dataclass(slots=True)
class Ran:
    """What a run did: how many runs began and were taken up, how many steps were taken.

    `failed` are invoices by number with what went wrong: nothing of that stands.
    """

    begun: int = 0
    resumed: int = 0
    steps: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


def run_dunning(
    *, actor: Actor, at: datetime, organization_ids: Collection[int] | None = None
) -> Ran:
    """Begin, take up and advance all runs that are due by `at`; return what was done.

    Of all organizations that live by real time, or of these. Opens its own scopes; must not be
    called inside a transaction. Safe to repeat, to run twice at once and to kill.
    """
    require("manage_invoices", actor=actor)
    ran = Ran()
    for organization_id, invoice_id in _overdue(at, organization_ids):
        _each(ran, organization_id, invoice_id, lambda key: _begin(ran, key, actor, at))
    for organization_id, run_id in _of(_pauses_over(at), organization_ids):
        _each(ran, organization_id, run_id, lambda key: _resume(ran, key, actor, at))
    for organization_id, run_id in _of(_steps_due(at), organization_ids):
        _each(ran, organization_id, run_id, lambda key: _advance(ran, key, actor, at))
    return ran


def _overdue(at: datetime, organization_ids: Collection[int] | None) -> Found:
    """Return the invoices that a run may begin of: overdue, or due so soon that a mail is."""
    counts = Q(released_at=None) | Q(outcome=Run.Outcome.STOPPED)
    has_run = Run.objects.filter(counts, organization_id=OuterRef("organization_id"))
    soon = invoices.owed_by(at + timedelta(days=selectors.days_ahead()))
    wanted = soon.filter(Q(due_at__lte=at) | Q(collection="manual"))
    without = wanted.filter(~Exists(has_run.filter(invoice_id=OuterRef("pk"))))
    return _of(without.order_by("due_at"), organization_ids)


def _pauses_over(at: datetime) -> QuerySet[Run]:
    return Run.objects.filter(status=Run.Status.PAUSED, paused_until__lte=at)


def _steps_due(at: datetime) -> QuerySet[Run]:
    return Run.objects.filter(status=Run.Status.RUNNING, next_at__lte=at).order_by("next_at")


def _of(rows: QuerySet[Any], organization_ids: Collection[int] | None) -> Found:
    with rls.ops_scope("dunning: what is due"):
        if organization_ids is None:
            rows = rows.exclude(organization_id__in=list(tenants.clocked_organizations()))
        else:
            rows = rows.filter(organization_id__in=list(organization_ids))
        return list(rows.values_list("organization_id", "pk"))


def _each(ran: Ran, organization_id: int, key: int, act: Callable[[int], None]) -> None:
    """Do it in the scope of the organization; what fails is told, and nobody else waits for it."""
    try:
        with rls.tenant_scope(organization_id):
            act(key)
    except Exception as error:
        log.warning("dunning_failed", extra={"key": key}, exc_info=error)
        ran.failed.append((str(key), f"{type(error).__name__}: {error}"[:300]))


def _begin(ran: Ran, invoice_id: int, actor: Actor, at: datetime) -> None:
    held = hold(invoice_id, actor=actor, at=at)
    if begin(held, because=Cause.OVERDUE, anchor=held.invoice.due_at) is not None:
        ran.begun += 1


def _resume(ran: Ran, run_id: int, actor: Actor, at: datetime) -> None:
    held, run = _locked(run_id, actor, at)
    if run.status != Run.Status.PAUSED or run.paused_until is None or run.paused_until > at:
        return
    if not settle(run, held):
        take_up(run, held, since=run.paused_until)
        ran.resumed += 1


def _advance(ran: Ran, run_id: int, actor: Actor, at: datetime) -> None:
    while taken := _take_batch(run_id, actor, at):
        ran.steps += taken


@transaction.atomic
def _take_batch(run_id: int, actor: Actor, at: datetime) -> int:
    """Take the steps that are due and go together; return how many. None of an invoice that is
    settled: then the run ends; and none while money is on its way: then they wait for it.
    """
    held, run = _locked(run_id, actor, at)
    if run.status != Run.Status.RUNNING or settle(run, held) or _is_on_its_way(run):
        return 0
    batch = due(run.plan, run.pace, first=run.following, as_of=at)
    moments = instants(run.plan, run.pace)
    for position, verdict in batch.steps:
        take(run, held, position, verdict, moments[position])
        point("dunning.step_taken")
    run.shift, run.following, run.next_at = batch.pace.shift, batch.following, batch.next_at
    run.save(update_fields=["shift", "following", "next_at", "level"])
    point("dunning.batch_taken")
    if run.next_at is None:
        end(run, held, Run.Outcome.EXHAUSTED)
    return len(batch.steps)


def _is_on_its_way(run: Run) -> bool:
    """Whether an attempt was asked for, or a debit is under way: nobody reminds of that."""
    return payments.attempt_under_way(run.invoice_id, besides="action") is not None


def _locked(run_id: int, actor: Actor, at: datetime) -> tuple[Held, Run]:
    held = hold(selectors.invoice_of(run_id), actor=actor, at=at)
    return held, lock(run_id)
