"""Which rules are crossed: figures against limits, for many organizations at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_DOWN, Context, Decimal
from fractions import Fraction

from apps.engine.forecast import Method
from apps.engine.period import Period, iso, micros_between
from apps.invoicing import credit
from apps.invoicing.accruals import Accrual, accruals
from apps.invoicing.gauges import Gauge
from apps.invoicing.outlook import Expected, outlook
from apps.subscriptions import selectors as subscriptions
from apps.tenants import selectors as tenants
from apps.watch import selectors
from apps.watch.models import AlertRule

Kind = AlertRule.Kind
FORECASTS = (Kind.FORECAST_PERCENT, Kind.FORECAST_AMOUNT)
EARLIEST = 10  # the first tenth of a period
MOST = 10**15  # more percent than anybody reads, and as much as a column takes
PERCENT = Context(prec=40, rounding=ROUND_DOWN)


@dataclass(frozen=True, slots=True)
class Crossing:
    """A limit that is crossed; figure and limit are percent or minor units.

    `subject` is what makes it the same crossing: the subscription, the price and the period, or the
    currency of a credit.
    """

    organization_id: int
    rule: AlertRule
    subject: str
    figure: Decimal
    name: str = ""
    meter: str = ""
    subscription: str = ""
    quantity: Decimal | None = None
    included: Decimal | None = None
    window: Period | None = None

    @property
    def key(self) -> tuple[int, str, str]:
        """What makes it the same crossing."""
        return self.organization_id, self.rule.public_id, self.subject


def of_usage(organization_ids: Collection[int], at: datetime) -> list[Crossing]:
    """Return the crossed rules on usage and amounts, in a handful of statements for each time that
    it is for the organizations, and some more for each subscription under a rule on a forecast;
    needs the ops scope.
    """
    rules = selectors.rules_for(organization_ids, selectors.KINDS_OF_USAGE)
    clocks = tenants.clocked_organizations() if rules else {}
    by_time: dict[datetime, list[int]] = {}
    for one in rules:
        by_time.setdefault(clocks.get(one, at), []).append(one)
    return [
        crossing
        for moment, owners in sorted(by_time.items())
        for found in accruals(subscriptions.of_organizations(owners), at=moment)
        for crossing in _of_accrual(found, rules[found.facts.organization_id], moment)
    ]


def _of_accrual(found: Accrual, rules: list[AlertRule], at: datetime) -> Iterator[Crossing]:
    asks_ahead = any(rule.kind in FORECASTS for rule in rules)
    ahead = _ahead(found, at) if asks_ahead else []
    for rule in rules:
        match Kind(rule.kind):
            case Kind.PERCENT:
                yield from _percents(found, rule, found.gauges)
            case Kind.FORECAST_PERCENT:
                yield from _percents(found, rule, [_as_forecast(one) for one in ahead])
            case Kind.AMOUNT:
                yield from _amount(found, rule, found.amount)
            case Kind.FORECAST_AMOUNT:
                yield from _amount(found, rule, found.amount + _still_to_come(ahead))


def _ahead(found: Accrual, at: datetime) -> list[Expected]:
    """Return what is forecast. Going on as the first hours of a period says nothing yet."""
    period = found.period
    early = micros_between(period.start, at) * EARLIEST < period.duration_micros
    expected = outlook(found.facts, at=at).items
    return [one for one in expected if not (early and one.forecast.method is Method.RUN_RATE)]


def _as_forecast(one: Expected) -> Gauge:
    return replace(one.gauge, quantity=one.forecast.quantity)


def _still_to_come(ahead: Sequence[Expected]) -> int:
    """Return what usage will cost at the period's end beyond what it costs so far."""
    return sum(one.cost.amount - (one.gauge.amount or 0) for one in ahead if one.cost is not None)


def _percents(found: Accrual, rule: AlertRule, gauges: Iterable[Gauge]) -> Iterator[Crossing]:
    for gauge in gauges:
        if rule.meter not in {"", gauge.meter} or gauge.included <= 0:
            continue
        share = Fraction(gauge.quantity) * 100 / Fraction(gauge.included)
        if share < Fraction(rule.limit):
            continue
        yield Crossing(
            organization_id=found.facts.organization_id,
            rule=rule,
            subject=_subject(found, gauge.key),
            figure=_percent(share),
            name=gauge.name,
            meter=gauge.meter,
            subscription=found.facts.public_id,
            quantity=gauge.quantity,
            included=gauge.included,
            window=found.period,
        )


def _percent(share: Fraction) -> Decimal:
    """Return a percentage to two places, rounded down: 99.99 percent is not 100."""
    hundredths = min(int(share * 100), MOST * 100)
    return Decimal(hundredths).scaleb(-2, PERCENT)


def _amount(found: Accrual, rule: AlertRule, minor: int) -> Iterator[Crossing]:
    if rule.currency == found.facts.currency and minor >= rule.limit:
        yield Crossing(
            organization_id=found.facts.organization_id,
            rule=rule,
            subject=_subject(found, ""),
            figure=Decimal(minor),
            name=found.facts.version.plan_name,
            subscription=found.facts.public_id,
            window=found.period,
        )


def _subject(found: Accrual, key: str) -> str:
    return f"{found.facts.public_id}/{key}/{iso(found.period.start)}"


@dataclass(frozen=True, slots=True)
class CreditLook:
    """Rules on credit: the crossed ones, and the (organization, rule, subject) that are not."""

    crossed: list[Crossing]
    fine: set[tuple[int, str, str]]


def of_credit(organization_ids: Collection[int], at: datetime) -> CreditLook:
    """Return which rules on credit are crossed and which are not, in four statements; ops scope.

    A rule for all organizations, and one that credit is used up, is for those that ever had credit;
    an organization's own also for one that has none yet.
    """
    rules = selectors.rules_for(organization_ids, [Kind.CREDITS])
    left = credit.available(list(rules), at)
    holders = credit.holders(list(rules))
    look = CreditLook([], set())
    for one, mine in rules.items():
        for rule in mine:
            own = rule.organization_id is not None and rule.limit > 0
            if own or (one, rule.currency) in holders:
                _held_against(look, one, rule, left)
    return look


def _held_against(
    look: CreditLook, one: int, rule: AlertRule, left: Mapping[tuple[int, str], int]
) -> None:
    minor = left.get((one, rule.currency), 0)
    crossing = Crossing(one, rule, f"credit/{rule.currency}", Decimal(minor), name=rule.currency)
    if minor <= rule.limit:
        look.crossed.append(crossing)
    else:
        look.fine.add(crossing.key)


def by_organization(found: Sequence[Crossing]) -> dict[int, list[Crossing]]:
    """Return crossings by organization, in its order."""
    grouped: dict[int, list[Crossing]] = {}
    for one in sorted(found, key=lambda one: one.key):
        grouped.setdefault(one.organization_id, []).append(one)
    return grouped
