"""Money: whole minor units and an ISO currency, and the one rounding function."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from math import trunc

from apps.engine.decimals import NotADecimal, decimal_of
from apps.engine.values import value_class

Exact = Fraction | Decimal | int

# ISO 4217, minor units. Codes without a minor unit (gold, drawing rights, test codes) are left out
# on purpose: nothing can be billed in them. ANG and BGN were withdrawn in 2025 and 2026 and stay,
# so that documents issued in them can still be read.
_TWO_PLACES = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD
    CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS
    GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL
    MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK
    PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS
    TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG
"""
_NO_PLACES = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE_PLACES = "BHD IQD JOD KWD LYD OMR TND"
_FOUR_PLACES = "CLF UYW"

EXPONENTS: dict[str, int] = {
    code: places
    for codes, places in (
        (_NO_PLACES, 0),
        (_TWO_PLACES, 2),
        (_THREE_PLACES, 3),
        (_FOUR_PLACES, 4),
    )
    for code in codes.split()
}


class CurrencyMismatch(ValueError):
    """Two amounts of different currencies met."""


class UnknownCurrency(ValueError):
    """A currency code that ISO 4217 does not list, or that has no minor unit."""


class InvalidAmount(ValueError):
    """An amount that is not a whole number of its currency's minor units."""


def exponent(currency: str) -> int:
    """How many decimals the currency has (USD 2, JPY 0, KWD 3), from ISO 4217.

    Raises UnknownCurrency; codes are upper case.
    """
    places = EXPONENTS.get(currency)
    if places is None:
        raise UnknownCurrency(f"{currency!r} is not an ISO 4217 currency with minor units")
    return places


def round_half_away(value: Exact) -> int:
    """Round to a whole number, halves away from zero (2.5 → 3, −2.5 → −3).

    The only rounding in the house. It mirrors around zero, so a credit is exactly the charge it
    takes back.
    """
    if type(value) is int:
        return value
    exact = _fraction(value)
    rounded = (2 * abs(exact.numerator) + exact.denominator) // (2 * exact.denominator)
    return rounded if exact >= 0 else -rounded


def allocate(total: int, weights: Sequence[Exact]) -> list[int]:
    """Split whole units by weight so that the parts always sum to the total.

    Largest remainder: the spare units go to the parts that lost most by rounding down, ties to the
    earlier part, so the same invoice always splits the same way. A negative total splits like its
    positive twin, and nothing splits into nothings. Raises ValueError for a negative weight, and
    for weights that sum to nothing when there is something to split.
    """
    parts = [_fraction(weight) for weight in weights]
    whole = sum(parts, Fraction(0))
    if any(part < 0 for part in parts) or (whole == 0 and total != 0):
        raise ValueError("weights must not be negative and must sum to more than zero")
    return apportion([total * part / whole if whole else whole for part in parts], total)


def apportion(parts: Sequence[Exact], total: int) -> list[int]:
    """Make exact parts whole so that they sum to the total: each is at most one unit off.

    Every part is cut towards zero, then units are handed out to the parts that lost most, ties to
    the earlier one. Raises ValueError when the total is not the parts' sum, give or take one.
    """
    exact = [_fraction(part) for part in parts]
    units = [trunc(part) for part in exact]
    if sum(units) == total and all(part.denominator == 1 for part in exact):
        return units  # whole already, as most are
    if abs(total - sum(exact, Fraction(0))) > 1:
        raise ValueError(f"{total} is not the sum of the parts")
    spare = total - sum(units)
    step = 1 if spare > 0 else -1
    by_loss = sorted(range(len(units)), key=lambda i: step * (units[i] - exact[i]))
    for i in by_loss[: abs(spare)]:
        units[i] += step
    return units


@value_class(frozen=True, slots=True)
class Money:
    """An amount in whole minor units (cents, yen, fils) of one ISO 4217 currency.

    Equal amounts of different currencies are simply not equal; adding or ordering them raises
    CurrencyMismatch.
    """

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.minor) is not int:
            raise TypeError(f"minor units are whole: {self.minor!r}")
        if self.currency not in EXPONENTS:
            exponent(self.currency)

    @classmethod
    def zero(cls, currency: str) -> Money:
        """Nothing, in that currency."""
        return cls(0, currency)

    @classmethod
    def of(cls, amount: Decimal | str | int, currency: str) -> Money:
        """Read an amount in major units: `Money.of("262.99", "USD")` is 26299 cents.

        Raises InvalidAmount when it is no plain decimal or finer than the currency; trailing zeros
        are harmless.
        """
        try:
            exact = Fraction(decimal_of(amount)) * 10 ** exponent(currency)
        except NotADecimal as error:
            raise InvalidAmount(str(error)) from error
        if exact.denominator != 1:
            raise InvalidAmount(f"{amount} has more decimals than {currency}")
        return cls(exact.numerator, currency)

    @classmethod
    def rounded(cls, amount: Exact, currency: str) -> Money:
        """An exact amount in major units, rounded once, half away from zero."""
        return cls(round_half_away(_fraction(amount) * 10 ** exponent(currency)), currency)

    @classmethod
    def sum(cls, amounts: Iterable[Money], currency: str) -> Money:
        """Add up, in the currency named: the sum of no amounts has one too."""
        total = 0
        for amount in amounts:
            if amount.currency != currency:
                raise CurrencyMismatch(f"{currency} met {amount.currency}")
            total += amount.minor
        return cls(total, currency)

    @property
    def major(self) -> Decimal:
        """The amount in major units, with exactly the currency's decimals."""
        return Decimal(f"{self.minor}E-{exponent(self.currency)}")

    def times(self, factor: Exact) -> Money:
        """Scale exactly, then round once, half away from zero."""
        return Money(round_half_away(self.minor * _fraction(factor)), self.currency)

    def shortfall(self, promised: Money) -> Money:
        """What is missing up to an amount promised; nothing when it is reached."""
        return max(promised - self, Money.zero(self.currency))

    def __add__(self, other: Money) -> Money:
        return Money(self.minor + self._minor_of(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.minor - self._minor_of(other), self.currency)

    def __neg__(self) -> Money:
        return Money(-self.minor, self.currency)

    def __abs__(self) -> Money:
        return Money(abs(self.minor), self.currency)

    def __bool__(self) -> bool:
        return self.minor != 0

    def __lt__(self, other: Money) -> bool:
        return self.minor < self._minor_of(other)

    def __le__(self, other: Money) -> bool:
        return self.minor <= self._minor_of(other)

    def __gt__(self, other: Money) -> bool:
        return self.minor > self._minor_of(other)

    def __ge__(self, other: Money) -> bool:
        return self.minor >= self._minor_of(other)

    def __str__(self) -> str:
        return f"{self.major:f} {self.currency}"

    def _minor_of(self, other: Money) -> int:
        if self.currency != other.currency:
            raise CurrencyMismatch(f"{self.currency} met {other.currency}")
        return other.minor


def _fraction(value: Exact) -> Fraction:
    if type(value) is Fraction:
        return value
    # Fraction() would take a binary fraction as it is, 0.1 with all its dirt; nothing here may.
    if not isinstance(value, Fraction | Decimal | int):
        raise TypeError(f"{value!r} is not exact")
    return Fraction(value)
