"""What changes and charges would cost, by the very computation that bills them. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from apps.engine.money import Money
from apps.invoicing import selectors, singles
from apps.invoicing.composition import Composed, compose, compose_changes
from apps.invoicing.document import ONE_OFF, Document
from apps.invoicing.purse import Purse
from apps.invoicing.singles import cost
from apps.subscriptions import changes, guards
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions.changes import Behaviour, Considered, Wish
from apps.subscriptions.facts import SubscriptionFacts
from apps.tenants import selectors as tenants


@dataclass(frozen=True, slots=True)
class Quoted:
    """A change as it would be billed.

    `now` is the invoice that it makes at once, `upcoming` the next one with the change in it,
    `before` the next one without. `amount` is what the change costs on the first of them: all of
    an invoice at once, or the difference that it makes to the next one.
    """

    considered: Considered
    now: Document | None
    upcoming: Document | None
    before: Document | None
    amount: Money

    @property
    def bills_now(self) -> bool:
        """Whether confirming it makes an invoice at once."""
        return self.considered.bills_now

    @property
    def hash(self) -> str:
        """A fingerprint of the documents: equal for equal quotes."""
        shown = self.now or self.upcoming
        return "" if shown is None else shown.hash()


def quote_change(
    subscription_id: str,
    *,
    wish: Wish,
    behaviour: Behaviour,
    at: datetime,
    effective_at: datetime | None = None,
    organization_id: int | None = None,
) -> Quoted:
    """Return what a change would cost if it were confirmed at this moment.

    Raises what `subscriptions.changes.consider` does, so a preview refuses what confirming would.
    """
    facts = subscriptions.get(subscription_id, organization_id=organization_id)
    facts = changes.foreseen(facts, at)  # what was to happen before happens before
    considered = changes.consider(
        facts, wish, behaviour=behaviour, at=at, effective_at=effective_at
    )
    guards.check(considered.before, considered.after, considered.effective_at)
    before, after = facts, considered.after
    owed = _at_once(after, at) if considered.bills_now else []
    purse = Purse(tenants.organization(facts.organization_id))
    now = selectors.upcoming_document(after, owed, at=at, purse=purse) if owed else None
    ahead = _ahead(_next(after, at) if owed else after, owed, purse)
    known = selectors.upcoming_of(before)
    costs = [
        Money.zero(facts.currency) if document is None else cost_of(document)
        for document in (now, ahead, known)
    ]
    amount = costs[0] if considered.bills_now else costs[1] - costs[2]
    return Quoted(considered, now, ahead, known, amount)


def cost_of(document: Document) -> Money:
    """Return what a document costs; below zero what it keeps as credit."""
    return cost(document.total, document.currency, credit=document.credits_total)


def quote_charges(
    charge_ids: Sequence[str],
    *,
    at: datetime,
    organization_id: int | None = None,
    due_in_days: int | None = None,
    memo: str = "",
) -> Document:
    """Return the invoice that `services.invoice_charges` would make of charges at this moment.

    Raises what that does: UnknownCharge, ChargeBilled and Invalid.
    """
    rows = singles.named(charge_ids, organization_id=organization_id)
    singles.refuse_billed(charge_ids)
    single = singles.of_charges(rows, due_in_days=due_in_days, memo=memo)
    document = selectors.quote_document(
        single.organization, single.reckoned(at), dated=at, timezone=single.timezone
    )
    return replace(document, kind=ONE_OFF, due_at=single.due_at(at), note=memo)


def _at_once(after: SubscriptionFacts, at: datetime) -> list[Composed]:
    if after.next_boundary_at <= at:
        return compose(after, after.next_boundary)
    return compose_changes(after, at)


def _ahead(after: SubscriptionFacts, billed: list[Composed], purse: Purse) -> Document | None:
    """Return the next invoice without the lines that are billed at once, and what pays them."""
    gone = {_identity(line) for line in billed}
    facts, lines = selectors.next_lines(after)
    left = [line for line in lines if _identity(line) not in gone]
    return selectors.upcoming_document(facts, left, purse=purse) if left else None


def _identity(line: Composed) -> tuple[object, ...]:
    return line.item_id, line.step_id, line.kind, line.reason, line.period


def _next(after: SubscriptionFacts, at: datetime) -> SubscriptionFacts:
    """Return the facts with the cursor past a boundary that would be billed at once."""
    if after.next_boundary_at > at:
        return after
    following = after.next_boundary + 1
    return replace(
        after,
        next_boundary=following,
        next_boundary_at=after.agreement.cycle.boundary(following),
    )
