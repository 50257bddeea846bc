"""Which facts are told, under which name, to whom, and what of them: what is not here is not told.

Facts are named by text: rooms that know nothing of this door tell them, and a listener hears of a
new one when somebody has decided that its people may.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

INVOICES = frozenset({"view_invoices"})
# An API key needs subscriptions:read; members see their subscriptions on their first page, and
# staff see everybody's members.
SUBSCRIPTIONS = frozenset({"view_subscriptions", "use_seat", "view_members"})
USAGE = frozenset({"view_usage"})


@dataclass(frozen=True, slots=True)
class Story:
    """A type of message, the fields of the fact that it tells, and who may hear it: any of them."""

    type: str
    fields: tuple[str, ...]
    audience: frozenset[str]

    def tell(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Return the message's data."""
        return {name: payload[name] for name in self.fields if name in payload}


_invoice = ("invoice_id",)
STORIES: Mapping[str, Story] = {
    "invoicing.InvoiceFinalized": Story("invoice.issued", _invoice, INVOICES),
    "invoicing.InvoicePaid": Story("invoice.paid", _invoice, INVOICES),
    "invoicing.InvoiceReopened": Story("invoice.reopened", _invoice, INVOICES),
    "invoicing.InvoiceVoided": Story("invoice.voided", (*_invoice, "number"), INVOICES),
    "invoicing.InvoiceUncollectible": Story(
        "invoice.uncollectible", (*_invoice, "number"), INVOICES
    ),
    "invoicing.CreditNoteIssued": Story(
        "credit_note.issued", ("credit_note_id", *_invoice), INVOICES
    ),
    "invoicing.CreditGranted": Story("credit.granted", ("grant_id",), INVOICES),
    "invoicing.CreditEnded": Story("credit.ended", ("grant_id", "left", "how"), INVOICES),
    "invoicing.CreditLow": Story("credit.low", ("currency", "left"), INVOICES),
    "subscriptions.SubscriptionStarted": Story(
        "subscription.started", ("subscription_id", "plan"), SUBSCRIPTIONS
    ),
    "subscriptions.SubscriptionStatusChanged": Story(
        "subscription.status_changed", ("subscription_id", "before", "after"), SUBSCRIPTIONS
    ),
    "subscriptions.QuantityChanged": Story(
        "subscription.quantity_changed", ("subscription_id", "item", "quantity"), SUBSCRIPTIONS
    ),
    "subscriptions.SubscriptionChanged": Story(
        "subscription.changed", ("subscription_id", "action", "effective_at"), SUBSCRIPTIONS
    ),
    # As on the portal's pages: alerts are about money, unusual usage is seen by whoever sees usage.
    "watch.AlertRaised": Story("alert.raised", ("alert_id",), INVOICES),
    "watch.AnomalyFound": Story("anomaly.found", ("anomaly_id",), USAGE),
}
