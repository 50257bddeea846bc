"""What a quantity costs: exact, tier by tier, and rounded once.

A quote and a bill both come from `rate`. Its answer carries the arithmetic as data, and `replay`
redoes a line from that data alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from apps.engine.consumption import Consumed, Move
from apps.engine.decimals import EXACT, ZERO, decimal_of, exact_text, plain
from apps.engine.explanation import ROUNDING, BrokenExplanation, replay
from apps.engine.money import CurrencyMismatch, Exact, Money, exponent, round_half_away
from apps.engine.price_rules import PLAIN, Commitment, Rules
from apps.engine.prices import Terms
from apps.engine.steps import NoPrice, Priced, Step, packages_begun, price
from apps.engine.values import value_class

__all__ = [
    "FIRST",
    "BrokenExplanation",
    "Consumed",
    "Move",
    "NoPrice",
    "Progress",
    "Rated",
    "RatedSum",
    "Step",
    "packages_begun",
    "rate",
    "rate_sum",
    "replay",
]

WHOLE = Fraction(1)
NOTHING = Fraction(0)


@value_class(frozen=True, slots=True)
class Progress:
    """Where a line stands in its period: what earlier lines of the same price have billed.

    `before` was consumed and priced earlier, so the line owes price(both) − price(before); None
    when there was no line. `before_amount` comes off in the same way where only the money is known.
    `billed` is what the earlier lines came to in major units, for maximum and minimum; the minimum
    is owed on the `last` line of the period.
    """

    before: Consumed | None = None
    before_amount: Decimal = ZERO
    billed: Decimal = ZERO
    last: bool = True


FIRST = Progress()


@dataclass(frozen=True, slots=True)
class Committed:
    """A price held against a commitment, all in major units."""

    commitment: Commitment
    of: Priced | None
    amount: Fraction
    utilized: Fraction
    overage: Fraction
    true_up: Fraction

    @property
    def total(self) -> Fraction:
        """What is owed: the commitment used, the rest with its factor, and what fills it up."""
        return self.utilized + self.overage + self.true_up

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, numbers as canonical strings."""
        found: dict[str, object] = {} if self.of is None else {"price": self.of.as_dict()}
        return found | {
            "amount": exact_text(self.amount),
            "overage_factor": plain(self.commitment.overage_factor),
            "fills_up": self.commitment.true_up,
            "utilized": exact_text(self.utilized),
            "overage": exact_text(self.overage),
            "true_up": exact_text(self.true_up),
        }


@value_class(frozen=True, slots=True)
class Side:
    """A price and, where there is one, the commitment it was held against."""

    priced: Priced
    committed: Committed | None

    @property
    def amount(self) -> Fraction:
        """The exact amount in major units."""
        return self.priced.amount if self.committed is None else self.committed.total

    def as_dict(self) -> dict[str, object]:
        """Plain JSON."""
        found = self.priced.as_dict()
        return found if self.committed is None else found | {"commitment": self.committed.as_dict()}


