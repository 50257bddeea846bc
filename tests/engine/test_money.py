from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from babel.numbers import get_territory_currencies
from hypothesis import example, given
from hypothesis import strategies as st

from apps.engine.decimals import NotADecimal, about, decimal_of, exact_text, places_of, plain
from apps.engine.money import (
    EXPONENTS,
    CurrencyMismatch,
    InvalidAmount,
    Money,
    UnknownCurrency,
    allocate,
    apportion,
    exponent,
    round_half_away,
)
from tests.engine import oracle
from tests.engine.strategies import CURRENCIES, WEIGHTS


def usd(minor: int) -> Money:
    return Money(minor, "USD")


def test_a_half_rounds_away_from_zero_on_both_sides() -> None:
    assert [round_half_away(Fraction(n, 2)) for n in (1, 3, 5, -1, -3, -5)] == [1, 2, 3, -1, -2, -3]
    assert round_half_away(Decimal("-416.5")) == -417
    assert round_half_away(Decimal("2.4999999999999999999999999999999999")) == 2


def test_five_sixths_of_three_cents_is_three_cents() -> None:
    assert usd(3).times(Fraction(5, 6)) == usd(3)


@given(st.fractions())
@example(Fraction(-1, 2))
def test_rounding_agrees_with_floor_and_ceiling(exact: Fraction) -> None:
    assert round_half_away(exact) == oracle.rounded(exact)
    assert round_half_away(-exact) == -round_half_away(exact)


@given(st.integers(-10_000, 10_000), WEIGHTS)
def test_a_split_agrees_with_handing_out_one_unit_at_a_time(
    total: int, weights: list[Fraction]
) -> None:
    parts = allocate(total, weights)
    assert sum(parts) == total
    assert parts == oracle.split(total, weights)
    assert allocate(-total, weights) == [-part for part in parts]


def test_ties_in_a_split_go_to_the_earlier_part() -> None:
    assert allocate(100, [1, 1, 1]) == [34, 33, 33]
    assert allocate(-100, [1, 1, 1]) == [-34, -33, -33]
    assert allocate(1, [Decimal("0.5"), Fraction(1, 2)]) == [1, 0]
    assert allocate(0, [1, 2]) == [0, 0]


