"""Two plans compared on what customers really used: what each would have paid under either.

A customer is billed again in memory, with their own periods, quantities, add-ons, agreed prices and
usage, once as it is and once as if they had always had the other version. Both sides go through the
composition that bills. Taxes and credit stay out of it; discounts in force come off.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from apps.core import rls
from apps.core.errors import Conflict, DomainError, Invalid
from apps.engine.agreement import QuantityStep
from apps.engine.calendar import Interval, Unit
from apps.engine.money import round_half_away
from apps.engine.period import Period
from apps.invoicing.composition import Boundary, Composed, compose_all
from apps.invoicing.reckoning import Customer, conditions_of, reckon
from apps.plans.selectors import PriceTerms, VersionTerms
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions.changes import check_agreed
from apps.subscriptions.facts import ItemFacts, PhaseFacts, SubscriptionFacts, engine_item
from apps.tenants import selectors as tenants
from apps.usage import selectors as usage

log = logging.getLogger(__name__)

CHUNK = 100
_A_MONTH = {
    Unit.DAY: Fraction(365, 12),
    Unit.WEEK: Fraction(365, 84),
    Unit.MONTH: Fraction(1),
    Unit.QUARTER: Fraction(1, 3),
    Unit.YEAR: Fraction(1, 12),
}


@dataclass(frozen=True, slots=True)
class PeriodChange:
    """What one period came to, and would have come to; minor units, net of discounts."""

    period: Period
    old: int
    new: int


@dataclass(frozen=True, slots=True)
class Compared:
    """One subscription under both versions, over the complete periods of the window."""

    organization_id: int
    subscription: str
    version: int
    currency: str
    interval: Interval
    periods: tuple[PeriodChange, ...]

    @property
    def old(self) -> int:
        """What all periods came to."""
        return sum(one.old for one in self.periods)

    @property
    def new(self) -> int:
        """What they would have come to."""
        return sum(one.new for one in self.periods)

    @property
    def change(self) -> int:
        """What the customer would pay more, or less when negative."""
        return self.new - self.old

    @property
    def monthly(self) -> int:
        """The change by the month, on the average of the periods."""
        months = _A_MONTH[self.interval.unit] / self.interval.count
        return round_half_away(self.change * months / len(self.periods))

    @property
    def increase(self) -> Fraction | None:
        """The change as a share of what it was; None where it was nothing."""
        return Fraction(self.change, abs(self.old)) if self.old else None

    def rises_above(self, share: Fraction) -> bool:
        """Whether the customer would pay more than that share on top of what they pay now."""
        if self.increase is None:
            return self.change > 0
        return self.increase > share


@dataclass(frozen=True, slots=True)
class NotCompared:
    """A subscription that says nothing, or that cannot have the other version (`refused`)."""

    organization_id: int
    subscription: str
    reason: str
    refused: bool


Row = Compared | NotCompared


@dataclass(frozen=True, slots=True)
class Comparison:
    """Who is compared with what: the subscriptions to a plan, or to one version of it.

    `window` is the time in which periods have to end.
    """

    plan_id: int
    version_id: int | None
    new: VersionTerms
    window: Period

    def check(self) -> None:
        """Raise Invalid for a meter that has counted nothing because it does not exist.

        Needs the ops scope.
        """
        known = {meter.key for meter in usage.meters()}
        wanted = {price.meter_key for price in self.new.prices if price.meter_key}
        if missing := sorted(wanted - known):
            raise Invalid(
                f"There is no meter '{missing[0]}' yet, so nothing was counted for it.",
                param="meter",
            )

    def concerns(self, facts: SubscriptionFacts) -> bool:
        """Whether it is about this subscription."""
        return self.version_id in (None, facts.version.version_id)


def compare_customers(
    asked: Comparison, *, chunk: int = CHUNK, step: Callable[[int], object] = lambda _: None
) -> Iterator[Row]:
    """Yield every subscription concerned, in chunks of one measurement and one transaction each.

    Opens its own scopes and writes nothing. `step` is told how many a chunk had. Raises Invalid.
    """
    with rls.ops_scope("backtest: meters"):
        asked.check()
    after = 0
    while True:
        with rls.ops_scope("backtest: a chunk of subscriptions"):
            found = subscriptions.on_plan(asked.plan_id, after=after, limit=chunk)
            rows = _compare_all([facts for facts in found if asked.concerns(facts)], asked)
        if not found:
            return
        yield from rows
        step(len(found))
        after = found[-1].id


def _compare_all(found: Sequence[SubscriptionFacts], asked: Comparison) -> list[Row]:
    pairs: list[_Pair] = []
    rows: list[Row] = []
    for facts in found:
        try:
            pair = _Pair(unbilled(facts), as_if(facts, asked.new), _laps(facts, asked.window))
        except DomainError as refusal:
            rows.append(_not(facts, refusal.message, refused=True))
            continue
        if pair.laps:
            pairs.append(pair)
        else:
            rows.append(_not(facts, "No complete period lies in the window.", refused=False))
    return rows + _amounts(pairs)


def _not(facts: SubscriptionFacts, reason: str, *, refused: bool) -> NotCompared:
    return NotCompared(facts.organization_id, facts.public_id, reason, refused)


@dataclass(frozen=True, slots=True)
class _Pair:
    """A subscription as it is and as it would be, and the complete periods to compare."""

    old: SubscriptionFacts
    new: SubscriptionFacts
    laps: tuple[int, ...]

    def boundaries(self) -> list[int]:
        """Return what opens and what closes each of the periods."""
        return sorted({k for lap in self.laps for k in (lap, lap + 1)})


def _amounts(pairs: Sequence[_Pair]) -> list[Row]:
    try:
        return [*_amounts_together(pairs)]
    except Exception as error:
        if len(pairs) > 1:  # whoever is at fault is found by comparing one at a time
            return [row for pair in pairs for row in _amounts([pair])]
        log.exception("backtest_failed", extra={"subscription": pairs[0].old.id})
        return [_not(pairs[0].old, f"{type(error).__name__}: {error}", refused=True)]


def _amounts_together(pairs: Sequence[_Pair]) -> Iterator[Row]:
    old = _nets([(pair.old, pair) for pair in pairs])
    new = _nets([(pair.new, pair) for pair in pairs])
    for pair, before, after in zip(pairs, old, new, strict=True):
        cycle = pair.old.agreement.cycle
        yield Compared(
            pair.old.organization_id,
            pair.old.public_id,
            pair.old.version.number,
            pair.old.currency,
            pair.old.version.interval,
            tuple(
                PeriodChange(cycle.period(lap), was, would)
                for lap, was, would in zip(pair.laps, before, after, strict=True)
            ),
        )


def _nets(sides: Sequence[tuple[SubscriptionFacts, _Pair]]) -> list[list[int]]:
    """Return what every period of each comes to, net of discounts, with one measurement."""
    boundaries: list[Boundary] = [(f, k) for f, pair in sides for k in pair.boundaries()]
    composed = iter(compose_all(boundaries))
    rows = tenants.organizations({facts.organization_id for facts, _ in sides})
    customers: list[Customer] = []
    lines: list[list[Composed]] = []
    for facts, pair in sides:
        mine = [line for _ in pair.boundaries() for line in next(composed)]
        cycle = facts.agreement.cycle
        for lap in pair.laps:
            dated = cycle.boundary(lap + 1)
            owner = rows[facts.organization_id]
            customers.append(Customer(owner, facts.currency, dated, facts.discounts))
            lines.append([line for line in mine if _is_of(line, cycle.period(lap))])
    nets = iter(
        reckon(found, replace(conditions, rates=(), grants=())).settlement.totals.net.minor
        for found, conditions in zip(lines, conditions_of(customers), strict=True)
    )
    return [[next(nets) for _ in pair.laps] for _, pair in sides]


def _is_of(line: Composed, period: Period) -> bool:
    """Tell whether the agreement itself bills the line for the period: no charge, no correction."""
    single = line.charge_id is not None or line.corrects_id is not None
    return not single and period.contains(line.period.start)


def _laps(facts: SubscriptionFacts, window: Period) -> tuple[int, ...]:
    """Return the periods that were lived to their end within the window."""
    cycle = facts.agreement.cycle
    if window.end <= cycle.anchor:
        return ()
    first = max(0, cycle.index_at(max(window.start, cycle.anchor)) - 1)
    last = cycle.index_at(window.end)
    return tuple(
        k
        for k in range(first, last)
        if (lap := cycle.lap(k)) is not None and window.start < lap.end <= window.end
    )


def unbilled(facts: SubscriptionFacts) -> SubscriptionFacts:
    """Return the facts as ones that no invoice has billed: with ids that no row has."""
    return facts.rebuilt(items=[_renumbered(item, -item.id) for item in facts.items])


def as_if(facts: SubscriptionFacts, version: VersionTerms) -> SubscriptionFacts:
    """Return the facts as if its plan had always been this version; stores nothing.

    Phases of other plans stay, and so do add-ons. Quantities are carried over as by a change of
    plan, and prices agreed with the customer stay agreed where the version has the key. Raises
    Conflict for another interval, CurrencyNotSold, PriceNotAgreed.
    """
    version = version.in_currency(facts.currency)
    plan_id = facts.version.plan_id
    replaced = [phase for phase in facts.phases if phase.version.plan_id == plan_id]
    if any(phase.interval != version.interval for phase in replaced):
        raise Conflict(
            f"{version.plan_name} is billed by another interval; only plans of one are compared."
        )
    gone = {phase.version.version_id for phase in replaced}
    leaving = [item for item in facts.items if item.version.version_id in gone]
    staying = [item for item in facts.items if item.version.version_id not in gone]
    check_agreed(version, _agreed(leaving, version))
    items = [_renumbered(item, -item.id) for item in staying]
    for start, end in _stretches(replaced):
        first = min([0, *(item.id for item in items), *(-item.id for item in facts.items)]) - 1
        items += _items(facts, version, _during(leaving, start, end), start, end, first)
    phases = [
        replace(phase, version=version) if phase in replaced else phase for phase in facts.phases
    ]
    return facts.rebuilt(items=items, phases=phases, version=version)


def _agreed(leaving: Iterable[ItemFacts], version: VersionTerms) -> dict[str, ItemFacts]:
    keys = {price.key for price in version.prices}
    return {item.item.key: item for item in leaving if item.agreed and item.item.key in keys}


def _stretches(phases: Sequence[PhaseFacts]) -> list[tuple[datetime, datetime | None]]:
    """Return the time of the phases, those that touch as one."""
    found: list[tuple[datetime, datetime | None]] = []
    for phase in phases:
        if found and found[-1][1] == phase.start:
            found[-1] = (found[-1][0], phase.end)
        else:
            found.append((phase.start, phase.end))
    return found


def _during(items: Iterable[ItemFacts], start: datetime, end: datetime | None) -> list[ItemFacts]:
    return [
        one
        for one in items
        if (end is None or one.item.start < end) and (one.item.end is None or one.item.end > start)
    ]


def _items(
    facts: SubscriptionFacts,
    version: VersionTerms,
    old: Sequence[ItemFacts],
    start: datetime,
    end: datetime | None,
    first: int,
) -> list[ItemFacts]:
    """Return the version's items in a stretch of time, with ids from `first` downwards."""
    agreed = _agreed(old, version)
    ends = [one.item.end for one in old]
    until = end if None in ends or not ends else max(moment for moment in ends if moment)
    found: list[ItemFacts] = []
    for place, price in enumerate(version.prices):
        if price.key in agreed:
            kept = [one for one in old if one.item.key == price.key]
            found += [_under(one, version, first - len(found) - n) for n, one in enumerate(kept)]
            continue
        item_id = first - len(found)
        item = engine_item(
            item_id,
            price,
            group=version.version_id,
            during=(start, until),
            timezone=facts.timezone,
            steps=_steps(price, version, old, start),
        )
        found.append(ItemFacts(item_id, "", price, item, False, version, place))
    return found


