"""Final bills of the simulated year, and the credit notes that take them back.

Written from the conventions (docs/algorithms/credits.md, "Taking back") on Fractions, and not from
the engine or the rooms. Amounts are minor units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from tests.engine import oracle


@dataclass(eq=False, slots=True)
class Sold:
    """A line of a final bill: before discounts, after them, its tax, and what notes took back.

    `part` is what discounts left of the price at which a line gave something back.
    """

    name: str
    gross: int
    net: int
    tax: int
    part: Fraction = Fraction(1)
    back_gross: int = 0
    back_net: int = 0
    back_tax: int = 0

    @property
    def left(self) -> int:
        """What can still be taken back of it, with its tax; nothing of what is a credit itself."""
        return self.net + self.tax - self.back_net - self.back_tax if self.gross > 0 else 0

    def take_back(self, back: Back) -> None:
        """Have so much less."""
        self.back_gross += back.gross
        self.back_net += back.net
        self.back_tax += back.tax


@dataclass(frozen=True, slots=True)
class Back:
    """What one note takes back of a line: before discounts, after them, its tax."""

    gross: int
    net: int
    tax: int


@dataclass(frozen=True, slots=True)
class Note:
    """A credit note: net and tax by line, and where its total goes."""

    lines: list[tuple[int, int]]
    offset: int
    credit: int
    refund: int


@dataclass(slots=True)
class Bill:
    """An invoice, what was paid of it, and what credit notes took off what was due.

    `given` is what notes gave back beyond that, as credit or as money; `refunded` the money.
    """

    lines: list[tuple[str, int]]
    discount: int
    tax: int
    credits: int
    total: int
    paid: int = 0
    credited: int = 0
    sold: list[Sold] = field(default_factory=list, compare=False, repr=False)
    given: int = field(default=0, compare=False)
    refunded: int = field(default=0, compare=False)

    @property
    def due(self) -> int:
        """What is still to be paid."""
        return self.total - self.paid - self.credited

    @property
    def left(self) -> int:
        """What can still be taken back of it."""
        return self.total + self.credits - self.credited - self.given

    @property
    def givable(self) -> int:
        """What can go back as credit or money: what the customer has brought, and has not back."""
        return self.paid + max(0, self.credits) - self.given

    @property
    def refundable(self) -> int:
        """What can go back as money."""
        return min(self.paid - self.refunded, self.givable)

    def take_back(self, backs: Sequence[Back | None], refund: int, offset: int | None) -> Note:
        """Issue a note on it: what is not refunded lowers what is due, the rest becomes credit."""
        for one, back in zip(self.sold, backs, strict=True):
            if back is not None:
                one.take_back(back)
        lines = [(back.net, back.tax) for back in backs if back is not None]
        total = sum(net + tax for net, tax in lines)
        off = min(total - refund, self.due) if offset is None else offset
        self.credited += off
        self.given += total - off
        self.refunded += refund
        return Note(lines, off, total - off - refund, refund)


def spread(sold: Sequence[Sold], total: int) -> list[Back | None]:
    """Take a total with its tax back: of each line in proportion to what is left of it."""
    left = [Fraction(one.left) for one in sold]
    return [
        _with_tax(one, part) if part else None
        for one, part in zip(sold, oracle.split(total, left), strict=True)
    ]


def of_line(sold: Sequence[Sold], place: int, gross: int) -> list[Back | None]:
    """Take so much, before discounts, back of one line and nothing of the others."""
    backs: list[Back | None] = [None] * len(sold)
    backs[place] = _before_discounts(sold[place], gross)
    return backs


def _with_tax(one: Sold, part: int) -> Back:
    """The tax is its share of what has gone back by now, and the rest is net."""
    if part == one.left:
        return _all_of(one)
    share = Fraction(one.back_net + one.back_tax + part, one.net + one.tax)
    tax = oracle.rounded(one.tax * share) - one.back_tax
    tax = max(tax, 0, part - (one.net - one.back_net))
    tax = min(tax, part, one.tax - one.back_tax)
    gross = oracle.rounded(one.gross * share) - one.back_gross
    return Back(max(0, min(gross, one.gross - one.back_gross)), part - tax, tax)


def _before_discounts(one: Sold, gross: int) -> Back:
    """Net and tax are what this adds to what all notes took back of the line, rounded apart."""
    if gross == one.gross - one.back_gross:
        return _all_of(one)
    before = Fraction(one.back_gross, one.gross)
    after = Fraction(one.back_gross + gross, one.gross)
    net = oracle.rounded(one.net * after) - oracle.rounded(one.net * before)
    tax = oracle.rounded(one.tax * after) - oracle.rounded(one.tax * before)
    return Back(gross, min(net, one.net - one.back_net), min(tax, one.tax - one.back_tax))


def _all_of(one: Sold) -> Back:
    return Back(one.gross - one.back_gross, one.net - one.back_net, one.tax - one.back_tax)
