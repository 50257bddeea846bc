"""What a line costs, once more on Fractions: every price model, and what a price says beside it.

Written from the conventions (docs/algorithms/rating.md) and not from the engine, which it does not
import. Terms and rules are the plain mappings of a catalogue.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tests.engine import oracle

NOTHING, WHOLE = Fraction(0), Fraction(1)
Plain = Mapping[str, Any]


class Refused(Exception):
    """There is no price for that."""


@dataclass(frozen=True)
class Used:
    """What was used: a quantity, or the amounts of single events, or quantities by unit."""

    quantity: Fraction = NOTHING
    events: tuple[Fraction, ...] | None = None
    units: Mapping[str, Fraction] = field(default_factory=dict)
    tier_quantity: Fraction | None = None

    @property
    def total(self) -> Fraction:
        """All of it."""
        return self.quantity if self.events is None else sum(self.events, NOTHING)

    def and_then(self, later: Used) -> Used:
        """This and what came later."""
        events = None
        if self.events is not None or later.events is not None:
            events = (self.events or ()) + (later.events or ())
        quantity = self.quantity + later.quantity
        return Used(quantity, events, later.units, later.tier_quantity)


@dataclass(frozen=True)
class Asked:
    """A line to be priced. `before` was billed by earlier lines of the period, for `billed`."""

    terms: Plain
    used: Used
    included: Fraction = NOTHING
    share: Fraction = WHOLE
    rules: Plain = field(default_factory=dict)
    before: Used | None = None
    billed: Fraction = NOTHING
    last: bool = True


def line(asked: Asked) -> Fraction:
    """The exact amount of a line in major units.

    What the whole costs less what the earlier lines cost, for the share of the period; then the
    percentage off, then the maximum, and on the last line what is missing to the minimum.
    """
    whole = asked.used if asked.before is None else asked.before.and_then(asked.used)
    usage = _held(asked, whole)
    if asked.before is not None:
        usage = max(NOTHING, usage - _held(asked, asked.before))
    if asked.rules.get("on_last_line") and not asked.last:
        usage = NOTHING
    return _bounded(usage * asked.share, asked)


def sum_of(lines: Sequence[Asked], rules: Plain) -> Fraction:
    """Prices that share one line: the rules hold for their sum."""
    total = sum((line(asked) for asked in lines), NOTHING)
    return _bounded(total, Asked({}, Used(), rules=rules))


def _bounded(usage: Fraction, asked: Asked) -> Fraction:
    rules = asked.rules
    period = asked.billed + usage * (1 - Fraction(rules.get("discount_percent", 0)) / 100)
    if (most := rules.get("maximum_amount")) is not None:
        # What was billed already stays billed, be it more than the maximum.
        period = max(asked.billed, min(period, Fraction(most)))
    if asked.last and (least := rules.get("minimum_amount")) is not None:
        period = max(
            period, Fraction(least) * (asked.share if rules.get("prorate_minimum") else WHOLE)
        )
    return period - asked.billed


def _held(asked: Asked, used: Used) -> Fraction:
    """The price of it, held against the commitment."""
    cost = price_of(asked.terms, used, asked.included, asked.rules.get("conversion"))
    commitment = asked.rules.get("commitment")
    if commitment is None:
        return cost
    if "amount" in commitment:
        promised = Fraction(commitment["amount"])
    else:
        promised = price_of(asked.terms, Used(Fraction(commitment["quantity"])))
    if cost > promised:
        return promised + (cost - promised) * Fraction(commitment["overage_factor"])
    return promised if commitment["true_up"] else cost


def price_of(
    terms: Plain, used: Used, included: Fraction = NOTHING, conversion: Plain | None = None
) -> Fraction:
    """What it costs: convert, round, take off what is included, price."""
    model: str = terms["model"]
    if model == "percentage":
        return _percentage(terms, used)
    if model == "capacity":
        return _capacity(terms, used)
    quantity = used.total
    if conversion is not None:
        quantity = _converted(quantity, conversion)
    left = max(NOTHING, quantity - included)
    if model in _BY_UNITS:
        return _BY_UNITS[model](terms, left)
    # Below zero there is no tier to be in, not even the first.
    if used.total < 0 or (left == 0 and not terms.get("zero_quantity_flat", True)):
        return NOTHING
    if model == "volume":
        return _volume(terms["tiers"], left, used.tier_quantity)
    return _graduated(terms["tiers"], left)


def _converted(quantity: Fraction, conversion: Plain) -> Fraction:
    factor = Fraction(conversion["factor"])
    exact = quantity * factor if conversion["operation"] == "multiply" else quantity / factor
    grain = Fraction(1, 10 ** conversion["places"])
    match conversion["rounding"]:
        case "up":
            return math.ceil(exact / grain) * grain
        case "down":
            return math.floor(exact / grain) * grain
        case "half_up":
            return oracle.rounded(exact / grain) * grain
        case _:
            return exact


def _package(terms: Plain, left: Fraction) -> Fraction:
    full, rest = divmod(left, Fraction(terms["package_size"]))
    begun = 1 if rest and terms.get("rounding", "up") == "up" else 0
    return (full + begun) * Fraction(terms["unit_amount"])


def _flat(terms: Plain, left: Fraction) -> Fraction:
    return Fraction(terms["amount"])


def _per_unit(terms: Plain, left: Fraction) -> Fraction:
    return left * Fraction(terms["unit_amount"])


def _dynamic(terms: Plain, left: Fraction) -> Fraction:
    return left * Fraction(terms.get("multiplier", 1))


def _blocks(terms: Plain, left: Fraction) -> Fraction:
    """Blocks are bought one at a time until there is room for all; a tier may run out of them."""
    sizes = [Fraction(tier["block_size"]) for tier in terms["tiers"]]
    counts = [_or_endless(tier["max_blocks"]) for tier in terms["tiers"]]
    amounts = [Fraction(tier["block_amount"]) for tier in terms["tiers"]]
    if terms["mode"] == "volume":
        return _blocks_of_the_tier_reached(sizes, counts, amounts, left)
    cost = NOTHING
    for size, count, amount in zip(sizes, counts, amounts, strict=True):
        room = left if count is None else min(left, size * count)
        cost += math.ceil(room / size) * amount
        left -= room
    return cost


def _blocks_of_the_tier_reached(
    sizes: list[Fraction], counts: list[Fraction | None], amounts: list[Fraction], left: Fraction
) -> Fraction:
    reached = NOTHING
    for size, count, amount in zip(sizes, counts, amounts, strict=True):
        if count is None or left <= (reached := reached + size * count):
            return math.ceil(left / size) * amount
    return math.ceil(left / sizes[-1]) * amounts[-1]


_BY_UNITS: dict[str, Callable[[Plain, Fraction], Fraction]] = {
    "flat": _flat,
    "per_unit": _per_unit,
    "dynamic": _dynamic,
    "package": _package,
    "blocks": _blocks,
}


def _graduated(tiers: Sequence[Plain], left: Fraction) -> Fraction:
    """Tier after tier: what lies in it, and its flat amount when it is entered."""
    cost, below = NOTHING, NOTHING
    for tier in tiers:
        if left <= below and below > 0:
            break
        top = _or_endless(tier["up_to"])
        inside = (left if top is None else min(left, top)) - below
        cost += inside * _unit(tier) + Fraction(tier.get("flat_amount", 0))
        below = left if top is None else top
    return cost


def _volume(tiers: Sequence[Plain], left: Fraction, chosen_by: Fraction | None) -> Fraction:
    by = left if chosen_by is None else chosen_by
    for tier in tiers:
        if tier["up_to"] is None or by <= Fraction(tier["up_to"]):
            return left * _unit(tier) + Fraction(tier.get("flat_amount", 0))
    raise Refused


def _unit(tier: Plain) -> Fraction:
    if "rate_percent" in tier:
        return Fraction(tier["rate_percent"]) / 100
    return Fraction(tier["unit_amount"])


def _percentage(terms: Plain, used: Used) -> Fraction:
    """Event by event. The free events and the free amount end together, at whichever is first."""
    events = (used.quantity,) if used.events is None else used.events
    count, amount = terms.get("free_events"), _or_endless(terms.get("free_amount"))
    frees = count is not None or amount is not None
    cost, spent = NOTHING, NOTHING
    for number, event in enumerate(events):
        room = None if amount is None else amount - spent
        frees = frees and (count is None or number < count) and (room is None or room > 0)
        if not frees:
            cost += _fee(terms, event)
        elif room is None or event <= room:
            spent += event
        else:
            cost += _fee(terms, event - room)
            spent, frees = spent + room, False
    return cost


def _fee(terms: Plain, amount: Fraction) -> Fraction:
    fee = amount * Fraction(terms["rate_percent"]) / 100 + Fraction(terms.get("fixed_amount", 0))
    if (least := terms.get("event_minimum")) is not None:
        fee = max(fee, Fraction(least))
    if (most := terms.get("event_maximum")) is not None:
        fee = min(fee, Fraction(most))
    return fee


def _capacity(terms: Plain, used: Used) -> Fraction:
    if not any(units > 0 for units in used.units.values()):
        return NOTHING
    for tier in terms["tiers"]:
        limits = {unit: _or_endless(limit) for unit, limit in tier["limits"].items()}
        if all((most := limits[unit]) is None or n <= most for unit, n in used.units.items()):
            return Fraction(tier["amount"])
    raise Refused


def _or_endless(bound: str | None) -> Fraction | None:
    return None if bound is None else Fraction(bound)
