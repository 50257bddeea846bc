"""What a price says besides its terms: how units are converted, and between what bounds it bills.

Stored beside the terms, read from and dumped to plain JSON in the same way. The order is fixed:
convert, round, take off the free units, price, commit, discount, cap, fill up to the minimum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from math import ceil, floor
from typing import TypeVar

from apps.engine.decimals import ZERO, plain
from apps.engine.money import round_half_away
from apps.engine.prices import (
    MAX_PLACES,
    InvalidTerms,
    boolean,
    check_amount,
    check_units,
    one_of,
    only,
    optional_decimal,
    required_decimal,
)

HUNDRED = Decimal(100)
ONE = Decimal(1)

T = TypeVar("T")


class Operation(StrEnum):
    """How a conversion uses its factor."""

    MULTIPLY = "multiply"
    DIVIDE = "divide"


class QuantityRounding(StrEnum):
    """How a quantity is rounded; up and down are towards plus and minus infinity."""

    NONE = "none"
    UP = "up"
    DOWN = "down"
    HALF_UP = "half_up"


class Negative(StrEnum):
    """What a quantity below zero comes to: nothing is owed, or it is refused."""

    NOTHING = "nothing"
    REFUSE = "refuse"


def round_quantity(value: Fraction, rounding: QuantityRounding, places: int) -> Fraction:
    """The quantity rounded to that many places, which may be negative (−2: whole hundreds).

    Halves go away from zero: 2.5 → 3, −2.5 → −3.
    """
    scale = Fraction(10) ** places
    match rounding:
        case QuantityRounding.NONE:
            return value
        case QuantityRounding.UP:
            return ceil(value * scale) / scale
        case QuantityRounding.DOWN:
            return floor(value * scale) / scale
        case QuantityRounding.HALF_UP:
            return round_half_away(value * scale) / scale


@dataclass(frozen=True, slots=True)
class Conversion:
    """From what a meter counts to what a price bills: bytes to gigabytes, whole ones rounded up."""

    factor: Decimal
    operation: Operation = Operation.MULTIPLY
    rounding: QuantityRounding = QuantityRounding.NONE
    places: int = 0

    def __post_init__(self) -> None:
        check_units(self.factor, "factor")
        if not 0 <= self.places <= MAX_PLACES:
            raise InvalidTerms(f"must lie between 0 and {MAX_PLACES}", "places")

    @property
    def ratio(self) -> Fraction:
        """How many of the price's units one of the meter's is."""
        factor = Fraction(self.factor)
        return factor if self.operation is Operation.MULTIPLY else 1 / factor

    @property
    def ends(self) -> bool:
        """Whether every converted quantity has a finite decimal form."""
        rest = self.ratio.denominator
        for prime in (2, 5):
            while rest % prime == 0:
                rest //= prime
        return rest == 1 or self.rounding is not QuantityRounding.NONE

    def exact(self, quantity: Decimal) -> Fraction:
        """The quantity in the price's units, rounded as the conversion says."""
        return round_quantity(Fraction(quantity) * self.ratio, self.rounding, self.places)

    def apply(self, quantity: Decimal) -> Decimal:
        """The same as a decimal; raises ValueError for one that never ends."""
        if not self.ends:
            raise ValueError(f"dividing by {plain(self.factor)} never ends")
        return finite(self.exact(quantity))

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, decimals as canonical strings."""
        return {
            "operation": self.operation.value,
            "factor": plain(self.factor),
            "rounding": self.rounding.value,
            "places": self.places,
        }


@dataclass(frozen=True, slots=True)
class Commitment:
    """What is paid for anyway: an `amount`, or what `quantity` units cost.

    More costs the commitment plus the rest times `overage_factor`. Less costs what was used, or
    with `true_up` the whole commitment.
    """

    amount: Decimal | None = None
    quantity: Decimal | None = None
    overage_factor: Decimal = ONE
    true_up: bool = False

    def __post_init__(self) -> None:
        if (self.amount is None) == (self.quantity is None):
            raise InvalidTerms("a commitment is either an amount or a quantity", "amount")
        for name in ("amount", "quantity"):
            if (value := getattr(self, name)) is not None:
                check_amount(value, name)
        check_amount(self.overage_factor, "overage_factor")

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, decimals as canonical strings."""
        of = (
            {"amount": plain(self.amount)}
            if self.amount is not None
            else {"quantity": plain(self.quantity or ZERO)}
        )
        return of | {"overage_factor": plain(self.overage_factor), "true_up": self.true_up}


