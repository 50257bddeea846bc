"""What a subscription owes by: dated items on a grid of periods. The input of every invoice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from apps.engine.calendar import Cycle
from apps.engine.daycount import BY_THE_SECOND, Proration, ProrationRule
from apps.engine.decimals import ZERO
from apps.engine.grid import Grid, Lap
from apps.engine.money import exponent
from apps.engine.period import Period, utc
from apps.engine.price_rules import PLAIN, Rules
from apps.engine.prices import Terms
from apps.engine.values import value_class

ONE = Decimal(1)


class ItemKind(StrEnum):
    """What an item's quantity is: one, what was bought, or what was used.

    A one-time item is billed once, where it starts, and never credited.
    """

    FLAT = "flat"
    LICENSED = "licensed"
    METERED = "metered"
    ONE_TIME = "one_time"


class QuantityPolicy(StrEnum):
    """Which quantity of a period is billed: every one for its time, or the highest.

    `assigned` is billed as what is purchased is; its quantity is kept at how many are somebody's.
    """

    PURCHASED = "purchased"
    ASSIGNED = "assigned"
    HIGH_WATER = "high_water"


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
    ONE_TIME = "one_time"


@value_class(frozen=True, slots=True)
class QuantityStep:
    """From `at` on the item's quantity is this; of two steps at one instant the larger id holds.

    `proration` replaces the item's for this step: `none` leaves the period as it was billed.
    """

    id: int
    at: datetime
    quantity: Decimal
    proration: Proration | None = None


class Turn(NamedTuple):
    """A moment at which an item's price changes; quantity None means the item is gone."""

    at: datetime
    quantity: Decimal | None
    reason: Reason
    step_id: int | None
    rule: ProrationRule


_KINDS = (("kind", ItemKind), ("policy", QuantityPolicy), ("timing", Timing))


@value_class(frozen=True, slots=True)
class Item:
    """One dated item of an agreement.

    `during` is [start, end), end None while open. Licensed items have steps, a one-time one may;
    only metered items have a meter, and they are billed in arrears. `proration` says what a part of
    a period costs, `starts` and `ends` replace it for the first and the last one. `rules` convert
    and bound what the terms give. `filters` tell which usage of the meter is meant, among the
    prices of one `group`: see `rules.matches`. Raises ValueError where these do not hold.
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
    rules: Rules = PLAIN
    proration: ProrationRule = BY_THE_SECOND
    starts: Proration | None = None
    ends: Proration | None = None
    policy: QuantityPolicy = QuantityPolicy.PURCHASED
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    group: int = 0

    def __post_init__(self) -> None:
        for name, kind in _KINDS:
            if type(getattr(self, name)) is not kind:
                object.__setattr__(self, name, kind(getattr(self, name)))
        if len(self.steps) > 1:
            ordered = tuple(sorted(self.steps, key=lambda step: (step.at, step.id)))
            object.__setattr__(self, "steps", ordered)
        start, end = self.during
        object.__setattr__(self, "during", (utc(start), None if end is None else utc(end)))
        if (self.meter is not None) != (self.kind is ItemKind.METERED):
            raise ValueError(f"{self.key}: a metered item has a meter, and only a metered one")
        if self.kind is ItemKind.METERED and self.timing is Timing.ADVANCE:
            raise ValueError(f"{self.key}: usage can only be billed in arrears")
        if self.steps and self.kind not in (ItemKind.LICENSED, ItemKind.ONE_TIME):
            raise ValueError(f"{self.key}: only a licensed item has quantity steps")
        if self.filters and self.kind is not ItemKind.METERED:
            raise ValueError(f"{self.key}: only usage can be filtered")
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"{self.key}: an item must end after it starts")

    @property
    def start(self) -> datetime:
        """When it starts, in UTC."""
        return self.during[0]

    @property
    def end(self) -> datetime | None:
        """When it ends, in UTC; None while it is open."""
        return self.during[1]

    def lives_at(self, moment: datetime) -> bool:
        """Whether start ≤ moment < end."""
        since, until = self.during
        return since <= moment and (until is None or moment < until)

    def lived(self, period: Period) -> Period | None:
        """The part of the period in which the item lived, or None."""
        since, until = self.during
        if since <= period.start and (until is None or until >= period.end):
            return period
        start = max(since, period.start)
        end = period.end if until is None else min(until, period.end)
        return Period(start, end) if start < end else None

    def quantity_at(self, moment: datetime) -> Decimal:
        """The quantity in force: the last step's; without any 1, or 0 of a licensed item."""
        if not self.steps and self.kind is not ItemKind.LICENSED:
            return ONE
        reached = [step.quantity for step in self.steps if step.at <= moment]
        return reached[-1] if reached else ZERO

    def peak(self, period: Period) -> Decimal:
        """The highest quantity in the period."""
        inside = (step.quantity for step in self.steps if period.start < step.at < period.end)
        return max(self.quantity_at(period.start), *inside, ZERO)

    def rule(self, override: Proration | None) -> ProrationRule:
        """How a part of a period is counted, where a change may have said otherwise."""
        return self.proration if override is None else replace(self.proration, proration=override)

    def turns(self, lap: Lap) -> list[Turn]:
        """Everything that changes the item's price strictly inside the lap's period, in order."""
        lived = self.lived(lap.lived)
        if lived is None:
            return []
        turns = [
            Turn(
                step.at, step.quantity, Reason.QUANTITY_CHANGED, step.id, self.rule(step.proration)
            )
            for step in self.steps
            if lived.start < step.at < lived.end
        ]
        if lived.start > lap.start:
            first, rule = self.quantity_at(lived.start), self.rule(self.starts)
            turns.insert(0, Turn(lived.start, first, Reason.STARTED, None, rule))
        if lived.end < lap.whole.end:
            turns.append(Turn(lived.end, None, Reason.ENDED, None, self.rule(self.ends)))
        return turns


@value_class(frozen=True, slots=True, init=False)
class Agreement:
    """What one subscription owes by: its grid of periods, its currency, its items in order.

    A plain cycle stands for the grid of one phase that begins at its anchor and has no end.
    """

    cycle: Grid
    currency: str
    items: tuple[Item, ...]

    def __init__(self, cycle: Cycle | Grid, currency: str, items: tuple[Item, ...]) -> None:
        grid = Grid.of(cycle) if isinstance(cycle, Cycle) else cycle
        object.__setattr__(self, "cycle", grid)
        object.__setattr__(self, "currency", currency)
        object.__setattr__(self, "items", items)
        exponent(currency)
        if len({item.id for item in items}) != len(items):
            raise ValueError("an item stands twice in the agreement")

    def ahead(self, k: int) -> Lap | None:
        """What boundary k opens; None where the agreement pauses or ends."""
        if k < 0:
            raise ValueError(f"nothing is billed before boundary 0: {k}")
        return self.cycle.lap(k)

    def behind(self, k: int) -> Lap | None:
        """What boundary k closes; None at boundary 0 and after a pause."""
        if k < 0:
            raise ValueError(f"nothing is billed before boundary 0: {k}")
        return self.cycle.lap(k - 1) if k else None
