"""Usage, meter by meter: against what is included, day by day, as a chart, a table and a file."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import datetime

from django.http import Http404, HttpResponse
from django.shortcuts import render

from apps.engine.decimals import plain
from apps.engine.period import Period, iso
from apps.invoicing.gauges import Gauge, gauges
from apps.portal import charts
from apps.portal.access import PortalRequest, page
from apps.portal.charts import Chart, Column
from apps.portal.formats import Formats
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions.selectors import SubscriptionFacts
from apps.usage import selectors
from apps.usage.selectors import Point

CURRENT, PREVIOUS = "current", "previous"


@dataclass(frozen=True, slots=True)
class MeterCard:
    """A gauge with its days."""

    gauge: Gauge
    points: tuple[Point, ...]
    chart: Chart


@dataclass(frozen=True, slots=True)
class Metered:
    """A subscription's usage in one period. `has_previous` tells whether there is one before."""

    facts: SubscriptionFacts
    period: Period
    has_previous: bool
    cards: tuple[MeterCard, ...]

    @property
    def cost(self) -> int:
        """What the usage of the period comes to, in minor units."""
        return sum(card.gauge.amount or 0 for card in self.cards)


@page("usage", "view_usage")
def usage(request: PortalRequest) -> HttpResponse:
    """Show what the meters of every live subscription counted."""
    at = request.at
    chosen = _chosen(request)
    live = subscriptions.of_organization(request.organization.pk, live=True)
    found = [_metered(facts, chosen, at, request.formats) for facts in live]
    context = {"metered": [one for one in found if one.cards], "chosen": chosen, "live": bool(live)}
    return render(request, "portal/usage.html", context)


@page("usage", "view_usage")
def csv_of_meter(request: PortalRequest, subscription: str, meter: str) -> HttpResponse:
    """Send one meter's days as CSV, in the subscription's zone."""
    facts = subscriptions.get(subscription, organization_id=request.organization.pk)
    if meter not in {item.item.meter for item in facts.items}:
        raise Http404
    period = _period(facts, _chosen(request), request.at)
    points = selectors.usage_series(
        request.organization.pk,
        meter,
        period.start,
        period.end,
        grain="day",
        timezone=facts.agreement.cycle.timezone,
    )
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    name = f"{meter}-{period.start:%Y-%m-%d}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    writer = csv.writer(response)
    writer.writerow(["start", "end", "meter", "quantity", "events"])
    for point in points:
        row = [iso(point.start), iso(point.end), meter, plain(point.quantity), point.event_count]
        writer.writerow(row)
    return response


def _chosen(request: PortalRequest) -> str:
    return PREVIOUS if request.GET.get("period") == PREVIOUS else CURRENT


def _period(facts: SubscriptionFacts, chosen: str, at: datetime) -> Period:
    """Return the period under way, or the one before it where there is one."""
    current = facts.current_period(at)
    before = _before(facts, current)
    return before if chosen == PREVIOUS and before is not None else current


def _before(facts: SubscriptionFacts, current: Period) -> Period | None:
    cycle = facts.agreement.cycle
    if current.start > cycle.anchor:
        return cycle.period(cycle.index_at(current.start) - 1)
    if current.start == cycle.anchor and facts.started_at < cycle.anchor:
        return Period(facts.started_at, cycle.anchor)
    return None


def _metered(facts: SubscriptionFacts, chosen: str, at: datetime, formats: Formats) -> Metered:
    current = facts.current_period(at)
    period = _period(facts, chosen, at)
    found = gauges(facts, period)
    series = selectors.usage_series_of(
        facts.organization_id,
        [gauge.meter for gauge in found],
        period.start,
        period.end,
        grain="day",
        timezone=facts.agreement.cycle.timezone,
    )
    cards = tuple(_card(gauge, series[gauge.meter], facts, formats) for gauge in found)
    return Metered(facts, period, _before(facts, current) is not None, cards)


def _card(
    gauge: Gauge, points: list[Point], facts: SubscriptionFacts, formats: Formats
) -> MeterCard:
    zone = facts.agreement.cycle.timezone
    values = [
        Column(
            point.quantity,
            formats.short_day(point.start, zone),
            f"{formats.day(point.start, zone)}: {formats.number(point.quantity)}",
        )
        for point in points
    ]
    lines = [formats.round_number(value) for value in charts.grid([one.value for one in values])]
    return MeterCard(gauge, tuple(points), charts.columns(values, write=lines))
