from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.calendar import Cycle, Interval, Unit
from apps.engine.invoice import (
    Agreement,
    BilledKey,
    Item,
    ItemKind,
    LineKind,
    Measured,
    MissingUsage,
    Proposal,
    QuantityStep,
    Reason,
    Timing,
    Usage,
    Window,
    propose,
    subtract_billed,
    totals,
    windows_needed,
)
from apps.engine.money import CurrencyMismatch, Money, UnknownCurrency
from apps.engine.period import Period
from apps.engine.prices import Flat, Graduated, Package, PerUnit, Terms, Tier
from apps.engine.rating import replay
from tests.engine.strategies import TERMS

D = Decimal
MONTH = Interval(Unit.MONTH)


def on(month: int, day: int, hour: int = 0, *, year: int = 2023) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


NOVEMBER = Period(on(11, 1), on(12, 1))
DECEMBER = Period(on(12, 1), on(1, 1, year=2024))
CYCLE = Cycle(NOVEMBER.start, MONTH, "UTC")

BASE = Item(1, "base", ItemKind.FLAT, Timing.ADVANCE, Flat(D("50.00")), (on(11, 1), None))
SEATS = Item(
    2,
    "seats",
    ItemKind.LICENSED,
    Timing.ADVANCE,
    PerUnit(D("12.00")),
    (on(11, 1), None),
    included=D(3),
    steps=(QuantityStep(1, on(11, 1), D(3)),),
)


def metered(id_: int, key: str, terms: Terms, included: int = 0) -> Item:
    return Item(
        id_,
        key,
        ItemKind.METERED,
        Timing.ARREARS,
        terms,
        (on(11, 1), None),
        included=D(included),
        meter=key,
        meter_id=id_ * 10,
    )


REQUESTS = metered(3, "ai_requests", PerUnit(D("0.05")), 5000)
CONTEXT = metered(
    4,
    "context_tokens",
    Graduated((Tier(D(5_000_000), D("0.0000015")), Tier(None, D("0.000001")))),
)
GENERATED = metered(5, "generated_tokens", Package(D(1000), D("0.006")))
GATEWAY = Agreement(CYCLE, "USD", (BASE, SEATS, REQUESTS, CONTEXT, GENERATED))


def used(agreement: Agreement, k: int, *quantities: int) -> Usage:
    windows = windows_needed(agreement, k)
    return {
        window: Measured(D(quantity), event_count=7, evidence={"digest": "ab12"})
        for window, quantity in zip(windows, quantities, strict=True)
    }


def agreed(*items: Item) -> Agreement:
    return Agreement(CYCLE, "USD", items)


def told(lines: list[Proposal]) -> list[tuple[str, str, int]]:
    return [(line.key, line.reason.value, line.amount.minor) for line in lines]


def total(lines: list[Proposal]) -> int:
    return totals([line.amount for line in lines], "USD").total.minor


@pytest.mark.parametrize(
    ("quantities", "cents", "sum_of_lines"),
    [
        ((8_819, 18_059_974, 245_896), (50_00, 190_95, 20_56, 1_48), 262_99),
        ((19_366, 22_361_870, 4_088_665), (50_00, 718_30, 24_86, 24_53), 817_69),
    ],
    ids=["code", "conversation"],
)
def test_the_gateway_month_comes_out_to_the_cent(
    quantities: tuple[int, ...], cents: tuple[int, ...], sum_of_lines: int
) -> None:
    lines = propose(GATEWAY, 1, used(GATEWAY, 1, *quantities))
    assert tuple(line.amount.minor for line in lines) == cents
    assert total(lines) == sum_of_lines
    assert [line.period for line in lines] == [DECEMBER, NOVEMBER, NOVEMBER, NOVEMBER]


def test_the_first_boundary_bills_only_what_lies_ahead() -> None:
    assert windows_needed(GATEWAY, 0) == []
    lines = propose(GATEWAY, 0, {})
    assert told(lines) == [("base", "recurring", 50_00)]
    assert lines[0].period == NOVEMBER


def test_nothing_is_billed_before_the_first_boundary() -> None:
    with pytest.raises(ValueError, match="boundary 0"):
        propose(GATEWAY, -1, {})


