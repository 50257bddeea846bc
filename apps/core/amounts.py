"""Amounts that people say, in major units: read and bounded once for all services."""

from __future__ import annotations

from decimal import Decimal

from apps.core.errors import Invalid
from apps.engine.money import InvalidAmount, Money, UnknownCurrency

# Sums of thousands of such amounts still fit a bigint; the API takes no more either.
MOST_MINOR = 10**15


def said_amount(amount: Decimal, currency: str, *, param: str = "amount") -> Money:
    """Return an amount in major units as money.

    Raises Invalid when it is finer than its currency, larger than MOST_MINOR minor units either
    way, or in none that is known.
    """
    try:
        money = Money.of(amount, currency)
    except (InvalidAmount, UnknownCurrency) as error:
        raise Invalid(f"{error}.", param=param) from error
    most = Money(MOST_MINOR, currency)
    if abs(money) > most:
        raise Invalid(f"{money} is too much: the most is {most}.", param=param)
    return money
