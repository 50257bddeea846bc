from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from apps.engine.daycount import Proration, ProrationRule
from apps.engine.money import CurrencyMismatch, Money, exponent
from apps.engine.period import Period
from apps.engine.prices import Flat, Graduated, PerUnit, Terms, Tier
from apps.engine.proration import (
    Change,
    capped_credit,
    change,
    change_plan,
    credit_unused,
    high_water,
    minimum_true_up,
    price_segments,
    prorate_quantity_change,
    prorated,
)
from apps.engine.rating import BrokenExplanation, rate, replay
from tests.engine import oracle
from tests.engine.strategies import CURRENCIES, MOMENTS, SHARES, TERMS, UNITS, periods

D = Decimal
JUNE = Period(datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))
HALF_TIME = datetime(2025, 6, 16, tzinfo=UTC)
SEATS = PerUnit(D("12.00"))


def seats(old: int, new: int, *, at: datetime = HALF_TIME, included: int = 0) -> Change:
    return prorate_quantity_change(
        SEATS,
        included=D(included),
        old=D(old),
        new=D(new),
        period=JUNE,
        at=at,
        currency="USD",
    )


def usd(minor: int) -> Money:
    return Money(minor, "USD")


def test_a_seat_at_half_time_costs_half() -> None:
    assert seats(5, 6).amount == usd(6_00)
    assert seats(5, 6).quantity == 1


def test_three_seats_cost_what_three_seats_cost() -> None:
    late = datetime(2025, 6, 30, 23, 59, tzinfo=UTC)
    assert seats(0, 1, at=late).amount == usd(0)
    assert seats(0, 30, at=late).amount == usd(1)


def test_fewer_seats_give_back_what_more_seats_cost() -> None:
    at = datetime(2025, 6, 11, 7, 31, 12, 345_678, tzinfo=UTC)
    assert seats(6, 5, at=at).amount == -seats(5, 6, at=at).amount
    assert seats(6, 5, at=at).quantity == -1


def test_included_seats_cost_nothing_to_add() -> None:
    assert seats(1, 3, included=3).amount == usd(0)
    assert seats(2, 4, included=3).amount == usd(6_00)


def test_a_change_outside_the_period_costs_all_or_nothing() -> None:
    assert seats(0, 1, at=datetime(2025, 5, 1, tzinfo=UTC)).amount == usd(12_00)
    assert seats(0, 1, at=datetime(2025, 8, 1, tzinfo=UTC)).amount == usd(0)


def test_tiers_are_right_across_a_change() -> None:
    tiered = Graduated((Tier(D(5), D(10)), Tier(None, D(8), D(50))))
    moved = prorate_quantity_change(
        tiered, included=D(0), old=D(4), new=D(7), period=JUNE, at=HALF_TIME, currency="USD"
    )
    # (5 × 10 + 2 × 8 + 50) − 4 × 10 = 76, half of it.
    assert moved.amount == usd(38_00)


def test_a_change_that_changes_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing changed"):
        seats(3, 3)
    with pytest.raises(ValueError, match="full price"):
        change(None, None, share=Fraction(1, 2))


def test_a_share_of_a_share_is_refused() -> None:
    half = rate(SEATS, quantity=D(1), share=Fraction(1, 2), currency="USD")
    with pytest.raises(ValueError, match="full price"):
        change(None, half, share=Fraction(1, 2))


def test_two_currencies_do_not_make_a_change() -> None:
    dollars, euros = (rate(SEATS, quantity=D(1), currency=c) for c in ("USD", "EUR"))
    with pytest.raises(CurrencyMismatch):
        change(dollars, euros, share=Fraction(1, 2))
    with pytest.raises(CurrencyMismatch):
        price_segments([(JUNE, dollars), (JUNE, euros)], whole=JUNE)


def test_a_start_charges_and_an_end_gives_back() -> None:
    base = rate(Flat(D(50)), quantity=D(1), currency="USD")
    assert change(None, base, share=Fraction(1, 2)).amount == usd(25_00)
    assert change(base, None, share=Fraction(1, 2)).amount == usd(-25_00)


def test_a_credit_stops_at_what_was_billed() -> None:
    base = rate(Flat(D(50)), quantity=D(1), currency="USD")
    capped = change(base, None, share=Fraction(1, 2), paid=usd(20_00))
    assert capped.amount == usd(-20_00)
    explained: dict[str, Any] = capped.explain()
    assert explained["paid_minor"] == 20_00
    assert replay(explained) == -20_00
    for enough in (usd(25_00), usd(50_00)):
        uncapped = change(base, None, share=Fraction(1, 2), paid=enough)
        assert uncapped == change(base, None, share=Fraction(1, 2))


