"""Amounts as Stripe writes them, and what it does not charge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.money import EXPONENTS, Money
from apps.payments.currencies import LEAST, check_chargeable, from_provider, places, to_provider
from apps.payments.errors import NotChargeable


@pytest.mark.parametrize(
    ("money", "written"),
    [
        (Money.of("10.00", "USD"), 1000),
        (Money.of("500", "JPY"), 500),
        (Money.of("5", "ISK"), 500),  # no decimals since 2023, and written with two all the same
        (Money.of("5", "UGX"), 500),
        (Money.of("5.120", "KWD"), 5120),
        (Money.of("5.00", "MGA"), 5),  # ISO 4217 gives the ariary two decimals, Stripe none
        (Money.of("-12.34", "EUR"), -1234),
    ],
)
def test_an_amount_is_written_as_stripe_wants_it(money: Money, written: int) -> None:
    assert to_provider(money) == written
    assert from_provider(written, money.currency.lower()) == money


@pytest.mark.parametrize(
    "money",
    [
        Money.of("5.124", "KWD"),  # the last of three decimals must be zero
        Money.of("5.50", "MGA"),
        Money.of("5.1234", "CLF"),
    ],
)
def test_an_amount_that_stripe_cannot_write_is_refused(money: Money) -> None:
    with pytest.raises(NotChargeable, match=r"bank transfer"):
        to_provider(money)


@given(st.sampled_from(sorted(EXPONENTS)), st.integers(-(10**12), 10**12))
def test_what_can_be_written_is_read_back_as_it_was(currency: str, minor: int) -> None:
    money = Money(minor, currency)
    try:
        written = to_provider(money)
    except NotChargeable:
        return
    assert from_provider(written, currency) == money


@given(st.integers(-(10**9), 10**9))
def test_what_stripe_wrote_finer_than_the_currency_is_not_rounded(amount: int) -> None:
    if amount % 100:
        with pytest.raises(NotChargeable):
            from_provider(amount, "isk")
    else:
        assert from_provider(amount, "isk").minor == amount // 100


@pytest.mark.parametrize("currency", sorted(LEAST))
def test_what_is_less_than_the_least_is_not_charged(currency: str) -> None:
    least = Money(LEAST[currency], currency)
    assert check_chargeable(least) == least.minor
    with pytest.raises(NotChargeable, match="at least"):
        check_chargeable(Money(least.minor - 1, currency))


def test_nothing_is_not_charged_in_any_currency() -> None:
    for currency in EXPONENTS:
        with pytest.raises(NotChargeable):
            check_chargeable(Money.zero(currency))


def test_no_currency_is_written_finer_than_it_is() -> None:
    coarser = {code for code in EXPONENTS if places(code) < EXPONENTS[code]}
    finer = {code for code in EXPONENTS if places(code) > EXPONENTS[code]}
    assert (coarser, finer) == ({"CLF", "UYW", "MGA"}, {"ISK", "UGX"})
