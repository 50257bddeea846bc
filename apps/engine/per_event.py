"""A percentage price goes event by event; this counts what each kind of event came to.

The counts are all that is kept of the events: small whatever their number, and enough to redo the
sum.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from apps.engine.decimals import EXACT, ZERO, plain
from apps.engine.prices import Percentage, percent

ENDLESS = Decimal("Infinity")


@dataclass(slots=True)
class Count:
    """Some events: how many, and the money that is charged of them."""

    events: int = 0
    amount: Decimal = ZERO

    def add(self, amount: Decimal) -> None:
        """Count one more event."""
        self.events += 1
        self.amount = EXACT.add(self.amount, amount)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, decimals as canonical strings."""
        return {"events": self.events, "amount": plain(self.amount)}


@dataclass(slots=True)
class Tally:
    """The events of a percentage price, by what happened to them.

    `free_amount` includes the free part of the one event that used the allowance up; `paid` has
    the rest of it. `at_minimum` and `at_maximum` are the paying events that owe just that.
    """

    free_events: int
    free_amount: Decimal
    paid: Count
    at_minimum: Count
    at_maximum: Count

    @property
    def events(self) -> int:
        """All events."""
        paying = (self.paid.events, self.at_minimum.events, self.at_maximum.events)
        return self.free_events + sum(paying)

    @property
    def charged(self) -> Decimal:
        """The money that is not free."""
        bounded = EXACT.add(self.at_minimum.amount, self.at_maximum.amount)
        return EXACT.add(self.paid.amount, bounded)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, decimals as canonical strings."""
        return {
            "events": self.events,
            "free_events": self.free_events,
            "free_amount": plain(self.free_amount),
            "paid": self.paid.as_dict(),
            "at_minimum": self.at_minimum.as_dict(),
            "at_maximum": self.at_maximum.as_dict(),
        }


def tally(terms: Percentage, amounts: Iterable[Decimal]) -> Tally:
    """Sort the events, given in the order of their time, by what each of them owes."""
    found = Tally(0, ZERO, Count(), Count(), Count())
    for amount in amounts:
        room = _room(terms, found)
        if room is not None and amount <= room:
            found.free_events += 1
            found.free_amount = EXACT.add(found.free_amount, amount)
        else:
            charged = EXACT.subtract(amount, room or ZERO)
            found.free_amount = EXACT.add(found.free_amount, room or ZERO)
            _kind(terms, found, charged).add(charged)
    return found


def _room(terms: Percentage, found: Tally) -> Decimal | None:
    """How much of the next event is free; None when the allowance is used up, or there is none."""
    if terms.free_events is None and terms.free_amount is None:
        return None
    if terms.free_events is not None and found.free_events >= terms.free_events:
        return None
    if terms.free_amount is None:
        return ENDLESS
    room = EXACT.subtract(terms.free_amount, found.free_amount)
    return room if room > 0 else None


def _kind(terms: Percentage, found: Tally, charged: Decimal) -> Count:
    owed = EXACT.fma(charged, percent(terms.rate_percent), terms.fixed_amount)
    if terms.event_minimum is not None and owed < terms.event_minimum:
        return found.at_minimum
    if terms.event_maximum is not None and owed > terms.event_maximum:
        return found.at_maximum
    return found.paid
