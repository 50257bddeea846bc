"""The document's arithmetic: propose everything, take away what is already billed.

`propose` is a function of the agreement, a boundary and the usage, nothing else. A bill, its
preview and its repair are therefore the same call: billing twice proposes lines whose keys are
billed already, and a line that was lost is proposed again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from apps.engine.agreement import Agreement, Item, ItemKind, QuantityStep, Reason, Timing, Turn
from apps.engine.decimals import plain
from apps.engine.money import Money
from apps.engine.period import Period, utc
from apps.engine.proration import Change, Segments, change, price_segments
from apps.engine.rating import Rated, rate

__all__ = [
    "Agreement",
    "BilledKey",
    "Item",
    "ItemKind",
    "LineKind",
    "Measured",
    "MissingUsage",
    "Proposal",
    "QuantityStep",
    "Reason",
    "Timing",
    "Totals",
    "Usage",
    "Window",
    "propose",
    "subtract_billed",
    "totals",
    "windows_needed",
]


class LineKind(StrEnum):
    """What a line bills; lines of one item stand in this order."""

    ADVANCE = "advance"
    ARREARS = "arrears"
    PRORATION = "proration"
    ONE_OFF = "one_off"


class MissingUsage(LookupError):
    """A metered line without its measurement: no usage must be said, not left out."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a meter counted in a window.

    `evidence` (watermark, hash of the events …) goes into the line's explanation untouched.
    """

    quantity: Decimal
    event_count: int
    evidence: Mapping[str, object] = field(default_factory=dict)


class Window(NamedTuple):
    """What has to be measured for one metered line."""

    item_id: int
    meter: str
    period: Period


Usage = Mapping[Window, Measured]


class BilledKey(NamedTuple):
    """What makes a line the same line."""

    item_id: int
    kind: str
    start: datetime
    end: datetime
    step_id: int | None


@dataclass(frozen=True, slots=True)
class Proposal:
    """A line as it will stand on the invoice.

    `period` is the line's identity and what it is billed for; `window` the part of it that was
    lived and measured.
    """

    item_id: int
    key: str
    kind: LineKind
    reason: Reason
    period: Period
    window: Period
    rated: Rated | Change | Segments
    step_id: int | None = None
    measured: Measured | None = None

    @property
    def amount(self) -> Money:
        """The line's rounded amount."""
        return self.rated.amount

    @property
    def quantity(self) -> Decimal:
        """Units billed for, included ones too; for a change of quantity the units added."""
        return self.rated.quantity

    @property
    def billed_key(self) -> BilledKey:
        """What `subtract_billed` knows the line by."""
        return BilledKey(self.item_id, self.kind, self.period.start, self.period.end, self.step_id)

    def description(self) -> dict[str, str]:
        """What a door needs to word the line: item key, reason, quantity."""
        return {
            "item": self.key,
            "reason": self.reason.value,
            "quantity": plain(self.quantity),
        }

    def explain(self) -> dict[str, object]:
        """The line as data: item, reason, period, the usage counted and all the arithmetic."""
        explanation: dict[str, object] = {
            "item": self.key,
            "kind": self.kind.value,
            "reason": self.reason.value,
            "period": self.period.as_dict(),
        }
        if self.window != self.period:
            explanation["window"] = self.window.as_dict()
        if self.measured is not None:
            counted: dict[str, object] = {"event_count": self.measured.event_count}
            explanation["usage"] = counted | dict(self.measured.evidence)
        return explanation | self.rated.explain()


class Totals(NamedTuple):
    """The sums of an invoice; they differ once discounts, taxes and credits come between."""

    subtotal: Money
    total: Money


def windows_needed(agreement: Agreement, k: int) -> list[Window]:
    """What has to be measured before the lines at boundary k can be proposed."""
    behind = agreement.behind(k)
    if behind is None:
        return []
    return [window for item in agreement.items if (window := _window(item, behind)) is not None]


def propose(agreement: Agreement, k: int, usage: Usage) -> list[Proposal]:
    """Every line due at boundary k: advance for the period ahead, the rest for the one behind.

    Lines come in the order of the items, then by kind, then by time. `usage` answers
    `windows_needed`; raises MissingUsage where it does not, and ValueError for k < 0.
    """
    ahead, behind = agreement.cycle.period(k), agreement.behind(k)
    lines: list[Proposal] = []
    for item in agreement.items:
        lines += _advance(item, ahead, agreement.currency)
        if behind is not None:
            lines += _arrears(item, behind, usage, agreement.currency)
            lines += _changes(item, behind, agreement.currency)
    return lines


def subtract_billed(proposals: Iterable[Proposal], billed: Collection[BilledKey]) -> list[Proposal]:
    """The proposals that no standing invoice bills yet, in their order."""
    known = frozenset(billed)
    return [line for line in proposals if line.billed_key not in known]


