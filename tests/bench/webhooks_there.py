"""A provider that answers at once, and what it tells: customers that change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import stripe

SECRET = "whsec_bench"


def customer(number: int, version: int = 0) -> dict[str, Any]:
    """Return a customer as the provider shows it."""
    return {
        "id": f"cus_{number:06}",
        "object": "customer",
        "address": {"city": "Berlin", "country": "DE", "line1": "Ring 2", "postal_code": "10115"},
        "balance": 0,
        "created": 1_772_323_200,
        "currency": "usd",
        "default_source": None,
        "delinquent": False,
        "description": f"Customer {number}, version {version}",
        "discount": None,
        "email": f"billing@{number}.example",
        "invoice_prefix": f"CH{number:06}",
        "invoice_settings": {"custom_fields": None, "default_payment_method": None, "footer": None},
        "livemode": False,
        "metadata": {"org_id": f"org_{number}", "version": str(version)},
        "name": f"Customer {number}",
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def told(number: int, version: int) -> dict[str, Any]:
    """Return the event of a change."""
    return {
        "id": f"evt_{number:06}_{version:06}",
        "object": "event",
        "api_version": "2026-08-26.dahlia",
        "created": 1_772_323_200 + version,
        "data": {"object": customer(number, version), "previous_attributes": {"name": "Before"}},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": "req_1", "idempotency_key": "key_1"},
        "type": "customer.updated",
    }


class AtOnce(stripe.HTTPClient):
    """Answers without a network."""

    name = "at once"

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[str, int, Mapping[str, str]]:
        """Return the customer, the account, or an empty list."""
        return json.dumps(_answer(urlsplit(url).path)), 200, {}

    def close(self) -> None:
        """Hold nothing open."""


def _answer(path: str) -> dict[str, Any]:
    if path.startswith("/v1/customers/cus_") and path.count("/") == 3:
        return customer(int(path.rpartition("_")[2]), 1)
    if path == "/v1/account":
        return {"id": "acct_1", "object": "account", "livemode": False}
    return {"object": "list", "data": [], "has_more": False, "url": path}
