from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from apps.backoffice.admin import cells, words
from apps.engine.price_rules import parse_rules
from apps.engine.prices import parse_terms
from apps.engine.proration import change
from apps.engine.rating import Consumed, Move, Progress, rate, rate_sum


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"model": "flat", "amount": "50"}, "50.00 USD"),
        ({"model": "flat", "amount": "1234.5"}, "1,234.50 USD"),
        ({"model": "per_unit", "unit_amount": "0.0000015"}, "0.0000015 USD per token"),
        (
            {"model": "package", "package_size": "1000", "unit_amount": "0.006"},
            "0.006 USD per 1,000, begun ones whole",
        ),
        (
            {
                "model": "graduated",
                "tiers": [
                    {"up_to": "5000", "unit_amount": "0.1", "flat_amount": "5"},
                    {"up_to": None, "unit_amount": "0.05"},
                ],
            },
            "up to 5,000: 0.10 + 5.00 USD; above: 0.05 USD (each unit by its own tier)",
        ),
        (
            {"model": "volume", "tiers": [{"up_to": None, "unit_amount": "1"}]},
            "above: 1.00 USD (all by one tier)",
        ),
        (
            {"model": "package", "package_size": "10", "unit_amount": "1", "rounding": "down"},
            "1.00 USD per 10, full ones only",
        ),
        (
            {"model": "percentage", "rate_percent": "1.3", "fixed_amount": "2"},
            "1.3 % of each event's amount + 2.00 USD",
        ),
        (
            {
                "model": "graduated_percentage",
                "tiers": [
                    {"up_to": "10", "rate_percent": "1"},
                    {"up_to": None, "rate_percent": "2"},
                ],
            },
            "1 %; 2 % of the amount, each part by its own tier",
        ),
        ({"model": "dynamic"}, "1 × the amount that each event carries"),
        (
            {
                "model": "blocks",
                "tiers": [{"block_size": "100", "max_blocks": None, "block_amount": "3"}],
            },
            "3.00 USD per 100, begun ones whole",
        ),
        (
            {"model": "capacity", "tiers": [{"amount": "10", "limits": {"seats": "5"}}]},
            "10.00 USD, by the first tier that holds the usage",
        ),
    ],
)
def test_terms_read_as_sentences(terms: dict[str, Any], said: str) -> None:
    assert words.terms(parse_terms(terms), "USD", "token") == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "unlimited"), (True, "yes"), (False, "no"), (5000, "5,000"), ("gold", "gold")],
)
def test_grants_read_as_words(value: object, said: str) -> None:
    assert words.grant(value) == said


def test_the_arithmetic_of_a_tiered_line_is_shown_tier_by_tier() -> None:
    terms = parse_terms(
        {
            "model": "graduated",
            "tiers": [
                {"up_to": "5000000", "unit_amount": "0.0000015"},
                {"up_to": None, "unit_amount": "0.000001"},
            ],
        }
    )
    rated = rate(terms, quantity=Decimal(18_059_974), currency="USD")
    shown = words.arithmetic(rated.explain())
    (part,) = shown.parts
    assert part.steps == (
        ("0 – 5,000,000", "5,000,000", "0.0000015", "0", "7.5"),
        ("above 5,000,000", "13,059,974", "0.000001", "0", "13.059974"),
    )
    assert (shown.exact, shown.amount) == ("20.559974 USD", "20.56 USD")


def test_a_converted_line_after_another_shows_both_and_what_bounds_it() -> None:
    rated = rate(
        parse_terms({"model": "per_unit", "unit_amount": "10"}),
        quantity=Decimal(1500),
        currency="USD",
        rules=parse_rules(
            {
                "conversion": {"factor": "1000", "operation": "divide", "rounding": "up"},
                "discount_percent": "50",
                "maximum_amount": "8",
            }
        ),
        progress=Progress(Consumed(Decimal(1000))),
    )
    shown = words.arithmetic(rated.explain())
    assert [(part.title, part.quantity) for part in shown.parts] == [
        ("The period so far", "2,500, converted to 3 = 3 to bill"),
        ("Billed before, taken off", "1,000, converted to 1 = 1 to bill"),
        (
            "Discount, maximum and minimum",
            "usage 20 − 10 50 % discount − 2 above the maximum of 8",
        ),
    ]
    assert shown.amount == "8.00 USD"


def test_a_sum_shows_every_part_and_units_without_an_end_to_six_places() -> None:
    terms = parse_terms({"model": "graduated", "tiers": [{"up_to": None, "unit_amount": "3"}]})
    thirds = Consumed(moves=(Move(Decimal(3), Decimal(1)), Move(Decimal(-1), Decimal("-0.3"))))
    two_thirds = Consumed(moves=(Move(Decimal(2), Decimal(1)), Move(Decimal(1), Decimal("0.5"))))
    parts = [rate(terms, quantity=some, currency="USD") for some in (thirds, two_thirds)]
    shown = words.arithmetic(rate_sum(parts, currency="USD").explain())
    assert [part.steps[0][1] for part in shown.parts] == ["0.7", "1.5"]
    assert words._number("2/3") == "≈ 0.666667"


def test_a_change_shows_the_new_price_and_the_old_one_taken_off() -> None:
    terms = parse_terms({"model": "per_unit", "unit_amount": "12"})
    old, new = (rate(terms, quantity=Decimal(n), currency="USD") for n in (5, 8))
    shown = words.arithmetic(change(old, new, share=Fraction(1, 2), paid=old.amount).explain())
    assert [part.title for part in shown.parts] == ["New price", "Old price, taken off"]
    assert {part.share for part in shown.parts} == {"1/2"}
    assert shown.amount == "18.00 USD"


@pytest.mark.parametrize(
    ("minor", "currency", "said"),
    [
        (262_99, "USD", "262.99 USD"),
        (-5, "USD", "-0.05 USD"),
        (1234567, "JPY", "1,234,567 JPY"),
        (1234, "KWD", "1.234 KWD"),
    ],
)
def test_money_has_its_currencys_decimals(minor: int, currency: str, said: str) -> None:
    assert cells.money(minor, currency) == said


def test_text_from_outside_is_escaped() -> None:
    hostile = "<script>alert(1)</script>"
    assert "<script>" not in cells.code(hostile)
    assert "<script>" not in cells.document({"a": hostile})
    assert "<script>" not in cells.block(hostile)
    assert "<script>" not in cells.short(hostile * 9)
    assert "<script>" not in cells.badge(hostile)
