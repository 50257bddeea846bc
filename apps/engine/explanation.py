"""Redo a line from its explanation alone, trusting none of the numbers that follow from others.

This reads stored JSON and nothing else: no price, no usage, no row. It is written apart from
`rating` on purpose, so that a stored explanation stands or falls by its own arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor

from apps.engine.money import round_half_away

ROUNDING = "half_away_from_zero"
# Whole numbers stay whole, which most are: the sums of fractions cost ten times as much. They are
# divided by nothing but `Fraction(…)`.
Number = int | Fraction

Steps = Sequence[Mapping[str, object]]


class BrokenExplanation(ValueError):
    """An explanation whose own numbers contradict each other, or that lacks one."""


def replay(explanation: Mapping[str, object]) -> int:
    """The line's amount in minor units, recomputed from the explanation alone.

    Checks every number on the way (billable, units, subtotals, exact) and raises
    BrokenExplanation at the first that does not follow from the others. The recorded
    `amount_minor` is not looked at: comparing it is the caller's proof.
    """
    if explanation.get("rounding") != ROUNDING:
        raise BrokenExplanation(f"unknown rounding {explanation.get('rounding')!r}")
    if explanation.get("rule") == "difference":
        # Of two rounded amounts, so that what was billed before and this are what it comes to now.
        now = replay(_mapping(explanation.get("now"), "now"))
        if "net_of_discounts" in explanation:
            now = round_half_away(now * _number(explanation, "net_of_discounts"))
        return _paid(explanation, now - _whole(explanation, "before_minor"))
    exact = _exact(explanation)
    _claim(exact, explanation, "exact")
    return _paid(explanation, round_half_away(exact * 10 ** _whole(explanation, "exponent")))


def _paid(explanation: Mapping[str, object], amount: int) -> int:
    """Return the amount; no more is given back than was paid and is not taken back already."""
    if "paid_minor" not in explanation:
        return amount
    return max(amount, -_whole(explanation, "paid_minor"))


def _exact(explanation: Mapping[str, object]) -> Number:
    match explanation.get("rule"):
        case "price":
            return _price(explanation)
        case "change":
            return _change(explanation)
        case "segments":
            return _segments(explanation)
        case "sum":
            parts = (_checked(part) for part in _mappings(explanation, "parts"))
            return _bounded(explanation, sum(parts))
        case "charge":
            return _number(explanation, "quantity") * _number(explanation, "unit_amount")
        case other:
            raise BrokenExplanation(f"unknown rule {other!r}")


def _price(price: Mapping[str, object]) -> Number:
    usage = _side(price)
    if "previous" in price or "before_amount" in price:
        if "previous" in price:
            usage -= _side(_mapping(price["previous"], "previous"))
        if "before_amount" in price:
            usage -= _number(price, "before_amount")
        usage = max(0, usage)
    if price.get("deferred") is True:
        usage = 0
    return _bounded(price, usage * _share(price))


def _side(price: Mapping[str, object]) -> Number:
    _check_billable(price)
    steps = _mappings(price, "steps")
    _check_model(price, steps)
    cost = sum(_subtotal(step) for step in steps)
    if "commitment" not in price:
        return cost
    return _committed(_mapping(price["commitment"], "commitment"), cost)


def _check_billable(price: Mapping[str, object]) -> None:
    quantity = _number(price, "quantity")
    if "reached" in price:
        # Units by their share of time: their sum is what the steps bill.
        return
    if "conversion" in price:
        quantity = _converted(_mapping(price["conversion"], "conversion"), quantity)
        _claim(quantity, price, "converted")
    left = quantity - _number(price, "included")
    _claim(left if price.get("model") == "percentage" else max(0, left), price, "billable")


def _converted(conversion: Mapping[str, object], quantity: Number) -> Number:
    factor = _number(conversion, "factor")
    divides = _word(conversion, "operation", "multiply", "divide") == "divide"
    exact = Fraction(quantity) / factor if divides else quantity * factor
    scale = 10 ** _whole(conversion, "places")
    match _word(conversion, "rounding", "none", "up", "down", "half_up"):
        case "up":
            return Fraction(ceil(exact * scale), scale)
        case "down":
            return Fraction(floor(exact * scale), scale)
        case "half_up":
            return Fraction(round_half_away(exact * scale), scale)
        case _:
            return exact


def _check_model(price: Mapping[str, object], steps: Steps) -> None:
    check = _MODELS.get(str(price.get("model")))
    if check is None:
        raise BrokenExplanation(f"unknown model {price.get('model')!r}")
    if steps or _number(price, "billable") != 0:
        check(price, steps)


def _subtotal(step: Mapping[str, object]) -> Number:
    units = _number(step, "units")
    amount = units * _number(step, "unit_amount") + _number(step, "flat_amount")
    _claim(amount, step, "subtotal")
    return amount


def _flat(_price: Mapping[str, object], steps: Steps) -> None:
    _expect_units(steps, 0)


def _units(price: Mapping[str, object], steps: Steps) -> None:
    _expect_units(steps, _number(price, "billable"))


def _packages(price: Mapping[str, object], steps: Steps) -> None:
    packages = Fraction(_number(price, "billable")) / _number(price, "package_size")
    down = "package_rounding" in price and _word(price, "package_rounding", "down") == "down"
    _expect_units(steps, floor(packages) if down else ceil(packages))


def _graduated(price: Mapping[str, object], steps: Steps) -> None:
    if "reached" in price:
        _expect_units(steps, _number(price, "billable"))
        _check_chain(steps, _number(price, "reached"))
        return
    covered = _number(price, "billable")
    if "limit" in price:
        covered = min(covered, _number(price, "limit"))
    _expect_units(steps, covered)
    _check_chain(steps, covered)
    for step in steps:
        _lies_within(step, _number(step, "from") + _number(step, "units"))


def _volume(price: Mapping[str, object], steps: Steps) -> None:
    _expect_units(steps, _number(price, "billable"))
    by = _number(price, "tier_quantity" if "tier_quantity" in price else "billable")
    for step in steps:
        _lies_within(step, by)


def _lies_within(step: Mapping[str, object], reached: Number) -> None:
    start = _number(step, "from")
    above = start < reached or start == 0
    below = step.get("up_to") is None or reached <= _number(step, "up_to")
    if not (above and below):
        raise BrokenExplanation(f"{reached} units do not lie in the tier from {step['from']}")


def _check_chain(steps: Steps, reached: Number) -> None:
    """Each tier begins where the one before it ends, and the last one holds what was reached."""
    start: Number = 0
    for step in steps:
        _claim(start, step, "from")
        start = reached if step.get("up_to") is None else _number(step, "up_to")
    if reached > start:
        raise BrokenExplanation(f"{reached} units do not lie in the tiers up to {start}")


def _percentage(price: Mapping[str, object], steps: Steps) -> None:
    terms = _mapping(price.get("terms"), "terms")
    events = _mapping(price.get("events"), "events")
    paid, low, high = (
        _mapping(events.get(kind), kind) for kind in ("paid", "at_minimum", "at_maximum")
    )
    kinds = (paid, low, high)
    _claim(_number(events, "free_amount"), price, "included")
    _claim(sum(_number(kind, "amount") for kind in kinds), price, "billable")
    counted = _whole(events, "free_events") + sum(_whole(kind, "events") for kind in kinds)
    if counted != _whole(events, "events"):
        raise BrokenExplanation(f"{counted} events are told of {events['events']}")
    _check_allowance(terms, events)
    rate = Fraction(_number(terms, "rate_percent")) / 100
    expected: list[tuple[Number, Number]] = [(_number(paid, "amount"), rate)]
    for kind, name in ((paid, "fixed_amount"), (low, "event_minimum"), (high, "event_maximum")):
        if name in terms:
            expected.append((_whole(kind, "events"), _number(terms, name)))
        elif kind is not paid and _whole(kind, "events"):
            raise BrokenExplanation(f"events stand at a bound, but there is no {name}")
    found = [(_number(step, "units"), _number(step, "unit_amount")) for step in steps]
    if found != expected:
        raise BrokenExplanation(f"the steps bill {found}, not {expected}")


def _check_allowance(terms: Mapping[str, object], events: Mapping[str, object]) -> None:
    free_events = _whole(events, "free_events")
    if "free_amount" in terms and _number(events, "free_amount") > _number(terms, "free_amount"):
        raise BrokenExplanation("more is free than the price allows")
    if "free_events" in terms and free_events > _whole(terms, "free_events"):
        raise BrokenExplanation("more events are free than the price allows")
    if free_events and not {"free_events", "free_amount"} & set(terms):
        raise BrokenExplanation("events are free, but the price has no allowance")


def _blocks(price: Mapping[str, object], steps: Steps) -> None:
    billable = _number(price, "billable")
    limit = _number(price, "limit") if "limit" in price else None
    covered = billable if limit is None else min(billable, limit)
    if _word(price, "mode", "graduated", "volume") == "volume":
        for step in steps:
            _lies_within(step, covered)
            _expect_units([step], _blocks_begun(billable, step))
        return
    _check_chain(steps, covered)
    for step in steps:
        start = _number(step, "from")
        end = covered if step.get("up_to") is None else min(covered, _number(step, "up_to"))
        if start and end <= start:
            raise BrokenExplanation(f"no unit lies in the tier from {start}")
        _expect_units([step], _blocks_begun(end - start, step))


def _blocks_begun(units: Number, step: Mapping[str, object]) -> Number:
    return ceil(Fraction(units) / _number(step, "block_size"))


def _capacity(price: Mapping[str, object], steps: Steps) -> None:
    _expect_units(steps, 0)
    units = _mapping(price.get("units"), "units")
    if not _hold(units, _mapping(price.get("limits"), "limits")):
        raise BrokenExplanation("the usage lies beyond the limits of the tier")
    if "exceeded" in price and _hold(units, _mapping(price["exceeded"], "exceeded")):
        raise BrokenExplanation("the usage lies within the tier before")


def _hold(units: Mapping[str, object], limits: Mapping[str, object]) -> bool:
    return all(
        limits.get(unit) is None or _number(units, unit) <= _number(limits, unit) for unit in units
    )


def _expect_units(steps: Steps, expected: Number) -> None:
    units = sum(_number(step, "units") for step in steps)
    if units != expected:
        raise BrokenExplanation(f"the steps bill {units} units, not {expected}")


_MODELS: dict[str, Callable[[Mapping[str, object], Steps], None]] = {
    "flat": _flat,
    "per_unit": _units,
    "dynamic": _units,
    "package": _packages,
    "graduated": _graduated,
    "graduated_percentage": _graduated,
    "volume": _volume,
    "percentage": _percentage,
    "blocks": _blocks,
    "capacity": _capacity,
}


def _committed(commitment: Mapping[str, object], cost: Number) -> Number:
    if "price" in commitment:
        _claim(_side(_mapping(commitment["price"], "price")), commitment, "amount")
    amount = _number(commitment, "amount")
    used = min(cost, amount)
    _claim(used, commitment, "utilized")
    overage = (cost - used) * _number(commitment, "overage_factor")
    _claim(overage, commitment, "overage")
    fills_up = commitment.get("fills_up")
    if not isinstance(fills_up, bool):
        raise BrokenExplanation(f"fills_up must be true or false, not {fills_up!r}")
    true_up = amount - used if fills_up else 0
    _claim(true_up, commitment, "true_up")
    return used + overage + true_up


def _bounded(explanation: Mapping[str, object], usage: Number) -> Number:
    if "bounds" not in explanation:
        return usage
    bounds = _mapping(explanation["bounds"], "bounds")
    _claim(usage, bounds, "usage_amount")
    discount = Fraction(usage) * _number(bounds, "discount_percent") / 100
    _claim(discount, bounds, "discount")
    left, billed = usage - discount, _number(bounds, "billed")
    over: Number = 0
    if bounds.get("maximum_amount") is not None:
        beyond: Number = billed + left - _number(bounds, "maximum_amount")
        over = max(0, min(left, beyond))
    _claim(over, bounds, "maximum_discount")
    left -= over
    missing: Number = 0
    if bounds.get("minimum_amount") is not None:
        short: Number = _number(bounds, "minimum_amount") - billed - left
        missing = max(0, short)
    _claim(missing, bounds, "true_up")
    return left + missing


def _change(change: Mapping[str, object]) -> Number:
    return (_whole_price(change, "new") - _whole_price(change, "old")) * _share(change)


def _whole_price(change: Mapping[str, object], side: str) -> Number:
    # null is what starts or ends here: it costs nothing on that side.
    price = change.get(side)
    return 0 if price is None else _checked(_mapping(price, side))


def _segments(explanation: Mapping[str, object]) -> Number:
    parts = _mappings(explanation, "segments")
    return sum(
        (_checked(_mapping(part.get("price"), "price")) * _share(part) for part in parts),
    )


def _checked(price: Mapping[str, object]) -> Number:
    exact = _price(price)
    _claim(exact, price, "exact")
    return exact


def _share(part: Mapping[str, object]) -> Number:
    return _number(part, "share") if "share" in part else 1


def _claim(expected: Number, mapping: Mapping[str, object], key: str) -> None:
    if _number(mapping, key) != expected:
        raise BrokenExplanation(f"{key} is {mapping[key]}, the arithmetic gives {expected}")


def _number(mapping: Mapping[str, object], key: str) -> Number:
    value = mapping.get(key)
    if not isinstance(value, str):
        raise BrokenExplanation(f"{key} must be a number in a string, not {value!r}")
    try:
        return _exactly(value)
    except (ValueError, ZeroDivisionError) as error:
        raise BrokenExplanation(f"{key} is no number: {value!r}") from error


@lru_cache(maxsize=4096)
def _exactly(text: str) -> Number:
    """Read a number; those of many lines are the same few."""
    found = Fraction(text)
    return found.numerator if found.denominator == 1 else found


def _word(mapping: Mapping[str, object], key: str, *known: str) -> str:
    value = mapping.get(key)
    if value not in known or not isinstance(value, str):
        raise BrokenExplanation(f"{key} must be one of {', '.join(known)}, not {value!r}")
    return value


def _whole(mapping: Mapping[str, object], key: str) -> int:
    value = mapping.get(key)
    if type(value) is not int:
        raise BrokenExplanation(f"{key} must be a whole number, not {value!r}")
    return value


def _mappings(mapping: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
    value = mapping.get(key)
    if type(value) is not list and (not isinstance(value, Sequence) or isinstance(value, str)):
        raise BrokenExplanation(f"{key} must be a list, not {value!r}")
    return [_mapping(part, key) for part in value]


def _mapping(value: object, key: str) -> Mapping[str, object]:
    # Asked by its type first: of what JSON makes that is enough, and an abstract class is slow.
    if type(value) is not dict and not isinstance(value, Mapping):
        raise BrokenExplanation(f"{key} must be a mapping, not {value!r}")
    return value
