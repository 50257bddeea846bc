"""Where this version of the API keeps what older ones kept elsewhere (2026-08-26.dahlia).

A subscription's period is its items', an invoice names its subscription in `parent`, a line its
price in `pricing`, taxes are a list, and payments hang in a list of their own that has to be asked
for (`expand=["payments"]`). Amounts are the provider's minor units.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from apps.payments.objects import Json


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open stretch of time."""

    start: datetime
    end: datetime


def subscription_period(subscription: Json) -> Span | None:
    """Return the current period of a subscription: from its items' first start to their last end.

    None without items. Items of one interval have one period; mixed ones have several.
    """
    items = subscription["items"]["data"]
    if not items:
        return None
    return Span(
        _instant(min(item["current_period_start"] for item in items)),
        _instant(max(item["current_period_end"] for item in items)),
    )


def subscription_of_invoice(invoice: Json) -> str:
    """Return the id of the subscription that an invoice bills, or nothing."""
    return _id((_parent(invoice, "subscription_details")).get("subscription"))


def billing_metadata(invoice: Json) -> Json:
    """Return the metadata that an invoice's subscription had when the invoice was made."""
    found: Json = _parent(invoice, "subscription_details").get("metadata") or {}
    return found


def payments_of_invoice(invoice: Json) -> Iterator[Json]:
    """Yield the payments of an invoice. Raises LookupError when they were not asked for."""
    payments = invoice.get("payments")
    if not isinstance(payments, dict):
        raise LookupError(f"invoice {invoice['id']} was read without expand=['payments']")
    if payments.get("has_more"):
        raise LookupError(f"invoice {invoice['id']} has more payments than one page")
    yield from payments["data"]


def intent_of_payment(payment: Json) -> str:
    """Return the id of the payment intent by which an invoice was paid, or nothing."""
    return _id(payment["payment"].get("payment_intent"))


def tax_of(document: Json) -> int:
    """Return the tax that comes on top of an invoice or a line; inclusive tax is in its amount."""
    taxes = document.get("total_taxes", document.get("taxes")) or []
    return sum(tax["amount"] for tax in taxes if tax["tax_behavior"] == "exclusive")


def price_of_line(line: Json) -> str:
    """Return the id of the price that a line bills, or nothing for an amount of ours."""
    pricing = line.get("pricing") or {}
    return _id((pricing.get("price_details") or {}).get("price"))


def item_of_line(line: Json) -> str:
    """Return the id of the subscription item that a line bills, or nothing."""
    return str(_line_parent(line).get("subscription_item") or "")


def is_proration(line: Json) -> bool:
    """Tell whether a line is there because something changed within a period."""
    return bool(_line_parent(line).get("proration"))


def period_of_line(line: Json) -> Span:
    """Return what stretch of time a line bills."""
    return Span(_instant(line["period"]["start"]), _instant(line["period"]["end"]))


def _parent(document: Json, kind: str) -> Json:
    found: Json = (document.get("parent") or {}).get(kind) or {}
    return found


def _line_parent(line: Json) -> Json:
    return _parent(line, "subscription_item_details") or _parent(line, "invoice_item_details")


def _id(value: Any) -> str:
    """Return the id of what may be an id, the object, or nothing."""
    return str(value["id"] if isinstance(value, dict) else value or "")


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
