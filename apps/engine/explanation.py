"""Redo a line from its explanation alone, trusting none of the numbers that follow from others.

This reads stored JSON and nothing else: no price, no usage, no row. It is written apart from
`rating` on purpose, so that a stored explanation stands or falls by its own arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from apps.engine.money import round_half_away

ROUNDING = "half_away_from_zero"


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
    exact = _exact(explanation)
    _claim(exact, explanation, "exact")
    rounded = round_half_away(exact * 10 ** _whole(explanation, "exponent"))
    if "paid_minor" in explanation:
        rounded = max(rounded, -_whole(explanation, "paid_minor"))
    return rounded


def _exact(explanation: Mapping[str, object]) -> Fraction:
    match explanation.get("rule"):
        case "price":
            return _price(explanation)
        case "change":
            return _change(explanation)
        case "segments":
            return _segments(explanation)
        case other:
            raise BrokenExplanation(f"unknown rule {other!r}")


def _price(price: Mapping[str, object]) -> Fraction:
    billable = max(Fraction(0), _number(price, "quantity") - _number(price, "included"))
    _claim(billable, price, "billable")
    steps = _mappings(price, "steps")
    _check_units(price, billable, sum((_number(step, "units") for step in steps), Fraction(0)))
    return sum((_subtotal(step, price) for step in steps), Fraction(0)) * _share(price)


def _check_units(price: Mapping[str, object], billable: Fraction, units: Fraction) -> None:
    match price.get("model"):
        case "flat":
            expected = Fraction(0)
        case "package":
            packages = billable / _number(price, "package_size")
            expected = Fraction(-(-packages.numerator // packages.denominator))
        case "per_unit" | "graduated" | "volume":
            expected = billable
        case other:
            raise BrokenExplanation(f"unknown model {other!r}")
    if units != expected:
        raise BrokenExplanation(f"the steps bill {units} units, not {expected}")


def _subtotal(step: Mapping[str, object], price: Mapping[str, object]) -> Fraction:
    units = _number(step, "units")
    # A graduated tier holds what lies above its start, a volume tier the whole quantity.
    start = _number(step, "from")
    reached = units + (start if price.get("model") == "graduated" else 0)
    above = start < reached or start == 0
    below = step.get("up_to") is None or reached <= _number(step, "up_to")
    if not (above and below):
        raise BrokenExplanation(f"{units} units do not lie in the tier from {step['from']}")
    amount = units * _number(step, "unit_amount") + _number(step, "flat_amount")
    _claim(amount, step, "subtotal")
    return amount


def _change(change: Mapping[str, object]) -> Fraction:
    return (_side(change, "new") - _side(change, "old")) * _share(change)


def _side(change: Mapping[str, object], side: str) -> Fraction:
    # null is what starts or ends here: it costs nothing on that side.
    price = change.get(side)
    return Fraction(0) if price is None else _checked(_mapping(price, side))


def _segments(explanation: Mapping[str, object]) -> Fraction:
    parts = _mappings(explanation, "segments")
    return sum(
        (_checked(_mapping(part.get("price"), "price")) * _share(part) for part in parts),
        Fraction(0),
    )


def _checked(price: Mapping[str, object]) -> Fraction:
    exact = _price(price)
    _claim(exact, price, "exact")
    return exact


def _share(part: Mapping[str, object]) -> Fraction:
    return _number(part, "share") if "share" in part else Fraction(1)


def _claim(expected: Fraction, mapping: Mapping[str, object], key: str) -> None:
    if _number(mapping, key) != expected:
        raise BrokenExplanation(f"{key} is {mapping[key]}, the arithmetic gives {expected}")


def _number(mapping: Mapping[str, object], key: str) -> Fraction:
    value = mapping.get(key)
    if not isinstance(value, str):
        raise BrokenExplanation(f"{key} must be a number in a string, not {value!r}")
    try:
        return Fraction(value)
    except (ValueError, ZeroDivisionError) as error:
        raise BrokenExplanation(f"{key} is no number: {value!r}") from error


def _whole(mapping: Mapping[str, object], key: str) -> int:
    value = mapping.get(key)
    if type(value) is not int:
        raise BrokenExplanation(f"{key} must be a whole number, not {value!r}")
    return value


def _mappings(mapping: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
    value = mapping.get(key)
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise BrokenExplanation(f"{key} must be a list, not {value!r}")
    return [_mapping(part, key) for part in value]


def _mapping(value: object, key: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise BrokenExplanation(f"{key} must be a mapping, not {value!r}")
    return value