def test_the_explanation_of_a_change_shows_both_prices() -> None:
    explained: dict[str, Any] = seats(5, 7, included=3).explain()
    assert explained["rule"] == "change"
    assert (explained["old"]["exact"], explained["new"]["exact"]) == ("24", "48")
    assert explained["share"] == "1/2"
    assert (explained["exact"], explained["amount_minor"]) == ("12", 12_00)


def test_an_altered_side_of_a_change_does_not_replay() -> None:
    explained: dict[str, Any] = json.loads(json.dumps(seats(5, 7).explain()))
    explained["new"]["exact"] = "85"
    with pytest.raises(BrokenExplanation, match="exact"):
        replay(explained)
    with pytest.raises(BrokenExplanation, match="exact"):
        replay(seats(5, 7).explain() | {"share": "2/3"})
    with pytest.raises(BrokenExplanation, match="old"):
        replay(seats(5, 7).explain() | {"old": "5"})


@given(TERMS, UNITS, UNITS, UNITS, periods(), MOMENTS, CURRENCIES)
def test_a_change_agrees_with_the_oracle_and_explains_itself(
    terms: Terms,
    included: Decimal,
    old: Decimal,
    new: Decimal,
    period: Period,
    at: datetime,
    currency: str,
) -> None:
    assume(old != new)
    moved = prorate_quantity_change(
        terms, included=included, old=old, new=new, period=period, at=at, currency=currency
    )
    before, after = (
        oracle.price(terms.as_dict(), Fraction(q), Fraction(included)) for q in (old, new)
    )
    left = oracle.seconds(min(max(at, period.start), period.end), period.end)
    share = left / oracle.seconds(period.start, period.end)
    exact = (after - before) * share * 10 ** exponent(currency)
    assert moved.amount.minor == oracle.rounded(exact)
    assert abs(moved.exact) <= abs(after - before) * 10 ** exponent(currency)
    assert replay(json.loads(json.dumps(moved.explain()))) == moved.amount.minor


@given(TERMS, UNITS, UNITS, SHARES)
def test_there_and_back_again_costs_nothing(
    terms: Terms, old: Decimal, new: Decimal, share: Fraction
) -> None:
    one, other = (rate(terms, quantity=q, currency="USD") for q in (old, new))
    there, back = change(one, other, share=share), change(other, one, share=share)
    assert there.amount + back.amount == usd(0)


@given(TERMS, st.lists(UNITS, min_size=1, max_size=4), periods())
def test_a_period_cut_in_stretches_costs_each_its_time(
    terms: Terms, quantities: list[Decimal], period: Period
) -> None:
    length = (period.end - period.start) / len(quantities)
    assume(length.total_seconds() > 1)
    cuts = [period.start + length * i for i in range(len(quantities))] + [period.end]
    stretches = [Period(start, end) for start, end in pairwise(cuts)]
    priced = price_segments(
        [
            (during, rate(terms, quantity=q, currency="USD"))
            for during, q in zip(stretches, quantities, strict=True)
        ],
        whole=period,
    )
    expected = sum(
        100
        * oracle.price(terms.as_dict(), Fraction(q), Fraction(0))
        * oracle.seconds(during.start, during.end)
        for during, q in zip(stretches, quantities, strict=True)
    ) / oracle.seconds(period.start, period.end)
    assert priced.amount.minor == oracle.rounded(Fraction(expected))
    assert priced.quantity == quantities[-1]
    assert replay(json.loads(json.dumps(priced.explain()))) == priced.amount.minor


def test_a_price_over_time_needs_some_time() -> None:
    with pytest.raises(ValueError, match="at least one segment"):
        price_segments([], whole=JUNE)


MID_DAY = datetime(2025, 6, 16, 18, tzinfo=UTC)
BASE = rate(Flat(D(50)), quantity=D(1), currency="USD")


def counted_by(proration: Proration, old: int, new: int) -> Change:
    return prorate_quantity_change(
        SEATS, included=D(0), old=D(old), new=D(new), period=JUNE, at=MID_DAY, currency="USD",
        rule=ProrationRule(proration),
    )  # fmt: skip


