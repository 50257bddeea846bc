"""Credit in both directions: what pays an invoice instead of money, and what a note takes back.

Credit is a means of payment: it never shrinks the tax base. It is used on whole units and never
beyond what is owed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction

from apps.engine.decimals import exact_text
from apps.engine.lines import EVERYTHING, Line, Scope
from apps.engine.money import CurrencyMismatch, Money, round_half_away
from apps.engine.period import iso, utc

_NEVER = datetime.max.replace(tzinfo=UTC)
_ALWAYS = datetime.min.replace(tzinfo=UTC)


class CreditTooLarge(ValueError):
    """A credit note for more than is left of a line, or for a line that is not there."""


@dataclass(frozen=True, slots=True)
class CreditGrant:
    """Prepaid or given credit, of which `available` is left; a wallet is a list of grants.

    Lower priorities are used first. `before_tax` takes it off the total before tax is added, yet
    tax stays due on what it paid.
    """

    id: str
    available: Money
    priority: int = 50
    expires_at: datetime | None = None
    granted_at: datetime | None = None
    scope: Scope = EVERYTHING
    before_tax: bool = False

    def __post_init__(self) -> None:
        if self.available.minor < 0:
            raise ValueError(f"{self.id}: credit never falls below zero")

    def as_dict(self) -> dict[str, object]:
        """Plain JSON: the terms that decide on the order and the use."""
        return {
            "id": self.id,
            "available_minor": self.available.minor,
            "priority": self.priority,
            "expires_at": None if self.expires_at is None else iso(self.expires_at),
            "granted_at": None if self.granted_at is None else iso(self.granted_at),
            "scope": self.scope.as_dict(),
            "before_tax": self.before_tax,
        }


@dataclass(frozen=True, slots=True)
class Spent:
    """What a grant paid, and of which lines; the parts sum to `amount`."""

    grant: CreditGrant
    amount: Money
    parts: tuple[tuple[str, Money], ...]

    @property
    def left(self) -> Money:
        """What remains of the grant."""
        return self.grant.available - self.amount

    def as_dict(self) -> dict[str, object]:
        """Plain JSON: the terms, the amount used and its parts."""
        return self.grant.as_dict() | {
            "used_minor": self.amount.minor,
            "parts": [{"line": line, "minor": part.minor} for line, part in self.parts],
        }


@dataclass(frozen=True, slots=True)
class NoteBalance:
    """A credit note of the customer with `available` left to be used."""

    id: str
    available: Money


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was taken from a credit note's balance."""

    note: NoteBalance
    amount: Money

    def as_dict(self) -> dict[str, object]:
        """Plain JSON."""
        return {
            "id": self.note.id,
            "available_minor": self.note.available.minor,
            "used_minor": self.amount.minor,
        }


def in_order(grants: Iterable[CreditGrant]) -> list[CreditGrant]:
    """By priority, then by expiry (never comes last), then by age; ties as they were given."""
    return sorted(
        grants,
        key=lambda grant: (
            grant.priority,
            utc(grant.expires_at) if grant.expires_at else _NEVER,
            utc(grant.granted_at) if grant.granted_at else _ALWAYS,
        ),
    )


def spend(
    grants: Iterable[CreditGrant], owed: Sequence[tuple[Line, Money]], *, limit: Money
) -> tuple[Spent, ...]:
    """Pay what is owed of each line from the grants, in their order, altogether at most `limit`.

    A grant goes through the lines it may pay, in the document's order. Lines that owe nothing or
    less take nothing. Answers for every grant, also where it paid nothing. Raises CurrencyMismatch.
    """
    left = {line.id: max(0, amount.minor) for line, amount in owed}
    rest = max(0, limit.minor)
    found = []
    for grant in in_order(grants):
        _same_currency(grant.available, limit)
        payable = [line.id for line, _ in owed if grant.scope.covers(line)]
        parts = _pay(payable, left, min(grant.available.minor, rest))
        used = sum(part for _, part in parts)
        rest -= used
        spent = tuple((line, Money(part, limit.currency)) for line, part in parts)
        found.append(Spent(grant, Money(used, limit.currency), spent))
    return tuple(found)