@value_class(frozen=True, slots=True)
class Bounds:
    """What lies between the price of the usage and the line, in major units.

    First the percent discount, then the maximum, less what was billed before; at the end of the
    period what is missing to the `minimum`, which is None on any other line.
    """

    usage: Fraction
    discount_percent: Decimal
    discount: Fraction
    billed: Decimal
    maximum: Decimal | None
    maximum_discount: Fraction
    minimum: Fraction | None
    true_up: Fraction

    @property
    def amount(self) -> Fraction:
        """The exact amount of the line."""
        return self.usage - self.discount - self.maximum_discount + self.true_up

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, numbers as canonical strings."""
        return {
            "usage_amount": exact_text(self.usage),
            "discount_percent": plain(self.discount_percent),
            "discount": exact_text(self.discount),
            "billed": plain(self.billed),
            "maximum_amount": None if self.maximum is None else plain(self.maximum),
            "maximum_discount": exact_text(self.maximum_discount),
            "minimum_amount": None if self.minimum is None else exact_text(self.minimum),
            "true_up": exact_text(self.true_up),
        }


@value_class(frozen=True, slots=True)
class Rated:
    """A price applied to a quantity.

    `exact` is in minor units, before the one rounding that gives `amount`. `quantity` is this
    line's own; `so_far` and `before` price the whole of the period with and without it. `share` is
    the part of the period charged. A `deferred` line leaves its usage to the period's last one.
    """

    terms: Terms
    quantity: Decimal
    so_far: Side
    before: Side | None
    before_amount: Decimal
    share: Fraction
    bounds: Bounds
    bounded: bool
    deferred: bool
    exact: Fraction
    amount: Money
    _explained: dict[str, object] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    @property
    def included(self) -> Decimal:
        """The units that come off free."""
        return self.so_far.priced.included

    @property
    def billable(self) -> Fraction:
        """What was left of the whole quantity after conversion and included units."""
        return self.so_far.priced.billable

    @property
    def billed_quantity(self) -> Fraction:
        """The billable units that this line adds to the lines before it."""
        return self.billable - (NOTHING if self.before is None else self.before.priced.billable)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The tiers' arithmetic for the whole quantity."""
        return self.so_far.priced.steps

    def explain(self) -> dict[str, object]:
        """Everything needed to redo the line by hand, as plain JSON; see `arithmetic`."""
        if not self._explained:  # one price is many customers'
            self._explained.update(self._sum() | rounding_of(self.exact, self.amount))
        return dict(self._explained)

    def arithmetic(self) -> dict[str, object]:
        """The sum before it is rounded, as plain JSON.

        Step amounts and `exact` are in major units; what does not change the sum is left out.
        """
        return self._sum() | {"exact": exact_text(self.exact / 10 ** exponent(self.currency))}

    def _sum(self) -> dict[str, object]:
        explanation: dict[str, object] = {"rule": "price"} | self.so_far.as_dict()
        if self.before is not None:
            explanation["previous"] = self.before.as_dict()
        if self.before_amount:
            explanation["before_amount"] = plain(self.before_amount)
        if self.deferred:
            explanation["deferred"] = True
        if self.share is not WHOLE and self.share != WHOLE:
            explanation["share"] = ratio(self.share)
        if self.bounded:
            explanation["bounds"] = self.bounds.as_dict()
        return explanation

    @property
    def currency(self) -> str:
        """The currency it was priced in."""
        return self.amount.currency


@dataclass(frozen=True, slots=True)
class RatedSum:
    """Prices that stand on one line: each bucket of time on its own, rounded together once."""

    parts: tuple[Rated, ...]
    bounds: Bounds
    bounded: bool
    exact: Fraction
    amount: Money

    @property
    def quantity(self) -> Decimal:
        """All units together."""
        total = ZERO
        for part in self.parts:
            total = EXACT.add(total, part.quantity)
        return total

    @property
    def currency(self) -> str:
        """The currency it was priced in."""
        return self.amount.currency

    def explain(self) -> dict[str, object]:
        """Everything needed to redo the line by hand, as plain JSON."""
        explanation: dict[str, object] = {
            "rule": "sum",
            "parts": [part.arithmetic() for part in self.parts],
        }
        if self.bounded:
            explanation["bounds"] = self.bounds.as_dict()
        return explanation | rounding_of(self.exact, self.amount)


def rate(
    terms: Terms,
    *,
    quantity: Decimal | Consumed,
    included: Decimal = ZERO,
    share: Exact = WHOLE,
    currency: str,
    rules: Rules = PLAIN,
    progress: Progress = FIRST,
) -> Rated:
    """What `quantity` units cost, for `share` (0 to 1) of the period.

    In this order: convert and round the quantity, take off the included units, price, hold against
    the commitment, take off what `progress` has priced before (never less than nothing), charge the
    share, discount, stop at the maximum, fill up to the minimum. Money is rounded at the end, once,
    half away from zero, to the currency's exponent. Raises ValueError for a share outside 0 to 1,
    negative included units and facts that the model does not look at; NoPrice for a quantity
    without an answer; UnknownCurrency and NotADecimal.
    """
    own = quantity if isinstance(quantity, Consumed) else Consumed(decimal_of(quantity))
    included = decimal_of(included)
    share = checked_share(share)
    so_far, before = _sides(terms, own, included, rules, progress)
    deferred = rules.on_last_line and not progress.last
    usage = NOTHING if deferred else _increment(so_far, before, progress)
    charged = usage if share is WHOLE else usage * share
    bounded = rules.bounds
    bounds = (_bounds if bounded else _unbounded)(charged, rules, progress, share)
    exact = (bounds.amount if bounded else charged) * 10 ** exponent(currency)
    return Rated(
        terms,
        own.total,
        so_far,
        before,
        progress.before_amount,
        share,
        bounds,
        bounded,
        deferred,
        exact,
        Money(round_half_away(exact), currency),
    )


