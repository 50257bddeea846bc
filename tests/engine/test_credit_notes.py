"""What notes take back of lines: never more than is left, and all of them together exactly that."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.credit_notes import Standing, TakenBack, of_amounts, of_total
from apps.engine.credits import Creditable, CreditTooLarge
from apps.engine.money import Money


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


def line(name: str, amount: int, *, discount: int = 0, tax: int = 0, included: int = 0) -> Standing:
    whole = Creditable(name, eur(amount), Fraction(discount), eur(tax), eur(included), eur(0))
    return Standing(whole)


def after(standing: Standing, taken: TakenBack) -> Standing:
    credited = standing.line.credited + eur(taken.amount)
    return Standing(
        replace(standing.line, credited=credited),
        standing.net + taken.net,
        standing.tax + taken.tax,
    )


def test_thirds_of_a_line_are_differences_of_rounded_running_totals() -> None:
    standing, found = line("a", 10_00, tax=1_00), []
    for amount in (3_33, 3_33, 3_34):
        (taken,) = of_amounts([standing], {"a": eur(amount)})
        found.append((taken.net, taken.tax))
        standing = after(standing, taken)
    assert found == [(3_33, 33), (3_33, 34), (3_34, 33)]
    assert standing.left == 0


def test_a_total_is_spread_by_what_is_left() -> None:
    lines = [line("a", 100_00, tax=19_00), line("b", 50_00, discount=10_00, tax=7_60)]
    # 119.00 and 47.60 are left: 10.00 is 7.14 and 2.86, of which 1.14 and 0.46 are tax
    assert [(one.net, one.tax) for one in of_total(lines, eur(10_00))] == [(6_00, 1_14), (2_40, 46)]


def test_tax_inside_the_price_comes_back_beside_the_net() -> None:
    (taken,) = of_total([line("a", 119_00, tax=19_00, included=19_00)], eur(11_90))
    assert (taken.amount, taken.net, taken.tax) == (11_90, 10_00, 1_90)


def test_lines_that_are_credits_have_nothing_left() -> None:
    lines = [line("a", 10_00), line("b", -4_00)]
    with pytest.raises(CreditTooLarge):
        of_total(lines, eur(10_01))
    assert [one.id for one in of_total(lines, eur(10_00))] == ["a"]


@pytest.mark.parametrize("amount", [0, -1])
def test_nothing_is_no_credit(amount: int) -> None:
    with pytest.raises(ValueError, match="takes nothing back"):
        of_total([line("a", 10_00)], eur(amount))
    with pytest.raises(ValueError, match="takes nothing back"):
        of_amounts([line("a", 10_00)], {"a": eur(amount)})


def test_a_line_that_is_not_there_is_refused() -> None:
    with pytest.raises(CreditTooLarge):
        of_amounts([line("a", 10_00)], {"b": eur(1)})


@st.composite
def bills(draw: st.DrawFn) -> list[Standing]:
    found = []
    for n in range(draw(st.integers(1, 4))):
        amount = draw(st.integers(1, 5_000))
        discount = draw(st.integers(0, amount))
        tax = draw(st.integers(0, amount - discount))
        included = tax if draw(st.booleans()) else 0
        found.append(line(str(n), amount, discount=discount, tax=tax, included=included))
    return found


@given(bills(), st.data())
def test_notes_of_any_kind_and_size_sum_to_the_bill(
    lines: list[Standing], data: st.DataObject
) -> None:
    whole = [(one.net_left, one.tax_left) for one in lines]
    for _ in range(6):
        left = sum(one.left for one in lines)
        if not left:
            break
        if data.draw(st.booleans()):
            taken = of_total(lines, eur(data.draw(st.integers(1, left))))
        else:
            chosen = data.draw(st.sampled_from([one for one in lines if one.line.left.minor]))
            amount = eur(data.draw(st.integers(1, chosen.line.left.minor)))
            taken = of_amounts(lines, {chosen.line.id: amount})
        by_id = {one.id: one for one in taken}
        assert all(one.net >= 0 and one.tax >= 0 for one in taken)
        lines = [after(one, by_id[one.line.id]) if one.line.id in by_id else one for one in lines]
        assert all(one.line.left.minor >= 0 for one in lines)
        if not any(one.line.left.minor for one in lines):
            break
    left = sum(one.left for one in lines)
    if left:
        by_id = {one.id: one for one in of_total(lines, eur(left))}
        lines = [after(one, by_id[one.line.id]) if one.line.id in by_id else one for one in lines]
    assert [(one.net, one.tax) for one in lines] == whole
