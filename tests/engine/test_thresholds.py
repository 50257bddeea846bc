from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.money import Money
from apps.engine.thresholds import (
    InvalidThresholds,
    LifetimeUsage,
    Thresholds,
    crossed,
    progress,
    progressive_credit,
)
from tests.engine.settlements import amounts, usd


def thresholds(*fixed: int, every: int | None = None) -> Thresholds:
    return Thresholds("USD", tuple(map(usd, fixed)), None if every is None else usd(every))


def usage(invoiced: int, current: int, billed: int = 0, historical: int = 0) -> LifetimeUsage:
    return LifetimeUsage(usd(invoiced), usd(current), usd(historical), usd(billed))


def passed(given: Thresholds, of: LifetimeUsage) -> list[int]:
    return [threshold.amount.minor for threshold in crossed(given, of)]


FOUR = thresholds(10, 20, 31, 40)
FOUR_AND_STEPS = thresholds(10, 20, 31, 40, every=5)


@pytest.mark.parametrize(
    ("given", "of", "expected"),
    [
        (FOUR, usage(0, 31), [10, 20, 31]),
        (FOUR, usage(21, 20), [31, 40]),
        (FOUR, usage(50, 0), []),
        (FOUR, usage(11, 10, historical=11), [31]),
        (FOUR, usage(0, 31, billed=10), [20, 31]),
        (FOUR, usage(30, 12, billed=10), []),
        (FOUR_AND_STEPS, usage(0, 44), [10, 20, 31, 40]),
        (FOUR_AND_STEPS, usage(9, 37), [10, 20, 31, 40, 5]),
        (FOUR_AND_STEPS, usage(49, 1), [5]),
        (FOUR_AND_STEPS, usage(49, 1, billed=10), []),
        (thresholds(every=10), usage(11, 20), [10]),
        (thresholds(every=10), usage(202, 7), []),
        (thresholds(10, every=5), usage(9, 6, billed=10), []),
        (thresholds(), usage(0, 1_000), []),
    ],
)
def test_a_threshold_is_passed_from_below_to_it_or_beyond(
    given: Thresholds, of: LifetimeUsage, expected: list[int]
) -> None:
    assert passed(given, of) == expected


def test_a_step_passed_several_times_fires_once_and_names_its_level() -> None:
    (threshold,) = crossed(thresholds(10, every=5), usage(11, 20))
    assert threshold.recurring
    assert (threshold.amount, threshold.level) == (usd(5), usd(30))


@given(
    st.sets(st.integers(1, 60)),
    st.none() | st.integers(1, 9),
    st.integers(0, 99),
    st.integers(0, 99),
)
def test_what_is_passed_is_what_counting_level_by_level_says(
    fixed: set[int], every: int | None, before: int, more: int
) -> None:
    given = thresholds(*sorted(fixed), every=every)
    now, top = before + more, max(fixed, default=0)
    expected = [level for level in sorted(fixed) if before < level <= now]
    if every and any(before < level <= now for level in range(top + every, now + 1, every)):
        expected.append(every)
    assert passed(given, usage(before, more)) == expected


@pytest.mark.parametrize(
    ("given", "at", "last", "following", "ratio"),
    [
        (thresholds(), 50, None, None, None),
        (thresholds(100), 0, None, 100, Fraction(0)),
        (thresholds(100, 200), 100, 100, 200, Fraction(0)),
        (thresholds(100, 200), 120, 100, 200, Fraction(1, 5)),
        (thresholds(100, 200), 223, 200, None, None),
        (thresholds(100, every=200), 120, 100, 300, Fraction(1, 10)),
        (thresholds(100, every=200), 723, 700, 900, Fraction(115, 1000)),
        (thresholds(every=200), 50, None, 200, Fraction(1, 4)),
    ],
)
def test_progress_runs_from_the_threshold_behind_to_the_one_ahead(
    given: Thresholds, at: int, last: int | None, following: int | None, ratio: Fraction | None
) -> None:
    found = progress(given, usd(at))
    assert found.last == (None if last is None else usd(last))
    assert found.next == (None if following is None else usd(following))
    assert found.ratio == ratio


def test_only_the_newest_progressive_invoice_is_credited() -> None:
    lines = {"a": usd(500), "b": usd(500)}
    found = progressive_credit(lines, [{"a": usd(20)}, {"a": usd(200)}], currency="USD")
    assert (found.credit, found.left_over) == (usd(200), usd(0))
    assert progressive_credit(lines, [], currency="USD").credit == usd(0)


def test_what_no_line_takes_is_left_over() -> None:
    found = progressive_credit(
        {"a": usd(500), "b": usd(-10)},
        [{"a": usd(2_000), "b": usd(30), "gone": usd(7)}],
        currency="USD",
    )
    assert found.parts == (("a", usd(500)), ("b", usd(0)), ("gone", usd(0)))
    assert (found.credit, found.left_over) == (usd(500), usd(1_537))


@given(amounts(), amounts())
def test_credit_and_rest_are_what_was_billed(line: Money, billed: Money) -> None:
    found = progressive_credit({"a": line}, [{"a": billed}], currency="USD")
    assert found.credit + found.left_over == billed
    assert found.credit <= line


@pytest.mark.parametrize("fixed", [(0,), (-5,), (10, 10), (20, 10)])
def test_thresholds_must_rise(fixed: tuple[int, ...]) -> None:
    with pytest.raises(InvalidThresholds):
        thresholds(*fixed)


def test_a_step_must_be_more_than_nothing() -> None:
    with pytest.raises(InvalidThresholds):
        thresholds(10, every=0)
