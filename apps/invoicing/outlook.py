"""Where the period under way stands and where it is heading: used, included, cost so far, forecast.

What is shown as cost is the line that the next boundary would bill, by the function that bills; the
forecast is the same line for the quantity that is expected. Before discounts, taxes and credit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from apps.engine.forecast import LOOK_BACK, Forecast, forecast
from apps.engine.money import round_half_away
from apps.engine.period import Period
from apps.invoicing.composition import Metered, metered
from apps.invoicing.gauges import Gauge, gauge_of_line, gauges
from apps.subscriptions.changes import foreseen
from apps.subscriptions.selectors import SubscriptionFacts
from apps.usage import selectors as usage
from apps.usage.selectors import Want


@dataclass(frozen=True, slots=True)
class Cost:
    """Minor units at the end of the period, between what the bounds of the quantity cost."""

    amount: int
    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class Expected:
    """A gauge and what is to be expected of it.

    `billed` is what of its amount was billed within the period already. Usage of a trial has no
    cost.
    """

    gauge: Gauge
    billed: int
    forecast: Forecast
    cost: Cost | None

    @property
    def percent(self) -> Decimal | None:
        """How much of the included quantity is used, to two places; None where nothing is."""
        if not self.gauge.included:
            return None
        share = Fraction(self.gauge.quantity) * 10_000 / Fraction(self.gauge.included)
        return Decimal(round_half_away(share)).scaleb(-2)


@dataclass(frozen=True, slots=True)
class Outlook:
    """A subscription's usage in the period under way."""

    facts: SubscriptionFacts
    period: Period
    items: tuple[Expected, ...]

    @property
    def amount(self) -> int:
        """What the usage costs so far, in minor units."""
        return sum(one.gauge.amount or 0 for one in self.items)

    @property
    def expected(self) -> int:
        """What it will cost at the end of the period."""
        return sum(one.cost.amount for one in self.items if one.cost is not None)


def outlook(facts: SubscriptionFacts, *, at: datetime) -> Outlook:
    """Return where a live subscription stands at `at`, with the changes scheduled in the period."""
    period = facts.current_period(at)
    if period.start < facts.agreement.cycle.anchor:
        return Outlook(facts, period, tuple(_of_trial(facts, period, at)))
    ahead = foreseen(facts, period.end)
    lines = metered(ahead, ahead.agreement.cycle.index_at(period.start) + 1)
    forecasts = _forecasts(
        ahead, [line.want for line in lines], [one.line.quantity for one in lines], at
    )
    items = tuple(_expected(line, one) for line, one in zip(lines, forecasts, strict=True))
    return Outlook(ahead, period, items)


def _of_trial(facts: SubscriptionFacts, period: Period, at: datetime) -> list[Expected]:
    found = gauges(facts, period)
    wants = [gauge.want(period) for gauge in found]
    forecasts = _forecasts(facts, wants, [gauge.quantity for gauge in found], at)
    return [Expected(gauge, 0, one, None) for gauge, one in zip(found, forecasts, strict=True)]


def _forecasts(
    facts: SubscriptionFacts, wants: Sequence[Want], so_far: Sequence[Decimal], at: datetime
) -> list[Forecast]:
    back = [replace(want, start=at - LOOK_BACK, end=at) for want in wants]
    histories = usage.hours_so_far([(facts.organization_id, want) for want in back])
    return [
        forecast(
            quantity,
            past.kind,
            during=Period(want.start, want.end),
            now=at,
            hours=past.hours,
            timezone=facts.agreement.cycle.timezone,
        )
        for want, quantity, past in zip(wants, so_far, histories, strict=True)
    ]


def _expected(line: Metered, ahead: Forecast) -> Expected:
    cost = Cost(
        line.priced(ahead.quantity),
        None if ahead.low is None else line.priced(ahead.low),
        None if ahead.high is None else line.priced(ahead.high),
    )
    return Expected(gauge_of_line(line.line.line()), line.billed, ahead, cost)
