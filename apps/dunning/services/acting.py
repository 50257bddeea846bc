"""What each step does. All of it happens under the lock of the invoice, which is still owed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from apps.core import outbox
from apps.core.errors import DomainError
from apps.dunning.events import ConsequenceCame, ReminderDue, StaffNeeded
from apps.dunning.models import Entry, Run
from apps.dunning.services.rows import Held, entry_of, give_back, save_entry
from apps.engine.dunning import Action, Step, Verdict
from apps.payments import services as payments
from apps.payments.errors import AttemptUnderWay, NoPaymentMethod, NotConfigured
from apps.payments.events import DeclineClass
from apps.subscriptions import services as subscriptions
from apps.subscriptions import states
from apps.subscriptions.changes import NOW, Behaviour

DONE, SKIPPED = Entry.Result.DONE.value, Entry.Result.SKIPPED.value
COLLECTED = "stripe_invoice"
"""How invoices are collected whose attempts are ours to make."""
HOPELESS = {
    DeclineClass.METHOD.value: "The card is declined for good: another one is waited for.",
    DeclineClass.ACTION.value: "The customer has to confirm the payment.",
    DeclineClass.NEVER.value: "Nobody may try again.",
}


@dataclass(frozen=True, slots=True)
class Task:
    """A step of a locked run that is due: the entry it will leave tells what became of it."""

    run: Run
    held: Held
    step: Step
    entry: Entry

    def tell(self, fact: Any) -> None:
        """Emit a fact with the step."""
        outbox.emit(fact, at=self.held.at, organization_id=self.run.organization_id)

    def result(self, result: str, note: str = "") -> None:
        """Say what became of it."""
        self.entry.result, self.entry.note = result, note


def take(run: Run, held: Held, position: int, verdict: Verdict, moment: datetime | None) -> Entry:
    """Take one step, which was to come at `moment`, and write what became of it.

    One that is superseded is only noted. What subscriptions refuse changes nothing, and staff are
    told.
    """
    step = run.plan[position]
    if step is None:
        raise AssertionError("a step that is for other runs is never due")
    entry = entry_of(run, held, step.action.value, position=position, due_at=moment)
    task = Task(run, held, step, entry)
    if verdict is Verdict.SUPERSEDED:
        task.result(Entry.Result.SUPERSEDED)
        return save_entry(entry)
    try:
        with transaction.atomic():
            ACTS[step.action](task)
    except DomainError as refusal:
        task.result(Entry.Result.REFUSED, refusal.message)
        task.tell(StaffNeeded(entry.public_id, run.organization_id))
    return save_entry(entry)


def _remind(task: Task) -> None:
    task.tell(ReminderDue(task.entry.public_id, task.run.organization_id))


def _retry(task: Task) -> None:
    """Collect again, unless the last decline says that it makes no sense."""
    task.result(*try_again(task.run, task.held))


def try_again(run: Run, held: Held) -> tuple[str, str]:
    """Ask for another attempt to collect the invoice; return what came of asking, and why.

    What comes of the attempt itself is told by facts. A declined card is not tried again until
    there is another one, and never where the network forbids it.
    """
    if held.invoice.collection != COLLECTED:
        return SKIPPED, "Nothing is charged by itself for this invoice."
    if run.decline_class in HOPELESS:
        return SKIPPED, HOPELESS[run.decline_class]
    try:
        payments.collect(held.invoice.public_id, actor=held.actor, at=held.at)
    except (AttemptUnderWay, NoPaymentMethod, NotConfigured) as refusal:
        return SKIPPED, refusal.message
    return DONE, ""


def _notify_staff(task: Task) -> None:
    task.tell(StaffNeeded(task.entry.public_id, task.run.organization_id))


def _past_due(task: Task) -> None:
    fell = [
        subscriptions.fall_past_due(facts.public_id, actor=task.held.actor, at=task.held.at)
        for facts in task.held.agreements
    ]
    if not {states.PAST_DUE, states.UNPAID} & set(fell):
        task.result(SKIPPED, "No subscription is active.")
    elif task.run.level != Run.Level.UNPAID:
        task.run.level = Run.Level.PAST_DUE


def _unpaid(task: Task) -> None:
    fell = [
        subscriptions.fall_unpaid(facts.public_id, actor=task.held.actor, at=task.held.at)
        for facts in task.held.agreements
    ]
    if states.UNPAID not in fell:
        task.result(SKIPPED, "No subscription is active.")
        return
    task.run.level = Run.Level.UNPAID
    task.tell(ConsequenceCame(task.entry.public_id, task.run.organization_id))


def _cancel(task: Task) -> None:
    """End the subscriptions now; what was billed for later is owed all the same."""
    live = [facts for facts in task.held.agreements if facts.is_live]
    for facts in live:
        subscriptions.cancel(
            facts.public_id,
            when=NOW,
            prorate=False,
            reason=f"Invoice {task.run.number} was not paid.",
            actor=task.held.actor,
            at=task.held.at,
        )
    if not live:
        task.result(SKIPPED, "No subscription is left.")
        return
    task.run.level = Run.Level.CANCELED
    task.tell(ConsequenceCame(task.entry.public_id, task.run.organization_id))


def _downgrade(task: Task) -> None:
    """Move the subscriptions to a lower plan without proration; there they are active again."""
    moved = [
        facts
        for facts in task.held.agreements
        if facts.status in _MOVABLE and facts.version.plan_code != task.step.argument
    ]
    for facts in moved:
        subscriptions.change_plan(
            facts.public_id,
            plan=task.step.argument,
            behaviour=Behaviour.NONE,
            reason=f"Invoice {task.run.number} was not paid.",
            actor=task.held.actor,
            at=task.held.at,
        )
    if not moved:
        task.result(SKIPPED, "No subscription is on another plan.")
        return
    task.run.level = Run.Level.DOWNGRADED
    task.run.save(update_fields=["level"])
    give_back(task.run, task.held)
    task.tell(ConsequenceCame(task.entry.public_id, task.run.organization_id))


_MOVABLE = {states.ACTIVE, states.PAST_DUE, states.UNPAID}
ACTS: Mapping[Action, Callable[[Task], None]] = {
    Action.REMIND: _remind,
    Action.RETRY: _retry,
    Action.NOTIFY_STAFF: _notify_staff,
    Action.PAST_DUE: _past_due,
    Action.UNPAID: _unpaid,
    Action.CANCEL: _cancel,
    Action.DOWNGRADE: _downgrade,
}
