"""The registry, complete: importing the resources registers what they stand in for."""

from __future__ import annotations

from apps.sandbox.engine.registry import DUE, OPERATIONS
from apps.sandbox.resources import (  # noqa: F401 - imported to be registered
    account,
    charging,
    collecting,
    coupons,
    customers,
    events,
    intents,
    invoice_items,
    invoices,
    payment_methods,
    previews,
    products,
    refunds,
    subscriptions,
    tax_rates,
    test_clocks,
    webhook_endpoints,
)

__all__ = ["DUE", "OPERATIONS"]
