"""What is sold in the simulated year, said once: the oracle reads it, and the catalogue is it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

CALL = "call"
EXPONENTS = {"USD": 2, "JPY": 0, "KWD": 3}
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
# What usage is billed at before its period is over: fixed amounts, then again and again by a step.
THRESHOLDS = {
    "solo": {
        "USD": {"amounts": ["4.00", "9.50"], "step": "6.00"},
        "JPY": {"amounts": ["600", "1400"], "step": "900"},
        "KWD": {"amounts": ["1.200", "2.900"], "step": "1.800"},
    }
}
TRIAL_DAYS = {"solo": 14, "team": 0}
# What a dollar is in another currency, and how a price is written in it.
RATES = {"JPY": (Decimal("149.3"), Decimal("0.01")), "KWD": (Decimal("0.3071"), Decimal("0.00001"))}
AMOUNTS = ("amount", "unit_amount", "minimum_amount", "maximum_amount")
TERMS = ("model", "amount", "unit_amount", "tiers", "package_size")


def priced(price: dict[str, Any], currency: str) -> dict[str, Any]:
    """Return a price as it is in a currency."""
    return price if currency == "USD" else price | _amounts_in(price, currency)


def _amounts_in(price: dict[str, Any], currency: str) -> dict[str, Any]:
    said = {key: price[key] for key in TERMS if key in price}
    said |= {key: _converted(price[key], currency) for key in AMOUNTS if key in price}
    if "tiers" in price:
        said["tiers"] = [
            tier | {"unit_amount": _converted(tier["unit_amount"], currency)}
            for tier in price["tiers"]
        ]
    return {key: value for key, value in said.items() if key != "model"}


def _converted(amount: str, currency: str) -> str:
    rate, step = RATES[currency]
    return str((Decimal(amount) * rate).quantize(step))


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
                    | ({"thresholds": THRESHOLDS[code]} if code in THRESHOLDS else {})
                    for code, prices in PLANS.items()
                ),
                _plan("support", ADD_ON) | {"kind": "add_on"},
            ],
        }
    )


def _plan(code: str, prices: list[dict[str, Any]]) -> dict[str, Any]:
    others = [currency for currency in EXPONENTS if currency != "USD"]
    return {
        "currencies": others,
        "code": code,
        "application": "desk",
        "name": code.title(),
        "interval": "month",
        "prices": [
            price | {"currencies": {code: _amounts_in(price, code) for code in others}}
            for price in prices
        ],
    }