def test_a_price_counts_its_seats_by_its_own_rule() -> None:
    assert counted_by(Proration.SECOND, 5, 6).amount == usd(5_70)
    assert counted_by(Proration.DAY, 5, 6).amount == usd(6_00)
    assert counted_by(Proration.NONE, 5, 6).amount == usd(0)
    assert counted_by(Proration.FULL, 5, 6).amount == usd(12_00)
    assert counted_by(Proration.FULL, 6, 5).amount == usd(0)


def test_stretches_are_counted_by_the_rule_of_the_price() -> None:
    stretches = [(Period(JUNE.start, MID_DAY), BASE), (Period(MID_DAY, JUNE.end), BASE)]
    by_day = price_segments(stretches, whole=JUNE, rule=ProrationRule(Proration.DAY))
    assert [part.share for part in by_day.segments] == [Fraction(1, 2), Fraction(1, 2)]
    lived = price_segments(stretches[:1], whole=JUNE, rule=ProrationRule(Proration.FULL))
    assert (by_day.amount, lived.amount) == (usd(50_00), usd(50_00))
    unbilled = price_segments(stretches[:1], whole=JUNE, rule=ProrationRule(Proration.NONE))
    assert unbilled.amount == usd(0)
    explained: dict[str, Any] = by_day.explain()
    assert replay(explained) == 50_00


def test_what_is_no_money_is_prorated_to_its_own_places() -> None:
    assert prorated(100, share=Fraction(12, 31), places=8) == D("38.70967742")
    assert prorated(D("99.5"), share=1, places=0) == D(100)
    with pytest.raises(ValueError, match="between 0 and 1"):
        prorated(100, share=2, places=0)


def test_a_credit_is_capped_at_what_is_left_of_the_bill() -> None:
    def credit(potential: int, billed: int, credited: int) -> Money:
        return capped_credit(usd(potential), billed=usd(billed), credited=usd(credited))

    assert credit(100, 200, 50) == usd(100)
    assert credit(300, 200, 50) == usd(150)
    assert credit(100, 200, 250) == usd(0)
    assert credit(-50, 200, 50) == usd(0)


def test_a_plan_change_rounds_each_line_and_waits_for_the_next_invoice() -> None:
    half = Fraction(1, 2)
    moved = change_plan(
        [usd(3_01), usd(7_00)], [usd(20_00)], unused=half, left=half, currency="USD"
    )
    assert moved.credits == (usd(1_51), usd(3_50))
    assert (moved.credit, moved.charge, moved.net) == (usd(5_01), usd(10_00), usd(4_99))
    assert moved.next_invoice == usd(24_99)


def test_credits_of_several_lines_stop_together() -> None:
    moved = change_plan(
        [usd(10_00), usd(10_00)], [], unused=Fraction(1), left=Fraction(1),
        credited=usd(12_00), currency="USD",
    )  # fmt: skip
    assert moved.credits == (usd(8_00), usd(0))
    assert moved.charge == usd(0)


def test_a_plan_change_never_charges_more_than_the_new_price() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        change_plan([], [usd(1_00)], unused=Fraction(1), left=Fraction(2), currency="USD")


def test_coming_back_up_to_the_highest_number_of_seats_is_free() -> None:
    steps = [rate(SEATS, quantity=D(seats), currency="USD") for seats in (10, 5, 10, 12)]
    assert high_water(steps) == (usd(120_00), usd(0), usd(0), usd(24_00))
    assert high_water([]) == ()


def test_both_sides_of_a_minimum_are_rounded_before_they_are_subtracted() -> None:
    # 10000.00 × 334/365 = 9150.68, 1000.00 × 334/365 = 915.07; rounded once it were 8235.62.
    missing = minimum_true_up(usd(10_000_00), usd(1_000_00), share=Fraction(334, 365))
    assert missing == usd(8_235_61)
    assert minimum_true_up(usd(1_00), usd(2_00), share=Fraction(1)) == usd(0)


def test_a_credit_for_unused_time_and_its_tax_are_rounded_apart() -> None:
    back = credit_unused(usd(100_00), unused=Fraction(20, 28), tax_percent=D(20))
    # 71.43 and 14.29; together 85.714… would round to 85.71.
    assert (back.net, back.tax, back.total) == (usd(71_43), usd(14_29), usd(85_72))
    with pytest.raises(ValueError, match="not negative"):
        credit_unused(usd(1_00), unused=Fraction(1), tax_percent=D(-1))
