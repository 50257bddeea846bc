"""Tags that write values in the organization's locale and zone."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import quote

from django import template
from django.template.context import Context
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.engine.calendar import Interval
from apps.engine.decimals import plain
from apps.engine.period import Period
from apps.invoicing.document import Document
from apps.invoicing.gauges import Gauge
from apps.invoicing.paper.totals import Total, totals
from apps.portal import charts, words
from apps.portal.formats import Formats, utc_text
from apps.portal.owed import Notice, notice

if TYPE_CHECKING:
    from apps.payments.models import PaymentMethod

register = template.Library()


def _formats(context: Context) -> Formats:
    found: Formats = context["portal"].formats
    return found


@register.simple_tag(takes_context=True)
def owed(context: Context) -> Notice | None:
    """Return what has to be said about an invoice that is not paid."""
    portal = context["portal"]
    if portal.organization is None or portal.actor is None:
        return None
    at = context["request"].at
    return notice(portal.organization, portal.actor, portal.formats, at)


@register.simple_tag(takes_context=True)
def money(context: Context, minor: int, currency: str) -> str:
    """Write minor units of a currency."""
    return _formats(context).money(minor, currency)


@register.simple_tag(takes_context=True)
def exact(context: Context, amount: str | Decimal, currency: str) -> str:
    """Write an unrounded amount in major units, as explanations hold it."""
    return _formats(context).exact(str(amount), currency)


@register.simple_tag(takes_context=True)
def number(context: Context, value: Decimal | int | str) -> str:
    """Write a quantity."""
    return _formats(context).number(Decimal(value))


@register.filter
def keeping(view: object) -> SafeString:
    """Return the rest of an address of usage: how finely and by what, as it was chosen."""
    grain, by = getattr(view, "grain", ""), getattr(view, "by", "")
    return format_html("&grain={}&by={}", grain, quote(by))


@register.filter
def said(gauge: Gauge) -> str:
    """Return quantity and events as live messages say them, to tell whether they moved."""
    return f"{plain(gauge.quantity)} {gauge.event_count}"


@register.filter
def percent(gauge: Gauge) -> int:
    """Return how much of the included quantity is used, 0 to 100."""
    return charts.share(gauge.quantity, gauge.included)


@register.simple_tag(takes_context=True)
def day(context: Context, moment: datetime, timezone: str = "") -> SafeString:
    """Write a local date; the instant in UTC is behind it."""
    return _time(moment, _formats(context).day(moment, timezone))


@register.simple_tag(takes_context=True)
def moment(context: Context, moment: datetime, timezone: str = "") -> SafeString:
    """Write a local date and time; the instant in UTC is behind it."""
    return _time(moment, _formats(context).moment(moment, timezone))


@register.simple_tag(takes_context=True)
def period(context: Context, period: Period, timezone: str = "") -> SafeString:
    """Write a half-open period; its ends in UTC are behind it."""
    return span(context, period.start, period.end, timezone)


@register.simple_tag(takes_context=True)
def span(context: Context, start: datetime, end: datetime, timezone: str = "") -> SafeString:
    """Write [start, end) as a period."""
    text = _formats(context).period(start, end, timezone)
    hint = f"{utc_text(start)} – {utc_text(end)}"
    return format_html('<span class="period" title="{}">{}</span>', hint, text)


@register.simple_tag(takes_context=True)
def dates(context: Context, period: Period, timezone: str = "") -> SafeString:
    """Write a half-open period by its days alone; its ends in UTC are behind it."""
    hint = f"{utc_text(period.start)} – {utc_text(period.end)}"
    text = _formats(context).dates(period.start, period.end, timezone)
    return format_html('<span class="period" title="{}">{}</span>', hint, text)


def _time(moment: datetime, text: str) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), utc_text(moment), text
    )


@register.filter
def role(value: str) -> str:
    """Return a role in words."""
    return words.role_words(value)


@register.filter
def invoice_status(value: str) -> str:
    """Return an invoice's status in words."""
    return str(words.INVOICE_STATUSES[value])


@register.filter
def subscription_status(value: str) -> str:
    """Return a subscription's status in words."""
    return str(words.SUBSCRIPTION_STATUSES[value])


@register.filter
def line_reason(value: str) -> str:
    """Return why a line is there."""
    return str(words.LINE_REASONS.get(value, value))


@register.filter
def full_name(version: words.Named) -> str:
    """Return a plan's name after its application's."""
    return words.full_name(version)


@register.filter
def interval(value: Interval) -> str:
    """Return how often a plan is billed."""
    return words.interval_words(value)


@register.filter
def scope(value: str) -> str:
    """Return what a key's scope allows."""
    return str(words.SCOPES.get(value, value))


@register.filter
def kind_words(value: str) -> str:
    """Return an invoice's kind in words; nothing for the usual one."""
    return str(words.KINDS.get(value, ""))


@register.filter
def grant_kind(value: str) -> str:
    """Return what kind of credit it is, in words."""
    return str(words.GRANT_KINDS.get(value, value))


@register.filter
def method_kind(value: str) -> str:
    """Return what kind of payment method it is, in words."""
    return str(words.METHOD_KINDS.get(value, value))


@register.filter
def payment_method(value: str) -> str:
    """Return how a payment came, in words."""
    return str(words.PAYMENT_METHODS.get(value, value))


@register.simple_tag
def expiry(method: PaymentMethod, now: datetime) -> str:
    """Return whether a card is good, expires this month or the next (`soon`), or has expired."""
    months = (method.exp_year or 0) * 12 + (method.exp_month or 0) - now.year * 12 - now.month
    return "expired" if months < 0 else "soon" if months <= 1 else "good"


@register.filter
def grant_name(value: str) -> str:
    """Return the name of credit, those of ours in the reader's language."""
    return str(words.GRANT_NAMES.get(value, value))


@register.filter
def movement(value: str) -> str:
    """Return what moved credit, in words."""
    return str(words.MOVEMENTS.get(value, value))


@register.filter
def note_reason(value: str) -> str:
    """Return why a credit note was issued, in words."""
    return str(words.NOTE_REASONS.get(value, value))


@register.simple_tag(takes_context=True)
def sums(context: Context, document: Document) -> list[Total]:
    """Return the sums of a document as the paper shows them."""
    return totals(document, _formats(context).words(document.currency, document.timezone))
