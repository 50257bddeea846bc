"""What an instant, past or to come, would bill: the run's own steps, taken in memory.

Scheduled changes, ends of trials, pauses and cancellations take their turns with the boundaries, as
when they are billed; lines, discounts, taxes and credit come from what bills them. Usage counts as
it stands now: of time to come there is none yet.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from apps.core import rls
from apps.core.errors import DomainError
from apps.invoicing import selectors as invoicing
from apps.invoicing.composition import Boundary, Composed, compose_all
from apps.invoicing.document import Document
from apps.invoicing.purse import Purse
from apps.invoicing.reckoning import Customer, conditions_of, reckon
from apps.invoicing.services.run import grouped, instant_of
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions import states
from apps.subscriptions.changes import Behaviour, Resume, consider, wish_of
from apps.subscriptions.facts import SubscriptionFacts
from apps.tenants import selectors as tenants

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Foreseen:
    """An invoice that would be: of these subscriptions (public ids), dated as it would be."""

    organization_id: int
    subscriptions: tuple[str, ...]
    plans: tuple[str, ...]
    document: Document


@dataclass(frozen=True, slots=True)
class Failed:
    """A subscription that a run would set aside, and why."""

    organization_id: int
    subscription: str
    boundary_at: datetime
    reason: str


Outlook = Foreseen | Failed


def foresee_due(
    as_of: datetime, *, organization_ids: Iterable[int] | None = None
) -> Iterator[Outlook]:
    """Yield what billing everything up to `as_of` would make, organization by organization.

    Leaves out what runs leave out: subscriptions set aside, and without `organization_ids` whoever
    lives by a test clock. One read-only transaction each; opens its own scopes.
    """
    with rls.ops_scope("foresight: what is due"):
        aside = invoicing.parked_subscriptions()
        due = subscriptions.due(as_of, scheduled=False, leave_out=aside)
        due += subscriptions.changes_due(as_of)
        clocked = tenants.clocked_organizations()
    wanted = {one.organization_id for one in due}
    wanted &= wanted - clocked.keys() if organization_ids is None else set(organization_ids)
    for organization_id in sorted(wanted):
        with rls.tenant_scope(organization_id):
            found = [*foresee(organization_id, until=as_of, leave_out=aside)]
        yield from found


def foresee(
    organization_id: int, *, until: datetime, leave_out: Iterable[int] = ()
) -> Iterator[Outlook]:
    """Yield the organization's invoices of every boundary up to `until`, by date.

    `leave_out` are subscriptions. Needs a scope that shows the organization; writes nothing.
    """
    aside = set(leave_out)
    known = subscriptions.of_organization(organization_id, live=True)
    yield from _Walk(organization_id, [f for f in known if f.id not in aside], until).steps()


class _Walk:
    """The organization as it would be after every boundary that was foreseen."""

    def __init__(
        self, organization_id: int, known: Sequence[SubscriptionFacts], until: datetime
    ) -> None:
        self.organization = tenants.organization(organization_id)
        # Oldest first, as the run locks them: the lines of a consolidated invoice stand in order.
        self.facts = {facts.id: facts for facts in sorted(known, key=lambda facts: facts.id)}
        self.until = until
        self.told: set[tuple[object, ...]] = set()
        self.purse = Purse(self.organization)

    def steps(self) -> Iterator[Outlook]:
        """Bill the boundaries of the earliest instant that has any due, until none has.

        In the order of time, whatever the subscriptions' cycles: credit and coupons that run out
        go to the earliest invoice, and what shares an instant may share an invoice.
        """
        while True:
            failed = [*self._reach()]
            yield from failed
            due = [
                (facts, facts.next_boundary)
                for facts in self.facts.values()
                if facts.status in states.BILLED and facts.next_boundary_at <= self.until
            ]
            if not due:
                return
            earliest = min(facts.next_boundary_at for facts, _ in due)
            first = [(facts, k) for facts, k in due if facts.next_boundary_at == earliest]
            for group in grouped(first, {self.organization.pk: self.organization}):
                yield from self._step(group)

    def _reach(self) -> Iterator[Failed]:
        """Carry out what comes before the next boundaries; who refuses would be set aside."""
        for facts in [*self.facts.values()]:
            try:
                self.facts[facts.id] = _at_boundary(_changed(facts, self.until), self.until)
            except DomainError as error:
                yield self._failed(facts, error)

    def _step(self, group: Sequence[Boundary]) -> Iterator[Outlook]:
        group = [(self.facts[facts.id], boundary) for facts, boundary in group]
        try:
            document = self._document(group)
        except Exception as error:  # the run sets aside whoever fails, for whatever reason
            log.exception("foresight_failed", extra={"organization": self.organization.pk})
            for facts, _ in group:
                yield self._failed(facts, error)
            return
        for facts, _ in group:
            self.facts[facts.id] = _passed(self.facts[facts.id])
        if document is not None:
            yield Foreseen(
                self.organization.pk,
                tuple(facts.public_id for facts, _ in group),
                tuple(facts.version.plan_code for facts, _ in group),
                document,
            )

    def _failed(self, facts: SubscriptionFacts, error: Exception) -> Failed:
        del self.facts[facts.id]
        reason = f"{type(error).__name__}: {error}"
        return Failed(self.organization.pk, facts.public_id, facts.next_boundary_at, reason)

    def _document(self, group: Sequence[Boundary]) -> Document | None:
        lines = [line for found in compose_all(group) for line in found if self._is_new(line)]
        if not lines:
            return None
        facts = group[0][0]
        moment = instant_of(group)
        discounts = [discount for one, _ in group for discount in one.discounts]
        customer = Customer(self.organization, facts.currency, moment, discounts)
        (conditions,) = conditions_of([customer])
        reckoned = reckon(lines, self.purse.conditions(conditions, moment))
        self.purse.use(reckoned, moment)
        return invoicing.quote_document(
            self.organization,
            reckoned,
            dated=moment,
            timezone=facts.agreement.cycle.timezone,
            subscription_id=facts.public_id,
        )

    def _is_new(self, line: Composed) -> bool:
        """Tell whether no invoice foreseen has the line; charges and corrections stand once too."""
        key: tuple[object, ...] = (
            line.charge_id,
            line.corrects_id,
            line.revision,
            line.item_id,
            line.kind,
            line.period,
            line.step_id,
        )
        if key in self.told:
            return False
        self.told.add(key)
        return True


def _changed(facts: SubscriptionFacts, until: datetime) -> SubscriptionFacts:
    """Return the facts with the scheduled changes whose turn it is before the next boundary."""
    while facts.scheduled:
        first, *later = sorted(facts.scheduled, key=lambda one: (one.effective_at, one.id))
        paused = facts.status == states.PAUSED
        if first.effective_at > (until if paused else min(until, facts.next_boundary_at)):
            return facts
        rest = facts.rebuilt(scheduled=tuple(later))
        wish, moment = wish_of(first.action, first.arguments), first.effective_at
        if isinstance(wish, Resume) and not paused:
            facts = rest
            continue
        behaviour = Behaviour(first.behaviour)
        facts = consider(rest, wish, behaviour=behaviour, at=moment, effective_at=moment).after
        if isinstance(wish, Resume):
            facts = replace(facts, status=states.ACTIVE)
    return facts


def _at_boundary(facts: SubscriptionFacts, until: datetime) -> SubscriptionFacts:
    """Return the facts with a trial ended whose boundary is due, as billing would end it."""
    if facts.status != states.TRIALING or facts.next_boundary_at > until:
        return facts
    if facts.cancel_at is not None and facts.cancel_at <= facts.next_boundary_at:
        return replace(facts, status=states.CANCELED, ended_at=facts.cancel_at)
    if not facts.items:
        return replace(facts, status=states.CANCELED, ended_at=facts.next_boundary_at)
    charged = facts.collection == "manual"
    return replace(facts, status=states.ACTIVE if charged else states.PAUSED)


def _passed(facts: SubscriptionFacts) -> SubscriptionFacts:
    """Return the facts with the cursor past the boundary, ended or paused if they were to."""
    reached, k = facts.next_boundary_at, facts.next_boundary + 1
    facts = replace(facts, next_boundary=k, next_boundary_at=facts.agreement.cycle.boundary(k))
    if facts.cancel_at is not None and facts.cancel_at <= reached:
        return replace(facts, status=states.CANCELED, ended_at=facts.cancel_at)
    if facts.pause_at is not None and facts.pause_at <= reached:
        return replace(facts, status=states.PAUSED)
    return facts
