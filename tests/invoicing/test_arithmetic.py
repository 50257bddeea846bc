from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from apps.engine.consumption import Consumed, Move
from apps.engine.price_rules import Commitment, Conversion, Operation, QuantityRounding, Rules
from apps.engine.prices import parse_terms
from apps.engine.rating import Progress, Rated, RatedSum, rate, rate_sum
from apps.invoicing import pdf
from apps.invoicing.document import Line
from apps.invoicing.paper.arithmetic import Working, working
from apps.invoicing.paper.words import Words
from tests.invoicing import papers

CENT = {"model": "per_unit", "unit_amount": "0.01"}
SHARES: dict[str, Any] = {
    "model": "graduated_percentage",
    "tiers": [
        {"up_to": "1000", "rate_percent": "2.9", "flat_amount": "0"},
        {"up_to": None, "rate_percent": "2.5", "flat_amount": "0"},
    ],
}
FEES = {
    "model": "percentage",
    "rate_percent": "2.9",
    "fixed_amount": "0.3",
    "free_events": 1,
    "event_maximum": "10",
}
BLOCKS: dict[str, Any] = {
    "model": "blocks",
    "mode": "graduated",
    "tiers": [
        {"block_size": "100", "max_blocks": "2", "block_amount": "5"},
        {"block_size": "1000", "max_blocks": None, "block_amount": "20"},
    ],
}
ROOMS: dict[str, Any] = {
    "model": "capacity",
    "tiers": [
        {"amount": "10", "limits": {"gb": "5", "users": "2"}},
        {"amount": "25", "limits": {"gb": "50", "users": None}},
    ],
}
D = Decimal


def rated(
    terms: Mapping[str, Any], quantity: str | Consumed, *, rules: Rules | None = None, **told: Any
) -> Rated:
    wanted = quantity if isinstance(quantity, Consumed) else D(quantity)
    return rate(parse_terms(terms), quantity=wanted, currency="USD", rules=rules or Rules(), **told)


def line_of(found: Rated | RatedSum) -> Line:
    line = papers.line("calls", CENT, "1")
    return replace(line, amount=found.amount.minor, explanation=found.explain())


def told(found: Rated | RatedSum) -> Working:
    return working(line_of(found), Words.of(papers.gateway()))


def test_a_percentage_of_tiers_shows_money_and_rates() -> None:
    (table,) = told(rated(SHARES, "1500")).sums
    assert table.billable == "$1,500.00 billable"
    assert table.rows == (
        ("$0.00 to $1,000.00", "$1,000.00", "2.9%", "$29.00"),
        ("above $1,000.00", "$500.00", "2.5%", "$12.50"),
    )


def test_a_percentage_of_events_shows_the_share_the_fees_and_the_bound() -> None:
    """20 are free; of 100 and 50: 150 × 2.9 % and twice 0.30; of 1,000 no more than 10."""
    events = (D(20), D(100), D(50), D(1000))
    found = told(rated(FEES, Consumed(events=events)))
    (table,) = found.sums
    assert table.billable == "$1,170.00 − $20.00 included = $1,150.00 billable"
    assert table.rows == (
        ("$150.00", "2.9%", "$4.35"),
        ("2", "$0.30", "$0.60"),
        ("1", "$10.00", "$10.00"),
    )
    assert found.closing == ("$14.95 exactly, nothing to round",)


def test_blocks_show_how_many_of_which_size() -> None:
    (table,) = told(rated(BLOCKS, "1300")).sums
    assert table.head == ("Tier", "Blocks", "Price each", "Sum")
    assert table.rows == (
        ("0 to 200", "2 × 100", "$5.00", "$10.00"),
        ("above 200", "2 × 1,000", "$20.00", "$40.00"),
    )


def test_a_capacity_shows_what_is_used_of_what_it_holds() -> None:
    (table,) = told(rated(ROOMS, Consumed(units={"gb": D(7), "users": D(1)}))).sums
    assert table.billable == "gb: 7 / 50, users: 1"
    assert table.rows == (("Flat amount", "$25.00"),)


