"""Usage, meter by meter: against what is included, where it is heading, by day, hour or dimension,
as a chart, a table and a file; and what instances at the customer's sites report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext, gettext_lazy

from apps.engine.calendar import zone
from apps.engine.period import Period
from apps.invoicing.gauges import Gauge, gauges
from apps.invoicing.outlook import Expected, outlook
from apps.portal import charts
from apps.portal.access import PortalRequest, page
from apps.portal.charts import Chart, Column
from apps.portal.formats import Formats
from apps.portal.pages.unusual import unusual
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions.selectors import SubscriptionFacts
from apps.usage import devices, selectors
from apps.usage.attachment import attachment
from apps.usage.breakdown import Breakdown, Question, break_down
from apps.usage.selectors import MeterShape, Point, Want

CURRENT, PREVIOUS = "current", "previous"
PERIODS = 12  # how many of a subscription are offered, the one under way included
DAY, HOUR = "day", "hour"
NEAR = (gettext_lazy("This period"), gettext_lazy("The one before"))
HOURS_SHOWN = timedelta(hours=48)
GROUPS_SHOWN = 10


OFFERED = (CURRENT, PREVIOUS, *(str(back) for back in range(2, PERIODS)))


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a visitor wants to see: which period, how finely, and by which dimension."""

    period: str
    grain: str
    by: str

    @classmethod
    def of(cls, request: PortalRequest) -> Chosen:
        """Read it from the address; whatever is not known is the usual."""
        asked = request.GET.get
        period = asked("period", CURRENT)
        return cls(
            period if period in OFFERED else CURRENT,
            HOUR if asked("grain") == HOUR else DAY,
            asked("by", ""),
        )

    @property
    def back(self) -> int:
        """How many periods before the one under way."""
        return OFFERED.index(self.period)

    def window(self, period: Period, at: datetime) -> Period:
        """Return what a chart shows: the period, or the last hours of it that have begun."""
        if self.grain == DAY:
            return period
        hour = at.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        end = max(period.start, min(period.end, hour))
        return Period(max(period.start, end - HOURS_SHOWN), end)


@dataclass(frozen=True, slots=True)
class MeterCard:
    """A gauge with its days or hours.

    `expected` only in the period under way; `groups` only where a dimension of it was chosen.
    """

    gauge: Gauge
    points: tuple[Point, ...]
    chart: Chart
    expected: Expected | None
    dimensions: tuple[str, ...]
    groups: Breakdown | None


@dataclass(frozen=True, slots=True)
class Metered:
    """A subscription's usage in one period: the one asked for if it had one, else the current.

    `periods` are those that can be asked for, the newest first.
    """

    facts: SubscriptionFacts
    period: Period
    has_it: bool
    periods: tuple[Period, ...]
    cards: tuple[MeterCard, ...]

    @property
    def cost(self) -> int:
        """What the usage of the period comes to, in minor units."""
        return sum(card.gauge.amount or 0 for card in self.cards)


@page("usage", "view_usage")
def usage(request: PortalRequest) -> HttpResponse:
    """Show what the meters of every live subscription counted."""
    chosen = Chosen.of(request)
    live = subscriptions.of_organization(request.organization.pk, live=True)
    found = [_metered(facts, chosen, request.at, request.formats) for facts in live]
    metered = [one for one in found if one.cards]
    context = {
        "metered": metered,
        "chosen": chosen.period,
        "offered": _offered(metered, request.formats),
        "view": chosen,
        "dimensions": sorted({n for one in metered for card in one.cards for n in card.dimensions}),
        "live": bool(live),
        "devices": devices.last_reports(request.organization.pk),
        "unusual": [*unusual(request)],
    }
    return render(request, "portal/usage.html", context)


@page("usage", "view_usage")
def csv_of_meter(request: PortalRequest, subscription: str, meter: str) -> HttpResponse:
    """Send one meter's days or hours as CSV, in the subscription's zone, by dimension if chosen.

    With a price only what that one takes of the meter.
    """
    facts = subscriptions.get(subscription, organization_id=request.organization.pk)
    if meter not in {item.item.meter for item in facts.items}:
        raise Http404
    chosen = Chosen.of(request)
    period, _ = _chosen(_periods(facts, request.at), chosen)
    price = request.GET.get("price", "")
    want = _want(facts, meter, price, period)
    dimensions = selectors.get_meter(meter).dimensions
    by = (chosen.by,) if chosen.by in dimensions else ()
    asked = Question.of(want, by, grain=chosen.grain, timezone=facts.agreement.cycle.timezone)
    found = break_down(request.organization.pk, asked, limit=None)
    return attachment(found, name=price)


