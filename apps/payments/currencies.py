"""Amounts as Stripe writes them, where they differ from ISO 4217, and the least it charges.

From Stripe's page on supported currencies. Three rules are its own: some currencies have no minor
unit there (the ariary), two are written with decimals that must be zero (ISK, UGX), and of three
decimals the last must be zero.
"""

from __future__ import annotations

from apps.engine.money import Money, exponent
from apps.payments.errors import NotChargeable

_NO_DECIMALS = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF"
NO_DECIMALS = frozenset(_NO_DECIMALS.split())
WRITTEN_WITH_TWO = frozenset({"ISK", "UGX"})
# The least that is charged, in minor units of ISO 4217. Others have a floor of about half a dollar
# that depends on the account's own currency; of those Stripe itself says so.
LEAST = {
    "AED": 200,
    "AUD": 50,
    "BRL": 50,
    "CAD": 50,
    "CHF": 50,
    "CZK": 1500,
    "DKK": 250,
    "EUR": 50,
    "GBP": 30,
    "HKD": 400,
    "HUF": 17500,
    "INR": 50,
    "JPY": 50,
    "MXN": 1000,
    "MYR": 200,
    "NOK": 300,
    "NZD": 50,
    "PLN": 200,
    "RON": 200,
    "SEK": 300,
    "SGD": 50,
    "THB": 1000,
    "USD": 50,
}


def places(currency: str) -> int:
    """How many decimals Stripe's amounts of this currency have."""
    if currency in WRITTEN_WITH_TWO:
        return 2
    return 0 if currency in NO_DECIMALS else min(exponent(currency), 3)


def to_provider(money: Money) -> int:
    """Return the amount as Stripe writes it. Raises NotChargeable where it cannot be written."""
    amount, rest = _shifted(money.minor, places(money.currency) - exponent(money.currency))
    if rest or amount % _step(money.currency):
        raise NotChargeable(
            f"Stripe cannot charge {money}: it takes no amount of {money.currency} that fine. "
            "Collect it by bank transfer, or correct the invoice."
        )
    return amount


def from_provider(amount: int, currency: str) -> Money:
    """Return what Stripe wrote, `currency` in either case. Raises NotChargeable when too fine."""
    code = currency.upper()
    minor, rest = _shifted(amount, exponent(code) - places(code))
    if rest:
        raise NotChargeable(f"{amount} {code}, as Stripe wrote it, is no amount of that currency.")
    return Money(minor, code)


def check_chargeable(money: Money) -> int:
    """Return the amount as Stripe writes it, if it is charged at all.

    Raises NotChargeable below the least that Stripe charges: it would put what is less on the
    customer's balance there and call the invoice paid.
    """
    least = Money(LEAST.get(money.currency, 1), money.currency)
    if money < least:
        raise NotChargeable(
            f"{money} is less than the {least} that Stripe charges at least. It stays open: "
            "collect it by bank transfer, or take it back by a credit note."
        )
    return to_provider(money)


def _shifted(amount: int, digits: int) -> tuple[int, int]:
    """Move the decimal point; return the whole amount and what would be lost."""
    up, down = 10 ** max(digits, 0), 10 ** max(-digits, 0)
    whole, rest = divmod(amount * int(up), int(down))
    return whole, rest


def _step(currency: str) -> int:
    """Of what the amount must be a multiple: digits that Stripe wants to be zero."""
    if currency in WRITTEN_WITH_TWO:
        return 100
    return 10 if places(currency) == 3 else 1
