"""What a quantity costs: exact, tier by tier, and rounded once.

A quote and a bill both come from `rate`. Its answer carries the arithmetic as data, and `replay`
redoes a line from that data alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from apps.engine.decimals import EXACT, ZERO, decimal_of, exact_text, plain
from apps.engine.explanation import ROUNDING, BrokenExplanation, replay
from apps.engine.money import Exact, Money, exponent, round_half_away
from apps.engine.prices import Flat, Graduated, Package, PerUnit, Terms, Tier, Volume

__all__ = ["BrokenExplanation", "Rated", "Step", "rate", "replay"]

WHOLE = Fraction(1)


@dataclass(frozen=True, slots=True)
class Step:
    """One tier's arithmetic in major units: units × unit_amount + flat_amount.

    `tier` counts from 0; the step covers the units above `start`, up to and including `up_to`. For
    a package price `units` are packages.
    """

    tier: int
    start: Decimal
    up_to: Decimal | None
    units: Decimal
    unit_amount: Decimal
    flat_amount: Decimal

    @property
    def amount(self) -> Decimal:
        """The step's exact amount in major units."""
        return EXACT.fma(self.units, self.unit_amount, self.flat_amount)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, decimals as canonical strings."""
        return {
            "tier": self.tier,
            "from": plain(self.start),
            "up_to": None if self.up_to is None else plain(self.up_to),
            "units": plain(self.units),
            "unit_amount": plain(self.unit_amount),
            "flat_amount": plain(self.flat_amount),
            "subtotal": plain(self.amount),
        }


@dataclass(frozen=True, slots=True)
class Rated:
    """A price applied to a quantity.

    `exact` is in minor units, before the one rounding that gives `amount`. `billable` is what was
    left of the quantity after the included units, and `share` the part of the period charged.
    """

    terms: Terms
    quantity: Decimal
    included: Decimal
    billable: Decimal
    steps: tuple[Step, ...]
    share: Fraction
    exact: Fraction
    amount: Money

    def explain(self) -> dict[str, object]:
        """Everything needed to redo the line by hand, as plain JSON; see `arithmetic`."""
        return self.arithmetic() | rounding_of(self.exact, self.amount)

    def arithmetic(self) -> dict[str, object]:
        """The sum before it is rounded, as plain JSON.

        Step amounts and `exact` are in major units; `share` stands only when it is not the whole.
        """
        explanation: dict[str, object] = {
            "rule": "price",
            "model": self.terms.model,
            "quantity": plain(self.quantity),
            "included": plain(self.included),
            "billable": plain(self.billable),
        }
        if isinstance(self.terms, Package):
            explanation["package_size"] = plain(self.terms.package_size)
        explanation["steps"] = [step.as_dict() for step in self.steps]
        if self.share != WHOLE:
            explanation["share"] = ratio(self.share)
        return explanation | {"exact": exact_text(self.exact / 10 ** exponent(self.currency))}

    @property
    def currency(self) -> str:
        """The currency it was priced in."""
        return self.amount.currency


def rate(
    terms: Terms,
    *,
    quantity: Decimal,
    included: Decimal = ZERO,
    share: Exact = WHOLE,
    currency: str,
) -> Rated:
    """What `quantity` units cost, for `share` (0 to 1) of the period.

    Included units come off before tiers and packages; packages round up; nothing is rounded until
    the end, then once, half away from zero, to the currency's exponent. Raises ValueError for a
    share outside 0 to 1 or negative included units, UnknownCurrency and NotADecimal.
    """
    billable = _billable(decimal_of(quantity), decimal_of(included))
    share = checked_share(share)
    steps = _steps(terms, billable)
    total = ZERO
    for step in steps:
        total = EXACT.add(total, step.amount)
    exact = Fraction(total) * 10 ** exponent(currency) * share
    amount = Money(round_half_away(exact), currency)
    return Rated(terms, quantity, included, billable, steps, share, exact, amount)


def checked_share(share: Exact) -> Fraction:
    """The share as a Fraction; raises ValueError outside 0 to 1: never more than the full price."""
    if not 0 <= share <= 1:
        raise ValueError(f"a share lies between 0 and 1: {share}")
    return Fraction(share)


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


def _billable(quantity: Decimal, included: Decimal) -> Decimal:
    if included < 0:
        raise ValueError(f"included units cannot be negative: {included}")
    return max(ZERO, EXACT.subtract(quantity, included))


def _steps(terms: Terms, billable: Decimal) -> tuple[Step, ...]:
    match terms:
        case Flat():
            return (Step(0, ZERO, None, ZERO, ZERO, terms.amount),)
        case PerUnit():
            return (Step(0, ZERO, None, billable, terms.unit_amount, ZERO),)
        case Package():
            packages = packages_begun(billable, terms.package_size)
            return (Step(0, ZERO, None, packages, terms.unit_amount, ZERO),)
        case Graduated() | Volume():
            if billable == 0 and not terms.zero_quantity_flat:
                return ()
            split = _graduated if isinstance(terms, Graduated) else _volume
            return split(terms.tiers, billable)


def packages_begun(billable: Decimal, size: Decimal) -> Decimal:
    """How many packages the units fill or begin."""
    whole = Fraction(billable) / Fraction(size)
    return Decimal(-(-whole.numerator // whole.denominator))


def _graduated(tiers: tuple[Tier, ...], billable: Decimal) -> tuple[Step, ...]:
    steps: list[Step] = []
    start = ZERO
    for index, tier in enumerate(tiers):
        end = billable if tier.up_to is None else min(billable, tier.up_to)
        units = EXACT.subtract(end, start)
        steps.append(Step(index, start, tier.up_to, units, tier.unit_amount, tier.flat_amount))
        # A tier's upper bound is its own: exactly that many units do not enter the next one.
        if tier.up_to is None or billable <= tier.up_to:
            break
        start = tier.up_to
    return tuple(steps)


def _volume(tiers: tuple[Tier, ...], billable: Decimal) -> tuple[Step, ...]:
    index = next(i for i, t in enumerate(tiers) if t.up_to is None or billable <= t.up_to)
    start = (tiers[index - 1].up_to or ZERO) if index else ZERO
    tier = tiers[index]
    return (Step(index, start, tier.up_to, billable, tier.unit_amount, tier.flat_amount),)