def test_a_metered_line_without_usage_stands_at_zero() -> None:
    lines = propose(GATEWAY, 1, used(GATEWAY, 1, 0, 0, 0))
    assert told(lines)[1:] == [
        ("ai_requests", "usage", 0),
        ("context_tokens", "usage", 0),
        ("generated_tokens", "usage", 0),
    ]


def test_usage_that_was_not_measured_is_an_error_and_not_zero() -> None:
    with pytest.raises(MissingUsage, match="ai_requests"):
        propose(GATEWAY, 1, {})


def test_usage_of_another_window_is_not_taken() -> None:
    stale = {w._replace(period=DECEMBER): m for w, m in used(GATEWAY, 1, 1, 1, 1).items()}
    with pytest.raises(MissingUsage):
        propose(GATEWAY, 1, stale)


def test_seats_are_billed_only_beyond_the_included_ones() -> None:
    five = replace(SEATS, steps=(QuantityStep(1, on(11, 1), D(5)),))
    assert told(propose(agreed(SEATS), 0, {})) == []
    assert told(propose(agreed(five), 0, {})) == [("seats", "recurring", 24_00)]
    assert propose(agreed(five), 0, {})[0].quantity == 5


def test_zero_seats_that_owe_a_flat_amount_are_billed() -> None:
    platform_fee = replace(SEATS, terms=Graduated((Tier(None, D(12), D(30)),)), included=D(0))
    nobody = replace(platform_fee, steps=())
    assert told(propose(agreed(nobody), 0, {})) == [("seats", "recurring", 30_00)]


def test_a_billed_line_is_not_proposed_again() -> None:
    lines = propose(GATEWAY, 1, used(GATEWAY, 1, 1, 2, 3))
    billed = [line.billed_key for line in lines]
    assert subtract_billed(lines, billed) == []
    assert subtract_billed(lines, billed[1:]) == lines[:1]
    assert subtract_billed(lines, []) == lines


def test_a_key_read_back_from_plain_columns_is_the_same_key() -> None:
    line = propose(GATEWAY, 0, {})[0]
    zone = ZoneInfo("Asia/Tokyo")
    start, end = (moment.astimezone(zone) for moment in (NOVEMBER.start, NOVEMBER.end))
    assert subtract_billed([line], {BilledKey(1, "advance", start, end, None)}) == []


def test_more_usage_later_does_not_make_a_period_unbilled() -> None:
    billed = [line.billed_key for line in propose(GATEWAY, 1, used(GATEWAY, 1, 1, 2, 3))]
    assert subtract_billed(propose(GATEWAY, 1, used(GATEWAY, 1, 9, 9, 9)), billed) == []


def test_an_end_recorded_late_does_not_bill_usage_twice() -> None:
    billed = [line.billed_key for line in propose(agreed(REQUESTS), 1, used(GATEWAY, 1, 6, 0, 0))]
    ended = agreed(replace(REQUESTS, during=(on(11, 1), on(11, 20))))
    window = Window(3, "ai_requests", Period(on(11, 1), on(11, 20)))
    assert windows_needed(ended, 1) == [window]
    again = propose(ended, 1, {window: Measured(D(6), 1)})
    assert subtract_billed(again, billed) == []


def test_a_metered_item_measures_only_the_time_it_lived() -> None:
    item = replace(REQUESTS, during=(on(11, 11), on(11, 21)))
    assert windows_needed(agreed(item), 1) == [
        Window(3, "ai_requests", Period(on(11, 11), on(11, 21)))
    ]
    line = propose(agreed(item), 1, used(agreed(item), 1, 5_100))[0]
    # Included units are not prorated: 100 × 0.05.
    assert line.amount.minor == 5_00
    assert line.period == NOVEMBER
    explained: dict[str, Any] = line.explain()
    assert explained["window"] == {"start": "2023-11-11T00:00:00Z", "end": "2023-11-21T00:00:00Z"}
    assert windows_needed(agreed(item), 2) == []


