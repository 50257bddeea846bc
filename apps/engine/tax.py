"""Taxes on what is left after discounts: several rates a line, on top of the price or inside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from itertools import chain
from math import trunc
from typing import NamedTuple

from apps.engine.decimals import exact_text, plain
from apps.engine.money import Money, apportion, round_half_away
from apps.engine.values import value_class


class InvalidTaxRate(ValueError):
    """A rate outside 0 to 100 per cent, or one id that stands for two rates."""


class TaxRounding(StrEnum):
    """What is rounded: the tax of each line and rate, of each rate, or of the document."""

    PER_LINE = "per_line"
    PER_RATE = "per_rate"
    ONCE = "once"


class Inclusive(StrEnum):
    """Which side of a price with its tax inside is rounded first; the other side is the rest."""

    NET_FIRST = "net"
    TAX_FIRST = "tax"


class Treatment(StrEnum):
    """Whether a line's rates are charged, or stand on the document at 0 % with a reason."""

    TAXED = "taxed"
    EXEMPT = "exempt"
    REVERSE_CHARGE = "reverse_charge"


@dataclass(frozen=True, slots=True)
class TaxRate:
    """A tax of one jurisdiction, in per cent; `inclusive` when prices contain it already."""

    id: str
    percent: Decimal
    inclusive: bool = False
    jurisdiction: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.percent <= 100:
            raise InvalidTaxRate(f"{self.id}: {self.percent} % is not between 0 and 100")

    def as_dict(self) -> dict[str, object]:
        """Plain JSON."""
        return {
            "id": self.id,
            "percent": plain(self.percent),
            "inclusive": self.inclusive,
            "jurisdiction": self.jurisdiction,
        }


@dataclass(frozen=True, slots=True)
class TaxPolicy:
    """An issuer's choices where countries differ."""

    rounding: TaxRounding = TaxRounding.PER_LINE
    inclusive: Inclusive = Inclusive.NET_FIRST


@value_class(frozen=True, slots=True)
class Taxable:
    """What is taxed: a line's amount after discounts, in minor units."""

    id: str
    amount: Fraction
    rates: tuple[TaxRate, ...]
    treatment: Treatment = Treatment.TAXED


@value_class(frozen=True, slots=True)
class TaxPart:
    """One rate's tax on one line: exact in minor units, and the whole units it stands for."""

    rate: TaxRate
    exact: Fraction
    amount: Money

    def as_dict(self) -> dict[str, object]:
        """Plain JSON."""
        return {
            "rate": self.rate.id,
            "exact_minor": exact_text(self.exact),
            "minor": self.amount.minor,
        }


@value_class(frozen=True, slots=True)
class TaxedLine:
    """A line's taxes. `tax` and `included` are its parts of the document's and sum to them."""

    id: str
    amount: Fraction
    parts: tuple[TaxPart, ...]
    tax: Money
    included: Money

    @property
    def taxable(self) -> Fraction:
        """The amount without the tax it contains, in minor units."""
        return self.amount - self.included.minor if self.included else self.amount

    @property
    def alone(self) -> Money:
        """The line's tax rounded by itself, as a document rounded once prints it beside a line."""
        exact = sum((part.exact for part in self.parts), Fraction(0))
        return Money(round_half_away(exact), self.tax.currency)


@value_class(frozen=True, slots=True)
class Taxation:
    """The taxes of a document, by line and by rate. `included` is the part inside the prices."""

    lines: tuple[TaxedLine, ...]
    tax: Money
    included: Money

    def by_rate(self) -> dict[str, Money]:
        """What each rate comes to, by its id, in the order of first use."""
        found: dict[str, Money] = {}
        for line in self.lines:
            for part in line.parts:
                so_far = found.get(part.rate.id, Money.zero(part.amount.currency))
                found[part.rate.id] = so_far + part.amount
        return found


class _Due(NamedTuple):
    """One rate's exact tax on one line, before rounding."""

    line: Taxable
    rate: TaxRate
    exact: Fraction


