from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from apps.backoffice.admin import cells, words
from apps.engine.prices import parse_terms
from apps.engine.proration import change
from apps.engine.rating import rate


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
