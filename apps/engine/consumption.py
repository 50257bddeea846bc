"""What was consumed: one quantity, or what a price that looks at more than a sum has to see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from apps.engine.decimals import EXACT, ZERO, decimal_of
from apps.engine.values import value_class


@dataclass(frozen=True, slots=True)
class Move:
    """A change of a level: units added or removed, and the same units by their share of time."""

    units: Decimal
    prorated: Decimal

    def __post_init__(self) -> None:
        decimal_of(self.units)
        decimal_of(self.prorated)


@value_class(frozen=True, slots=True)
class Consumed:
    """The facts that a price is applied to; most prices look at the quantity alone.

    `tier_quantity` chooses the tier of a volume price in place of the quantity. `events` are the
    amounts of single events in the order of their time, in major units; their sum is the quantity.
    `units` are the quantities of a capacity price by unit. `moves` are the changes of a level,
    in the order of their time, for a graduated price that charges units by their share of time.
    """

    quantity: Decimal = ZERO
    tier_quantity: Decimal | None = None
    events: tuple[Decimal, ...] | None = None
    units: Mapping[str, Decimal] = field(default_factory=dict)
    moves: tuple[Move, ...] | None = None

    def __post_init__(self) -> None:
        decimal_of(self.quantity)
        for value in (*(self.events or ()), *self.units.values()):
            decimal_of(value)
        if self.tier_quantity is not None:
            decimal_of(self.tier_quantity)

    @property
    def total(self) -> Decimal:
        """All units together: of the events or moves where there are any."""
        if self.events is not None:
            return total_of(self.events)
        if self.moves is not None:
            return total_of(move.units for move in self.moves)
        return self.quantity

    def after(self, before: Consumed) -> Consumed:
        """Both together, what came before first."""
        events = None
        if self.events is not None or before.events is not None:
            events = (*(before.events or ()), *(self.events or ()))
        moves = None
        if self.moves is not None or before.moves is not None:
            moves = (*(before.moves or ()), *(self.moves or ()))
        return Consumed(
            EXACT.add(before.quantity, self.quantity),
            self.tier_quantity,
            events,
            self.units,
            moves,
        )


def total_of(values: Iterable[Decimal]) -> Decimal:
    """The exact sum."""
    total = ZERO
    for value in values:
        total = EXACT.add(total, value)
    return total
