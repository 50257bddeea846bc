"""A plan tried on usage: what every customer of a file would have been charged, period by period.

The plan comes from a catalogue file and the usage from a file of events. Nothing is loaded and
nothing is stored; aggregation, rating and settling are the engine's, as for a bill.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from apps.analytics.offered import Gauge, Offer, dimensions_of
from apps.analytics.tallies import Tally, text_of
from apps.engine.aggregation import Aggregation
from apps.engine.agreement import Agreement, Item, QuantityStep
from apps.engine.calendar import Cycle, calendar_cycle
from apps.engine.consumption import total_of
from apps.engine.invoice import Measured, Proposal, Window, propose, windows_needed
from apps.engine.lines import Line as EngineLine
from apps.engine.period import Period
from apps.engine.prices import Dynamic, Percentage
from apps.engine.rules import Match, matches
from apps.engine.settlement import settle
from apps.invoicing.document import Line
from apps.plans.selectors import PriceTerms
from apps.subscriptions.facts import engine_item
from apps.usage.checking import NewEvent, value_at

BY_EVENT = (Percentage, Dynamic)


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What a usage file does not say.

    `seats` is the quantity of licensed prices, the included one unless it is said. Without `start`
    periods are those of the calendar, from the first event on; without `end` up to the last.
    """

    timezone: str = "UTC"
    seats: int | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """What one customer is charged for one period; minor units, before discounts and taxes."""

    subject: str
    period: Period
    currency: str
    lines: tuple[Line, ...]
    total: int


@dataclass(frozen=True, slots=True)
class _Price:
    """A metered price: its item, its meter, and which of the meter's events are its own."""

    item: Item
    gauge: Gauge
    takes: Match
    dimensions: frozenset[str]


_Key = tuple[int, int]


class Simulation:
    """One plan, fed with events one by one, in any order; then asked for its statements."""

    def __init__(self, offer: Offer, assumed: Assumptions) -> None:
        self.offer, self.assumed = offer, assumed
        self._cycle = _cycle(offer, assumed)
        self._items = tuple(_items(offer, assumed, assumed.start or self._cycle.anchor))
        self._priced = _priced(self._items, offer.gauges)
        self._by_event = {item.id for item in self._items if isinstance(item.terms, BY_EVENT)}
        self._tallies: dict[str, dict[_Key, Tally]] = defaultdict(dict)
        self._periods: set[int] = set()

    def take(self, event: NewEvent) -> bool:
        """Count an event; tell whether it lies in the time simulated and any price counts it."""
        moment = event.occurred_at
        prices = self._priced.get(event.type, ())
        if moment is None or not prices or not self._is_inside(moment):
            return False
        index, early = self._cycle.index_at(moment), self._is_early(moment)
        counted = [
            price
            for price in prices
            if (not early or price.gauge.aggregation is Aggregation.WEIGHTED_SUM)
            and _takes(price, event)
        ]
        for price in counted:
            self._tally(event.subject, price, index).take(moment, event.data)
        if early or not counted:
            return False  # a level that was there before is carried in, and nothing else
        self._periods.add(index)
        return True

    def statements(self) -> Iterator[Statement]:
        """Yield what every customer is charged, by customer and then by time.

        Every customer has a statement for every period simulated, one without usage too.
        """
        first, count = self._span()
        if not count:
            return
        agreement = self._agreement(first)
        for subject in sorted(self._tallies) or [""]:
            yield from self._of_subject(subject, agreement, first, count)

    def _is_inside(self, moment: datetime) -> bool:
        end = self.assumed.end
        return end is None or moment < end

    def _is_early(self, moment: datetime) -> bool:
        start = self.assumed.start
        return start is not None and moment < start

    def _tally(self, subject: str, price: _Price, index: int) -> Tally:
        mine, key = self._tallies[subject], (price.item.id, index)
        if key not in mine:
            mine[key] = Tally(price.gauge, price.item.id in self._by_event)
        return mine[key]

    def _span(self) -> tuple[int, int]:
        """Return the first period, and how many there are."""
        start, end = self.assumed.start, self.assumed.end
        seen = sorted(self._periods)
        if start is not None:
            first = self._cycle.index_at(start)
        elif seen:
            first = seen[0]
        else:
            return 0, 0
        last = max([first - 1, *seen])
        if end is not None:
            while self._cycle.boundary(last + 1) < end:
                last += 1
        return first, last - first + 1

    def _agreement(self, first: int) -> Agreement:
        start = self._cycle.boundary(first)
        cycle = Cycle(start, self._cycle.interval, self._cycle.timezone)
        items = tuple(_from(item, start) for item in self._items)
        return Agreement(cycle, self.offer.version.currency, items)

    def _of_subject(
        self, subject: str, agreement: Agreement, first: int, count: int
    ) -> Iterator[Statement]:
        lines: list[list[Proposal]] = [[] for _ in range(count)]
        for k in range(count + 1):
            usage = {
                window: self._measured(subject, window, first + k - 1)
                for window in windows_needed(agreement, k)
            }
            for proposal in propose(agreement, k, usage):
                place = agreement.cycle.index_at(proposal.period.start)
                if place < count:
                    lines[place].append(proposal)
        for place, found in enumerate(lines):
            period = agreement.cycle.period(place)
            yield self._statement(subject, period, sorted(found, key=lambda one: -one.item_id))

    def _measured(self, subject: str, window: Window, index: int) -> Measured:
        mine = self._tallies.get(subject, {})
        gauge = self.offer.gauges[window.meter]
        tally = mine.get((window.item_id, index)) or Tally(gauge, window.item_id in self._by_event)
        if gauge.aggregation is not Aggregation.WEIGHTED_SUM:
            return tally.measured(window.period)
        before = [
            earlier.sum()
            for (item_id, place), earlier in mine.items()
            if item_id == window.item_id and place < index
        ]
        return tally.measured(window.period, total_of(before))

    def _statement(self, subject: str, period: Period, found: list[Proposal]) -> Statement:
        currency = self.offer.version.currency
        lines = tuple(self._line(proposal) for proposal in found)
        settled = settle(
            [
                EngineLine(str(n), proposal.amount, proposal.kind.value, proposal.key)
                for n, proposal in enumerate(found)
            ],
            currency=currency,
        )
        return Statement(subject, period, currency, lines, settled.totals.total.minor)

    def _line(self, proposal: Proposal) -> Line:
        price = self.offer.version.price(proposal.key)
        explanation = dict(proposal.explain())
        if price.meter_key is not None:
            explanation |= {"meter": price.meter_key, "unit": price.unit}
        return Line(
            "",
            proposal.key,
            proposal.kind.value,
            proposal.reason.value,
            price.name,
            proposal.period,
            proposal.quantity,
            proposal.amount.minor,
            explanation,
            unit=price.unit,
        )