def _want(facts: SubscriptionFacts, meter: str, price: str, period: Period) -> Want:
    """Return the whole meter, or the part of it that a price takes."""
    if not price:
        return Want(meter, period.start, period.end)
    for gauge in gauges(facts, period):
        if (gauge.key, gauge.meter) == (price, meter):
            return gauge.want(period)
    raise Http404


def _offered(metered: Sequence[Metered], formats: Formats) -> list[tuple[str, str]]:
    """Return what can be chosen: of a single subscription by its days, else by how far back."""
    if len(metered) == 1:
        timezone = metered[0].facts.agreement.cycle.timezone
        names = [formats.dates(one.start, one.end, timezone) for one in metered[0].periods]
    else:
        most = max((len(one.periods) for one in metered), default=0)
        names = [_far_back(back) for back in range(most)]
    return list(zip(OFFERED, names, strict=False))


def _far_back(back: int) -> str:
    return str(NEAR[back]) if back < len(NEAR) else gettext("%(n)s periods back") % {"n": back}


def _chosen(periods: Sequence[Period], chosen: Chosen) -> tuple[Period, bool]:
    """Return the period that was asked for, or the one under way, and whether it is the former."""
    has_it = chosen.back < len(periods)
    return periods[chosen.back if has_it else 0], has_it


def _periods(facts: SubscriptionFacts, at: datetime) -> tuple[Period, ...]:
    """Return the period under way and those before it, the newest first."""
    found = [facts.current_period(at)]
    while len(found) < PERIODS and (before := _before(facts, found[-1])) is not None:
        found.append(before)
    return tuple(found)


def _before(facts: SubscriptionFacts, current: Period) -> Period | None:
    cycle = facts.agreement.cycle
    if current.start <= facts.started_at:
        return None
    if current.start > cycle.anchor:
        return cycle.period(cycle.index_at(current.start) - 1)
    if current.start == cycle.anchor and facts.started_at < cycle.anchor:
        return Period(facts.started_at, cycle.anchor)
    return None


def _metered(facts: SubscriptionFacts, chosen: Chosen, at: datetime, formats: Formats) -> Metered:
    periods = _periods(facts, at)
    period, has_it = _chosen(periods, chosen)
    current = periods[0]
    expected = outlook(facts, at=at).items if period == current else ()
    found = [one.gauge for one in expected] if period == current else gauges(facts, period)
    window, meters = chosen.window(period, at), _meters(facts)
    series = selectors.usage_series_of(
        facts.organization_id,
        [replace(gauge.want(window), meter=meters[gauge.meter]) for gauge in found],
        grain=chosen.grain,
        timezone=facts.agreement.cycle.timezone,
    )
    cards = tuple(
        MeterCard(
            gauge=gauge,
            points=tuple(points),
            chart=_chart(points, facts, chosen, formats),
            expected=expected[index] if expected else None,
            dimensions=meters[gauge.meter].dimensions,
            groups=_groups(facts, gauge, period, chosen.by, meters[gauge.meter].dimensions),
        )
        for index, (gauge, points) in enumerate(zip(found, series, strict=True))
    )
    return Metered(facts, period, has_it, periods, cards)


def _meters(facts: SubscriptionFacts) -> dict[str, MeterShape]:
    """Return the meters of a subscription's prices by key."""
    known = [item.price.meter for item in facts.items if item.price.meter is not None]
    return {meter.key: meter for meter in known}


def _groups(
    facts: SubscriptionFacts, gauge: Gauge, period: Period, by: str, dimensions: Sequence[str]
) -> Breakdown | None:
    if by not in dimensions:
        return None
    asked = Question.of(gauge.want(period), (by,))
    return break_down(facts.organization_id, asked, limit=GROUPS_SHOWN)


def _chart(
    points: Sequence[Point], facts: SubscriptionFacts, chosen: Chosen, formats: Formats
) -> Chart:
    timezone = facts.agreement.cycle.timezone
    values = [
        Column(
            point.quantity,
            _label(point.start, timezone, chosen, formats),
            f"{_hint(point.start, timezone, chosen, formats)}: {formats.number(point.quantity)}",
        )
        for point in points
    ]
    lines = [formats.round_number(value) for value in charts.grid([one.value for one in values])]
    return charts.columns(values, write=lines)


def _label(start: datetime, timezone: str, chosen: Chosen, formats: Formats) -> str:
    if chosen.grain == HOUR:
        return f"{start.astimezone(zone(timezone)):%H:%M}"
    return formats.short_day(start, timezone)


def _hint(start: datetime, timezone: str, chosen: Chosen, formats: Formats) -> str:
    write = formats.moment if chosen.grain == HOUR else formats.day
    return write(start, timezone)
