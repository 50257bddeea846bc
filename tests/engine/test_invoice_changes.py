from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.agreement import Agreement, Item, ItemKind, QuantityPolicy, QuantityStep, Timing
from apps.engine.calendar import Cycle, Interval, Unit
from apps.engine.consumption import Consumed
from apps.engine.daycount import Proration, ProrationRule
from apps.engine.grid import Grid, Stretch
from apps.engine.invoice import (
    Billed,
    LineKind,
    Measured,
    Proposal,
    Window,
    propose,
    propose_changes,
    subtract_billed,
)
from apps.engine.period import Period
from apps.engine.price_rules import Rules
from apps.engine.prices import Flat, Percentage
from apps.engine.rating import replay
from tests.engine.test_invoice import (
    BASE,
    CYCLE,
    DECEMBER,
    MONTH,
    NOVEMBER,
    REQUESTS,
    SEATS,
    agreed,
    lives,
    on,
    told,
)

D = Decimal
RESET = Grid(
    (Stretch(CYCLE, on(11, 1), on(11, 16)), Stretch(Cycle(on(11, 16), MONTH, "UTC"), on(11, 16)))
)
TEAM = replace(BASE, id=11, key="team", terms=Flat(D("90.00")), during=(on(11, 16), None))


def item(kind: ItemKind, **fields: object) -> Item:
    plain = Item(20, "setup", kind, Timing.ADVANCE, Flat(D("99.00")), (on(11, 1), None))
    return replace(plain, **fields)  # type: ignore[arg-type]


def half_off(_: Item, __: Period) -> Billed:
    return Billed(Fraction(1, 2))


def taken_back(_: Item, __: Period) -> Billed:
    return Billed(credited=20_00)


def test_a_change_of_plan_is_a_credit_and_a_charge() -> None:
    left = replace(BASE, during=(on(11, 1), on(11, 16)))
    # 15 of 30 days: 50.00 back by half, 90.00 by half; then a whole December.
    lines = propose(agreed(left, TEAM), 1, {})
    assert told(lines) == [
        ("base", "ended", -25_00), ("team", "recurring", 90_00), ("team", "started", 45_00),
    ]  # fmt: skip


def test_a_new_cycle_gives_the_rest_back_and_starts_at_full_price() -> None:
    left = replace(BASE, during=(on(11, 1), on(11, 16)))
    agreement = Agreement(RESET, "USD", (left, TEAM))
    assert told(propose(agreement, 0, {})) == [("base", "recurring", 50_00)]
    lines = propose(agreement, 1, {})
    assert told(lines) == [("base", "ended", -25_00), ("team", "recurring", 90_00)]
    assert lines[0].period == Period(on(11, 16), on(12, 1))
    assert lines[1].period == Period(on(11, 16), on(12, 16))
    assert told(propose(agreement, 2, {})) == [("team", "recurring", 90_00)]


def test_usage_is_measured_up_to_the_new_cycle() -> None:
    agreement = Agreement(RESET, "USD", (replace(REQUESTS, during=(on(11, 1), on(11, 16))),))
    window = Window(3, "ai_requests", Period(on(11, 1), on(11, 16)))
    line = propose(agreement, 1, {window: Measured(D(5_100), 1)})[0]
    assert (line.amount.minor, line.period, line.window) == (5_00, NOVEMBER, window.period)


def test_paused_time_is_not_billed_and_the_old_cycle_is_taken_up_by_its_share() -> None:
    grid = Grid((Stretch(CYCLE, on(11, 1), on(11, 10)), Stretch(CYCLE, on(11, 25))))
    before = replace(BASE, during=(on(11, 1), on(11, 10)))
    after = replace(BASE, id=2, during=(on(11, 25), None))
    agreement = Agreement(grid, "USD", (before, after))
    # 21 of 30 days given back, 6 of 30 days billed when it goes on.
    assert told(propose(agreement, 1, {})) == [("base", "ended", -35_00)]
    lines = propose(agreement, 2, {})
    assert told(lines) == [("base", "recurring", 10_00)]
    assert lines[0].period == Period(on(11, 25), on(12, 1))
    assert told(propose(agreement, 3, {})) == [("base", "recurring", 50_00)]