def test_each_quantity_step_becomes_a_line_of_its_own() -> None:
    item = replace(
        SEATS,
        steps=(
            QuantityStep(1, on(11, 1), D(5)),
            QuantityStep(2, on(11, 16), D(8)),
            QuantityStep(3, on(11, 26), D(4)),
        ),
    )
    lines = propose(agreed(item), 1, {})
    assert told(lines) == [
        ("seats", "recurring", 12_00),  # 4 − 3 for December
        ("seats", "quantity_changed", 18_00),  # +3 × 12 × 15/30
        ("seats", "quantity_changed", -8_00),  # −4 × 12 × 5/30
    ]
    assert [line.step_id for line in lines] == [None, 2, 3]
    assert [line.period.start for line in lines[1:]] == [on(11, 16), on(11, 26)]
    assert [line.quantity for line in lines[1:]] == [3, -4]
    assert {line.kind for line in lines[1:]} == {LineKind.PRORATION}


def test_a_step_at_a_boundary_belongs_to_the_period_it_opens() -> None:
    item = replace(
        SEATS, steps=(QuantityStep(1, on(11, 1), D(4)), QuantityStep(2, on(12, 1), D(5)))
    )
    assert told(propose(agreed(item), 1, {})) == [("seats", "recurring", 24_00)]
    # Bought on 1 December and billed with December: January owes no proration for it.
    assert told(propose(agreed(item), 2, {})) == [("seats", "recurring", 24_00)]


def test_steps_that_move_no_money_make_no_line() -> None:
    item = replace(
        SEATS,
        steps=(
            QuantityStep(1, on(11, 1), D(1)),
            QuantityStep(2, on(11, 5), D(3)),
            QuantityStep(3, on(11, 6), D(3)),
        ),
    )
    assert propose(agreed(item), 1, {}) == []


def test_of_two_steps_at_one_instant_the_later_recorded_holds() -> None:
    item = replace(
        SEATS, steps=(QuantityStep(9, on(11, 1), D(5)), QuantityStep(8, on(11, 1), D(9)))
    )
    for k in (0, 1):
        assert told(propose(agreed(item), k, {})) == [("seats", "recurring", 24_00)]


def test_a_step_to_the_same_quantity_makes_no_line() -> None:
    item = replace(
        SEATS, steps=(QuantityStep(1, on(11, 1), D(5)), QuantityStep(2, on(11, 9), D(5)))
    )
    assert told(propose(agreed(item), 1, {})) == [("seats", "recurring", 24_00)]


def test_a_flat_item_stands_even_when_it_is_free() -> None:
    free = replace(BASE, terms=Flat(D(0)))
    assert told(propose(agreed(free), 0, {})) == [("base", "recurring", 0)]


def test_an_item_that_starts_inside_a_period_pays_for_the_rest() -> None:
    late = replace(BASE, during=(on(11, 16), None))
    assert told(propose(agreed(late), 1, {})) == [
        ("base", "recurring", 50_00), ("base", "started", 25_00),
    ]  # fmt: skip
    assert propose(agreed(late), 0, {}) == []
    assert told(propose(agreed(late), 2, {})) == [("base", "recurring", 50_00)]


def test_an_item_that_ends_inside_a_period_gets_the_rest_back() -> None:
    ended = replace(BASE, during=(on(11, 1), on(11, 16)))
    assert told(propose(agreed(ended), 1, {})) == [("base", "ended", -25_00)]
    assert propose(agreed(ended), 2, {}) == []


def test_an_item_that_comes_and_goes_pays_for_its_days() -> None:
    passing = replace(BASE, during=(on(11, 4), on(11, 7)))
    lines = propose(agreed(passing), 1, {})
    assert told(lines) == [("base", "started", 45_00), ("base", "ended", -40_00)]
    assert len({line.billed_key for line in lines}) == 2


def test_an_item_that_ends_with_its_period_leaves_no_line() -> None:
    ended = replace(BASE, during=(on(11, 1), on(12, 1)))
    assert propose(agreed(ended), 1, {}) == []


