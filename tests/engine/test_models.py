"""The price models beyond tiers and packages, and what a price says besides its terms."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.explanation import BrokenExplanation, replay
from apps.engine.money import CurrencyMismatch, Money
from apps.engine.price_rules import (
    Commitment,
    Conversion,
    Negative,
    Operation,
    QuantityRounding,
    Rules,
    parse_rules,
    round_quantity,
)
from apps.engine.prices import (
    Flat,
    Graduated,
    InvalidTerms,
    PerUnit,
    Terms,
    Tier,
    Volume,
    parse_terms,
)
from apps.engine.rating import Consumed, Move, NoPrice, Progress, Rated, RatedSum, rate, rate_sum
from tests.engine import oracle
from tests.engine.strategies import AMOUNTS, SHARES, UNITS, decimals

D = Decimal
OPEN = {"up_to": None, "unit_amount": "1"}

CARD = {"model": "percentage", "rate_percent": "1.3", "fixed_amount": "2"}
SPEND = {
    "model": "graduated_percentage",
    "tiers": [
        {"up_to": "10", "rate_percent": "1", "flat_amount": "200"},
        {"up_to": None, "rate_percent": "2", "flat_amount": "300"},
    ],
}
BLOCKS = {
    "model": "blocks",
    "mode": "graduated",
    "tiers": [
        {"block_size": "100", "max_blocks": "10", "block_amount": "3"},
        {"block_size": "1000", "max_blocks": "4", "block_amount": "20"},
    ],
}
ROOMS = {
    "model": "capacity",
    "tiers": [
        {"amount": "10", "limits": {"seats": "5", "sites": "1"}},
        {"amount": "25", "limits": {"seats": "20", "sites": None}},
    ],
}
STEPPED = Graduated((Tier(D(5), D(10), D(100)), Tier(None, D(5), D(50))))


def usd(terms: Terms | dict[str, Any], quantity: str | int | Consumed, **more: Any) -> Rated:
    read = parse_terms(terms) if isinstance(terms, dict) else terms
    facts = quantity if isinstance(quantity, Consumed) else D(quantity)
    return rate(read, quantity=facts, currency="USD", **more)


def cents(rated: Rated | RatedSum) -> int:
    """The amount, after its own explanation has come to the same."""
    explained = json.loads(json.dumps(rated.explain()))
    assert replay(explained) == explained["amount_minor"] == rated.amount.minor
    return rated.amount.minor


def events(*amounts: str | int) -> Consumed:
    return Consumed(events=tuple(D(amount) for amount in amounts))


# Percentages


def test_every_event_pays_its_share_and_the_fixed_fee() -> None:
    assert cents(usd(CARD, events(50, 100, 250, 400))) == 18_40


def test_the_allowance_ends_at_the_first_of_events_and_amount() -> None:
    four = events(50, 100, 250, 400)
    assert cents(usd(CARD | {"free_events": 3, "free_amount": "250"}, four)) == 11_15
    assert cents(usd(CARD | {"free_events": 3, "free_amount": "500"}, four)) == 7_20
    assert cents(usd(CARD | {"free_events": 5}, four)) == 0


def test_an_event_that_uses_the_allowance_up_pays_for_the_rest_of_it() -> None:
    assert cents(usd(CARD | {"free_amount": "120"}, events(100, 100))) == 3_04


def test_an_event_of_just_the_rest_is_free_and_the_next_one_pays() -> None:
    assert cents(usd(CARD | {"free_amount": "150"}, events(50, 100, 0))) == 2_00


def test_bounds_hold_for_each_event_after_the_fixed_fee() -> None:
    bounded = {"model": "percentage", "rate_percent": "2.99", "event_minimum": "1.75"}
    bounded |= {"event_maximum": "12"}
    assert usd(bounded, events(10, 80, 10_000)).exact == Fraction("1614.2")
    with_fee = usd(bounded | {"fixed_amount": "2"}, events(10, 80, 10_000))
    assert with_fee.exact == Fraction("1869.1")
    assert cents(with_fee) == 18_69


def test_a_plain_percentage_needs_no_events_and_any_other_does() -> None:
    assert cents(usd({"model": "percentage", "rate_percent": "3"}, "250.50")) == 7_52
    with pytest.raises(ValueError, match="needs the events"):
        usd(CARD, "250.50")


def test_a_line_explains_many_events_as_shortly_as_one() -> None:
    many = usd(CARD | {"free_events": 2, "event_maximum": "5"}, events(*range(1, 2001)))
    few = usd(CARD | {"free_events": 2, "event_maximum": "5"}, events(1, 2, 3, 2000))
    assert cents(many) > 0
    assert abs(len(json.dumps(many.explain())) - len(json.dumps(few.explain()))) < 60


PERCENTAGES = st.builds(
    lambda rate_, fixed, free, room, low, more: {
        "model": "percentage",
        "rate_percent": str(rate_),
        "fixed_amount": str(fixed),
        "free_events": free,
        "free_amount": None if room is None else str(room),
        "event_minimum": None if low is None else str(low),
        "event_maximum": None if more is None else str((low or D(0)) + more),
    },
    decimals(10, 2),
    decimals(3, 2),
    st.none() | st.integers(1, 4),
    st.none() | decimals(60, 1).filter(bool),
    st.none() | decimals(2, 1),
    st.none() | decimals(3, 1),
)


def slow_percentage(terms: dict[str, Any], amounts: list[Decimal]) -> Fraction:
    """The sum event by event, as a person would do it."""
    total, used, left = Fraction(0), 0, Fraction(terms["free_amount"] or 0)
    allowed = terms["free_events"]
    for amount in map(Fraction, amounts):
        limited = terms["free_amount"] is not None
        exists = limited or allowed is not None
        open_ = exists and (allowed is None or used < allowed) and (not limited or left > 0)
        free = Fraction(0)
        if open_:
            free = min(amount, left) if limited else amount
            left -= free
            if free == amount:
                used += 1
                continue
        owed = (amount - free) * Fraction(terms["rate_percent"]) / 100
        owed += Fraction(terms["fixed_amount"])
        if terms["event_minimum"] is not None:
            owed = max(owed, Fraction(terms["event_minimum"]))
        if terms["event_maximum"] is not None:
            owed = min(owed, Fraction(terms["event_maximum"]))
        total += owed
    return total


@given(PERCENTAGES, st.lists(decimals(40, 1), max_size=12))
def test_a_percentage_agrees_with_the_sum_event_by_event(
    terms: dict[str, Any], amounts: list[Decimal]
) -> None:
    rated = usd(terms, Consumed(events=tuple(amounts)))
    assert rated.exact == slow_percentage(terms, amounts) * 100
    cents(rated)


@given(PERCENTAGES, st.lists(decimals(40, 1), max_size=8), st.integers(0, 8))
def test_events_billed_one_line_after_another_add_up(
    terms: dict[str, Any], amounts: list[Decimal], cut: int
) -> None:
    before, after = Consumed(events=tuple(amounts[:cut])), Consumed(events=tuple(amounts[cut:]))
    second = usd(terms, after, progress=Progress(before))
    assert usd(terms, before).exact + second.exact == usd(terms, events(*map(str, amounts))).exact
    cents(second)


def test_each_part_of_a_volume_of_money_costs_its_tiers_percentage() -> None:
    assert cents(usd(SPEND, 12)) == 500_14
    assert cents(usd(SPEND, 0)) == 200_00
    assert cents(usd(SPEND | {"zero_quantity_flat": False}, 0)) == 0


def test_a_dynamic_price_takes_the_amounts_that_the_events_carry() -> None:
    assert cents(usd({"model": "dynamic"}, events("12.3456"))) == 12_35
    assert cents(usd({"model": "dynamic", "multiplier": "1.33333"}, 10)) == 13_33


# Blocks, capacity, packages, bounded tiers


def test_blocks_fill_tier_by_tier_and_a_block_begun_is_paid() -> None:
    assert [cents(usd(BLOCKS, n)) for n in (0, 1, 1000, 1001, 5000)] == [
        0, 3_00, 30_00, 50_00, 110_00,
    ]  # fmt: skip


def test_units_beyond_a_bounded_last_block_tier_are_not_billed() -> None:
    assert cents(usd(BLOCKS, 9_999)) == 110_00


def test_blocks_by_volume_are_all_of_the_tier_reached() -> None:
    assert cents(usd(BLOCKS | {"mode": "volume"}, 1_001)) == 40_00
    assert cents(usd(BLOCKS | {"mode": "volume"}, 9_999)) == 200_00


def test_a_capacity_is_the_first_tier_that_holds_every_unit() -> None:
    def used(**units: int) -> Consumed:
        return Consumed(units={unit: D(n) for unit, n in units.items()})

    assert cents(usd(ROOMS, used(seats=5, sites=1))) == 10_00
    assert cents(usd(ROOMS, used(seats=5, sites=2))) == 25_00
    assert cents(usd(ROOMS, used(seats=0, sites=0))) == 0
    with pytest.raises(NoPrice, match="beyond"):
        usd(ROOMS, used(seats=21))
    with pytest.raises(NoPrice, match="doors"):
        usd(ROOMS, used(doors=1))


def test_a_package_rounded_down_bills_only_full_ones() -> None:
    down = {"model": "package", "package_size": "100", "unit_amount": "1", "rounding": "down"}
    assert [cents(usd(down, n)) for n in (50, 100, 199)] == [0, 1_00, 1_00]


def test_beyond_a_bounded_tier_a_volume_has_no_price_and_a_graduated_one_no_more() -> None:
    tiers = (Tier(D(10), D(5)),)
    assert cents(usd(Graduated(tiers, bounded=True), 15)) == 50_00
    assert cents(usd(Volume(tiers, bounded=True), 10)) == 50_00
    with pytest.raises(NoPrice, match="beyond the last tier"):
        usd(Volume(tiers, bounded=True), 11)


def test_a_volume_may_take_its_tier_from_another_quantity() -> None:
    ranges = Volume((Tier(D(200), D(1)), Tier(None, D("0.5"), D(50))))
    assert cents(usd(ranges, Consumed(D("198.6"), tier_quantity=D(300)))) == 149_30
    with pytest.raises(ValueError, match="only a volume price"):
        usd(STEPPED, Consumed(D(1), tier_quantity=D(2)))


def test_below_zero_nothing_is_owed_or_the_quantity_is_refused() -> None:
    assert cents(usd(STEPPED, -1)) == 0
    with pytest.raises(NoPrice, match="negative"):
        usd(STEPPED, -1, rules=Rules(negative=Negative.REFUSE))


# Levels by their share of time


def moves(*pairs: tuple[str, str]) -> Consumed:
    return Consumed(moves=tuple(Move(D(units), D(prorated)) for units, prorated in pairs))


def test_units_find_their_tier_whole_and_cost_by_their_share_of_time() -> None:
    up = usd(STEPPED, moves(("4", "2.8"), ("2", "1"), ("-3", "-0.6")))
    assert cents(up) == 180_50
    thirds = usd(STEPPED, moves(("5", "3.5"), ("5", "2.66667"), ("10", "2"), ("-6", "-2.2")))
    assert cents(thirds) == 197_33


def test_a_level_that_ends_below_zero_owes_nothing_and_an_empty_one_the_first_flat() -> None:
    assert cents(usd(STEPPED, moves(("5", "2"), ("-100", "-33.33")))) == 0
    assert cents(usd(STEPPED, Consumed(moves=()))) == 100_00


# Conversion, commitment, discount, maximum, minimum, progress

THOUSANDS = Conversion(D(1000), Operation.DIVIDE, QuantityRounding.UP)


def test_units_are_converted_and_rounded_before_the_free_ones_come_off() -> None:
    rules = Rules(conversion=THOUSANDS)
    assert cents(usd(PerUnit(D(10)), 1_400, rules=rules)) == 20_00
    assert cents(usd(PerUnit(D(10)), 1_400, rules=rules, included=D("0.5"))) == 15_00


def test_a_conversion_that_never_ends_must_round() -> None:
    with pytest.raises(InvalidTerms, match="never ends"):
        Rules(conversion=Conversion(D(3), Operation.DIVIDE))
    assert Conversion(D(3), Operation.DIVIDE).exact(D(1)) == Fraction(1, 3)
    assert Conversion(D(3), Operation.DIVIDE, QuantityRounding.DOWN, 2).apply(D(1)) == D("0.33")


@pytest.mark.parametrize(
    ("value", "rounding", "places", "expected"),
    [
        ("-2.5", "half_up", 0, "-3"), ("2.4", "up", 0, "3"), ("-2.4", "up", 0, "-2"),
        ("-2.4", "down", 0, "-3"), ("123.4567", "half_up", 2, "123.46"),
        ("1250", "half_up", -2, "1300"), ("1.23", "none", 0, "1.23"),
    ],
)  # fmt: skip
def test_a_quantity_is_rounded_as_it_says(
    value: str, rounding: str, places: int, expected: str
) -> None:
    rounded = round_quantity(Fraction(value), QuantityRounding(rounding), places)
    assert rounded == Fraction(expected)


def test_the_discount_comes_before_the_maximum() -> None:
    rules = Rules(discount_percent=D(50), maximum_amount=D(100))
    line = usd(PerUnit(D(10)), 20, rules=rules, progress=Progress(Consumed(D(7)), billed=D(35)))
    assert line.bounds.discount == 100
    assert line.bounds.maximum_discount == 35
    assert cents(line) == 65_00


def test_the_minimum_is_owed_on_the_last_line_less_what_was_billed() -> None:
    rules = Rules(minimum_amount=D(100))
    assert cents(usd(PerUnit(D(10)), 2, rules=rules, progress=Progress(last=False))) == 20_00
    assert cents(usd(PerUnit(D(10)), 2, rules=rules, progress=Progress(billed=D(50)))) == 50_00
    assert cents(usd(PerUnit(D(10)), 20, rules=rules)) == 200_00


def test_a_minimum_may_shrink_with_the_share_of_the_period() -> None:
    half = {"share": Fraction(1, 2)}
    assert cents(usd(Flat(D(10)), 1, rules=Rules(minimum_amount=D(100)), **half)) == 100_00
    prorated = Rules(minimum_amount=D(100), prorate_minimum=True)
    assert cents(usd(Flat(D(10)), 1, rules=prorated, **half)) == 50_00


def test_usage_may_be_left_to_the_last_line_of_the_period() -> None:
    rules = Rules(on_last_line=True)
    cheaper = Volume((Tier(D(10), D(2)), Tier(None, D(1))))
    assert cents(usd(cheaper, 8, rules=rules, progress=Progress(last=False))) == 0
    assert cents(usd(cheaper, 11, rules=rules)) == 11_00


def test_a_line_after_another_owes_the_difference_and_never_less_than_nothing() -> None:
    assert cents(usd(STEPPED, 1, progress=Progress(Consumed(D(5))))) == 55_00
    cheaper = Volume((Tier(D(10), D(2)), Tier(None, D(1))))
    assert cents(usd(cheaper, 1, progress=Progress(Consumed(D(10))))) == 0
    assert cents(usd(Flat(D(100)), 1, progress=Progress(before_amount=D(10)))) == 90_00


def test_free_units_are_used_up_by_the_lines_before() -> None:
    line = usd(PerUnit(D(1)), 75, included=D(110), progress=Progress(Consumed(D(50))))
    assert line.billed_quantity == 15
    assert cents(line) == 15_00


def test_a_commitment_is_paid_anyway_and_what_is_above_it_with_its_factor() -> None:
    rules = Rules(commitment=Commitment(D(10), overage_factor=D(2), true_up=True))
    windows = [usd(PerUnit(D(2)), n, rules=rules) for n in (2, 8)]
    assert [cents(window) for window in windows] == [10_00, 22_00]
    assert cents(rate_sum(windows, currency="USD")) == 32_00
    by_units = Rules(commitment=Commitment(quantity=D(4), overage_factor=D(2)))
    assert cents(usd(PerUnit(D(1)), 10, rules=by_units)) == 16_00
    assert cents(usd(PerUnit(D(1)), 1, rules=by_units)) == 1_00


def test_buckets_are_priced_alone_and_bounded_together() -> None:
    buckets = [usd(STEPPED, n) for n in (5, 6)]
    assert cents(rate_sum(buckets, currency="USD")) == 355_00
    capped = rate_sum(buckets, currency="USD", rules=Rules(maximum_amount=D(300)))
    assert cents(capped) == 300_00
    assert rate_sum([], currency="USD").amount == Money(0, "USD")
    with pytest.raises(CurrencyMismatch):
        rate_sum(buckets, currency="EUR")


def test_a_sum_is_rounded_once() -> None:
    halves = [usd(PerUnit(D("0.005")), 1) for _ in range(3)]
    assert cents(rate_sum(halves, currency="USD")) == 2


RULES = st.builds(
    Rules,
    conversion=st.none() | st.just(THOUSANDS) | st.just(Conversion(D("1.2"))),
    commitment=st.none()
    | st.builds(Commitment, decimals(50, 1), st.none(), decimals(3, 1), st.booleans())
    | st.builds(Commitment, st.none(), decimals(9, 0), decimals(3, 1), st.booleans()),
    discount_percent=decimals(100, 1),
    maximum_amount=st.none() | decimals(200, 1).map(lambda most: most + 100),
    minimum_amount=st.none() | decimals(100, 1),
    prorate_minimum=st.booleans(),
    on_last_line=st.booleans(),
)
PROGRESS = st.builds(
    Progress,
    st.none() | st.builds(Consumed, UNITS),
    decimals(5, 1),
    decimals(300, 2),
    st.booleans(),
)


@given(RULES)
def test_rules_read_back_as_they_were_written(rules: Rules) -> None:
    assert parse_rules(json.loads(json.dumps(rules.as_dict()))) == rules


@given(
    st.sampled_from([parse_terms(BLOCKS), parse_terms(SPEND), STEPPED, PerUnit(D("0.7"))]),
    UNITS,
    decimals(9, 1),
    SHARES,
    RULES,
    PROGRESS,
)
def test_every_line_is_redone_from_its_explanation(
    terms: Terms,
    quantity: Decimal,
    included: Decimal,
    share: Fraction,
    rules: Rules,
    progress: Progress,
) -> None:
    line = usd(terms, str(quantity), included=included, share=share, rules=rules, progress=progress)
    cents(line)
    billed = Fraction(progress.billed)
    if rules.maximum_amount is not None and billed <= rules.maximum_amount:
        assert line.exact <= (Fraction(rules.maximum_amount) - billed) * 100
    assert line.exact >= 0


@given(st.lists(UNITS, max_size=6), AMOUNTS)
def test_lines_one_after_another_come_to_the_price_of_the_whole(
    quantities: list[Decimal], unit: Decimal
) -> None:
    terms = Graduated((Tier(D(20), unit, D(3)), Tier(None, D(1), D(2))), zero_quantity_flat=False)
    billed, before = Fraction(0), Consumed()
    for quantity in quantities:
        billed += usd(terms, str(quantity), progress=Progress(before)).exact
        before = Consumed(quantity).after(before)
    whole = oracle.price(terms.as_dict(), Fraction(before.total), Fraction(0))
    assert billed == whole * 100


# Explanations stand or fall by their own numbers

KEYS_THAT_ONLY_NAME = {"item", "tier", "currency", "amount_minor", "model"}


def altered(node: Any, whole: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Copies of the explanation with one number of its arithmetic altered."""
    if isinstance(node, list):
        for part in node:
            yield from altered(part, whole)
    if not isinstance(node, dict):
        return
    for key, value in list(node.items()):
        if key in KEYS_THAT_ONLY_NAME:
            continue
        if isinstance(value, str) and value[:1].isdigit() and value != "0":
            node[key] = value + "1"
            yield key, copy.deepcopy(whole)
            node[key] = value
        elif isinstance(value, dict | list):
            yield from altered(value, whole)