def test_a_start_off_the_cycle_bills_the_part_up_to_it() -> None:
    grid = Grid((Stretch(CYCLE, on(11, 21)),))
    late = replace(BASE, during=(on(11, 21), None))
    agreement = Agreement(grid, "USD", (late,))
    assert told(propose(agreement, 0, {})) == [("base", "recurring", 16_67)]  # 50 × 10/30
    assert told(propose(agreement, 1, {})) == [("base", "recurring", 50_00)]
    ended = replace(late, during=(on(11, 21), on(11, 26)))
    # Of 16.67 paid for ten days, five days come back: 50 × 5/30.
    assert told(propose(replace(agreement, items=(ended,)), 1, {})) == [("base", "ended", -8_33)]


def test_a_one_time_price_is_billed_once_where_it_starts() -> None:
    setup = item(ItemKind.ONE_TIME)
    assert [told(propose(agreed(setup), k, {})) for k in range(3)] == [
        [("setup", "one_time", 99_00)], [], [],
    ]  # fmt: skip


def test_a_one_time_price_of_a_trial_waits_for_its_end() -> None:
    setup = item(ItemKind.ONE_TIME, during=(on(10, 18), None))
    assert told(propose(agreed(setup), 0, {})) == [("setup", "one_time", 99_00)]
    assert propose(agreed(setup), 1, {}) == []


def test_a_one_time_price_in_a_period_is_billed_at_once_or_at_its_end_under_one_key() -> None:
    setup = item(ItemKind.ONE_TIME, during=(on(11, 9), None))
    early = propose_changes(agreed(setup), 1, on(11, 9))
    assert told(early) == [("setup", "one_time", 99_00)]
    assert early[0].kind is LineKind.ONE_OFF
    late = propose(agreed(setup), 1, {})
    assert subtract_billed(late, {line.billed_key for line in early}) == []
    assert propose(agreed(setup), 0, {}) == []


def test_an_end_gives_nothing_of_a_one_time_price_back() -> None:
    gone = item(ItemKind.ONE_TIME, during=(on(11, 1), on(11, 2)))
    assert propose(agreed(gone), 1, {}) == []


def test_changes_billed_at_once_are_not_billed_again() -> None:
    seats = replace(
        SEATS,
        steps=(
            QuantityStep(1, on(11, 1), D(5)),
            QuantityStep(2, on(11, 16), D(8)),
            QuantityStep(3, on(11, 26), D(4)),
        ),
    )
    now = propose_changes(agreed(seats), 1, on(11, 16))
    assert told(now) == [("seats", "quantity_changed", 18_00)]
    left = subtract_billed(propose(agreed(seats), 1, {}), {line.billed_key for line in now})
    assert told(left) == [("seats", "recurring", 12_00), ("seats", "quantity_changed", -8_00)]
    assert propose_changes(agreed(seats), 0, on(11, 16)) == []


def test_a_change_without_proration_counts_from_the_next_period() -> None:
    seats = replace(
        SEATS,
        steps=(
            QuantityStep(1, on(11, 1), D(5)),
            QuantityStep(2, on(11, 16), D(8), Proration.NONE),
        ),
    )
    assert told(propose(agreed(seats), 1, {})) == [("seats", "recurring", 60_00)]
    left = replace(BASE, during=(on(11, 1), on(11, 16)), ends=Proration.NONE)
    came = replace(TEAM, starts=Proration.NONE)
    assert told(propose(agreed(left, came), 1, {})) == [("team", "recurring", 90_00)]


def test_days_are_counted_where_the_price_says_so() -> None:
    by_day = ProrationRule(Proration.DAY)
    left = replace(BASE, proration=by_day, during=(on(11, 1), on(11, 16, 18)))
    # The 16th is given back as a whole day: 15 of 30.
    assert told(propose(agreed(left), 1, {})) == [("base", "ended", -25_00)]