@pytest.mark.parametrize("weights", [[], [0, 0], [2, -1]])
def test_a_split_needs_something_to_split_by(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        allocate(10, weights)


def test_nothing_splits_into_nothings() -> None:
    assert allocate(0, []) == []
    assert allocate(0, [0, 0]) == [0, 0]


@given(st.lists(st.fractions(-50, 50, max_denominator=60), max_size=8))
def test_exact_parts_become_whole_and_sum_to_their_rounded_sum(parts: list[Fraction]) -> None:
    total = oracle.rounded(sum(parts, Fraction(0)))
    whole = apportion(parts, total)
    assert sum(whole) == total
    assert all(abs(unit - part) <= 1 for unit, part in zip(whole, parts, strict=True))
    assert apportion([-part for part in parts], -total) == [-unit for unit in whole]


def test_parts_do_not_become_another_sum() -> None:
    with pytest.raises(ValueError, match="not the sum"):
        apportion([1, 2], 5)


def test_an_exact_amount_is_rounded_to_the_currency_once() -> None:
    assert Money.rounded(Decimal("0.025"), "USD") == usd(3)
    assert Money.rounded(Fraction(-2_001, 2), "JPY") == Money(-1_001, "JPY")
    assert Money.rounded(Decimal("1.0005"), "KWD") == Money(1_001, "KWD")


def test_a_shortfall_is_what_is_missing_and_never_negative() -> None:
    assert usd(749_99).shortfall(usd(1_000_00)) == usd(250_01)
    assert usd(1_000_01).shortfall(usd(1_000_00)) == usd(0)


def test_currencies_never_mix() -> None:
    with pytest.raises(CurrencyMismatch):
        usd(1) + Money(1, "EUR")
    with pytest.raises(CurrencyMismatch):
        usd(1) - Money(1, "EUR")
    with pytest.raises(CurrencyMismatch):
        assert usd(1) < Money(2, "EUR")
    with pytest.raises(CurrencyMismatch):
        Money.sum([usd(1)], "EUR")
    assert usd(1) != Money(1, "EUR")


def test_money_adds_orders_and_negates() -> None:
    assert usd(50_00) + usd(190_95) + usd(20_56) + usd(1_48) == usd(262_99)
    assert Money.sum([usd(1), usd(2)], "USD") == usd(3)
    assert Money.sum([], "JPY") == Money.zero("JPY")
    assert usd(1) < usd(2) <= usd(2) < usd(3) > usd(2) >= usd(2)
    assert abs(-usd(5)) == usd(5) == usd(10) - usd(5)
    assert usd(1)
    assert not usd(0)


def test_money_reads_as_its_currency_is_written() -> None:
    assert str(usd(262_99)) == "262.99 USD"
    assert str(-usd(5)) == "-0.05 USD"
    assert str(Money(1200, "JPY")) == "1200 JPY"
    assert str(Money(1500, "KWD")) == "1.500 KWD"
    assert usd(0).major == Decimal("0.00")


def test_major_units_are_read_exactly_or_refused() -> None:
    assert Money.of("262.99", "USD") == usd(262_99)
    assert Money.of(Decimal("50.000000"), "USD") == usd(50_00)
    assert Money.of(7, "KWD") == Money(7_000, "KWD")
    for amount in ("0.001", "1e3", " 1", "NaN", "1_000", ""):
        with pytest.raises(InvalidAmount):
            Money.of(amount, "USD")
    with pytest.raises(InvalidAmount):
        Money.of("0.5", "JPY")


@given(st.integers(), CURRENCIES)
def test_major_units_round_trip(minor: int, currency: str) -> None:
    money = Money(minor, currency)
    assert Money.of(money.major, currency) == money


def test_binary_fractions_are_refused_everywhere() -> None:
    inexact: object = 0.1
    for refused in (
        lambda: usd(1).times(inexact),  # type: ignore[arg-type]
        lambda: round_half_away(inexact),  # type: ignore[arg-type]
        lambda: Money(inexact, "USD"),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError):
            refused()
    with pytest.raises(InvalidAmount):
        Money.of(inexact, "USD")  # type: ignore[arg-type]


def test_exponents_are_those_of_iso_4217() -> None:
    assert [exponent(c) for c in ("USD", "JPY", "KWD", "CLF", "UYW", "MGA", "IQD")] == [
        2, 0, 3, 4, 4, 2, 3,
    ]  # fmt: skip
    assert len(EXPONENTS) == 17 + 7 + 2 + len([c for c in EXPONENTS if exponent(c) == 2])


@pytest.mark.parametrize("code", ["usd", "XAU", "XXX", "BTC", "", "US"])
def test_an_unknown_currency_is_refused(code: str) -> None:
    with pytest.raises(UnknownCurrency):
        Money(1, code)


def test_every_currency_in_use_somewhere_is_known() -> None:
    territories = (
        "AE AR AT AU BH BO BR CA CD CH CL CN CO CZ DE DK EG ET GB GH HK HR HU ID IL IN IQ IS JO JP "
        "KE KR KW LY MG MR MX MY NG NO NZ OM PE PH PK PL QA RO RS RU RW SA SE SG SL SN TH TN TR TW "
        "TZ UA UG US UY UZ VE VN VU XK ZA ZM"
    )
    in_use = {c for t in territories.split() for c in get_territory_currencies(t)}
    assert in_use <= EXPONENTS.keys()


def test_decimals_are_read_strictly_and_written_one_way() -> None:
    assert [plain(decimal_of(t)) for t in ("12.00", "0.0000015", "-0.0", "5000000", "-1.50")] == [
        "12", "0.0000015", "0", "5000000", "-1.5",
    ]  # fmt: skip
    assert plain(Decimal("5E+6")) == "5000000"
    assert places_of(Decimal("1.2300")) == 2
    for bad in (True, None, "1e5", "+1", ".5", "5.", "٣", Decimal("NaN"), Decimal("Infinity"), 0.5):
        with pytest.raises(NotADecimal):
            decimal_of(bad)


@given(st.fractions())
def test_an_exact_text_loses_nothing(value: Fraction) -> None:
    assert Fraction(exact_text(value)) == value


def test_an_exact_text_is_a_decimal_when_it_can_be() -> None:
    texts = [exact_text(Fraction(n, d)) for n, d in ((1, 8), (-3, 2), (31, 3), (7, 1), (0, 5))]
    assert texts == ["0.125", "-1.5", "31/3", "7", "0"]


@pytest.mark.parametrize(
    ("value", "text"),
    [("12151.847711", "12200"), ("7.364045", "7.36"), ("0.0012355", "0.00124"), ("70", "70")],
)
def test_an_estimate_has_three_digits(value: str, text: str) -> None:
    assert plain(about(Decimal(value))) == text
