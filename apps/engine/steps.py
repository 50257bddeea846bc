"""The steps of a price: how each model turns units into amounts, exact and without rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from decimal import Decimal
from fractions import Fraction

from apps.engine.consumption import Consumed, Move, total_of
from apps.engine.decimals import EXACT, ZERO, exact_text, fraction_of, plain
from apps.engine.per_event import tally
from apps.engine.price_rules import Conversion, Negative, Rules
from apps.engine.prices import (
    BlockMode,
    Blocks,
    Capacity,
    CapacityTier,
    Dynamic,
    Flat,
    Graduated,
    GraduatedPercentage,
    Package,
    PackageRounding,
    Percentage,
    PerUnit,
    RateTier,
    Terms,
    Tier,
    Volume,
    percent,
)
from apps.engine.values import value_class


class NoPrice(ValueError):
    """A quantity that the terms have no answer for: beyond the last tier, or below zero."""


@value_class(frozen=True, slots=True)
class Step:
    """One tier's arithmetic in major units: units × unit_amount + flat_amount.

    `tier` counts from 0; the step covers the units above `start`, up to and including `up_to`. For
    a package price `units` are packages, for blocks they are blocks of `block_size`. Units by their
    share of time may have no finite decimal form. `amount` is exact.
    """

    tier: int
    start: Decimal
    up_to: Decimal | None
    units: Decimal | Fraction
    unit_amount: Decimal
    flat_amount: Decimal
    block_size: Decimal | None = None
    amount: Fraction = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "amount", self._amount())

    def _amount(self) -> Fraction:
        if isinstance(self.units, Fraction):
            return self.units * Fraction(self.unit_amount) + Fraction(self.flat_amount)
        return fraction_of(EXACT.fma(self.units, self.unit_amount, self.flat_amount))

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, numbers as canonical strings."""
        step: dict[str, object] = {
            "tier": self.tier,
            "from": plain(self.start),
            "up_to": None if self.up_to is None else plain(self.up_to),
            "units": _text(self.units),
            "unit_amount": plain(self.unit_amount),
            "flat_amount": plain(self.flat_amount),
            "subtotal": exact_text(self.amount),
        }
        return step if self.block_size is None else step | {"block_size": plain(self.block_size)}


def _text(units: Decimal | Fraction) -> str:
    return exact_text(units) if isinstance(units, Fraction) else plain(units)


