"""What is sold in the simulated year, said once: the oracle reads it, and the catalogue is it."""

from __future__ import annotations

import json
from typing import Any

CALL = "call"
PLANS: dict[str, list[dict[str, Any]]] = {
    "solo": [
        {"key": "base", "type": "flat", "amount": "29.00"},
        {
            "key": "seats",
            "type": "licensed",
            "model": "per_unit",
            "unit_amount": "12.50",
            "included": 3,
        },
        {
            "key": "calls",
            "type": "metered",
            "meter": "calls",
            "model": "per_unit",
            "unit_amount": "0.375",
            "included": 5,
            "maximum_amount": "9.99",
        },
    ],
    "team": [
        {"key": "base", "type": "flat", "amount": "99.00", "proration": "day"},
        {
            "key": "seats",
            "type": "licensed",
            "model": "graduated",
            "proration": "day",
            "tiers": [
                {"up_to": 5, "unit_amount": "10.00"},
                {"up_to": None, "unit_amount": "7.77"},
            ],
        },
        {
            "key": "calls",
            "type": "metered",
            "meter": "calls",
            "model": "package",
            "package_size": 4,
            "unit_amount": "1.333",
            "minimum_amount": "3.00",
        },
    ],
}
ADD_ON: list[dict[str, Any]] = [
    {"key": "support", "type": "flat", "amount": "15.55", "proration": "day"},
    {"key": "setup", "type": "one_time", "amount": "49.99"},
]
TRIAL_DAYS = {"solo": 14, "team": 0}
TERMS = ("model", "amount", "unit_amount", "tiers", "package_size")


def catalog() -> str:
    """Return the catalogue file; JSON is YAML."""
    return json.dumps(
        {
            "currency": "USD",
            "applications": [{"slug": "desk", "name": "Desk"}],
            "meters": [{"key": "calls", "event_type": CALL, "aggregation": "count"}],
            "plans": [
                *(
                    _plan(code, prices)
                    | ({"trial_days": TRIAL_DAYS[code]} if TRIAL_DAYS[code] else {})
                    for code, prices in PLANS.items()
                ),
                _plan("support", ADD_ON) | {"kind": "add_on"},
            ],
        }
    )


def _plan(code: str, prices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "code": code,
        "application": "desk",
        "name": code.title(),
        "interval": "month",
        "prices": prices,
    }