LINES = [
    usd(CARD | {"free_amount": "120", "event_maximum": "4"}, events(100, 100, 900, 5)),
    usd(SPEND, 12, rules=Rules(discount_percent=D(10), minimum_amount=D(900))),
    usd(BLOCKS, 1_400, rules=Rules(maximum_amount=D(40))),
    usd(
        PerUnit(D(10)),
        1_400,
        rules=Rules(conversion=THOUSANDS, commitment=Commitment(D(5), None, D(2))),
        progress=Progress(Consumed(D(300))),
    ),
]
# Numbers that bound what happened, without the line's amount following from them.
SLACK = {"limit", "block_size", "up_to", "free_amount", "event_maximum", "factor", "maximum_amount"}


@pytest.mark.parametrize("line", LINES, ids=["percentage", "spend", "blocks", "converted"])
def test_an_altered_number_does_not_go_unnoticed(line: Rated) -> None:
    explanation = json.loads(json.dumps(line.explain()))
    unnoticed = set()
    for key, changed in altered(explanation, explanation):
        try:
            if replay(changed) == line.amount.minor:
                unnoticed.add(key)
        except BrokenExplanation:
            continue
    assert unnoticed <= SLACK


# Reading


@pytest.mark.parametrize(
    ("written", "path"),
    [
        (CARD | {"free_events": 0}, "free_events"),
        (CARD | {"free_events": "3"}, "free_events"),
        (CARD | {"event_minimum": "3", "event_maximum": "2"}, "event_maximum"),
        (CARD | {"rate": "3"}, "rate"),
        (BLOCKS | {"mode": "all"}, "mode"),
        (BLOCKS | {"tiers": []}, "tiers"),
        (BLOCKS | {"tiers": [BLOCKS["tiers"][0] | {"block_size": "0"}]}, "tiers[0].block_size"),  # type: ignore[operator]
        ({"model": "capacity", "tiers": [{"amount": "1", "limits": {}}]}, "tiers[0].limits"),
        (
            {"model": "capacity", "tiers": [{"amount": "1", "limits": {"seats": "0"}}]},
            "tiers[0].limits.seats",
        ),
        ({"model": "volume", "bounded": True, "tiers": [OPEN]}, "tiers[0].up_to"),
        (
            {"model": "package", "package_size": "1", "unit_amount": "1", "rounding": "off"},
            "rounding",
        ),
    ],
)
def test_wrong_terms_are_refused_where_they_are_wrong(written: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidTerms) as refusal:
        parse_terms(written)
    assert refusal.value.path == path


@pytest.mark.parametrize("written", [CARD, SPEND, BLOCKS, ROOMS, {"model": "dynamic"}])
def test_terms_read_back_as_they_were_written(written: dict[str, Any]) -> None:
    terms = parse_terms(written)
    assert parse_terms(json.loads(json.dumps(terms.as_dict()))) == terms


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ({"minimum_amount": "5", "maximum_amount": "4"}, "maximum_amount"),
        ({"discount_percent": "101"}, "discount_percent"),
        ({"conversion": {"factor": "0"}}, "conversion.factor"),
        ({"conversion": {"factor": "1", "places": 13}}, "conversion.places"),
        ({"conversion": {"factor": "1", "places": "1"}}, "conversion.places"),
        ({"commitment": {"amount": "1", "quantity": "1"}}, "commitment.amount"),
        ({"commitment": "10"}, "commitment"),
        ({"minimum": "1"}, "minimum"),
    ],
)
def test_wrong_rules_are_refused_where_they_are_wrong(written: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidTerms) as refusal:
        parse_rules(written)
    assert refusal.value.path == path
