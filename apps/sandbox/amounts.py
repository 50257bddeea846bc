"""Money as Stripe counts it: integers of the smallest unit, unit prices with up to 12 places."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

# Smallest amounts that Stripe charges, where it charges them in this currency at all.
SMALLEST = {
    "aud": 50,
    "brl": 50,
    "cad": 50,
    "chf": 50,
    "czk": 1500,
    "dkk": 250,
    "eur": 50,
    "gbp": 30,
    "hkd": 400,
    "huf": 17500,
    "inr": 50,
    "jpy": 50,
    "mxn": 1000,
    "nok": 300,
    "nzd": 50,
    "pln": 200,
    "sek": 300,
    "sgd": 50,
    "usd": 50,
}


def rounded(amount: Fraction | Decimal) -> int:
    """Return the nearest integer, halves away from zero."""
    exact = Fraction(amount)
    whole = (abs(exact) * 2 + 1) // 2
    return int(whole if exact >= 0 else -whole)


def exact(value: object) -> Fraction:
    """Return a price or percentage exactly, from its text: JSON may have made a float of it."""
    return Fraction(str(value))


def spread(total: int, weights: list[int]) -> list[int]:
    """Return shares of `total` by weight; what rounding leaves goes to the largest remainders."""
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    shares = [Fraction(total * weight, whole) for weight in weights]
    counted = [share.numerator // share.denominator for share in shares]
    left = total - sum(counted)
    order = sorted(range(len(shares)), key=lambda at: (counted[at] - shares[at], at))
    for place in order[:left]:
        counted[place] += 1
    return counted


def plain(value: Decimal | Fraction | str) -> str:
    """Return a decimal without an exponent and without zeros behind: `0.05`, `20`."""
    text = format(Decimal(str(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
