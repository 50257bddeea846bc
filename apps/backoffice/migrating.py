"""Moving a plan's subscriptions to another of its versions, one transaction each.

A run may be stopped and repeated: who has moved, or is scheduled to, is passed over. One who cannot
be moved is reported, and does not keep the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import DomainError, Invalid
from apps.engine.money import Money
from apps.invoicing import services as invoicing
from apps.invoicing.document import Document
from apps.invoicing.quoting import quote_change
from apps.plans.selectors import VersionTerms
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions.changes import Behaviour, ChangePlan
from apps.subscriptions.facts import SubscriptionFacts
from apps.tenants import selectors as tenants

log = logging.getLogger(__name__)

CHUNK = 200


@dataclass(frozen=True, slots=True)
class Move:
    """Which subscriptions: of a plan, or of one version of it (integer id); where to, and when."""

    plan_id: int
    version_id: int | None
    to: VersionTerms
    behaviour: Behaviour

    @property
    def wish(self) -> ChangePlan:
        """What is wished of each: quantities and agreed prices stay."""
        return ChangePlan(self.to.public_id, keep_agreed=True)

    def check(self) -> None:
        """Raise Invalid unless both are versions of one plan, and the new one is published."""
        if self.to.plan_id != self.plan_id:
            raise Invalid("A migration stays within one plan; change_plan leaves it.", param="to")
        if self.to.status == "draft":
            raise Invalid("The version is a draft.", param="to")

    def concerns(self, facts: SubscriptionFacts) -> bool:
        """Whether the subscription is on a version to be left."""
        here = facts.version.version_id
        return here != self.to.version_id and self.version_id in (None, here)


@dataclass(frozen=True, slots=True)
class Moved:
    """What became, or would become, of a subscription; `problem` says why nothing.

    `before` and `after` are what its next invoice comes to without and with the move, in a preview
    only, and `now` what the move bills at once.
    """

    organization_id: int
    subscription: str
    version: int
    effective_at: datetime | None = None
    already: bool = False
    problem: str = ""
    before: Money | None = None
    after: Money | None = None
    now: Money | None = None
    invoice: str | None = None


def preview_all(move: Move, *, at: datetime) -> Iterator[Moved]:
    """Yield what the move would make of every subscription; writes nothing. Opens its own scopes.

    Whoever lives by a test clock is looked at by its time.
    """

    def preview(facts: SubscriptionFacts) -> Moved:
        moment = tenants.now_for(facts.organization_id, at)
        quoted = quote_change(facts.public_id, wish=move.wish, behaviour=move.behaviour, at=moment)
        return replace(
            _of(facts),
            effective_at=quoted.considered.effective_at,
            before=_total(quoted.before),
            after=_total(quoted.upcoming),
            now=_total(quoted.now),
        )

    return _each(move, preview)


def move_all(move: Move, *, actor: Actor, at: datetime, reason: str) -> Iterator[Moved]:
    """Move every subscription, each in a transaction of its own, and yield what became of it."""

    def carry_out(facts: SubscriptionFacts) -> Moved:
        changed = invoicing.change_subscription(
            facts.public_id,
            wish=move.wish,
            behaviour=move.behaviour,
            reason=reason,
            actor=actor,
            at=tenants.now_for(facts.organization_id, at),
        )
        cut = None if changed.invoice is None else str(changed.invoice)
        moment = changed.quoted.considered.effective_at
        return replace(_of(facts), effective_at=moment, invoice=cut)

    return _each(move, carry_out)


def _each(move: Move, act: Callable[[SubscriptionFacts], Moved]) -> Iterator[Moved]:
    move.check()
    for facts in _concerned(move):
        if _is_coming(facts, move):
            yield replace(_of(facts), already=True)
            continue
        try:
            with rls.tenant_scope(facts.organization_id):
                moved = act(facts)
        except DomainError as refusal:
            moved = replace(_of(facts), problem=refusal.message)
        except Exception as error:  # whatever it is, the others are not to wait for it
            log.exception("migration_failed", extra={"subscription": facts.id})
            moved = replace(_of(facts), problem=f"{type(error).__name__}: {error}")
        yield moved


def _concerned(move: Move) -> Iterator[SubscriptionFacts]:
    after = 0
    while True:
        with rls.ops_scope("migrate_plan: a chunk of subscriptions"):
            found = subscriptions.on_plan(move.plan_id, after=after, limit=CHUNK)
        if not found:
            return
        yield from (facts for facts in found if move.concerns(facts))
        after = found[-1].id


def _is_coming(facts: SubscriptionFacts, move: Move) -> bool:
    """Whether the subscription is scheduled to move there already."""
    return any(
        one.action == ChangePlan.action and one.arguments["version"] == move.to.public_id
        for one in facts.scheduled
    )


def _of(facts: SubscriptionFacts) -> Moved:
    return Moved(facts.organization_id, facts.public_id, facts.version.number)


def _total(document: Document | None) -> Money | None:
    return None if document is None else Money(document.total, document.currency)