def tax_lines(
    taxables: Sequence[Taxable], *, currency: str, policy: TaxPolicy | None = None
) -> Taxation:
    """The tax of every line and rate, rounded where the policy says, halves away from zero.

    Where several parts are rounded together, the parts are whole and sum to the rounded whole.
    Taxes on top are reckoned on the price without the taxes inside it. An exempt line and one under
    reverse charge keep their price and owe nothing. Raises InvalidTaxRate when one id stands for
    two rates, or twice on one line.
    """
    policy = policy or TaxPolicy()
    check_rates(taxables)
    dues = [_dues(taxable) for taxable in taxables]
    rounded = _rounded(list(chain.from_iterable(dues)), policy)
    lines = tuple(_taxed(*each, rounded, currency) for each in zip(taxables, dues, strict=True))
    tax = Money.sum((line.tax for line in lines), currency)
    return Taxation(lines, tax, Money.sum((line.included for line in lines), currency))


def check_rates(taxables: Iterable[Taxable]) -> None:
    """Raises InvalidTaxRate unless an id is one rate, and once on a line."""
    known: dict[str, TaxRate] = {}
    for taxable in taxables:
        if len({rate.id for rate in taxable.rates}) < len(taxable.rates):
            raise InvalidTaxRate(f"{taxable.id} is taxed twice by one rate")
        for rate in taxable.rates:
            if known.setdefault(rate.id, rate) != rate:
                raise InvalidTaxRate(f"{rate.id} stands for two rates")


def _dues(taxable: Taxable) -> list[_Due]:
    if not taxable.rates:
        return []
    if taxable.treatment is not Treatment.TAXED:
        return [_Due(taxable, rate, Fraction(0)) for rate in taxable.rates]
    inside = sum((_ratio(rate) for rate in taxable.rates if rate.inclusive), Fraction(0))
    net = taxable.amount / (1 + inside)
    return [_Due(taxable, rate, net * _ratio(rate)) for rate in taxable.rates]


def _ratio(rate: TaxRate) -> Fraction:
    return Fraction(rate.percent) / 100


def _rounded(dues: Sequence[_Due], policy: TaxPolicy) -> dict[tuple[str, str], int]:
    groups: dict[object, list[_Due]] = defaultdict(list)
    for due in dues:
        groups[_rounded_with(due, policy)].append(due)
    found: dict[tuple[str, str], int] = {}
    for group in groups.values():
        parts = apportion([due.exact for due in group], _whole(group, policy))
        found.update(
            ((due.line.id, due.rate.id), part) for due, part in zip(group, parts, strict=True)
        )
    return found


def _rounded_with(due: _Due, policy: TaxPolicy) -> object:
    if policy.rounding is TaxRounding.PER_RATE:
        return due.rate.id
    if policy.rounding is TaxRounding.ONCE:
        return due.rate.inclusive
    # Taxes inside one price are rounded together, or its net would be rounded once for each.
    together = due.rate.inclusive and policy.inclusive is Inclusive.NET_FIRST
    return due.line.id, None if together else due.rate.id


def _whole(group: Sequence[_Due], policy: TaxPolicy) -> int:
    exact = sum((due.exact for due in group), Fraction(0))
    if not group[0].rate.inclusive or policy.inclusive is Inclusive.TAX_FIRST:
        return round_half_away(exact)
    gross = trunc(sum({due.line.id: due.line.amount for due in group}.values(), Fraction(0)))
    return gross - round_half_away(gross - exact)


def _taxed(
    taxable: Taxable, dues: Sequence[_Due], rounded: Mapping[tuple[str, str], int], currency: str
) -> TaxedLine:
    if not dues:
        nothing = Money.zero(currency)
        return TaxedLine(taxable.id, taxable.amount, (), nothing, nothing)
    parts = tuple(
        TaxPart(due.rate, due.exact, Money(rounded[due.line.id, due.rate.id], currency))
        for due in dues
    )
    tax = Money.sum((part.amount for part in parts), currency)
    inside = Money.sum((part.amount for part in parts if part.rate.inclusive), currency)
    return TaxedLine(taxable.id, taxable.amount, parts, tax, inside)