def totals(amounts: Iterable[Money], currency: str) -> Totals:
    """The sums of rounded lines; raises CurrencyMismatch for a line of another currency."""
    subtotal = Money.sum(amounts, currency)
    return Totals(subtotal, subtotal)


def _advance(item: Item, ahead: Period, currency: str) -> list[Proposal]:
    if item.timing is not Timing.ADVANCE or not item.lives_at(ahead.start):
        return []
    rated = _price(item, item.quantity_at(ahead.start), currency)
    if _is_nothing(rated):
        return []
    return [_line(item, LineKind.ADVANCE, Reason.RECURRING, ahead, rated)]


def _changes(item: Item, behind: Period, currency: str) -> list[Proposal]:
    if item.timing is not Timing.ADVANCE:
        return []
    current: Rated | None = None
    paid = Money.zero(currency)
    if item.lives_at(behind.start):
        current = _price(item, item.quantity_at(behind.start), currency)
        paid = current.amount
    lines = []
    for turn in item.turns(behind):
        new = None if turn.quantity is None else _price(item, turn.quantity, currency)
        if _changes_something(current, new):
            moved = change(current, new, share=behind.share_after(turn.at), paid=paid)
            paid += moved.amount
            lines.append(_turn_line(item, turn, behind, moved))
        current = new
    return lines


def _arrears(item: Item, behind: Period, usage: Usage, currency: str) -> list[Proposal]:
    lived = item.lived(behind)
    if item.timing is not Timing.ARREARS or lived is None:
        return []
    window = _window(item, behind)
    if window is not None:
        return [_usage_line(item, behind, window, usage, currency)]
    rated = _lived_price(item, lived, behind, currency)
    if rated is None:
        return []
    return [_line(item, LineKind.ARREARS, Reason.RECURRING, behind, rated, window=lived)]


def _window(item: Item, behind: Period) -> Window | None:
    lived = item.lived(behind)
    if item.meter is None or lived is None:
        return None
    return Window(item.id, item.meter, lived)


def _usage_line(
    item: Item, behind: Period, window: Window, usage: Usage, currency: str
) -> Proposal:
    measured = usage.get(window)
    if measured is None:
        raise MissingUsage(f"{window.meter} was not measured for item {item.id}: {window.period}")
    return Proposal(
        item.id,
        item.key,
        LineKind.ARREARS,
        Reason.USAGE,
        # The whole period is the line's identity, even where the item lived only part of it: an
        # end that is recorded late must not make the same period look unbilled.
        period=behind,
        window=window.period,
        # Included units belong to the period and are not prorated.
        rated=_price(item, measured.quantity, currency),
        measured=measured,
    )


def _lived_price(
    item: Item, lived: Period, behind: Period, currency: str
) -> Rated | Segments | None:
    """What the lived part of the period costs; None when it bills nothing at any time."""
    stretches = [
        (during, _price(item, item.quantity_at(during.start), currency))
        for during in _stretches(item, lived)
    ]
    if all(_is_nothing(rated) for _, rated in stretches):
        return None
    if len(stretches) > 1:
        return price_segments(stretches, whole=behind)
    return rate(
        item.terms,
        quantity=item.quantity_at(lived.start),
        included=item.included,
        share=behind.share(lived),
        currency=currency,
    )


def _stretches(item: Item, lived: Period) -> list[Period]:
    """The lived time, cut at every step."""
    inside = {utc(step.at) for step in item.steps if lived.start < step.at < lived.end}
    cuts = [lived.start, *sorted(inside), lived.end]
    return [Period(start, end) for start, end in pairwise(cuts)]


def _price(item: Item, quantity: Decimal, currency: str) -> Rated:
    return rate(item.terms, quantity=quantity, included=item.included, currency=currency)


def _is_nothing(rated: Rated | None) -> bool:
    # Only units that cost nothing make a line vanish. A flat item always has its one unit, and a
    # first tier's flat amount at zero units is money.
    return rated is None or (rated.billable == 0 and rated.exact == 0)


def _changes_something(old: Rated | None, new: Rated | None) -> bool:
    if old is not None and new is not None and old.quantity == new.quantity:
        return False
    return not (_is_nothing(old) and _is_nothing(new))


def _turn_line(item: Item, turn: Turn, behind: Period, moved: Change) -> Proposal:
    rest = Period(turn.at, behind.end)
    return _line(item, LineKind.PRORATION, turn.reason, rest, moved, step_id=turn.step_id)


def _line(
    item: Item,
    kind: LineKind,
    reason: Reason,
    period: Period,
    rated: Rated | Change | Segments,
    *,
    window: Period | None = None,
    step_id: int | None = None,
) -> Proposal:
    return Proposal(
        item.id, item.key, kind, reason, period, window or period, rated, step_id=step_id
    )