@dataclass(frozen=True, slots=True)
class Rules:
    """All that a price says besides its terms; the plain `Rules()` change nothing.

    Amounts are in major units and for a whole period. `prorate_minimum` lets the minimum shrink
    with the part of the period that is charged. `on_last_line` bills the usage of a whole period on
    its last line: a volume price does not know its tier before.
    """

    conversion: Conversion | None = None
    commitment: Commitment | None = None
    discount_percent: Decimal = ZERO
    maximum_amount: Decimal | None = None
    minimum_amount: Decimal | None = None
    prorate_minimum: bool = False
    on_last_line: bool = False
    negative: Negative = Negative.NOTHING

    def __post_init__(self) -> None:
        check_amount(self.discount_percent, "discount_percent")
        if self.discount_percent > HUNDRED:
            raise InvalidTerms("must not be above 100", "discount_percent")
        if self.conversion is not None and not self.conversion.ends:
            divisor = plain(self.conversion.factor)
            raise InvalidTerms(f"dividing by {divisor} never ends", "conversion.rounding")
        for name in ("maximum_amount", "minimum_amount"):
            if (value := getattr(self, name)) is not None:
                check_amount(value, name)
        low, high = self.minimum_amount, self.maximum_amount
        if low is not None and high is not None and low > high:
            raise InvalidTerms(f"must not be below the minimum of {plain(low)}", "maximum_amount")

    @property
    def bounds(self) -> bool:
        """Whether a discount, a maximum or a minimum may change what the usage costs."""
        limits = (self.maximum_amount, self.minimum_amount)
        return self.discount_percent != 0 or any(one is not None for one in limits)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON; only what differs from `Rules()` is named."""
        found: dict[str, object] = {}
        if self.conversion is not None:
            found["conversion"] = self.conversion.as_dict()
        if self.commitment is not None:
            found["commitment"] = self.commitment.as_dict()
        if self.discount_percent:
            found["discount_percent"] = plain(self.discount_percent)
        for name in ("maximum_amount", "minimum_amount"):
            if (value := getattr(self, name)) is not None:
                found[name] = plain(value)
        for name in ("prorate_minimum", "on_last_line"):
            if getattr(self, name):
                found[name] = True
        return found if self.negative is Negative.NOTHING else found | {"negative": "refuse"}


PLAIN = Rules()


def parse_rules(raw: Mapping[str, object]) -> Rules:
    """Read the rules of a price from a plain mapping; `parse_rules(rules.as_dict()) == rules`.

    Raises InvalidTerms, with the path, for anything unknown, negative or contradictory.
    """
    amounts = ("discount_percent", "maximum_amount", "minimum_amount")
    flags = ("prorate_minimum", "on_last_line")
    only(raw, "conversion", "commitment", "negative", *amounts, *flags)
    return Rules(
        conversion=_nested(raw, "conversion", parse_conversion),
        commitment=_nested(raw, "commitment", _commitment),
        discount_percent=optional_decimal(raw, "discount_percent") or ZERO,
        maximum_amount=optional_decimal(raw, "maximum_amount"),
        minimum_amount=optional_decimal(raw, "minimum_amount"),
        prorate_minimum=boolean(raw, "prorate_minimum", default=False),
        on_last_line=boolean(raw, "on_last_line", default=False),
        negative=one_of(Negative, raw.get("negative", Negative.NOTHING), "negative"),
    )


def finite(value: Fraction) -> Decimal:
    """A fraction with a finite decimal form as that decimal."""
    places = 0
    while (value * 10**places).denominator != 1:
        places += 1
    return Decimal(f"{(value * 10**places).numerator}E-{places}")


def _nested(
    raw: Mapping[str, object], key: str, read: Callable[[Mapping[str, object]], T]
) -> T | None:
    inner = raw.get(key)
    if inner is None:
        return None
    if not isinstance(inner, Mapping):
        raise InvalidTerms("must be a mapping", key)
    try:
        return read(inner)
    except InvalidTerms as error:
        raise error.under(key) from error


def parse_conversion(raw: Mapping[str, object]) -> Conversion:
    """Read a conversion from a plain mapping; raises InvalidTerms, with the path."""
    only(raw, "operation", "factor", "rounding", "places")
    places = raw.get("places", 0)
    if type(places) is not int:
        raise InvalidTerms("must be a whole number", "places")
    return Conversion(
        required_decimal(raw, "factor"),
        one_of(Operation, raw.get("operation", Operation.MULTIPLY), "operation"),
        one_of(QuantityRounding, raw.get("rounding", QuantityRounding.NONE), "rounding"),
        places,
    )


def _commitment(raw: Mapping[str, object]) -> Commitment:
    only(raw, "amount", "quantity", "overage_factor", "true_up")
    factor = optional_decimal(raw, "overage_factor")
    return Commitment(
        optional_decimal(raw, "amount"),
        optional_decimal(raw, "quantity"),
        ONE if factor is None else factor,
        boolean(raw, "true_up", default=False),
    )
