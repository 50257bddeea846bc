"""Locks in the one order, and the writers of runs and entries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from apps.audit import services as audit
from apps.core import outbox
from apps.core.actor import Actor
from apps.core.faults import point
from apps.dunning import selectors
from apps.dunning.events import RunEnded
from apps.dunning.models import TAKEN_BACK, Entry, Run
from apps.engine.dunning import next_step
from apps.invoicing import selectors as invoices
from apps.invoicing import services as invoicing
from apps.subscriptions import services as subscriptions
from apps.tenants import services as tenants

if TYPE_CHECKING:
    from apps.invoicing.models import Invoice
    from apps.subscriptions.facts import SubscriptionFacts

Outcome, Status = Run.Outcome, Run.Status


@dataclass(frozen=True, slots=True)
class Held:
    """An invoice with its subscriptions, all locked; who acts, and when."""

    invoice: Invoice
    agreements: list[SubscriptionFacts]
    actor: Actor
    at: datetime

    @property
    def is_owed(self) -> bool:
        """Whether anybody may still be asked to pay it."""
        return self.invoice.status == "open" and self.invoice.amount_due > 0


def hold(invoice_id: int, *, actor: Actor, at: datetime) -> Held:
    """Lock an invoice after its organization and subscriptions.

    Whoever pays, voids, credits or gives it up locks the same: what is done under this lock is
    before or after that, and never beside it.
    """
    row = invoices.by_id(invoice_id)
    tenants.lock(row.organization_id)
    agreements = selectors.agreements(row)
    for facts in sorted(agreements, key=lambda one: one.id):
        subscriptions.lock(facts.id)
    return Held(invoicing.lock(row.pk), agreements, actor, at)


def lock(run_id: int) -> Run:
    """Lock the run's row: after its invoice's."""
    return Run.objects.select_for_update(of=("self",)).select_related("version").get(pk=run_id)


def add_entry(run: Run, held: Held, kind: str, **facts: Any) -> Entry:
    """Write what happened in a run."""
    return save_entry(entry_of(run, held, kind, **facts))


def entry_of(run: Run, held: Held, kind: str, **facts: Any) -> Entry:
    """Return what happened in a run, to be written when it is known how."""
    return Entry(
        organization_id=run.organization_id,
        run=run,
        kind=kind,
        at=held.at,
        by=held.actor.label[:200],
        **facts,
    )


def save_entry(entry: Entry) -> Entry:
    """Write it."""
    entry.note = entry.note[:300]
    entry.save(force_insert=True)
    return entry


def has_entry(run: Run, cause: str) -> bool:
    """Whether this has been noted in the run."""
    return Entry.objects.filter(organization_id=run.organization_id, run=run, cause=cause).exists()


def outcome_of(invoice: Invoice) -> str:
    """Return how an invoice came to be settled; empty while it is owed."""
    if invoice.status == "void":
        return Outcome.VOIDED
    if invoice.status == "uncollectible":
        return Outcome.WRITTEN_OFF
    if invoice.amount_due > 0 and invoice.status == "open":
        return ""
    return Outcome.PAID if invoice.amount_paid > 0 else Outcome.CREDITED


def settle(run: Run, held: Held) -> bool:
    """End a locked run, and take back what it put in force, if its invoice is settled; return
    whether it is. An invoice that was given up asks nobody any more, and gives nothing back.
    """
    outcome = outcome_of(held.invoice)
    if not outcome:
        return False
    if run.is_open or (run.released_at is None and outcome != Outcome.WRITTEN_OFF):
        end(run, held, outcome)
    return True


def end(run: Run, held: Held, outcome: str, *, note: str = "") -> None:
    """End a run, or say of one that had ended how it came to be settled after all.

    Emits RunEnded.
    """
    run.status, run.outcome = Status.ENDED, outcome
    run.ended_at = run.ended_at or held.at
    run.paused_at = run.paused_until = run.next_at = None
    run.released_at = held.at if outcome in TAKEN_BACK else None
    run.save(
        update_fields=[
            "status", "outcome", "ended_at", "paused_at", "paused_until", "next_at", "released_at",
            "reason",
        ]
    )  # fmt: skip
    add_entry(run, held, Entry.Kind.ENDED, cause=f"ended:{outcome}", note=note)
    record(run, held, "ended", {"outcome": outcome, "reason": note})
    point("dunning.ended")
    if run.released_at is not None and run.level:
        give_back(run, held)
    fact = RunEnded(run.public_id, run.organization_id, outcome)
    outbox.emit(fact, at=held.at, organization_id=run.organization_id)


def give_back(run: Run, held: Held) -> None:
    """Restore the subscriptions of a run, unless another one holds them where they are."""
    for facts in held.agreements:
        others = selectors.levels_elsewhere(run, facts.id)
        if Run.Level.UNPAID not in others:
            subscriptions.recover(
                facts.public_id,
                actor=held.actor,
                at=held.at,
                still_past_due=Run.Level.PAST_DUE in others,
            )


def go_on(run: Run) -> None:
    """Write which step comes next at the run's pace."""
    run.following, run.next_at = next_step(run.plan, run.pace, first=run.following)


def record(run: Run, held: Held, what: str, after: dict[str, Any]) -> None:
    """Put on record what became of a run."""
    audit.record(
        action=f"dunning.{what}",
        target=run.public_id,
        actor=held.actor,
        at=held.at,
        organization_id=run.organization_id,
        after={"invoice": run.number, **after},
    )
