"""What a credit note takes back of an invoice's lines, one line after another.

Net and tax of a line are rounded apart, as differences of rounded running totals, and the note is
the sum of its lines: notes that take back a whole line sum to it exactly, in any order and size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from apps.engine.credits import Creditable, CreditTooLarge, credit_note
from apps.engine.money import Money, apportion, round_half_away


@dataclass(frozen=True, slots=True)
class Standing:
    """A line of a final invoice, and the `net` and `tax` that notes took back of it, minor units.

    `line.credited` is what they took back before discount, as its amount is.
    """

    line: Creditable
    net: int = 0
    tax: int = 0

    @property
    def net_left(self) -> int:
        """What is left of its net amount: without discount, without the tax inside the price."""
        line = self.line
        whole = round_half_away(line.amount.minor - line.discount - line.included.minor)
        return max(0, whole - self.net)

    @property
    def tax_left(self) -> int:
        """What is left of its tax."""
        return max(0, self.line.tax.minor - self.tax)

    @property
    def left(self) -> int:
        """What can still be taken back of it with its tax; nothing of a line that is a credit."""
        return self.net_left + self.tax_left if self.line.amount.minor > 0 else 0


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What one note takes back of a line, minor units: `amount` before discount, then net, tax."""

    id: str
    amount: int
    net: int
    tax: int

    @property
    def total(self) -> int:
        """What the customer gets back."""
        return self.net + self.tax

    def as_dict(self) -> dict[str, object]:
        """Plain JSON."""
        return {
            "rule": "credit_note",
            "amount_minor": self.amount,
            "net_minor": self.net,
            "tax_minor": self.tax,
        }


def of_amounts(lines: Sequence[Standing], amounts: Mapping[str, Money]) -> tuple[TakenBack, ...]:
    """What crediting `amounts` comes to (line id → amount before discount).

    Raises CreditTooLarge for more than is left of a line, ValueError for what is not positive.
    """
    known = {standing.line.id for standing in lines}
    if unknown := set(amounts) - known:
        raise CreditTooLarge(f"there is no line {min(unknown)}")
    return tuple(
        _of_amount(standing, amounts[standing.line.id])
        for standing in lines
        if standing.line.id in amounts
    )


def of_total(lines: Sequence[Standing], total: Money) -> tuple[TakenBack, ...]:
    """What crediting this total, tax and all, takes back of each line: in proportion to what is
    left of them. Raises CreditTooLarge, and ValueError for what is not positive.
    """
    left = [standing.left for standing in lines]
    if total.minor <= 0:
        raise ValueError(f"a credit of {total} takes nothing back")
    if total.minor > sum(left):
        raise CreditTooLarge(f"{total} is more than is left of the lines")
    parts = apportion([Fraction(part * total.minor, sum(left)) for part in left], total.minor)
    return tuple(
        _of_gross(standing, part) for standing, part in zip(lines, parts, strict=True) if part
    )


def _of_amount(standing: Standing, amount: Money) -> TakenBack:
    line = standing.line
    found = credit_note([line], {line.id: amount}, currency=amount.currency)
    if amount == line.left:
        return TakenBack(line.id, amount.minor, standing.net_left, standing.tax_left)
    net, tax = min(found.net.minor, standing.net_left), min(found.tax.minor, standing.tax_left)
    return TakenBack(line.id, amount.minor, net, tax)


def _of_gross(standing: Standing, gross: int) -> TakenBack:
    """The tax is its share of a running total; what rounding leaves is net."""
    line = standing.line
    if gross == standing.left:
        return TakenBack(line.id, line.left.minor, standing.net_left, standing.tax_left)
    whole = standing.net + standing.tax + standing.left
    share = Fraction(standing.net + standing.tax + gross, whole)
    tax = round_half_away(line.tax.minor * share) - standing.tax
    tax = min(max(tax, 0, gross - standing.net_left), gross, standing.tax_left)
    amount = round_half_away(line.amount.minor * share) - line.credited.minor
    return TakenBack(line.id, max(0, min(amount, line.left.minor)), gross - tax, tax)