def _cycle(offer: Offer, assumed: Assumptions) -> Cycle:
    interval = offer.version.interval
    if assumed.start is None:
        return calendar_cycle(interval, assumed.timezone)
    return Cycle(assumed.start, interval, assumed.timezone)


def _items(offer: Offer, assumed: Assumptions, start: datetime) -> Iterator[Item]:
    for price in offer.version.prices:
        yield engine_item(
            price.id,
            price,
            group=offer.version.version_id,
            during=(start, None),
            timezone=assumed.timezone,
            steps=_steps(price, assumed, start),
        )


def _steps(price: PriceTerms, assumed: Assumptions, start: datetime) -> tuple[QuantityStep, ...]:
    if price.type != "licensed":
        return ()
    quantity = price.included if assumed.seats is None else Decimal(assumed.seats)
    return (QuantityStep(price.id, start, quantity),)


def _from(item: Item, start: datetime) -> Item:
    """Return the item as one that begins there."""
    steps = tuple(replace(step, at=start) for step in item.steps)
    return replace(item, during=(start, None), steps=steps)


def _priced(items: tuple[Item, ...], gauges: Mapping[str, Gauge]) -> dict[str, list[_Price]]:
    match, found = matches(items), defaultdict(list)
    for item in items:
        if item.meter is not None:
            gauge, takes = gauges[item.meter], match[item.id]
            names = gauge.dimensions | dimensions_of(takes)
            found[gauge.event_type].append(_Price(item, gauge, takes, names))
    return dict(found)


def _takes(price: _Price, event: NewEvent) -> bool:
    if not price.dimensions:
        return True
    said = {name: text_of(value_at(event.data, name.split("."))[1]) for name in price.dimensions}
    known = {name: value for name, value in said.items() if value is not None}
    return price.gauge.counts.takes(known) and price.takes.takes(known)