def draw(notes: Iterable[NoteBalance], due: Money) -> tuple[Drawn, ...]:
    """Use credit notes one after another, each at most by what is still due."""
    found = []
    rest = max(due, Money.zero(due.currency))
    for note in notes:
        used = min(note.available, rest)
        rest -= used
        found.append(Drawn(note, used))
    return tuple(found)


def refundable(total: Money, *, paid: Money, refunded: Money) -> Money:
    """How much of a credit note can go back as money: never more than was paid and is not back."""
    return max(min(total, paid - refunded), Money.zero(total.currency))


@dataclass(frozen=True, slots=True)
class Creditable:
    """A line of a final invoice: its amount, its discounts and taxes, what was credited of it.

    `discount` is in minor units. `tax` is the line's part of the document's tax, `included` what
    of that is inside the amount. `credited` is before discount, as `amount` is.
    """

    id: str
    amount: Money
    discount: Fraction
    tax: Money
    included: Money
    credited: Money

    @property
    def left(self) -> Money:
        """What can still be credited, before discount."""
        return self.amount - self.credited


@dataclass(frozen=True, slots=True)
class CreditedLine:
    """What a note takes back of a line. `net` and `tax` are exact, in minor units."""

    id: str
    amount: Money
    net: Fraction
    tax: Fraction

    def as_dict(self) -> dict[str, object]:
        """Plain JSON."""
        return {
            "line": self.id,
            "amount_minor": self.amount.minor,
            "net_minor": exact_text(self.net),
            "tax_minor": exact_text(self.tax),
        }


@dataclass(frozen=True, slots=True)
class CreditAmounts:
    """A credit note: net and tax are rounded apart, the total is their sum."""

    lines: tuple[CreditedLine, ...]
    net: Money
    tax: Money

    @property
    def total(self) -> Money:
        """What the customer gets back."""
        return self.net + self.tax


def credit_note(
    lines: Sequence[Creditable], amounts: Mapping[str, Money], *, currency: str
) -> CreditAmounts:
    """What crediting `amounts` (line id → amount before discount) comes to.

    Discounts and taxes go back in proportion. Net and tax are differences of rounded running
    totals, so notes that take back a whole invoice sum to it exactly. Raises CreditTooLarge when an
    amount exceeds what is left of its line, and ValueError for an amount that is not positive.
    """
    _check(lines, amounts)
    credited = tuple(_credited(line, amounts[line.id]) for line in lines if line.id in amounts)
    before = [_credited(line, line.credited) for line in lines]
    net, tax = (
        Money(_rounded([*before, *credited], side) - _rounded(before, side), currency)
        for side in ("net", "tax")
    )
    return CreditAmounts(credited, net, tax)


def _credited(line: Creditable, amount: Money) -> CreditedLine:
    share = Fraction(amount.minor, line.amount.minor or 1)
    net = line.amount.minor - line.discount - line.included.minor
    return CreditedLine(line.id, amount, net * share, line.tax.minor * share)


def _rounded(lines: Iterable[CreditedLine], side: str) -> int:
    return round_half_away(sum((getattr(line, side) for line in lines), Fraction(0)))


def _check(lines: Sequence[Creditable], amounts: Mapping[str, Money]) -> None:
    left = {line.id: line.left for line in lines}
    for line, amount in amounts.items():
        if amount.minor <= 0:
            raise ValueError(f"a credit of {amount} takes nothing back")
        if line not in left or amount > left[line]:
            raise CreditTooLarge(f"{amount} is more than is left of line {line}")


def _pay(lines: Sequence[str], left: dict[str, int], most: int) -> list[tuple[str, int]]:
    """Take up to `most` from the lines, one after another; `left` is brought up to date."""
    parts = []
    for line in lines:
        part = min(left[line], most)
        if part:
            left[line] -= part
            most -= part
            parts.append((line, part))
    return parts


def _same_currency(amount: Money, other: Money) -> None:
    if amount.currency != other.currency:
        raise CurrencyMismatch(f"{amount.currency} met {other.currency}")
