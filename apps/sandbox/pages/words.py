"""Filters of the templates: money, instants, names of things."""

from __future__ import annotations

from datetime import UTC, datetime

from django import template

from apps.engine.money import Money

register = template.Library()
BRANDS = {"visa": "Visa", "mastercard": "Mastercard", "amex": "American Express"}


@register.filter
def money(amount: int | None, currency: str) -> str:
    """Return `1,234.50 USD` for 123450 of the smallest units."""
    value = Money(amount or 0, currency.upper())
    return f"{value.major:,} {value.currency}"


@register.filter
def moment(instant: float | None) -> str:
    """Return `20 Nov 2026, 21:53 UTC` for an instant in seconds."""
    return f"{_at(instant):%-d %b %Y, %H:%M} UTC" if instant else "never"


@register.filter
def day(instant: float | None) -> str:
    """Return `20 Nov 2026` for an instant in seconds."""
    return f"{_at(instant):%-d %b %Y}" if instant else "never"


@register.filter
def words(name: str) -> str:
    """Return `past due` for `past_due`."""
    return str(name or "").replace("_", " ").replace(".", " ")


@register.filter
def method_name(method: dict[str, object]) -> str:
    """Return `Visa •••• 4242`, or the same of a bank account."""
    if method["type"] == "card":
        card = method["card"]
        brand = str(card["brand"])  # type: ignore[index]
        return f"{BRANDS.get(brand, brand.title())} •••• {card['last4']}"  # type: ignore[index]
    return f"SEPA debit •••• {method['sepa_debit']['last4']}"  # type: ignore[index]


def _at(instant: float | None) -> datetime:
    return datetime.fromtimestamp(instant or 0, UTC)