def test_the_highest_quantity_is_billed_and_nothing_given_back_for_fewer() -> None:
    seats = replace(
        SEATS,
        policy=QuantityPolicy.HIGH_WATER,
        steps=(
            QuantityStep(1, on(11, 1), D(5)),
            QuantityStep(2, on(11, 11), D(3)),
            QuantityStep(3, on(11, 16), D(7)),
        ),
    )
    # Down to 3 and nothing back; up to 7 is two above the five that are paid: 2 × 12 × 15/30.
    assert told(propose(agreed(seats), 1, {})) == [
        ("seats", "recurring", 48_00), ("seats", "quantity_changed", 12_00),
    ]  # fmt: skip
    behind = replace(seats, timing=Timing.ARREARS)
    assert told(propose(agreed(behind), 1, {})) == [("seats", "recurring", 48_00)]  # 4 × 12


def test_a_credit_is_for_what_was_billed_after_its_discount() -> None:
    left = replace(BASE, during=(on(11, 1), on(11, 16)))
    lines = propose(agreed(left, TEAM), 1, {}, billed_of=half_off)
    assert told(lines) == [
        ("base", "ended", -12_50), ("team", "recurring", 90_00), ("team", "started", 45_00),
    ]  # fmt: skip
    assert lines[0].explain()["net_of_discounts"] == "1/2"
    assert replay(lines[0].explain()) == -12_50
    assert [line.discountable for line in lines] == [False, True, True]


def test_a_credit_stops_at_what_no_note_has_taken_back() -> None:
    left = replace(BASE, during=(on(11, 1), on(11, 16)))
    [line] = propose(agreed(left), 1, {}, billed_of=taken_back)
    # 15 of 30 days of 50.00 are 25.00; of the 50.00 billed a note took back 20.00 already
    assert line.amount.minor == -25_00
    [line] = propose(agreed(left), 1, {}, billed_of=lambda *_: Billed(credited=30_00))
    assert line.amount.minor == -20_00
    assert replay(line.explain()) == -20_00


def test_a_minimum_and_a_maximum_hold_for_the_period() -> None:
    rules = Rules(minimum_amount=D(100), maximum_amount=D(250))
    bounded = replace(REQUESTS, included=D(0), rules=rules)
    window = Window(3, "ai_requests", NOVEMBER)
    amounts = [
        propose(agreed(bounded), 1, {window: Measured(D(n), 1)})[0].amount.minor
        for n in (0, 1_000, 3_000, 9_000)
    ]
    assert amounts == [100_00, 100_00, 150_00, 250_00]


def test_a_price_by_the_event_sees_every_amount() -> None:
    fee = replace(REQUESTS, included=D(0), terms=Percentage(D("2.9"), fixed_amount=D("0.30")))
    window = Window(3, "ai_requests", NOVEMBER)
    payments = Consumed(events=(D(100), D(50)))
    line = propose(agreed(fee), 1, {window: Measured(D(150), 2, consumed=payments)})[0]
    assert line.amount.minor == 4_95  # 2.9 % of 150.00 and twice 0.30
    assert replay(line.explain()) == 4_95


def test_an_item_that_is_not_metered_cannot_be_filtered() -> None:
    with pytest.raises(ValueError, match="filtered"):
        replace(BASE, filters={"model": ("large",)})


@given(lives(), st.integers(1, 29 * 24))
def test_a_period_cut_by_a_new_cycle_costs_what_it_lived(seats: Item, hours: int) -> None:
    """Before rounding: what was billed ahead and given back at the cut is the time up to it."""
    cut = NOVEMBER.start + timedelta(hours=hours)
    if seats.start >= cut:
        return
    end = cut if seats.end is None else min(seats.end, cut)
    steps = tuple(step for step in seats.steps if step.at < cut)
    seats = replace(seats, during=(seats.start, end), steps=steps)
    fresh = Cycle(cut, Interval(Unit.YEAR), "UTC")
    grid = Grid((Stretch(CYCLE, CYCLE.anchor, cut), Stretch(fresh, cut)))
    ahead, behind = (Agreement(grid, "USD", (replace(seats, timing=timing),)) for timing in Timing)
    lines = [*propose(ahead, 0, {}), *propose(ahead, 1, {})]
    assert sum(line.rated.exact for line in lines) == sum(
        line.rated.exact for line in propose(behind, 1, {})
    )
    _replays(lines)


