"""Prices over part of a period: what changes, and what was lived, by the exact share of it.

Shares are ratios of microseconds in UTC, unless a price counts otherwise (ProrationRule). Each line
is summed exactly and rounded once, so three seats cost what three seats cost and not three times a
rounded one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from apps.engine.daycount import BY_THE_SECOND, WHOLE, ProrationRule
from apps.engine.decimals import EXACT, ZERO
from apps.engine.money import CurrencyMismatch, Exact, Money, round_half_away
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
    rule: ProrationRule = BY_THE_SECOND,
) -> Change:
    """Charge, or credit, a change of quantity for what is left of the period after `at`.

    The difference of two whole prices, so tiers, packages and included units come out right; never
    more than the full difference. Raises ValueError when nothing changed.
    """
    if old == new:
        raise ValueError(f"the quantity stays at {old}: nothing changed")
    before = rate(terms, quantity=old, included=included, currency=currency)
    after = rate(terms, quantity=new, included=included, currency=currency)
    less = after.exact < before.exact
    share = rule.unused_after(at, period) if less else rule.share_after(at, period)
    return change(before, after, share=share)


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


def price_segments(
    segments: Sequence[tuple[Period, Rated]],
    *,
    whole: Period,
    rule: ProrationRule = BY_THE_SECOND,
) -> Segments:
    """The price of a period whose quantity changed on the way.

    Each segment weighs as much as its share of `whole`. Raises ValueError without segments.
    """
    if not segments:
        raise ValueError("a price over time needs at least one segment")
    shares = rule.split([during for during, _ in segments], whole)
    parts = tuple(
        Segment(during, rated, share)
        for (during, rated), share in zip(segments, shares, strict=True)
    )
    exact = sum((part.rated.exact * part.share for part in parts), Fraction(0))
    currency = _one_currency([part.rated for part in parts])
    return Segments(parts, exact, Money(round_half_away(exact), currency))


def prorated(amount: Exact, *, share: Exact, places: int) -> Decimal:
    """`share` (0 to 1) of an amount that need not be money, such as included credits.

    Multiplied exactly, then rounded once, half away from zero, to `places` decimals.
    """
    scaled = Fraction(amount) * checked_share(share) * 10**places
    return Decimal(f"{round_half_away(scaled)}E-{places}")


def capped_credit(potential: Money, *, billed: Money, credited: Money) -> Money:
    """A credit that never exceeds what was billed less what was credited already; never negative.

    Raises CurrencyMismatch.
    """
    nothing = Money.zero(potential.currency)
    return max(nothing, min(potential, billed - credited))


@dataclass(frozen=True, slots=True)
class PlanChange:
    """A move to another plan inside a period, line by line, each rounded.

    `credits` are given back for what was billed and not used, `charges` are the new prices for what
    is left, `renewal` is what the new plan costs for a full period.
    """

    credits: tuple[Money, ...]
    charges: tuple[Money, ...]
    renewal: Money

    @property
    def credit(self) -> Money:
        """Everything given back, as a positive amount."""
        return sum(self.credits, Money.zero(self.renewal.currency))

    @property
    def charge(self) -> Money:
        """Everything charged for the rest of the period."""
        return sum(self.charges, Money.zero(self.renewal.currency))

    @property
    def net(self) -> Money:
        """What the change costs, negative when it gives money back."""
        return self.charge - self.credit

    @property
    def next_invoice(self) -> Money:
        """The next invoice where the change waits for it: a full period and the change."""
        return self.renewal + self.net


def change_plan(
    billed: Sequence[Money],
    new: Sequence[Money],
    *,
    unused: Fraction,
    left: Fraction,
    credited: Money | None = None,
    currency: str,
) -> PlanChange:
    """Leave one plan and enter another inside a period.

    `billed` is what the old plan's lines were really billed, after discount, and `new` the new
    plan's lines for a full period, after discount. `unused` and `left` (0 to 1) are the shares of
    the period given back and charged: the same moment counted both ways by one ProrationRule, or 1
    for `left` where the interval changes and a new cycle starts at full price. The credit stops at
    what was billed less what was `credited` before. Raises ValueError for a share outside 0 to 1,
    CurrencyMismatch.
    """
    unused, left = checked_share(unused), checked_share(left)
    nothing = Money.zero(currency)
    available = max(nothing, sum(billed, nothing) - (credited or nothing))
    given_back: list[Money] = []
    for line in billed:
        given_back.append(capped_credit(line.times(unused), billed=available, credited=nothing))
        available -= given_back[-1]
    charges = tuple(line.times(left) for line in new)
    return PlanChange(tuple(given_back), charges, sum(new, nothing))


def high_water(prices: Sequence[Rated]) -> tuple[Money, ...]:
    """What each step of a quantity costs where it is billed by its highest value in the period.

    `prices` are the full price of the quantity at the start and after each step. A rise above the
    highest price billed so far is charged in full, everything else costs nothing: a fall is not
    given back, and coming back up to where it was is not billed again.
    """
    highest: Rated | None = None
    steps: list[Money] = []
    for price in prices:
        if highest is None or price.exact > highest.exact:
            steps.append(change(highest, price, share=WHOLE).amount)
            highest = price
        else:
            steps.append(Money.zero(price.currency))
    return tuple(steps)


def minimum_true_up(minimum: Money, charged: Money, *, share: Fraction) -> Money:
    """What is missing to a committed minimum in a short period; never negative.

    Both are amounts for a full period; each is prorated and rounded before they are subtracted.
    """
    share = checked_share(share)
    return max(Money.zero(minimum.currency), minimum.times(share) - charged.times(share))


@dataclass(frozen=True, slots=True)
class UnusedCredit:
    """A credit for unused time and the tax on it, rounded apart; the total is their sum."""

    net: Money
    tax: Money

    @property
    def total(self) -> Money:
        """What the customer gets back."""
        return self.net + self.tax


def credit_unused(billed: Money, *, unused: Fraction, tax_percent: Decimal = ZERO) -> UnusedCredit:
    """Give back the unused share (0 to 1) of what was billed in advance, with its tax.

    The tax is taken on the exact amount, not on the rounded one. Raises ValueError for a negative
    tax.
    """
    if tax_percent < 0:
        raise ValueError(f"a tax is not negative: {tax_percent} %")
    unused = checked_share(unused)
    tax = billed.times(unused * Fraction(tax_percent) / 100)
    return UnusedCredit(billed.times(unused), tax)


def _one_currency(prices: Sequence[Rated]) -> str:
    currency = prices[0].currency
    for price in prices:
        if price.currency != currency:
            raise CurrencyMismatch(f"{currency} met {price.currency}")
    return currency
