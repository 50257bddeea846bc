from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.discounts import (
    Discount,
    InvalidDiscount,
    Split,
    apply_discounts,
    in_order,
)
from apps.engine.lines import EVERYTHING, Line, Scope
from apps.engine.money import Money
from tests.engine import oracle
from tests.engine.settlements import PERCENTS, amounts, discounts, lines, usd

FIRST, SECOND = Line("a", usd(50_00), kind="usage"), Line("b", usd(50_00), kind="fixed")
ONLY_A, ONLY_B = Scope.of(lines=["a"]), Scope.of(lines=["b"])


def percent(value: str, scope: Scope = EVERYTHING, name: str = "p") -> Discount:
    return Discount(name, percent=Decimal(value), scope=scope)


def fixed(minor: int, scope: Scope = EVERYTHING, name: str = "f") -> Discount:
    return Discount(name, amount=usd(minor), scope=scope)


def taken(*given: Discount, of: tuple[Line, ...] = (FIRST, SECOND)) -> list[int]:
    return [turn.amount.minor for turn in apply_discounts(of, given, currency="USD")]


def test_each_discount_takes_from_what_the_ones_before_have_left() -> None:
    assert taken(percent("10"), fixed(10_00, name="f")) == [10_00, 10_00]
    assert taken(percent("10"), percent("10", name="q")) == [10_00, 9_00]


def test_restricted_discounts_come_before_general_ones() -> None:
    general, restricted = fixed(10_00), percent("50", ONLY_A)
    assert in_order([general, restricted]) == [restricted, general]
    assert taken(general, restricted) == [25_00, 10_00]


def test_a_fixed_discount_stops_at_what_is_left_of_its_lines() -> None:
    assert taken(fixed(40_00, ONLY_A), of=(Line("a", usd(30_00)), SECOND)) == [30_00]
    assert taken(fixed(60_00), fixed(60_00, name="g")) == [60_00, 40_00]


def test_a_cap_bounds_a_percentage() -> None:
    capped = Discount("p", percent=Decimal(50), cap=usd(12_34))
    assert taken(capped) == [12_34]


def test_a_discount_for_what_is_not_billed_takes_nothing() -> None:
    assert taken(fixed(10_00, Scope.of(lines=[]))) == [0]
    assert taken(fixed(10_00, Scope.of(prices=["other"]))) == [0]


def test_a_scope_holds_only_where_everything_it_names_fits() -> None:
    line = Line("a", usd(1), kind="usage", price="calls")
    assert Scope.of(kinds=["usage"], prices=["calls"]).covers(line)
    assert not Scope.of(kinds=["usage"], prices=["tokens"]).covers(line)
    assert not Scope().restricted
    assert Scope.of(kinds=[]).restricted


def test_credit_lines_and_lines_beyond_discounts_keep_their_amount() -> None:
    credit = Line("credit", usd(-20_00))
    excluded = Line("setup", usd(20_00), discountable=False)
    turns = apply_discounts([FIRST, credit, excluded], [percent("10")], currency="USD")
    assert turns[0].parts == (("a", Fraction(5_00)),)


def test_a_percentage_is_rounded_on_the_sum_and_then_split() -> None:
    three = [Line(name, usd(33_33)) for name in "abc"]
    (turn,) = apply_discounts(three, [percent("33.33")], currency="USD")
    assert turn.amount == usd(33_33)
    assert [part for _, part in turn.parts] == [11_11, 11_11, 11_11]
    (turn,) = apply_discounts(
        [Line("a", usd(3)), Line("b", usd(4))], [percent("50")], currency="USD"
    )
    assert turn.parts == (("a", Fraction(2)), ("b", Fraction(2)))


def test_an_exact_split_leaves_fractions_on_the_lines_and_a_whole_sum() -> None:
    lines = [Line(name, usd(100)) for name in "abc"]
    (turn,) = apply_discounts(lines, [fixed(100)], currency="USD", split=Split.EXACT)
    assert [part for _, part in turn.parts] == [Fraction(100, 3)] * 3
    assert turn.amount == usd(100)


@given(PERCENTS, st.integers(0, 10**9))
def test_a_percentage_is_what_the_slow_arithmetic_says(value: Decimal, base: int) -> None:
    expected = oracle.rounded(base * Fraction(value) / 100)
    assert Discount("p", percent=value).off(base) == expected


@given(lines(), discounts(), st.sampled_from(Split))
def test_parts_sum_and_no_line_loses_more_than_it_has(
    lines: list[Line], discounts: list[Discount], split: Split
) -> None:
    turns = apply_discounts(lines, discounts, currency="USD", split=split)
    for turn in turns:
        assert sum((part for _, part in turn.parts), Fraction(0)) == turn.amount.minor
    for line in lines:
        lost = sum(part for turn in turns for name, part in turn.parts if name == line.id)
        assert 0 <= lost <= max(0, line.amount.minor)


@given(amounts(-100, 100), PERCENTS)
def test_a_credit_has_nothing_to_take_off(amount: Money, value: Decimal) -> None:
    off = Discount("p", percent=value).off(amount.minor)
    assert 0 <= off <= max(0, amount.minor)


@pytest.mark.parametrize(
    "terms",
    [
        {},
        {"percent": Decimal(10), "amount": usd(10)},
        {"percent": Decimal("100.01")},
        {"percent": Decimal(-1)},
        {"amount": usd(-1)},
        {"percent": Decimal(10), "cap": usd(-1)},
    ],
)
def test_a_discount_that_makes_no_sense_is_refused(terms: dict[str, Decimal | Money]) -> None:
    with pytest.raises(InvalidDiscount):
        Discount("d", **terms)  # type: ignore[arg-type]
