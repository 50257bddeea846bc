"""Prices over part of a period: what changes, and what was lived, by the exact share of time.

Shares are ratios of microseconds in UTC. Each line is summed exactly and rounded once, so three
seats cost what three seats cost and not three times a rounded one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from apps.engine.decimals import EXACT, ZERO
from apps.engine.money import CurrencyMismatch, Money, round_half_away
from apps.engine.period import Period
from apps.engine.prices import Terms
from apps.engine.rating import Rated, checked_share, rate, ratio, rounding_of


@dataclass(frozen=True, slots=True)
class Change:
    """(price of new − price of old) × share of the period that is left.

    `old` is None where something starts, `new` where it ends; both are prices of the full period.
    `exact` is in minor units. `paid` is what had been billed, named only where it capped a credit.
    """

    old: Rated | None
    new: Rated | None
    share: Fraction
    exact: Fraction
    amount: Money
    paid: Money | None = None

    @property
    def quantity(self) -> Decimal:
        """The units added, negative when taken away."""
        old = self.old.quantity if self.old else ZERO
        return EXACT.subtract(self.new.quantity if self.new else ZERO, old)

    def explain(self) -> dict[str, object]:
        """Everything needed to redo the line by hand, as plain JSON."""
        explanation: dict[str, object] = {
            "rule": "change",
            "old": self.old.arithmetic() if self.old else None,
            "new": self.new.arithmetic() if self.new else None,
            "share": ratio(self.share),
        }
        if self.paid is not None:
            explanation["paid_minor"] = self.paid.minor
        return explanation | rounding_of(self.exact, self.amount)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a period with one quantity: its full-period price and its share of the time."""

    during: Period
    rated: Rated
    share: Fraction

    def as_dict(self) -> dict[str, object]:
        """Plain JSON."""
        part: dict[str, object] = {"share": ratio(self.share), "price": self.rated.arithmetic()}
        return self.during.as_dict() | part


@dataclass(frozen=True, slots=True)
class Segments:
    """A quantity that changed over a period, billed at its end: Σ price × share, rounded once."""

    segments: tuple[Segment, ...]
    exact: Fraction
    amount: Money

    @property
    def quantity(self) -> Decimal:
        """The quantity at the end of the period."""
        return self.segments[-1].rated.quantity

    def explain(self) -> dict[str, object]:
        """Everything needed to redo the line by hand, as plain JSON."""
        return {
            "rule": "segments",
            "segments": [segment.as_dict() for segment in self.segments],
        } | rounding_of(self.exact, self.amount)


def prorate_quantity_change(
    terms: Terms,
    *,
    included: Decimal,
    old: Decimal,
    new: Decimal,
    period: Period,
    at: datetime,
    currency: str,
) -> Change:
    """Charge, or credit, a change of quantity for what is left of the period after `at`.

    The difference of two whole prices, so tiers, packages and included units come out right; never
    more than the full difference. Raises ValueError when nothing changed.
    """
    if old == new:
        raise ValueError(f"the quantity stays at {old}: nothing changed")
    return change(
        rate(terms, quantity=old, included=included, currency=currency),
        rate(terms, quantity=new, included=included, currency=currency),
        share=period.share_after(at),
    )


def change(
    old: Rated | None, new: Rated | None, *, share: Fraction, paid: Money | None = None
) -> Change:
    """Move from one full price to another for `share` (0 to 1) of the period.

    None stands for "not there yet" and "not there any more". With `paid`, a credit stops at what
    was billed. Raises ValueError for a share outside 0 to 1, for prices that are themselves
    shares, and when both sides are None; CurrencyMismatch for two currencies.
    """
    sides = [side for side in (old, new) if side is not None]
    if not sides or any(side.share != 1 for side in sides):
        raise ValueError("a change needs a full price before it, after it, or both")
    share = checked_share(share)
    exact = ((new.exact if new else 0) - (old.exact if old else 0)) * share
    amount = Money(round_half_away(exact), _one_currency(sides))
    if paid is None or amount >= -paid:
        return Change(old, new, share, exact, amount)
    return Change(old, new, share, exact, -paid, paid)


def price_segments(segments: Sequence[tuple[Period, Rated]], *, whole: Period) -> Segments:
    """The price of a period whose quantity changed on the way.

    Each segment weighs as much as its share of `whole`. Raises ValueError without segments.
    """
    if not segments:
        raise ValueError("a price over time needs at least one segment")
    parts = tuple(Segment(during, rated, whole.share(during)) for during, rated in segments)
    exact = sum((part.rated.exact * part.share for part in parts), Fraction(0))
    currency = _one_currency([part.rated for part in parts])
    return Segments(parts, exact, Money(round_half_away(exact), currency))


def _one_currency(prices: Sequence[Rated]) -> str:
    currency = prices[0].currency
    for price in prices:
        if price.currency != currency:
            raise CurrencyMismatch(f"{currency} met {price.currency}")
    return currency
