"""How values look on the staff's pages: money and its currency, time and its zone, states."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Model
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from apps.engine.decimals import plain
from apps.engine.money import Money

EMPTY = "–"
TONES: Mapping[str, str] = {
    "active": "success",
    "paid": "success",
    "delivered": "success",
    "published": "success",
    "accepted": "success",
    "open": "info",
    "trialing": "info",
    "pending": "info",
    "upcoming": "info",
    "credit": "info",
    "past due": "danger",
    "unpaid": "danger",
    "dead": "danger",
    "parked": "danger",
    "uncollectible": "danger",
    "rejected": "danger",
    "draft": "warning",
    "held": "danger",
    "in grace": "info",
    "waits": "info",
    "billed": "success",
    "paused": "warning",
    "incomplete": "warning",
}


def money(minor: int, currency: str) -> str:
    """Return minor units as `1,234.50 USD`."""
    return f"{Money(minor, currency).major:,f} {currency}"


def sums(amounts: Mapping[str, int]) -> str:
    """Return amounts by currency, largest first, as one text."""
    ordered = sorted(amounts.items(), key=lambda pair: (-pair[1], pair[0]))
    return " · ".join(money(minor, currency) for currency, minor in ordered) or EMPTY


def number(value: Decimal | int) -> str:
    """Return a number with separators and without padding: `18,059,974`."""
    return f"{Decimal(plain(Decimal(value))):,f}"


def when(at: datetime | None) -> SafeString | str:
    """Return an instant as a <time> in UTC; its zone stands in the text."""
    if at is None:
        return EMPTY
    text = at.strftime("%Y-%m-%d %H:%M")
    return format_html(
        '<time datetime="{}" title="{}" class="whitespace-nowrap">{} UTC</time>',
        at.isoformat(),
        at.isoformat(),
        text,
    )


def day(at: datetime | None, zone: str = "UTC") -> SafeString | str:
    """Return the day of an instant in the zone, the instant in UTC in its title.

    Documents have a zone of their own, and their dates are the ones that the customer reads.
    """
    if at is None:
        return EMPTY
    return format_html(
        '<time datetime="{}" title="{} UTC" class="whitespace-nowrap">{}</time>',
        at.isoformat(),
        at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        at.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d"),
    )


def local(at: datetime, zone: str) -> str:
    """Return an instant as the wall clock of the zone shows it."""
    return f"{at.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M}"


def span(start: datetime, end: datetime, zone: str = "UTC") -> SafeString | str:
    """Return a half-open range: days where both ends are the zone's midnights, else instants."""
    local = [at.astimezone(ZoneInfo(zone)) for at in (start, end)]
    if all((at.hour, at.minute, at.second, at.microsecond) == (0, 0, 0, 0) for at in local):
        return format_html("{} → {}", day(start, zone), day(end, zone))
    return format_html("{} → {}", when(start), when(end))


def badge(text: str, tone: str = "") -> SafeString:
    """Return a state as a labelled pill; the word says it, the colour only helps."""
    word = text.replace("_", " ")
    return render_to_string(
        "unfold/helpers/label.html", {"text": word, "type": tone or TONES.get(word, "")}
    )


def code(text: str) -> SafeString | str:
    """Return an identifier in a fixed-width face."""
    return format_html('<code class="ch-code">{}</code>', text) if text else EMPTY


def short(text: str, length: int = 80) -> SafeString | str:
    """Return the start of a long text, with all of it in the title."""
    if len(text) <= length:
        return text or EMPTY
    return format_html('<span title="{}">{}</span>', text, Truncator(text).chars(length))


def document(value: Any) -> SafeString | str:
    """Return JSON as an indented block."""
    if value in (None, {}, []):
        return EMPTY
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return format_html('<pre class="ch-json">{}</pre>', text)


def block(text: str) -> SafeString | str:
    """Return text as it came, in a block."""
    return format_html('<pre class="ch-json">{}</pre>', text) if text else EMPTY


def link(url: str, text: object) -> SafeString:
    """Return a link."""
    return format_html('<a class="ch-link" href="{}">{}</a>', url, text)


def url_of(row: Model) -> str:
    """Return the address of a row's page."""
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def link_to(row: Model | None, text: object = "") -> SafeString | str:
    """Return a link to a row's page."""
    return EMPTY if row is None else link(url_of(row), text or row)


def list_url(model: type[Model], **filters: object) -> str:
    """Return the address of a model's list, filtered."""
    query = {key: str(value) for key, value in filters.items()}
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
    return reverse(name, query=query or None)
