"""The first page: what is owed, what came in, and what waits for somebody."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import Count, QuerySet, Sum
from django.db.models.functions import TruncMonth
from django.http import HttpRequest

from apps.backoffice import charts
from apps.backoffice.access import may
from apps.backoffice.admin import cells
from apps.backoffice.admin.invoicing import Sums, standing, standings
from apps.core import clock
from apps.core.models import OutboxDelivery
from apps.engine.money import Money
from apps.invoicing.models import Invoice, Parked
from apps.payments.models import Payment
from apps.subscriptions.models import Subscription
from apps.tenants.models import Organization
from apps.usage.models import RejectedEvent
from apps.watch.models import Anomaly

MONTHS = 12


@dataclass(frozen=True, slots=True)
class Card:
    """A number that leads to the list behind it."""

    title: str
    value: str
    url: str
    note: str = ""
    alert: bool = False


def context(request: HttpRequest) -> dict[str, Any]:
    """Return what the page shows to whoever asks."""
    now = clock.now()
    shown: dict[str, Any] = {
        "health": _health(),
        "customers": _customers(),
        "month": f"{now:%B %Y}",
    }
    if may(request, "view_invoices"):
        shown["money"] = _money(now)
        shown["chart"] = _chart(now)
        shown["recent"] = _recent()
    return shown


def _money(now: datetime) -> list[Card]:
    counts = standings()
    first = _month_start(now)
    issued = Invoice.objects.exclude(status__in=["draft", "void"]).filter(issued_at__gte=first)
    paid = Payment.objects.filter(received_at__gte=first)
    since = first.isoformat()
    credit = [_standing_card("Credit", "credit", counts)] if counts["credit"].count else []
    return [
        _standing_card("Open", "open", counts),
        _standing_card("Past due", "past_due", counts, alert=True),
        *credit,
        _sum_card("Invoiced this month", issued, "total", _final_since(since)),
        _sum_card(
            "Paid this month", paid, "amount", cells.list_url(Payment, received_at__gte=since)
        ),
    ]


def _final_since(since: str) -> str:
    return cells.list_url(Invoice, issued_at__gte=since, status__in="open,paid,uncollectible")


def _standing_card(
    title: str, name: str, counts: Mapping[str, Sums], *, alert: bool = False
) -> Card:
    found = counts.get(name, Sums())
    return Card(
        title,
        cells.sums(found.amounts or {}) if found.count else "Nothing",
        cells.list_url(Invoice, show=name),
        _plural(found.count, "invoice"),
        alert=alert and found.count > 0,
    )


def _sum_card(title: str, rows: QuerySet[Any], field: str, url: str) -> Card:
    found = rows.order_by().values_list("currency").annotate(n=Count("id"), s=Sum(field))
    amounts = {currency: int(amount) for currency, _, amount in found}
    many = sum(n for _, n, _ in found)
    noun = "payment" if rows.model is Payment else "invoice"
    return Card(title, cells.sums(amounts) if many else "Nothing", url, _plural(many, noun))


def _customers() -> list[Card]:
    counted = Subscription.objects.order_by().values_list("status").annotate(n=Count("id"))
    counts = dict(counted)
    ending = Subscription.objects.exclude(status="canceled").filter(cancel_at__isnull=False)
    return [
        Card("Organizations", str(Organization.objects.count()), cells.list_url(Organization)),
        *(
            Card(words, str(counts.get(name, 0)), cells.list_url(Subscription, status=name))
            for name, words in (
                ("active", "Active"),
                ("trialing", "On trial"),
                ("paused", "Paused"),
            )
        ),
        Card("Ending", str(ending.count()), cells.list_url(Subscription, cancels="yes")),
    ]


def _health() -> list[Card]:
    drafts = Invoice.objects.filter(status="draft").count()
    parked = Parked.objects.filter(released_at=None).count()
    dead = OutboxDelivery.objects.filter(status="dead").count()
    anomalies = Anomaly.objects.filter(status="open").count()
    rejected = RejectedEvent.objects.filter(replayed_at=None).count()
    return [
        _alert("Open anomalies", anomalies, cells.list_url(Anomaly, status="open")),
        _alert("Parked subscriptions", parked, cells.list_url(Parked, state="parked")),
        _alert("Dead deliveries", dead, cells.list_url(OutboxDelivery, status="dead")),
        _alert("Rejected events", rejected, cells.list_url(RejectedEvent, state="open")),
        Card("Draft invoices", str(drafts), cells.list_url(Invoice, show="draft")),
    ]


def _alert(title: str, count: int, url: str) -> Card:
    return Card(title, str(count), url, "needs a look" if count else "all well", alert=count > 0)


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _recent() -> list[dict[str, Any]]:
    found = Invoice.objects.exclude(status="draft").select_related("organization")
    return [
        {
            "invoice": cells.link_to(one),
            "customer": cells.link_to(one.organization),
            "status": cells.badge(standing(one)),
            "issued": cells.day(one.issued_at, one.timezone),
            "total": cells.money(one.total, one.currency),
        }
        for one in found.order_by("-issued_at", "-id")[:8]
    ]


def _month_start(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _chart(now: datetime) -> dict[str, Any] | None:
    """Return the last months' invoices and payments in the currency most is invoiced in."""
    months = _months(now)
    issued = Invoice.objects.exclude(status__in=["draft", "void"]).filter(issued_at__gte=months[0])
    invoiced = _by_month(issued, "issued_at", "total")
    paid = _by_month(Payment.objects.filter(received_at__gte=months[0]), "received_at", "amount")
    totals: dict[str, int] = {}
    for (currency, _), minor in invoiced.items():
        totals[currency] = totals.get(currency, 0) + minor
    if not totals:
        return None
    currency = max(totals, key=lambda code: (totals[code], code))
    series = [("Invoiced", "--color-primary-600", invoiced), ("Paid", "--color-primary-300", paid)]
    chart = {
        "labels": [f"{month:%b %Y}" for month in months],
        "datasets": [
            {
                "label": name,
                "backgroundColor": f"var({colour})",
                # Text, not a binary fraction: the chart reads it, nobody adds it up.
                "data": [_major(found.get((currency, month), 0), currency) for month in months],
            }
            for name, colour, found in series
        ],
    }
    rows = [
        (
            f"{month:%b %Y}",
            cells.money(invoiced.get((currency, month), 0), currency),
            cells.money(paid.get((currency, month), 0), currency),
        )
        for month in reversed(months)
    ]
    return {
        "currency": currency,
        "json": json.dumps(chart),
        "options": json.dumps(charts.OPTIONS),
        "rows": rows,
    }


def _major(minor: int, currency: str) -> str:
    return f"{Money(minor, currency).major:f}"


def _months(now: datetime) -> list[datetime]:
    found = [_month_start(now)]
    while len(found) < MONTHS:
        last = found[-1]
        year, month = (last.year - 1, 12) if last.month == 1 else (last.year, last.month - 1)
        found.append(last.replace(year=year, month=month))
    return found[::-1]


def _by_month(rows: QuerySet[Any], when: str, field: str) -> dict[tuple[str, datetime], int]:
    found = (
        rows.order_by()
        .annotate(month=TruncMonth(when, tzinfo=UTC))
        .values_list("currency", "month")
    )
    return {
        (currency, month): int(amount) for currency, month, amount in found.annotate(s=Sum(field))
    }
