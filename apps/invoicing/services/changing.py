"""Changes that are quoted, confirmed, and billed at once where they are to be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from apps.core.actor import Actor
from apps.engine.money import Money
from apps.invoicing import quoting
from apps.invoicing.errors import QuoteExpired, QuoteMoved
from apps.invoicing.models import Invoice
from apps.invoicing.quoting import Quoted
from apps.invoicing.services import run
from apps.invoicing.services.charges import bill_waiting
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions import services as subscriptions
from apps.subscriptions.changes import Behaviour, Wish
from apps.subscriptions.facts import SubscriptionFacts
from apps.subscriptions.selectors import Due
from apps.tenants import services as tenants

GOOD_FOR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Changed:
    """A subscription after a change, what it was quoted at, and the invoice it made at once."""

    facts: SubscriptionFacts
    quoted: Quoted
    invoice: Invoice | None


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What somebody saw before they confirmed: the amount, and the moment it was computed for."""

    amount: Money
    at: datetime


@transaction.atomic
def change_subscription(
    subscription_id: str,
    *,
    wish: Wish,
    behaviour: Behaviour,
    actor: Actor,
    at: datetime,
    effective_at: datetime | None = None,
    confirmed: Confirmed | None = None,
    reason: str = "",
) -> Changed:
    """Carry out a change, or schedule it, and bill at once what `now` and `reset` owe.

    What was `confirmed` (see `quoting.quote_change`) is carried out as of the moment it was shown
    for, within the hour; when it would cost another amount by now, or anything has happened to the
    subscription since, nothing is done. Safe to repeat: what is so already changes nothing.
    Raises QuoteMoved, QuoteExpired, and what `subscriptions.changes.consider` does.
    """
    facts = subscription_selectors.get(subscription_id, organization_id=actor.organization_id)
    tenants.lock(facts.organization_id)
    subscriptions.lock(facts.id)
    moment = _moment(confirmed, at)
    _check_still(facts.id, confirmed, at)
    quote = quoting.quote_change(
        facts.public_id, wish=wish, behaviour=behaviour, at=moment, effective_at=effective_at
    )
    _check_unmoved(confirmed, quote)
    after = subscriptions.change(
        facts.public_id,
        wish=wish,
        behaviour=behaviour,
        actor=actor,
        at=moment,
        effective_at=effective_at,
        quote=subscriptions.Quote(quote.amount.minor, quote.hash),
        reason=reason,
    )
    invoice = _bill(after, actor=actor, at=moment) if quote.bills_now else None
    return Changed(subscription_selectors.by_id(facts.id), quote, invoice)


def _moment(confirmed: Confirmed | None, at: datetime) -> datetime:
    if confirmed is None:
        return at
    if not at - GOOD_FOR <= confirmed.at <= at:
        raise QuoteExpired("This quote is more than an hour old; look at it again.")
    return confirmed.at


def _check_still(subscription_id: int, confirmed: Confirmed | None, at: datetime) -> None:
    """Raise QuoteMoved when anything has happened since the moment confirmed; under the locks.

    The change would go in before what is done and perhaps billed, at an amount that may be equal.
    """
    if confirmed is None:
        return
    facts = subscription_selectors.by_id(subscription_id)  # as they are under the locks
    moved = subscription_selectors.has_moved(facts, since=confirmed.at, until=at)
    if moved or _billed_since(subscription_id, confirmed.at, until=at):
        raise QuoteMoved(
            "The subscription has changed since this was quoted; look at it again.",
            quoted=str(confirmed.amount),
        )


def _billed_since(subscription_id: int, since: datetime, *, until: datetime) -> bool:
    mine = Invoice.objects.filter(subscription_id=subscription_id)
    issued = Q(issued_at__gt=since, issued_at__lte=until)
    moved = issued | Q(finalized_at__gt=since) | Q(voided_at__gt=since)
    return mine.filter(moved).exists()


def _check_unmoved(confirmed: Confirmed | None, quote: Quoted) -> None:
    if confirmed is not None and confirmed.amount != quote.amount:
        raise QuoteMoved(
            f"This was quoted at {confirmed.amount} and would be {quote.amount} by now; look at "
            "it again.",
            quoted=str(confirmed.amount),
            actual=str(quote.amount),
        )


def _bill(facts: SubscriptionFacts, *, actor: Actor, at: datetime) -> Invoice | None:
    """Bill the boundary that a new cycle has reached, or else the changes up to now."""
    if facts.next_boundary_at > at:
        return bill_waiting(facts.id, actor=actor, at=at)
    due = Due(facts.id, facts.organization_id)
    made = run.bill_held(due, as_of=at, actor=actor, at=at)
    return Invoice.objects.get(public_id=made[0].id) if made else None