@value_class(frozen=True, slots=True)
class Priced:
    """Terms applied to what was consumed. `notes` are what else the arithmetic rests on."""

    model: str
    quantity: Decimal
    conversion: Conversion | None
    converted: Decimal
    included: Decimal
    billable: Fraction
    steps: tuple[Step, ...]
    notes: dict[str, object] = field(default_factory=dict)

    @property
    def amount(self) -> Fraction:
        """The exact amount in major units."""
        if len(self.steps) == 1:
            return self.steps[0].amount
        return sum((step.amount for step in self.steps), Fraction(0))

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, numbers as canonical strings."""
        found: dict[str, object] = {"model": self.model, "quantity": plain(self.quantity)}
        if self.conversion is not None:
            found["conversion"] = self.conversion.as_dict()
            found["converted"] = plain(self.converted)
        return found | {
            "included": plain(self.included),
            "billable": exact_text(self.billable),
            **self.notes,
            "steps": [step.as_dict() for step in self.steps],
        }


def price(terms: Terms, consumed: Consumed, included: Decimal, rules: Rules) -> Priced:
    """What was consumed, priced by the terms alone: no share of time, no discount, no bound.

    Raises ValueError for negative included units and for facts that the model does not look at,
    NoPrice for a quantity without an answer.
    """
    if included < 0:
        raise ValueError(f"included units cannot be negative: {included}")
    _check_facts(terms, consumed, included, rules)
    quantity = consumed.total
    if quantity < 0 and rules.negative is Negative.REFUSE:
        raise NoPrice(f"a quantity cannot be negative: {plain(quantity)}")
    converted = quantity if rules.conversion is None else rules.conversion.apply(quantity)
    units = max(ZERO, EXACT.subtract(converted, included))
    found = Priced(
        terms.model, quantity, rules.conversion, converted, included, fraction_of(units), ()
    )
    return _apply(terms, consumed, units, found)


def _check_facts(terms: Terms, consumed: Consumed, included: Decimal, rules: Rules) -> None:
    if consumed.tier_quantity is not None and not isinstance(terms, Volume):
        raise ValueError("only a volume price takes its tier from another quantity")
    if consumed.moves is not None and not isinstance(terms, Graduated):
        raise ValueError("only a graduated price bills the moves of a level")
    if consumed.units and not isinstance(terms, Capacity):
        raise ValueError("only a capacity price bills several units")
    alone = isinstance(terms, Percentage | Capacity) or consumed.moves is not None
    if alone and (included or rules.conversion is not None):
        raise ValueError(f"a {terms.model} price of this kind has no included units to take off")


def _apply(terms: Terms, consumed: Consumed, billable: Decimal, found: Priced) -> Priced:
    match terms:
        case Flat() | PerUnit() | Dynamic():
            return _with(found, (_single(terms, billable),))
        case Package():
            return _packages(terms, billable, found)
        case Graduated() | GraduatedPercentage() | Volume():
            return _tiered(terms, consumed, billable, found)
        case Percentage():
            return _percentage(terms, consumed, found)
        case Blocks():
            return _blocks(terms, billable, found)
        case Capacity():
            return _capacity(terms, consumed, found)


def _single(terms: Flat | PerUnit | Dynamic, billable: Decimal) -> Step:
    match terms:
        case Flat():
            return Step(0, ZERO, None, ZERO, ZERO, terms.amount)
        case PerUnit():
            return _all(billable, terms.unit_amount)
        case Dynamic():
            return _all(billable, terms.multiplier)


def _with(found: Priced, steps: Sequence[Step], **notes: object) -> Priced:
    return Priced(
        found.model,
        found.quantity,
        found.conversion,
        found.converted,
        found.included,
        found.billable,
        tuple(steps),
        notes,
    )


def _all(units: Decimal, amount: Decimal) -> Step:
    return Step(0, ZERO, None, units, amount, ZERO)


def _packages(terms: Package, billable: Decimal, found: Priced) -> Priced:
    size = terms.package_size
    notes: dict[str, object] = {"package_size": plain(size)}
    packages = packages_begun(billable, size)
    if terms.rounding is PackageRounding.DOWN:
        packages = Decimal(Fraction(billable) // Fraction(size))
        notes["package_rounding"] = terms.rounding.value
    return _with(found, (_all(packages, terms.unit_amount),), **notes)


def packages_begun(billable: Decimal, size: Decimal) -> Decimal:
    """How many packages the units fill or begin."""
    whole = fraction_of(billable) / fraction_of(size)
    return Decimal(-(-whole.numerator // whole.denominator))


def _tiered(
    terms: Graduated | GraduatedPercentage | Volume,
    consumed: Consumed,
    billable: Decimal,
    found: Priced,
) -> Priced:
    if consumed.moves is not None:
        return _levels(terms.tiers, consumed.moves, found)
    # Below zero there is no tier, not even the first.
    if found.quantity < 0 or (billable == 0 and not terms.zero_quantity_flat):
        return found
    limit = terms.tiers[-1].up_to
    if isinstance(terms, Volume):
        return _volume(terms, consumed.tier_quantity, billable, found)
    notes = {} if limit is None else {"limit": plain(limit)}
    return _with(found, _graduated(terms.tiers, billable), **notes)


def _graduated(tiers: Sequence[Tier | RateTier], billable: Decimal) -> list[Step]:
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
    return steps


def _volume(
    terms: Volume, tier_quantity: Decimal | None, billable: Decimal, found: Priced
) -> Priced:
    by = billable if tier_quantity is None else tier_quantity
    index = next((i for i, t in enumerate(terms.tiers) if t.up_to is None or by <= t.up_to), None)
    if index is None:
        raise NoPrice(f"{plain(by)} lies beyond the last tier")
    start = (terms.tiers[index - 1].up_to or ZERO) if index else ZERO
    tier = terms.tiers[index]
    notes = {} if tier_quantity is None else {"tier_quantity": plain(tier_quantity)}
    step = Step(index, start, tier.up_to, billable, tier.unit_amount, tier.flat_amount)
    return _with(found, (step,), **notes)


def _percentage(terms: Percentage, consumed: Consumed, found: Priced) -> Priced:
    events = consumed.events
    if events is None:
        if not terms.by_the_sum:
            raise ValueError("a percentage price with allowances or bounds needs the events")
        events = (consumed.quantity,)
    counted = tally(terms, events)
    steps = [_all(counted.paid.amount, percent(terms.rate_percent))]
    for events_of, amount in (
        (counted.paid, terms.fixed_amount or None),
        (counted.at_minimum, terms.event_minimum),
        (counted.at_maximum, terms.event_maximum),
    ):
        if amount is not None:
            steps.append(_all(Decimal(events_of.events), amount))
    priced = replace(found, included=counted.free_amount, billable=Fraction(counted.charged))
    return _with(priced, steps, terms=terms.as_dict(), events=counted.as_dict())


def _blocks(terms: Blocks, billable: Decimal, found: Priced) -> Priced:
    ends = _block_ends(terms)
    notes: dict[str, object] = {"mode": terms.mode.value}
    if ends[-1] is not None:
        notes["limit"] = plain(ends[-1])
    if terms.mode is BlockMode.VOLUME:
        return _with(found, (_block_volume(terms, ends, billable),), **notes)
    steps = []
    start = ZERO
    for index, end in enumerate(ends):
        filled = EXACT.subtract(billable if end is None else min(billable, end), start)
        steps.append(_block_step(terms, index, start, end, filled))
        if end is None or billable <= end:
            break
        start = end
    return _with(found, steps, **notes)


def _block_ends(terms: Blocks) -> list[Decimal | None]:
    ends: list[Decimal | None] = []
    reached = ZERO
    for tier in terms.tiers:
        if tier.max_blocks is None:
            ends.append(None)
        else:
            reached = EXACT.fma(tier.block_size, tier.max_blocks, reached)
            ends.append(reached)
    return ends


def _block_volume(terms: Blocks, ends: Sequence[Decimal | None], billable: Decimal) -> Step:
    within = (i for i, end in enumerate(ends) if end is None or billable <= end)
    index = next(within, len(ends) - 1)
    start = (ends[index - 1] or ZERO) if index else ZERO
    return _block_step(terms, index, start, ends[index], billable)


def _block_step(
    terms: Blocks, index: int, start: Decimal, end: Decimal | None, units: Decimal
) -> Step:
    tier = terms.tiers[index]
    blocks = packages_begun(units, tier.block_size)
    return Step(index, start, end, blocks, tier.block_amount, ZERO, tier.block_size)


def _capacity(terms: Capacity, consumed: Consumed, found: Priced) -> Priced:
    known = terms.tiers[0].limits_dict()
    if unknown := sorted(set(consumed.units) - set(known)):
        raise NoPrice(f"no tier limits {', '.join(unknown)}")
    notes: dict[str, object] = {"units": {u: plain(n) for u, n in consumed.units.items()}}
    if all(units <= 0 for units in consumed.units.values()):
        return _with(found, (), **notes)
    index = next((i for i, tier in enumerate(terms.tiers) if _holds(tier, consumed)), None)
    if index is None:
        raise NoPrice("the usage lies beyond the last tier's limits")
    tier = terms.tiers[index]
    notes["limits"] = tier.limits_dict()
    if index:
        notes["exceeded"] = terms.tiers[index - 1].limits_dict()
    return _with(found, (Step(index, ZERO, None, ZERO, ZERO, tier.amount),), **notes)


def _holds(tier: CapacityTier, consumed: Consumed) -> bool:
    return all(
        limit.up_to is None or consumed.units.get(limit.unit, ZERO) <= limit.up_to
        for limit in tier.limits
    )


def _levels(tiers: Sequence[Tier | RateTier], moves: Sequence[Move], found: Priced) -> Priced:
    """Units find their tier by the whole level, and cost by their share of time.

    The flat amount of every tier that was ever entered is owed in full. A level that ends below
    zero owes nothing, and units that come to less than nothing only the flat amounts.
    """
    if found.quantity < 0:
        return replace(found, billable=Fraction(0), notes={"reached": "0"})
    spread, reached = _spread(tiers, moves)
    if total_of(move.prorated for move in moves) == 0:
        spread, reached = [Fraction(0)] * len(tiers), ZERO
    money = sum(
        (units * Fraction(tier.unit_amount) for units, tier in zip(spread, tiers, strict=True)),
        Fraction(0),
    )
    if money < 0:
        spread = [Fraction(0)] * len(tiers)
    steps = [replace(step, units=spread[step.tier]) for step in _graduated(tiers, reached)]
    billable = sum((Fraction(step.units) for step in steps), Fraction(0))
    return _with(replace(found, billable=billable), steps, reached=plain(reached))


def _spread(
    tiers: Sequence[Tier | RateTier], moves: Sequence[Move]
) -> tuple[list[Fraction], Decimal]:
    """The prorated units of every tier, and the highest level."""
    spread = [Fraction(0)] * len(tiers)
    level = reached = ZERO
    for move in moves:
        after = EXACT.add(level, move.units)
        if _has_no_time(move, after):
            continue
        for index, units in enumerate(_shares(tiers, level, after)):
            spread[index] += units * Fraction(move.prorated) / Fraction(move.units)
        level, reached = after, max(reached, after)
    return spread, reached


def _has_no_time(move: Move, after: Decimal) -> bool:
    # Units that were gone before the period began, and the removal that has lost its addition.
    return move.units == 0 or (move.prorated == 0 and (move.units > 0 or after < 0))


def _shares(tiers: Sequence[Tier | RateTier], level: Decimal, after: Decimal) -> list[Fraction]:
    """How much of a move lies in each tier; what lies below zero is the first tier's."""
    low, high = Fraction(min(level, after)), Fraction(max(level, after))
    sign = 1 if after > level else -1
    shares = []
    start = min(low, Fraction(0))
    for tier in tiers:
        end = high if tier.up_to is None else Fraction(tier.up_to)
        shares.append(sign * max(Fraction(0), min(high, end) - max(low, start)))
        start = end
    return shares