def test_an_end_gives_back_the_quantity_in_force() -> None:
    item = replace(
        SEATS,
        during=(on(11, 1), on(11, 21)),
        steps=(QuantityStep(1, on(11, 1), D(4)), QuantityStep(2, on(11, 11), D(6)),
               QuantityStep(3, on(11, 25), D(9))),
    )  # fmt: skip
    # 12.00 was billed in advance; +2 × 12 × 20/30, then −3 × 12 × 10/30.
    assert told(propose(agreed(item), 1, {})) == [
        ("seats", "quantity_changed", 16_00), ("seats", "ended", -12_00),
    ]  # fmt: skip


def test_a_credit_never_exceeds_what_was_billed() -> None:
    """Two part-cent seats round to nothing each; giving both back must not pay out a cent."""
    item = replace(
        SEATS,
        terms=PerUnit(D("0.004")),
        included=D(0),
        during=(on(11, 1), on(11, 1, 2)),
        steps=(QuantityStep(1, on(11, 1), D(1)), QuantityStep(2, on(11, 1, 1), D(2))),
    )
    lines = propose(agreed(item), 1, {})
    assert told(lines) == [("seats", "quantity_changed", 0), ("seats", "ended", 0)]
    assert lines[1].explain()["paid_minor"] == 0
    assert replay(lines[1].explain()) == 0


def test_fixed_items_in_arrears_pay_for_the_time_they_lived() -> None:
    base = replace(BASE, timing=Timing.ARREARS)
    assert propose(agreed(base), 0, {}) == []
    assert told(propose(agreed(base), 1, {})) == [("base", "recurring", 50_00)]
    ended = replace(base, during=(on(11, 1), on(11, 16)))
    line = propose(agreed(ended), 1, {})[0]
    assert (line.amount.minor, line.period) == (25_00, NOVEMBER)
    assert line.explain()["share"] == "1/2"
    assert propose(agreed(ended), 2, {}) == []


def test_seats_in_arrears_pay_each_quantity_for_its_time() -> None:
    item = replace(
        SEATS,
        timing=Timing.ARREARS,
        steps=(QuantityStep(1, on(11, 1), D(4)), QuantityStep(2, on(11, 16), D(8))),
    )
    # 1 × 12 × 15/30 + 5 × 12 × 15/30
    line = propose(agreed(item), 1, {})[0]
    assert (line.amount.minor, line.quantity) == (36_00, D(8))
    explained: dict[str, Any] = line.explain()
    assert [segment["share"] for segment in explained["segments"]] == ["1/2", "1/2"]
    unused = replace(item, steps=(QuantityStep(1, on(11, 1), D(3)),))
    assert propose(agreed(unused), 1, {}) == []


def test_lines_stand_in_the_order_of_items_then_kind_then_time() -> None:
    late_base = replace(BASE, id=9, during=(on(11, 16), on(11, 20)))
    agreement = agreed(REQUESTS, late_base, BASE)
    lines = propose(agreement, 1, used(agreement, 1, 6_000))
    assert [(line.item_id, line.kind.value, line.reason.value) for line in lines] == [
        (3, "arrears", "usage"),
        (9, "proration", "started"),
        (9, "proration", "ended"),
        (1, "advance", "recurring"),
    ]


def test_an_explained_line_carries_the_usage_it_counted() -> None:
    line = propose(GATEWAY, 1, used(GATEWAY, 1, 8_819, 0, 0))[1]
    explained: dict[str, Any] = json.loads(json.dumps(line.explain()))
    assert explained["usage"] == {"event_count": 7, "digest": "ab12"}
    assert explained["period"] == {"start": "2023-11-01T00:00:00Z", "end": "2023-12-01T00:00:00Z"}
    assert (explained["item"], explained["kind"]) == ("ai_requests", "arrears")
    assert "window" not in explained
    assert replay(explained) == 190_95
    assert line.description() == {"item": "ai_requests", "reason": "usage", "quantity": "8819"}


