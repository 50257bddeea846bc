"""What a subscription owes by: dated items on a grid of periods. The input of every invoice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from apps.engine.calendar import Cycle
from apps.engine.decimals import ZERO
from apps.engine.money import exponent
from apps.engine.period import Period, utc
from apps.engine.prices import Terms

ONE = Decimal(1)


class ItemKind(StrEnum):
    """What an item's quantity is: one, what was bought, or what was used."""

    FLAT = "flat"
    LICENSED = "licensed"
    METERED = "metered"


class Timing(StrEnum):
    """Whether an item is billed before its period or after it."""

    ADVANCE = "advance"
    ARREARS = "arrears"


class Reason(StrEnum):
    """Why a line is there, for its wording."""

    RECURRING = "recurring"
    USAGE = "usage"
    STARTED = "started"
    QUANTITY_CHANGED = "quantity_changed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class QuantityStep:
    """From `at` on the item's quantity is this; of two steps at one instant the larger id holds."""

    id: int
    at: datetime
    quantity: Decimal


class Turn(NamedTuple):
    """A moment at which an item's price changes; quantity None means the item is gone."""

    at: datetime
    quantity: Decimal | None
    reason: Reason
    step_id: int | None


@dataclass(frozen=True, slots=True)
class Item:
    """One dated item of an agreement.

    `during` is [start, end), end None while open. Only licensed items have steps, only metered ones
    a meter; metered items are billed in arrears. Raises ValueError where these do not hold.
    """

    id: int
    key: str
    kind: ItemKind
    timing: Timing
    terms: Terms
    during: tuple[datetime, datetime | None]
    included: Decimal = ZERO
    steps: tuple[QuantityStep, ...] = ()
    meter: str | None = None
    meter_id: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", ItemKind(self.kind))
        object.__setattr__(self, "timing", Timing(self.timing))
        ordered = tuple(sorted(self.steps, key=lambda step: (step.at, step.id)))
        object.__setattr__(self, "steps", ordered)
        if (self.meter is not None) != (self.kind is ItemKind.METERED):
            raise ValueError(f"{self.key}: a metered item has a meter, and only a metered one")
        if self.kind is ItemKind.METERED and self.timing is Timing.ADVANCE:
            raise ValueError(f"{self.key}: usage can only be billed in arrears")
        if self.steps and self.kind is not ItemKind.LICENSED:
            raise ValueError(f"{self.key}: only a licensed item has quantity steps")
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"{self.key}: an item must end after it starts")

    @property
    def start(self) -> datetime:
        """When it starts, in UTC."""
        return utc(self.during[0])

    @property
    def end(self) -> datetime | None:
        """When it ends, in UTC; None while it is open."""
        return None if self.during[1] is None else utc(self.during[1])

    def lives_at(self, moment: datetime) -> bool:
        """Whether start ≤ moment < end."""
        return self.start <= moment and (self.end is None or moment < self.end)

    def lived(self, period: Period) -> Period | None:
        """The part of the period in which the item lived, or None."""
        start = max(self.start, period.start)
        end = period.end if self.end is None else min(self.end, period.end)
        return Period(start, end) if start < end else None

    def quantity_at(self, moment: datetime) -> Decimal:
        """The quantity in force: 1 of a flat item, the last step's of a licensed one, or 0."""
        if self.kind is ItemKind.FLAT:
            return ONE
        reached = [step.quantity for step in self.steps if step.at <= moment]
        return reached[-1] if reached else ZERO

    def turns(self, period: Period) -> list[Turn]:
        """Everything that changes the item's price strictly inside the period, in order."""
        lived = self.lived(period)
        if lived is None:
            return []
        turns = [
            Turn(step.at, step.quantity, Reason.QUANTITY_CHANGED, step.id)
            for step in self.steps
            if lived.start < step.at < lived.end
        ]
        if lived.start > period.start:
            turns.insert(0, Turn(lived.start, self.quantity_at(lived.start), Reason.STARTED, None))
        if lived.end < period.end:
            turns.append(Turn(lived.end, None, Reason.ENDED, None))
        return turns


@dataclass(frozen=True, slots=True)
class Agreement:
    """What one subscription owes by: its grid of periods, its currency, its items in order."""

    cycle: Cycle
    currency: str
    items: tuple[Item, ...]

    def __post_init__(self) -> None:
        exponent(self.currency)
        if len({item.id for item in self.items}) != len(self.items):
            raise ValueError("an item stands twice in the agreement")

    def behind(self, k: int) -> Period | None:
        """The period that ends at boundary k; None at boundary 0."""
        if k < 0:
            raise ValueError(f"nothing is billed before boundary 0: {k}")
        return self.cycle.period(k - 1) if k else None
