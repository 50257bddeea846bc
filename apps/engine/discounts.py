"""Discounts: one after another on what is left, split over the lines so that the parts sum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from math import floor

from apps.engine.decimals import exact_text, plain
from apps.engine.lines import EVERYTHING, Line, Scope
from apps.engine.money import CurrencyMismatch, Exact, Money, allocate, round_half_away


class InvalidDiscount(ValueError):
    """A discount that is neither a percentage nor an amount, is both, or is out of bounds."""


class Split(StrEnum):
    """How a discount on several lines is shared out: in whole units, or exactly."""

    LARGEST_REMAINDER = "largest_remainder"
    EXACT = "exact"


@dataclass(frozen=True, slots=True)
class Discount:
    """`percent` (0 to 100) or a fixed `amount` off the lines in `scope`, at most `cap`.

    `amount` and `cap` hold for one document. Raises InvalidDiscount.
    """

    id: str
    percent: Decimal | None = None
    amount: Money | None = None
    scope: Scope = EVERYTHING
    cap: Money | None = None

    def __post_init__(self) -> None:
        if (self.percent is None) == (self.amount is None):
            raise InvalidDiscount(f"{self.id}: a percentage or an amount, one of them")
        if self.percent is not None and not 0 <= self.percent <= 100:
            raise InvalidDiscount(f"{self.id}: {self.percent} % is not between 0 and 100")
        if any(limit is not None and limit.minor < 0 for limit in (self.amount, self.cap)):
            raise InvalidDiscount(f"{self.id}: a discount takes away, it adds nothing")

    def off(self, base: Exact) -> int:
        """What it takes from `base`, both in minor units: rounded at once, never more than base.

        A base below zero is a credit already and keeps what it is.
        """
        wanted = self.amount.minor if self.amount is not None else self._part_of(base)
        if self.cap is not None:
            wanted = min(wanted, self.cap.minor)
        return max(0, min(wanted, floor(base)))

    def as_dict(self) -> dict[str, object]:
        """Plain JSON: the terms, with amounts in minor units."""
        terms: dict[str, object] = {"id": self.id, "scope": self.scope.as_dict()}
        if self.percent is not None:
            terms["percent"] = plain(self.percent)
        if self.amount is not None:
            terms["amount_minor"] = self.amount.minor
        if self.cap is not None:
            terms["cap_minor"] = self.cap.minor
        return terms

    def _part_of(self, base: Exact) -> int:
        return round_half_away(Fraction(base) * Fraction(self.percent or 0) / 100)


@dataclass(frozen=True, slots=True)
class Applied:
    """A discount's turn: what was left on its lines, what it took, and from which line how much.

    `base` and the parts are in minor units; the parts are whole unless the split is exact, and
    always sum to `amount`.
    """

    discount: Discount
    base: Fraction
    amount: Money
    parts: tuple[tuple[str, Fraction], ...]

    def as_dict(self) -> dict[str, object]:
        """Plain JSON: the terms, the base, the amount taken and its parts."""
        return self.discount.as_dict() | {
            "base_minor": exact_text(self.base),
            "taken_minor": self.amount.minor,
            "parts": [{"line": line, "minor": exact_text(part)} for line, part in self.parts],
        }


def in_order(discounts: Iterable[Discount]) -> list[Discount]:
    """Restricted ones first, then general ones, each in the order they were applied."""
    return sorted(discounts, key=lambda discount: not discount.scope.restricted)


def apply_discounts(
    lines: Sequence[Line],
    discounts: Iterable[Discount],
    *,
    currency: str,
    split: Split = Split.LARGEST_REMAINDER,
) -> tuple[Applied, ...]:
    """Take discount after discount from what the ones before have left of each line.

    A percentage is rounded once, on the sum of its lines, and then split. Raises CurrencyMismatch
    for a fixed amount in another currency.
    """
    ordered = in_order(discounts)
    if not ordered:
        return ()
    left = {
        line.id: Fraction(line.amount.minor - line.reserved) for line in lines if line.discountable
    }
    applied = []
    for discount in ordered:
        _check_currency(discount, currency)
        turn = _turn(discount, lines, left, currency, split)
        for line, part in turn.parts:
            left[line] -= part
        applied.append(turn)
    return tuple(applied)


def _turn(
    discount: Discount,
    lines: Sequence[Line],
    left: dict[str, Fraction],
    currency: str,
    split: Split,
) -> Applied:
    covered = (line.id for line in lines if discount.scope.covers(line))
    touched = {line: left[line] for line in covered if left.get(line, 0) > 0}
    base = sum(touched.values(), Fraction(0))
    taken = discount.off(base)
    parts = zip(touched, _shares(taken, list(touched.values()), split), strict=True)
    some = tuple((line, part) for line, part in parts if part)
    return Applied(discount, base, Money(taken, currency), some)


def _shares(taken: int, left: list[Fraction], split: Split) -> list[Fraction]:
    if split is Split.LARGEST_REMAINDER:
        return [Fraction(part) for part in allocate(taken, left)]
    whole = sum(left, Fraction(0))
    return [taken * part / whole for part in left]


def _check_currency(discount: Discount, currency: str) -> None:
    for amount in (discount.amount, discount.cap):
        if amount is not None and amount.currency != currency:
            raise CurrencyMismatch(f"{discount.id} is in {amount.currency}, not in {currency}")
