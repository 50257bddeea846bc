"""A customer's usage of the period under way, as it moves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse

from apps.backoffice.admin import cells
from apps.backoffice.admin.panels import Panel
from apps.core import live
from apps.engine.decimals import plain
from apps.invoicing.gauges import gauges
from apps.subscriptions import selectors as subscriptions
from apps.tenants.models import Organization
from apps.usage import selectors as usage


def usage_now(request: HttpRequest, row: Organization, *, at: datetime) -> Panel:
    """Return the panel; the page listens to the organization as long as it is open."""
    title, empty = "Usage now", "Nothing is metered."
    if not usage.is_ready():
        return Panel(title, empty="Usage is being rebuilt after a restore.")
    rows = list(_rows(row.pk, at))
    if not rows:
        return Panel(title, empty=empty)
    more = reverse("admin:tenants_organization_usage", args=[row.pk])
    context = {"address": live.address(request, row.public_id), "rows": rows, "more": more}
    return Panel(title, body=render_to_string("admin/backoffice/live.html", context))


def _rows(organization_id: int, at: datetime) -> Iterator[dict[str, Any]]:
    for facts in subscriptions.of_organization(organization_id, live=True):
        period = facts.current_period(at)
        for gauge in gauges(facts, period):
            yield {
                "key": f"{facts.public_id}:{gauge.key}",
                "said": f"{plain(gauge.quantity)} {gauge.event_count}",
                "name": gauge.name,
                "plan": facts.version.plan_name,
                "period": cells.span(period.start, period.end, facts.agreement.cycle.timezone),
                "quantity": cells.number(gauge.quantity),
                "included": cells.number(gauge.included) if gauge.included else cells.EMPTY,
                "events": cells.number(gauge.event_count),
            }