def _steps(
    price: PriceTerms, version: VersionTerms, old: Sequence[ItemFacts], start: datetime
) -> tuple[QuantityStep, ...]:
    """Return the quantities that were bought: of the same key, or of the one licensed price."""
    if price.type != "licensed":
        return ()
    licensed = [one for one in old if one.price.type == "licensed"]
    mine = [one for one in licensed if one.item.key == price.key]
    alone = len({one.item.key for one in licensed}) == 1
    if not mine and alone and sum(one.type == "licensed" for one in version.prices) == 1:
        mine = licensed
    steps = sorted((step for one in mine for step in one.item.steps), key=lambda s: (s.at, s.id))
    if not steps:
        return (QuantityStep(-1, start, Decimal(price.included)),)
    return tuple(
        replace(step, id=n, at=max(step.at, start)) for n, step in enumerate(steps, start=1)
    )


def _renumbered(facts: ItemFacts, item_id: int) -> ItemFacts:
    return replace(facts, id=item_id, item=replace(facts.item, id=item_id))


def _under(facts: ItemFacts, version: VersionTerms, item_id: int) -> ItemFacts:
    """Return an agreed item as one of the other version."""
    item = replace(facts.item, id=item_id, group=version.version_id)
    return replace(facts, id=item_id, item=item, version=version)