@given(lives(), st.integers(0, 30 * 24))
def test_billing_changes_early_changes_no_sum(seats: Item, hours: int) -> None:
    agreement = agreed(seats)
    now = propose_changes(agreement, 1, NOVEMBER.start + timedelta(hours=hours))
    whole = propose(agreement, 1, {})
    left = subtract_billed(whole, {line.billed_key for line in now})
    assert sorted(line.billed_key for line in [*now, *left] if line.step_id is not None) == sorted(
        line.billed_key for line in whole if line.step_id is not None
    )
    assert sum(line.amount.minor for line in [*now, *left]) == sum(
        line.amount.minor for line in whole
    )


@given(lives(), st.fractions(0, 1, max_denominator=100))
def test_no_period_pays_out_more_than_was_billed_after_discounts(
    seats: Item, net: Fraction
) -> None:
    lines = [
        line
        for k in range(3)
        for line in propose(agreed(seats), k, {}, billed_of=lambda *_: Billed(net))
    ]
    for period in (NOVEMBER, DECEMBER):
        mine = [line for line in lines if line.period.end == period.end]
        billed = sum(
            line.reserved + (line.amount.minor - line.reserved) * net
            for line in mine
            if line.amount.minor > 0
        )
        back = -sum(line.amount.minor for line in mine if line.amount.minor < 0)
        assert back <= billed + len(mine)  # each line is rounded once
    _replays(lines)


def _replays(lines: list[Proposal]) -> None:
    for line in lines:
        assert replay(json.loads(json.dumps(line.explain()))) == line.amount.minor


def test_what_is_bought_and_given_back_on_one_document_is_not_discounted() -> None:
    steps = (QuantityStep(1, on(11, 1), D(5)), QuantityStep(2, on(11, 11), D(105)),
             QuantityStep(3, on(11, 21), D(2)))  # fmt: skip
    seats = replace(SEATS, steps=steps, included=D(0))
    up, down = propose_changes(agreed(seats), 1, on(11, 30), billed_of=half_off)
    # 100 more for 20 of 30 days, of which 103 for 10 days are given back again: not sold, and so
    # neither discounted there nor here
    assert (up.amount.minor, up.reserved) == (800_00, 412_00)
    assert down.amount.minor == -412_00
    assert replay(down.explain()) == -412_00


def test_what_an_end_to_come_will_give_back_is_sold_until_then() -> None:
    steps = (QuantityStep(1, on(11, 1), D(5)), QuantityStep(2, on(11, 16), D(8)))
    seats = replace(SEATS, steps=steps, during=(on(11, 1), on(11, 21)))
    (up,) = propose_changes(agreed(seats), 1, on(11, 16))
    # discounts come off all of the 18.00, though a third of November will be given back
    assert (up.amount.minor, up.reserved) == (18_00, 0)


def test_what_was_billed_is_given_back_as_it_was_billed_and_the_rest_in_full() -> None:
    steps = (QuantityStep(1, on(11, 1), D(50)), QuantityStep(2, on(11, 11), D(60)),
             QuantityStep(3, on(11, 21), D(0)))  # fmt: skip
    seats = replace(SEATS, steps=steps, included=D(0))
    up, down = propose_changes(agreed(seats), 1, on(11, 30), billed_of=half_off)
    # 10 more for 20 of 30 days: 80.00, not billed yet; 60 for 10 days go back: 240.00, of which
    # 80.00 in full and 160.00 at half their price
    assert (up.amount.minor, up.reserved, down.amount.minor) == (80_00, 80_00, -160_00)
    assert replay(down.explain()) == -160_00
