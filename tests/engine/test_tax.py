from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.tax import (
    Inclusive,
    InvalidTaxRate,
    Taxable,
    Taxation,
    TaxPolicy,
    TaxRate,
    TaxRounding,
    Treatment,
    tax_lines,
)
from tests.engine import oracle
from tests.engine.settlements import CITY, INSIDE, LEVY, RATES, VAT, usd


def taxed(*taxables: Taxable, policy: TaxPolicy | None = None) -> Taxation:
    return tax_lines(taxables, currency="USD", policy=policy)


def taxable(minor: int, *rates: TaxRate, name: str = "a", **more: Treatment) -> Taxable:
    return Taxable(name, Fraction(minor), rates, **more)


TWENTY_THREE = TaxRate("23", Decimal(23))
TWO_LINES = (taxable(55_55, TWENTY_THREE), taxable(11_11, TWENTY_THREE, name="b"))


@pytest.mark.parametrize(
    ("rounding", "by_line", "total"),
    [
        (TaxRounding.PER_LINE, [12_78, 2_56], 15_34),
        (TaxRounding.PER_RATE, [12_78, 2_55], 15_33),
        (TaxRounding.ONCE, [12_78, 2_55], 15_33),
    ],
)
def test_what_is_rounded_moves_a_cent(
    rounding: TaxRounding, by_line: list[int], total: int
) -> None:
    found = taxed(*TWO_LINES, policy=TaxPolicy(rounding))
    assert [line.tax.minor for line in found.lines] == by_line
    assert found.tax == usd(total)


def test_a_negative_line_mirrors_its_half() -> None:
    rate = TaxRate("8.5", Decimal("8.5"))
    found = taxed(taxable(200_00, rate), taxable(-49_00, rate, name="b"))
    assert [line.tax.minor for line in found.lines] == [17_00, -4_17]
    assert found.tax == usd(12_83)


def test_several_rates_stand_beside_each_other_and_never_compound() -> None:
    found = taxed(taxable(100_00, VAT, CITY))
    assert [part.amount.minor for part in found.lines[0].parts] == [20_00, 8_88]
    assert found.by_rate() == {"vat": usd(20_00), "city": usd(8_88)}


def test_a_price_with_its_tax_inside_rounds_the_net_first() -> None:
    rate = TaxRate("4", Decimal(4), inclusive=True)
    found = taxed(taxable(2_99, rate))
    assert (found.lines[0].taxable, found.tax, found.included) == (Fraction(2_88), usd(11), usd(11))
    first = TaxPolicy(inclusive=Inclusive.TAX_FIRST)
    found = taxed(taxable(2_99, rate), policy=first)
    assert (found.lines[0].taxable, found.tax) == (Fraction(2_87), usd(12))
    found = taxed(taxable(-2_99, rate))
    assert (found.lines[0].taxable, found.tax) == (Fraction(-2_88), usd(-11))


def test_a_tax_on_top_is_reckoned_without_the_taxes_inside() -> None:
    found = taxed(taxable(119_00, INSIDE, VAT))
    assert [part.amount.minor for part in found.lines[0].parts] == [19_00, 20_00]
    assert (found.tax, found.included) == (usd(39_00), usd(19_00))


def test_taxes_inside_and_on_top_are_rounded_apart_even_when_rounded_once() -> None:
    found = taxed(taxable(9, INSIDE), taxable(2, VAT, name="b"), policy=TaxPolicy(TaxRounding.ONCE))
    assert (found.included, found.tax) == (usd(1), usd(1))


def test_several_taxes_inside_share_the_rest_of_one_net() -> None:
    found = taxed(taxable(100_00, INSIDE, LEVY))
    assert [part.amount.minor for part in found.lines[0].parts] == [15_39, 3_64]
    assert found.lines[0].taxable == 80_97


@pytest.mark.parametrize("treatment", [Treatment.EXEMPT, Treatment.REVERSE_CHARGE])
def test_a_lifted_tax_stands_at_nothing_and_the_price_stays(treatment: Treatment) -> None:
    found = taxed(taxable(119_00, INSIDE, VAT, treatment=treatment))
    assert [part.amount.minor for part in found.lines[0].parts] == [0, 0]
    assert (found.tax, found.lines[0].taxable) == (usd(0), Fraction(119_00))


@given(
    st.lists(st.integers(-10_000, 100_000), max_size=6),
    st.lists(st.sampled_from(RATES), max_size=4, unique=True),
    st.sampled_from(TaxRounding),
    st.sampled_from(Inclusive),
)
def test_a_cent_is_never_lost_and_never_far(
    minors: list[int], rates: list[TaxRate], rounding: TaxRounding, first: Inclusive
) -> None:
    lines = [taxable(minor, *rates, name=str(i)) for i, minor in enumerate(minors)]
    found = taxed(*lines, policy=TaxPolicy(rounding, first))
    parts = [part for line in found.lines for part in line.parts]
    assert sum(part.amount.minor for part in parts) == found.tax.minor
    assert all(abs(part.amount.minor - part.exact) <= 1 for part in parts)
    assert sum(tax.minor for tax in found.by_rate().values()) == found.tax.minor


@given(st.integers(-10_000, 100_000), st.sampled_from([VAT, CITY]))
def test_one_tax_on_one_line_is_what_the_slow_arithmetic_says(minor: int, rate: TaxRate) -> None:
    expected = oracle.rounded(minor * Fraction(rate.percent) / 100)
    for rounding in TaxRounding:
        assert taxed(taxable(minor, rate), policy=TaxPolicy(rounding)).tax == usd(expected)


@given(st.integers(0, 100_000))
def test_net_first_is_the_rounded_net_and_the_rest(gross: int) -> None:
    net = oracle.rounded(gross / (1 + Fraction(19, 100)))
    assert taxed(taxable(gross, INSIDE)).tax == usd(gross - net)


def test_a_rate_is_one_rate_and_once_on_a_line() -> None:
    with pytest.raises(InvalidTaxRate, match="two rates"):
        taxed(taxable(1, VAT), taxable(1, TaxRate("vat", Decimal(19)), name="b"))
    with pytest.raises(InvalidTaxRate, match="twice"):
        taxed(taxable(1, VAT, VAT))
    for percent in (Decimal(-1), Decimal("100.1")):
        with pytest.raises(InvalidTaxRate):
            TaxRate("r", percent)
