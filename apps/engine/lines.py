"""The lines of a document as the sums see them, and which of them something may touch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from apps.engine.money import Money
from apps.engine.tax import TaxRate, Treatment
from apps.engine.values import value_class


@value_class(frozen=True, slots=True)
class Line:
    """A rated line before discounts, taxes and credits.

    `kind` and `price` are what scopes speak of; `amount` may be negative. A line that is itself a
    credit is never discounted, and `discountable=False` keeps a discount off a charge;
    `reserved` minor units of it are taken back by another line of the document, and no discount
    comes off them. `rates` are
    the taxes of its place, in the order to be printed; `treatment` may lift them for a `reason`.
    """

    id: str
    amount: Money
    kind: str = ""
    price: str = ""
    rates: tuple[TaxRate, ...] = ()
    treatment: Treatment = Treatment.TAXED
    reason: str = ""
    discountable: bool = True
    reserved: int = 0


@dataclass(frozen=True, slots=True)
class Scope:
    """Which lines a discount or a credit may touch: by id, by kind and by price.

    What is named must fit, all of it; None names nothing. An empty set fits no line, which is what
    is left of a coupon for things that this document does not bill.
    """

    lines: frozenset[str] | None = None
    kinds: frozenset[str] | None = None
    prices: frozenset[str] | None = None

    @classmethod
    def of(
        cls,
        *,
        lines: Iterable[str] | None = None,
        kinds: Iterable[str] | None = None,
        prices: Iterable[str] | None = None,
    ) -> Scope:
        """The scope of any collections of names."""
        return cls(*(None if n is None else frozenset(n) for n in (lines, kinds, prices)))

    @property
    def restricted(self) -> bool:
        """Whether it leaves any line out on principle."""
        return self != EVERYTHING

    def covers(self, line: Line) -> bool:
        """Whether the line may be touched."""
        named = ((self.lines, line.id), (self.kinds, line.kind), (self.prices, line.price))
        return all(allowed is None or value in allowed for allowed, value in named)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON: sorted names, only of what is restricted."""
        named = (("lines", self.lines), ("kinds", self.kinds), ("prices", self.prices))
        return {key: sorted(allowed) for key, allowed in named if allowed is not None}


EVERYTHING = Scope()