def test_a_local_month_is_billed_by_its_real_seconds() -> None:
    """March in Berlin is an hour short: 743 hours, of which 371 are left at its half."""
    berlin = ZoneInfo("Europe/Berlin")
    march = datetime(2025, 3, 1, tzinfo=berlin)
    item = replace(BASE, during=(march, datetime(2025, 3, 16, 12, tzinfo=berlin)))
    lines = propose(Agreement(Cycle(march, MONTH, "Europe/Berlin"), "USD", (item,)), 1, {})
    assert lines[0].rated.exact == -5000 * Fraction(371, 743)


def test_items_that_cannot_be_are_refused() -> None:
    impossible: list[tuple[Item, dict[str, Any], str]] = [
        (BASE, {"meter": "ai_requests"}, "meter"),
        (REQUESTS, {"meter": None}, "meter"),
        (REQUESTS, {"timing": Timing.ADVANCE}, "arrears"),
        (BASE, {"steps": (QuantityStep(1, on(11, 1), D(1)),)}, "steps"),
        (BASE, {"during": (on(11, 2), on(11, 1))}, "end after"),
    ]
    for item, changes, complaint in impossible:
        with pytest.raises(ValueError, match=complaint):
            replace(item, **changes)
    with pytest.raises(ValueError, match="twice"):
        agreed(BASE, BASE)
    with pytest.raises(UnknownCurrency):
        Agreement(CYCLE, "XXX", ())


def test_totals_are_sums_of_rounded_lines_in_one_currency() -> None:
    assert totals([], "JPY") == (Money(0, "JPY"), Money(0, "JPY"))
    assert totals([Money(2, "USD"), Money(-5, "USD")], "USD").subtotal == Money(-3, "USD")
    with pytest.raises(CurrencyMismatch):
        totals([Money(1, "EUR")], "USD")


# The life of one item, drawn as hours after the anchor, over three periods.
HOURS = st.integers(0, 90 * 24)


@st.composite
def lives(draw: st.DrawFn, terms: st.SearchStrategy[Terms] = TERMS) -> Item:
    start, end = sorted(draw(st.sets(HOURS, min_size=2, max_size=2)))
    moments = draw(st.lists(HOURS, max_size=6))
    quantities = st.integers(0, 12).map(Decimal)
    return replace(
        SEATS,
        terms=draw(terms),
        included=D(draw(st.integers(0, 4))),
        during=(
            NOVEMBER.start + timedelta(hours=start),
            draw(st.sampled_from([None, NOVEMBER.start + timedelta(hours=end)])),
        ),
        steps=tuple(
            QuantityStep(i, NOVEMBER.start + timedelta(hours=hours), draw(quantities))
            for i, hours in enumerate(moments)
        ),
    )


def ever(item: Item, until: int = 5) -> list[list[Proposal]]:
    return [propose(agreed(item), k, {}) for k in range(until)]


@given(lives())
def test_advance_with_corrections_and_arrears_cost_the_same_before_rounding(item: Item) -> None:
    """What is billed ahead and put right is the price of every second lived, as in arrears."""
    ahead, behind = ever(item), ever(replace(item, timing=Timing.ARREARS))
    for k in range(1, 5):
        period = CYCLE.period(k - 1)
        billed = [line for line in ahead[k - 1] if line.period == period]
        billed += [line for line in ahead[k] if line.kind is LineKind.PRORATION]
        assert sum(line.rated.exact for line in billed) == sum(
            line.rated.exact for line in behind[k]
        )


@given(lives())
def test_no_period_of_an_item_ever_pays_out(item: Item) -> None:
    invoices = ever(item)
    for k in range(1, 5):
        period = CYCLE.period(k - 1)
        billed = [line for line in invoices[k - 1] if line.period == period]
        billed += [line for line in invoices[k] if line.kind is LineKind.PRORATION]
        assert sum(line.amount.minor for line in billed) >= 0


@given(lives())
def test_every_line_has_a_key_of_its_own_and_replays(item: Item) -> None:
    for timing in Timing:
        lines = [line for invoice in ever(replace(item, timing=timing)) for line in invoice]
        keys = [line.billed_key for line in lines]
        assert len(set(keys)) == len(keys)
        assert subtract_billed(lines, set(keys)) == []
        for line in lines:
            assert replay(json.loads(json.dumps(line.explain()))) == line.amount.minor
            assert line.reason is not Reason.USAGE
