"""Single amounts: a quantity at a price, agreed once and billed once."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from apps.engine.decimals import decimal_of, plain
from apps.engine.money import Money, exponent, round_half_away
from apps.engine.rating import rounding_of


def charge(quantity: Decimal, unit_amount: Decimal, currency: str) -> Money:
    """What the quantity comes to, rounded once; a negative unit amount is an allowance.

    `unit_amount` is in major units. Raises NotADecimal, UnknownCurrency.
    """
    return Money(round_half_away(_exact(quantity, unit_amount, currency)), currency)


def explain_charge(quantity: Decimal, unit_amount: Decimal, currency: str) -> dict[str, object]:
    """Everything needed to redo the charge by hand, as plain JSON."""
    amount = charge(quantity, unit_amount, currency)
    said: dict[str, object] = {
        "rule": "charge",
        "quantity": plain(quantity),
        "unit_amount": plain(unit_amount),
    }
    return said | rounding_of(_exact(quantity, unit_amount, currency), amount)


def _exact(quantity: Decimal, unit_amount: Decimal, currency: str) -> Fraction:
    units = Fraction(decimal_of(quantity)) * Fraction(decimal_of(unit_amount))
    return units * Fraction(10 ** exponent(currency))
