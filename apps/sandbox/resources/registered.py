"""The registry, complete: importing the resources registers what they stand in for."""

from __future__ import annotations

from apps.sandbox.resources import (  # noqa: F401 - imported to be registered
    account,
    balances,
    changing,
    charging,
    checkout,
    collecting,
    coupons,
    credit_notes,
    customers,
    cycles,
    disputes,
    events,
    intents,
    invoice_items,
    invoices,
    items,
    payment_methods,
    portal,
    previews,
    products,
    refunds,
    subscriptions,
    tax_rates,
    test_clocks,
    visits,
    webhook_endpoints,
)
from apps.sandbox.world.registry import DUE, OPERATIONS

__all__ = ["DUE", "OPERATIONS"]