def rate_sum(
    parts: Sequence[Rated],
    *,
    currency: str,
    rules: Rules = PLAIN,
    progress: Progress = FIRST,
) -> RatedSum:
    """Add prices up and round the sum once; discount, maximum and minimum hold for the sum.

    No parts cost nothing. Raises CurrencyMismatch for a part in another currency.
    """
    for part in parts:
        if part.currency != currency:
            raise CurrencyMismatch(f"{currency} met {part.currency}")
    scale = 10 ** exponent(currency)
    usage = sum((part.exact for part in parts), NOTHING) / scale
    bounds = _bounds(usage, rules, progress, WHOLE)
    exact = bounds.amount * scale
    amount = Money(round_half_away(exact), currency)
    return RatedSum(tuple(parts), bounds, rules.bounds, exact, amount)


def checked_share(share: Exact) -> Fraction:
    """The share as a Fraction; raises ValueError outside 0 to 1: never more than the full price."""
    if share is WHOLE:
        return share
    if not 0 <= share <= 1:
        raise ValueError(f"a share lies between 0 and 1: {share}")
    return share if type(share) is Fraction else Fraction(share)


def ratio(share: Fraction) -> str:
    """A share as people write it: "15/31"."""
    return f"{share.numerator}/{share.denominator}"


def rounding_of(exact: Fraction, amount: Money) -> dict[str, object]:
    """The end of every explanation: exact amount in major units, the rounding, the result."""
    places = exponent(amount.currency)
    return {
        "exact": exact_text(exact / 10**places),
        "rounding": ROUNDING,
        "exponent": places,
        "amount_minor": amount.minor,
        "currency": amount.currency,
    }


def _sides(
    terms: Terms, own: Consumed, included: Decimal, rules: Rules, progress: Progress
) -> tuple[Side, Side | None]:
    """The price with this line and the one before it, each over the whole period."""
    if progress.before is None:
        return _side(terms, own, included, rules), None
    everything = own.after(progress.before)
    before = _side(terms, progress.before, included, rules)
    return _side(terms, everything, included, rules), before


def _increment(so_far: Side, before: Side | None, progress: Progress) -> Fraction:
    if before is None and not progress.before_amount:
        return so_far.amount
    earlier = Fraction(progress.before_amount) + (NOTHING if before is None else before.amount)
    return max(NOTHING, so_far.amount - earlier)


def _side(terms: Terms, consumed: Consumed, included: Decimal, rules: Rules) -> Side:
    priced = price(terms, consumed, included, rules)
    if rules.commitment is None:
        return Side(priced, None)
    return Side(priced, _committed(terms, rules.commitment, priced.amount))


def _committed(terms: Terms, commitment: Commitment, cost: Fraction) -> Committed:
    of = None
    if commitment.quantity is not None:
        of = price(terms, Consumed(commitment.quantity), ZERO, PLAIN)
    amount = Fraction(commitment.amount or ZERO) if of is None else of.amount
    utilized = min(cost, amount)
    overage = (cost - utilized) * Fraction(commitment.overage_factor)
    true_up = amount - utilized if commitment.true_up else NOTHING
    return Committed(commitment, of, amount, utilized, overage, true_up)


def _bounds(usage: Fraction, rules: Rules, progress: Progress, share: Fraction) -> Bounds:
    discount = usage * Fraction(rules.discount_percent) / 100
    billed = Fraction(progress.billed)
    left = usage - discount
    over = NOTHING
    if rules.maximum_amount is not None:
        over = max(NOTHING, min(left, billed + left - Fraction(rules.maximum_amount)))
    minimum = _minimum(rules, share) if progress.last else None
    true_up = NOTHING if minimum is None else max(NOTHING, minimum - billed - (left - over))
    return Bounds(
        usage,
        rules.discount_percent,
        discount,
        progress.billed,
        rules.maximum_amount,
        over,
        minimum,
        true_up,
    )


def _unbounded(usage: Fraction, rules: Rules, progress: Progress, _: Fraction) -> Bounds:
    percent = rules.discount_percent
    return Bounds(usage, percent, NOTHING, progress.billed, None, NOTHING, None, NOTHING)


def _minimum(rules: Rules, share: Fraction) -> Fraction | None:
    if rules.minimum_amount is None:
        return None
    return Fraction(rules.minimum_amount) * (share if rules.prorate_minimum else WHOLE)