def test_a_converted_quantity_shows_both_sides() -> None:
    rules = Rules(conversion=Conversion(D(1024), Operation.DIVIDE, QuantityRounding.UP))
    (table,) = told(rated(CENT, "5000", rules=rules, included=D(2))).sums
    assert table.billable == "5,000 converted to 5; 5 − 2 included = 3 billable"


def test_a_commitment_shows_what_was_used_of_it_and_what_fills_it() -> None:
    over = Rules(commitment=Commitment(D(10), overage_factor=D("1.5")))
    assert told(rated(CENT, "1200", rules=over)).closing[:2] == (
        "Commitment of $10.00: $10.00 of it used",
        "Beyond the commitment, × 1.5: $3.00",
    )
    under = Rules(commitment=Commitment(D(10), true_up=True))
    assert told(rated(CENT, "400", rules=under)).closing[:2] == (
        "Commitment of $10.00: $4.00 of it used",
        "Added to fill the commitment: $6.00",
    )


@pytest.mark.parametrize(
    ("rules", "sentence", "amount"),
    [
        (Rules(discount_percent=D(10)), "Discount of 10%: −$1.00", 9_00),
        (Rules(maximum_amount=D(8)), "At most $8.00: −$2.00", 8_00),
        (Rules(minimum_amount=D(15)), "At least $15.00: +$5.00", 15_00),
    ],
)
def test_what_a_price_itself_takes_off_or_adds_is_said(
    rules: Rules, sentence: str, amount: int
) -> None:
    found = rated(CENT, "1000", rules=rules)
    assert told(found).closing[0] == sentence
    assert found.amount.minor == amount


def test_a_later_part_of_a_period_shows_the_whole_and_what_was_billed() -> None:
    progress = Progress(before=Consumed(D(300)))
    found = told(rated(CENT, "200", progress=progress))
    assert [(table.title, table.billable) for table in found.sums] == [
        ("The period so far", "500 billable"),
        ("Billed before", "300 billable"),
    ]
    assert found.amount == "$2.00"


def test_prices_that_stand_on_one_line_are_shown_each() -> None:
    parts = [rated(CENT, "100", share=Fraction(1, 2)), rated(CENT, "300", share=Fraction(1, 4))]
    found = told(rate_sum(parts, currency="USD"))
    assert [table.title for table in found.sums] == [
        "× 1/2 of the period",
        "× 1/4 of the period",
    ]
    assert found.amount == "$1.25"


def test_units_by_their_share_of_time_need_no_finite_number() -> None:
    terms = {"model": "graduated", "tiers": [{"up_to": None, "unit_amount": "9"}]}
    moves = (Move(D(3), D(3)), Move(D(2), D("0.5")))
    assert told(rated(terms, Consumed(moves=moves))).sums[0].rows[0][1] == "3.5"
    assert Words.of(papers.gateway()).number("10/3") == "≈ 3.333333"


def test_a_charge_without_a_price_is_what_it_says() -> None:
    line = replace(papers.line("setup", CENT, "1"), explanation={})
    found = working(line, Words.of(papers.gateway()))
    assert (found.sums, found.closing) == ((), ())
    assert pdf.render(papers.document(line)).startswith(b"%PDF")


@pytest.mark.parametrize("locale", ["de", "es", "fr", "it", "ja", "nl"])
def test_every_kind_of_price_prints_in_every_language(locale: str) -> None:
    every = Rules(
        commitment=Commitment(D(1), overage_factor=D(2), true_up=True),
        discount_percent=D(10),
        minimum_amount=D(1),
    )
    found = (
        rated(SHARES, "1500", rules=every),
        rated(FEES, Consumed(events=(D(20), D(100)))),
        rated(BLOCKS, "1300", rules=Rules(conversion=Conversion(D(2)))),
        rated(ROOMS, Consumed(units={"gb": D(7), "users": D(1)})),
        rated(CENT, "200", progress=Progress(before=Consumed(D(300)), before_amount=D(1))),
    )
    document = papers.document(*(line_of(one) for one in found), locale=locale)
    assert pdf.paper(document).content.startswith(b"%PDF")
