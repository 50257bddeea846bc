"""What many billing periods under way come to by now, in a handful of statements for all of them.

`outlook` says more of one subscription, and where it is heading.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from apps.engine.period import Period
from apps.invoicing.composition import UnderWay, under_way
from apps.invoicing.gauges import Gauge, gauge_of_line
from apps.subscriptions.changes import foreseen
from apps.subscriptions.selectors import SubscriptionFacts


@dataclass(frozen=True, slots=True)
class Accrual:
    """A subscription's billing period under way.

    `amount` is what the lines at its end come to so far, in minor units, before discounts, taxes
    and credit: what it used, and what is billed for the period after it.
    """

    facts: SubscriptionFacts
    period: Period
    amount: int
    gauges: tuple[Gauge, ...]


def accruals(every: Iterable[SubscriptionFacts], *, at: datetime) -> list[Accrual]:
    """Return what the subscriptions' periods come to, with the changes scheduled within them.

    A trial is left out: nothing of it is billed.
    """
    billed = [(one, one.current_period(at)) for one in every if at >= one.agreement.cycle.anchor]
    ahead = [(foreseen(one, period.end), period) for one, period in billed]
    found = under_way([(one, _boundary_after(one, period)) for one, period in ahead])
    return [_accrual(one, period, done) for (one, period), done in zip(ahead, found, strict=True)]


def _boundary_after(facts: SubscriptionFacts, period: Period) -> int:
    return facts.agreement.cycle.index_at(period.start) + 1


def _accrual(facts: SubscriptionFacts, period: Period, found: UnderWay) -> Accrual:
    amount = sum(line.amount.minor for line in found.lines)
    gauges = tuple(gauge_of_line(line.line()) for line in found.metered)
    return Accrual(facts, period, amount, gauges)
