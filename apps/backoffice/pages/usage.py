"""An organization's usage for staff: where it stands, by time and by dimension, and as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from apps.backoffice.access import may
from apps.backoffice.admin import cells
from apps.engine.period import Period
from apps.invoicing.outlook import Expected, Outlook, outlook
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants.models import Organization
from apps.usage import selectors
from apps.usage.attachment import attachment
from apps.usage.breakdown import Breakdown, Question, break_down

GRAINS = ("day", "hour")
GROUPS_SHOWN = 50


class Choice(NamedTuple):
    """A link that shows the page in another way."""

    text: str
    address: str
    chosen: bool


def page(screen: Any, request: HttpRequest, row: Organization, *, at: datetime) -> HttpResponse:
    """Show the period under way of every live subscription, and one of its meters in detail."""
    live = subscriptions.of_organization(row.pk, live=True)
    metered = {item.item.meter: facts for facts in live for item in facts.items if item.item.meter}
    asked = request.GET
    meter = asked.get("meter", next(iter(metered), ""))
    if metered and meter not in metered:
        raise Http404
    found = _detail(row, metered[meter], meter, asked, at) if metered else None
    if found is not None and asked.get("format") == "csv":
        return attachment(found)
    context = {
        **screen.admin_site.each_context(request),
        "opts": screen.model._meta,
        "original": row,
        "title": f"Usage of {row.name}",
        "rows": list(
            _rows([outlook(facts, at=at) for facts in live], may(request, "view_invoices"))
        ),
        "found": found,
        **(_choices(found, metered, asked) if found else {}),
    }
    return TemplateResponse(request, "admin/backoffice/organization_usage.html", context)


def _detail(
    row: Organization, facts: SubscriptionFacts, meter: str, asked: Any, at: datetime
) -> Breakdown:
    period: Period = facts.current_period(at)
    by = asked.get("by", "")
    known = selectors.get_meter(meter).dimensions
    question = Question(
        meter,
        period.start,
        period.end,
        (by,) if by in known else (),
        grain=asked.get("grain") if asked.get("grain") in GRAINS else "day",
        timezone=facts.agreement.cycle.timezone,
    )
    everything = asked.get("format") == "csv"
    return break_down(row.pk, question, limit=None if everything else GROUPS_SHOWN)


def _choices(found: Breakdown, metered: Any, asked: Any) -> dict[str, Any]:
    grain = asked.get("grain") if asked.get("grain") in GRAINS else "day"
    now = {"meter": found.meter.key, "grain": grain, "by": ",".join(found.by)}

    def choice(text: str, **changes: str) -> Choice:
        return Choice(text, f"?{urlencode({**now, **changes})}", {**now, **changes} == now)

    return {
        "meters": [choice(key, meter=key, by="") for key in metered],
        "grains": [choice(f"By {name}", grain=name) for name in GRAINS],
        "dimensions": [
            choice("All together", by=""),
            *(choice(f"By {name}", by=name) for name in found.meter.dimensions),
        ],
        "csv": f"?{urlencode({**now, 'format': 'csv'})}",
        "points": [
            (cells.when(one.start), cells.number(one.quantity), cells.number(one.event_count))
            for one in found.points
        ],
        "groups": list(_groups(found)),
    }


def _groups(found: Breakdown) -> Iterator[tuple[str, str, str]]:
    for group in found.groups:
        said = " · ".join("No value" if value is None else value for value in group.values)
        yield said, cells.number(group.quantity), cells.number(group.event_count)
    if found.rest is not None:
        quantity = found.rest.quantity
        together = cells.EMPTY if quantity is None else cells.number(quantity)
        yield f"{found.rest.groups} others", together, cells.number(found.rest.event_count)


def _rows(found: list[Outlook], with_money: bool) -> Iterator[dict[str, object]]:
    for one in found:
        for item in one.items:
            yield _row(one, item, with_money)


def _row(one: Outlook, item: Expected, with_money: bool) -> dict[str, object]:
    gauge, currency = item.gauge, one.facts.agreement.currency
    amount = gauge.amount if with_money else None
    ahead = item.forecast
    return {
        "name": gauge.name,
        "plan": one.facts.version.plan_name,
        "period": cells.span(one.period.start, one.period.end, one.facts.agreement.cycle.timezone),
        "quantity": cells.number(gauge.quantity),
        "included": cells.number(gauge.included) if gauge.included else cells.EMPTY,
        "percent": cells.EMPTY if item.percent is None else f"{item.percent} %",
        "cost": cells.EMPTY if amount is None else cells.money(amount, currency),
        "forecast": cells.number(ahead.quantity),
        "between": cells.EMPTY
        if ahead.low is None or ahead.high is None
        else f"{cells.number(ahead.low)} to {cells.number(ahead.high)}",
        "method": ahead.method.value.replace("_", " "),
        "forecast_cost": cells.EMPTY
        if item.cost is None or not with_money
        else cells.money(item.cost.amount, currency),
    }
