"""Subscribing and paying at once: the first invoice is issued in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from apps.core.actor import Actor
from apps.engine.money import Money
from apps.invoicing import selectors
from apps.invoicing.errors import QuoteExpired
from apps.invoicing.services.reports import Issued
from apps.invoicing.services.run import bill_held
from apps.subscriptions import selectors as agreements
from apps.subscriptions import services as subscriptions
from apps.subscriptions.facts import SubscriptionFacts
from apps.subscriptions.selectors import Due
from apps.subscriptions.services import Begin

PLAINLY = Begin()


@dataclass(frozen=True, slots=True)
class Begun:
    """A new subscription, and what was billed for its beginning."""

    facts: SubscriptionFacts
    issued: tuple[Issued, ...]


@transaction.atomic
def subscribe_and_bill(  # noqa: PLR0913 - a subscription begins with this many facts
    organization_id: int,
    *,
    plan: str,
    actor: Actor,
    at: datetime,
    seats: int | None = None,
    collection: str = "manual",
    code: str = "",
    quoted: Money | None = None,
    begin: Begin = PLAINLY,
) -> Begun:
    """Subscribe from now on, redeem a promotion code, and issue the first invoice.

    `quoted` is what the customer was shown. Emits what `subscriptions.subscribe` and the billing
    run emit. Raises what `subscribe` and `apply_discount` raise, and QuoteExpired when the first
    invoice comes to something else than was shown; then nothing happened.
    """
    facts = subscriptions.subscribe(
        organization_id,
        plan=plan,
        start=at,
        seats=seats,
        collection=collection,
        begin=begin,
        actor=actor,
        at=at,
    )
    if code:
        subscriptions.apply_discount(
            organization_id,
            code=code,
            subscription_id=facts.public_id,
            owed=selectors.owed_next(facts.public_id),
            actor=actor,
            at=at,
        )
    issued = tuple(bill_held(Due(facts.id, organization_id), as_of=at, actor=actor, at=at))
    actual = Money(sum(one.total for one in issued), facts.currency)
    if quoted is not None and actual != quoted:
        raise QuoteExpired(f"It comes to {actual} now, not to {quoted}; look at it again.")
    return Begun(agreements.get(facts.public_id), issued)
