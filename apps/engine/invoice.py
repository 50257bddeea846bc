"""The document's arithmetic: propose everything, take away what is already billed.

`propose` is a function of the agreement, a boundary and the usage, nothing else. A bill, its
preview and its repair are therefore the same call: billing twice proposes lines whose keys are
billed already, and a line that was lost is proposed again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from apps.engine.agreement import (
    Agreement,
    Item,
    ItemKind,
    QuantityPolicy,
    QuantityStep,
    Reason,
    Timing,
    Turn,
)
from apps.engine.consumption import Consumed
from apps.engine.daycount import Proration
from apps.engine.decimals import plain
from apps.engine.grid import Lap
from apps.engine.money import Money
from apps.engine.period import Period, utc
from apps.engine.price_rules import Rules
from apps.engine.prices import Terms
from apps.engine.proration import Change, Segments, change, price_segments
from apps.engine.rating import FIRST, Progress, Rated, rate, ratio
from apps.engine.values import value_class

__all__ = [
    "Agreement",
    "Billed",
    "BilledKey",
    "BilledOf",
    "Item",
    "ItemKind",
    "Lap",
    "LineKind",
    "Measured",
    "MissingUsage",
    "Proposal",
    "QuantityPolicy",
    "QuantityStep",
    "Reason",
    "Timing",
    "Totals",
    "Usage",
    "Window",
    "propose",
    "propose_changes",
    "subtract_billed",
    "totals",
    "windows_needed",
]


WHOLE = Fraction(1)


class LineKind(StrEnum):
    """What a line bills; lines of one item stand in this order."""

    ADVANCE = "advance"
    ARREARS = "arrears"
    PRORATION = "proration"
    ONE_OFF = "one_off"


class MissingUsage(LookupError):
    """A metered line without its measurement: no usage must be said, not left out."""


@value_class(frozen=True, slots=True)
class Measured:
    """What a meter counted in a window.

    `evidence` (watermark, hash of the events …) goes into the line's explanation untouched.
    `consumed` is for prices that look at more than the quantity: the amounts of single events in
    the order of their time, for example.
    """

    quantity: Decimal
    event_count: int
    evidence: Mapping[str, object] = field(default_factory=dict)
    consumed: Consumed | None = None


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


class Billed(NamedTuple):
    """What was really billed of an item for a period.

    `net` is what discounts left of the price, 0 to 1; `credited` what credit notes took back of
    that since, in minor units. `keys` are those of the lines that bill it.
    """

    net: Fraction = WHOLE
    credited: int = 0
    keys: Collection[BilledKey] = frozenset()


BilledOf = Callable[[Item, Period], Billed]


@value_class(frozen=True, slots=True)
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
    net_of: Fraction = WHOLE
    reserved: int = 0

    @property
    def discountable(self) -> bool:
        """Whether discounts apply: a credit is for what was billed after them already."""
        return self.amount.minor >= 0

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
        if self.net_of is not WHOLE and self.net_of != WHOLE:
            explanation["net_of_discounts"] = ratio(self.net_of)
        if self.reserved:
            explanation["reserved_minor"] = self.reserved
        if self.measured is not None:
            counted: dict[str, object] = {"event_count": self.measured.event_count}
            explanation["usage"] = counted | dict(self.measured.evidence)
        return explanation | self.rated.explain()


class Totals(NamedTuple):
    """The sums of an invoice; they differ once discounts, taxes and credits come between."""

    subtotal: Money
    total: Money


def windows_needed(agreement: Agreement, k: int) -> list[Window]:
    """What has to be measured before the lines at boundary k can be proposed.

    Of several prices on one meter each takes its own events: see `rules.matches`.
    """
    behind = agreement.behind(k)
    if behind is None:
        return []
    return [window for item in agreement.items if (window := _window(item, behind)) is not None]


def billed_in_full(_: Item, __: Period) -> Billed:
    """Say that no discount was taken off, and nothing taken back."""
    return Billed()


def propose(
    agreement: Agreement,
    k: int,
    usage: Usage,
    *,
    billed_of: BilledOf = billed_in_full,
    under_way: bool = False,
) -> list[Proposal]:
    """Every line due at boundary k: advance for the period ahead, the rest for the one behind.

    Lines come in the order of the items, then by kind, then by time. `usage` answers
    `windows_needed`; raises MissingUsage where it does not, and ValueError for k < 0. Credits are
    for what was billed after discounts and not taken back yet, which `billed_of` knows. A period
    that is still `under_way` does not owe the minimum of its usage yet.
    """
    progress = Progress(last=not under_way)
    ahead, behind = agreement.ahead(k), agreement.behind(k)
    lines: list[Proposal] = []
    for item in agreement.items:
        if ahead is not None:
            lines += _advance(item, ahead, agreement.currency)
        if behind is not None:
            lines += _arrears(item, behind, usage, agreement.currency, progress)
            lines += _changes(item, behind, agreement.currency, billed_of)
        lines += _one_time(item, k, ahead, behind, agreement.currency)
    return lines


def propose_changes(
    agreement: Agreement, k: int, at: datetime, *, billed_of: BilledOf = billed_in_full
) -> list[Proposal]:
    """What changes up to `at` owe or give back in the period that boundary k will close.

    They are lines that `propose` gives at boundary k, under the same keys: what is billed early is
    subtracted there.
    """
    behind, at = agreement.behind(k), utc(at)
    if behind is None:
        return []
    lines: list[Proposal] = []
    for item in agreement.items:
        lines += _changes(item, behind, agreement.currency, billed_of, until=at)
        if item.start <= at:
            lines += _one_time(item, k, None, behind, agreement.currency)
    return lines


def subtract_billed(proposals: Iterable[Proposal], billed: Collection[BilledKey]) -> list[Proposal]:
    """The proposals that no standing invoice bills yet, in their order."""
    known = billed if isinstance(billed, Set) else frozenset(billed)
    return [line for line in proposals if line.billed_key not in known]


def totals(amounts: Iterable[Money], currency: str) -> Totals:
    """The sums of rounded lines; raises CurrencyMismatch for a line of another currency."""
    subtotal = Money.sum(amounts, currency)
    return Totals(subtotal, subtotal)


def _advance(item: Item, ahead: Lap, currency: str) -> list[Proposal]:
    if not _in_advance(item) or not item.lives_at(ahead.start):
        return []
    rated = _opening(item, ahead, currency)
    if _is_nothing(rated):
        return []
    return [_line(item, LineKind.ADVANCE, Reason.RECURRING, ahead.rest, rated)]


def _in_advance(item: Item) -> bool:
    return item.timing is Timing.ADVANCE and item.kind is not ItemKind.ONE_TIME


def _opening(item: Item, lap: Lap, currency: str) -> Rated:
    """The price of the lap for what is in force at its start; a stub costs its share."""
    override = item.starts if item.start == lap.start else None
    quantity = item.quantity_at(lap.start)
    if override is None and lap.start == lap.whole.start:
        return _whole_price(item.terms, quantity, item.included, item.rules, currency)
    share = item.rule(override).share_after(lap.start, lap.whole)
    return _price(item, quantity, currency, share=share)


@lru_cache(maxsize=1024)
def _whole_price(
    terms: Terms, quantity: Decimal, included: Decimal, rules: Rules, currency: str
) -> Rated:
    """The price of a whole period: most customers of a plan owe the same, month after month."""
    return rate(terms, quantity=quantity, included=included, currency=currency, rules=rules)


def _one_time(
    item: Item, k: int, ahead: Lap | None, behind: Lap | None, currency: str
) -> list[Proposal]:
    """The line of a one-time item at the boundary where it starts, or the first one after."""
    if item.kind is not ItemKind.ONE_TIME:
        return []
    lap = None
    if behind is not None and behind.start < item.start < behind.end:
        lap = behind
    elif ahead is not None and (item.start == ahead.start or (k == 0 and item.start < ahead.start)):
        lap = ahead
    if lap is None:
        return []
    period = Period(max(item.start, lap.start), lap.whole.end)
    rated = _price(item, item.quantity_at(item.start), currency)
    return [_line(item, LineKind.ONE_OFF, Reason.ONE_TIME, period, rated)]


def _changes(
    item: Item,
    behind: Lap,
    currency: str,
    billed_of: BilledOf,
    *,
    until: datetime | None = None,
) -> list[Proposal]:
    turns = item.turns(behind) if _in_advance(item) else []
    if until is not None:
        # What an end to come will give back is sold by now: discounts come off all of it.
        turns = [turn for turn in turns if turn.at <= until]
    if not turns:
        return []
    current: Rated | None = None
    paid = Money.zero(currency)
    if item.lives_at(behind.start):
        current = _price(item, item.quantity_at(behind.start), currency)
        paid = _opening(item, behind, currency).amount
    billed = billed_of(item, behind.rest)
    taken = _TakenBack(billed)
    for turn in turns:
        new = _after(item, turn, current, currency)
        if _changes_something(current, new):
            moved = _moved(current, new, turn, behind.whole, paid, Billed())
            if turn.rule.proration is not Proration.NONE:
                net = taken.net_of(_turn_line(item, turn, behind, moved, WHOLE))
                counted = Billed(net, billed.credited) if moved.amount.minor < 0 else Billed()
                line = moved
                if counted != Billed():
                    line = _moved(current, new, turn, behind.whole, paid, counted)
                taken.add(_turn_line(item, turn, behind, line, net))
            paid += moved.amount
        current = new
    return taken.settled()


class _TakenBack:
    """The turns of an item within a period, and how much of each is taken back on one document.

    What is not billed yet and taken back again, the latest first, was never sold: discounts leave
    it alone on both sides. What goes further back was billed, and is given back as it was billed:
    after discounts.
    """

    def __init__(self, billed: Billed) -> None:
        self._billed = billed
        self._lines: list[Proposal] = []
        self._open: list[tuple[int, int]] = []  # (place, minor units) of what is not billed yet

    def net_of(self, line: Proposal) -> Fraction:
        """Return the part of its price at which a line gives back; the whole of a charge."""
        gross = -line.amount.minor
        if gross <= 0:
            return WHOLE
        own = 0 if self._is_billed(line) else min(gross, sum(left for _, left in self._open))
        if own:
            self._reserve(own)
        return (own + (gross - own) * self._billed.net) / gross

    def add(self, line: Proposal) -> None:
        """Take the line in, in the order of time."""
        if line.amount.minor > 0 and not self._is_billed(line):
            self._open.append((len(self._lines), line.amount.minor))
        self._lines.append(line)

    def settled(self) -> list[Proposal]:
        """Return the lines, each with what of it is taken back."""
        return self._lines

    def _is_billed(self, line: Proposal) -> bool:
        return line.billed_key in self._billed.keys

    def _reserve(self, own: int) -> None:
        while own:
            place, left = self._open.pop()
            part = min(own, left)
            line = self._lines[place]
            self._lines[place] = replace(line, reserved=line.reserved + part)
            if left > part:
                self._open.append((place, left - part))
            own -= part


def _after(item: Item, turn: Turn, current: Rated | None, currency: str) -> Rated | None:
    """The full price after a turn; where the highest quantity counts a fall changes nothing."""
    if turn.quantity is None:
        return None
    new = _price(item, turn.quantity, currency)
    keeps = item.policy is QuantityPolicy.HIGH_WATER and current is not None
    return current if keeps and current is not None and new.exact < current.exact else new


def _moved(
    old: Rated | None, new: Rated | None, turn: Turn, whole: Period, paid: Money, billed: Billed
) -> Change:
    """The price of a turn for the rest of the period.

    A credit stops at what was billed after discounts, less what was taken back of that.
    """
    less = (new.exact if new else 0) < (old.exact if old else 0)
    if not less:
        return change(old, new, share=turn.rule.share_after(turn.at, whole), paid=paid)
    unused = turn.rule.unused_after(turn.at, whole)
    left = max(0, paid.times(billed.net).minor - billed.credited)
    return change(old, new, share=unused * billed.net, paid=Money(left, paid.currency))


def _arrears(
    item: Item, behind: Lap, usage: Usage, currency: str, progress: Progress
) -> list[Proposal]:
    if item.timing is not Timing.ARREARS or item.kind is ItemKind.ONE_TIME:
        return []
    lived = item.lived(behind.lived)
    if lived is None:
        return []
    window = _window(item, behind)
    if window is not None:
        return [_usage_line(item, behind, window, usage, currency, progress)]
    rated = _lived_price(item, lived, behind.whole, currency)
    if rated is None:
        return []
    return [_line(item, LineKind.ARREARS, Reason.RECURRING, behind.rest, rated, window=lived)]


def _window(item: Item, behind: Lap) -> Window | None:
    if item.meter is None:
        return None
    lived = item.lived(behind.lived)
    return None if lived is None else Window(item.id, item.meter, lived)


def _usage_line(
    item: Item, behind: Lap, window: Window, usage: Usage, currency: str, progress: Progress
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
        period=behind.rest,
        window=window.period,
        # Included units belong to the period and are not prorated.
        rated=_price(item, measured.consumed or measured.quantity, currency, progress=progress),
        measured=measured,
    )


def _lived_price(
    item: Item, lived: Period, whole: Period, currency: str
) -> Rated | Segments | None:
    """What the lived part of the period costs; None when it bills nothing at any time."""
    stretches = [
        (during, _price(item, quantity, currency)) for during, quantity in _stretches(item, lived)
    ]
    if all(_is_nothing(rated) for _, rated in stretches):
        return None
    if len(stretches) > 1:
        return price_segments(stretches, whole=whole, rule=item.proration)
    share = item.proration.share(lived, whole)
    return _price(item, stretches[0][1].quantity, currency, share=share)


def _stretches(item: Item, lived: Period) -> list[tuple[Period, Decimal]]:
    """The lived time, cut at every step, with its quantities; whole where the highest counts."""
    if item.policy is QuantityPolicy.HIGH_WATER:
        return [(lived, item.peak(lived))]
    inside = {utc(step.at) for step in item.steps if lived.start < step.at < lived.end}
    cuts = [lived.start, *sorted(inside), lived.end]
    return [(Period(start, end), item.quantity_at(start)) for start, end in pairwise(cuts)]


def _price(
    item: Item,
    quantity: Decimal | Consumed,
    currency: str,
    *,
    share: Fraction = WHOLE,
    progress: Progress = FIRST,
) -> Rated:
    return rate(
        item.terms,
        quantity=quantity,
        included=item.included,
        share=share,
        currency=currency,
        rules=item.rules,
        progress=progress,
    )


def _is_nothing(rated: Rated | None) -> bool:
    # Only units that cost nothing make a line vanish. A flat item always has its one unit, and a
    # first tier's flat amount at zero units is money.
    return rated is None or (rated.billable == 0 and rated.exact == 0)


def _changes_something(old: Rated | None, new: Rated | None) -> bool:
    if old is not None and new is not None and old.quantity == new.quantity:
        return False
    return not (_is_nothing(old) and _is_nothing(new))


def _turn_line(item: Item, turn: Turn, behind: Lap, moved: Change, net: Fraction) -> Proposal:
    rest = Period(turn.at, behind.whole.end)
    net = net if moved.amount.minor < 0 else WHOLE
    return _line(
        item, LineKind.PRORATION, turn.reason, rest, moved, step_id=turn.step_id, net_of=net
    )


def _line(
    item: Item,
    kind: LineKind,
    reason: Reason,
    period: Period,
    rated: Rated | Change | Segments,
    *,
    window: Period | None = None,
    step_id: int | None = None,
    net_of: Fraction = WHOLE,
) -> Proposal:
    return Proposal(
        item.id,
        item.key,
        kind,
        reason,
        period,
        window or period,
        rated,
        step_id=step_id,
        net_of=net_of,
    )
