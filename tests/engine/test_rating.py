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

from apps.engine.decimals import NotADecimal
from apps.engine.money import Money, UnknownCurrency, exponent
from apps.engine.prices import Flat, Graduated, Package, PerUnit, Terms, Tier, Volume
from apps.engine.rating import BrokenExplanation, Rated, rate, replay
from tests.engine import oracle
from tests.engine.strategies import CURRENCIES, SHARES, TERMS, UNITS

D = Decimal
REQUESTS = PerUnit(D("0.05"))
CONTEXT = Graduated((Tier(D(5_000_000), D("0.0000015")), Tier(None, D("0.000001"))))
GENERATED = Package(D(1000), D("0.006"))
STEPPED = (Tier(D(5), D(10), D(100)), Tier(D(10), D(8), D(50)), Tier(None, D(5)))


def usd(terms: Terms, quantity: str | int, included: int = 0) -> Rated:
    return rate(terms, quantity=D(quantity), included=D(included), currency="USD")


@pytest.mark.parametrize(
    ("requests", "context", "generated", "cents"),
    [
        (8_819, 18_059_974, 245_896, (190_95, 20_56, 1_48)),
        (19_366, 22_361_870, 4_088_665, (718_30, 24_86, 24_53)),
    ],
    ids=["code", "conversation"],
)
def test_the_real_traces_cost_what_they_cost(
    requests: int, context: int, generated: int, cents: tuple[int, int, int]
) -> None:
    lines = [usd(REQUESTS, requests, 5000), usd(CONTEXT, context), usd(GENERATED, generated)]
    assert tuple(line.amount.minor for line in lines) == cents


def test_a_package_begun_is_a_package_paid() -> None:
    assert [usd(GENERATED, n).exact for n in (0, 1, 1000, 1001)] == [
        0, Fraction(6, 10), Fraction(6, 10), Fraction(12, 10),
    ]  # fmt: skip


def test_included_units_come_off_before_packages_round_up() -> None:
    assert usd(Package(D(100), D(5)), 201, included=100).amount == Money(10_00, "USD")


def test_a_bound_belongs_to_its_tier_and_a_fraction_above_to_the_next() -> None:
    assert usd(Graduated(STEPPED), 5).amount == Money(150_00, "USD")
    assert usd(Graduated(STEPPED), "5.1").amount == Money(200_80, "USD")
    assert usd(Volume(STEPPED), 5).amount == Money(150_00, "USD")
    assert usd(Volume(STEPPED), "5.1").amount == Money(90_80, "USD")


def test_a_tiers_flat_amount_is_owed_once_when_it_is_entered() -> None:
    assert usd(Graduated(STEPPED), 10).amount == Money(240_00, "USD")
    assert usd(Graduated(STEPPED), 20).amount == Money(290_00, "USD")


def test_zero_units_owe_the_first_flat_amount_unless_switched_off() -> None:
    for model in (Graduated, Volume):
        assert usd(model(STEPPED), 0).amount == Money(100_00, "USD")
        assert usd(model(STEPPED, zero_quantity_flat=False), 0).amount == Money(0, "USD")
        assert usd(model(STEPPED, zero_quantity_flat=False), 0).steps == ()


def test_more_units_may_cost_less_by_volume() -> None:
    cheaper = Volume((Tier(D(10), D(2)), Tier(None, D(1))))
    assert usd(cheaper, 11).amount < usd(cheaper, 10).amount


def test_usage_below_what_is_included_is_free_and_never_negative() -> None:
    assert usd(REQUESTS, 4_999, included=5000).amount == Money(0, "USD")
    assert usd(REQUESTS, -3).amount == Money(0, "USD")


def test_a_line_is_rounded_once_and_not_tier_by_tier() -> None:
    thirds = Graduated((Tier(D(1), D("0.004")), Tier(D(2), D("0.004")), Tier(None, D("0.004"))))
    assert usd(thirds, 3).amount == Money(1, "USD")


def test_the_currency_decides_where_a_line_is_rounded() -> None:
    amounts = [rate(REQUESTS, quantity=D(31), currency=c).amount for c in ("USD", "JPY", "KWD")]
    assert amounts == [Money(155, "USD"), Money(2, "JPY"), Money(1550, "KWD")]


def test_a_share_lies_between_nothing_and_the_whole() -> None:
    for share in (Fraction(-1, 10), Fraction(11, 10)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            rate(REQUESTS, quantity=D(1), share=share, currency="USD")


def test_what_is_not_exact_or_not_known_is_refused() -> None:
    with pytest.raises(NotADecimal):
        rate(REQUESTS, quantity=0.5, currency="USD")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="included units"):
        rate(REQUESTS, quantity=D(1), included=D(-1), currency="USD")
    with pytest.raises(UnknownCurrency):
        rate(REQUESTS, quantity=D(1), currency="XXX")


def test_an_explanation_shows_every_step_of_the_sum() -> None:
    assert usd(CONTEXT, 18_059_974).explain() == {
        "rule": "price",
        "model": "graduated",
        "quantity": "18059974",
        "included": "0",
        "billable": "18059974",
        "steps": [
            {
                "tier": 0,
                "from": "0",
                "up_to": "5000000",
                "units": "5000000",
                "unit_amount": "0.0000015",
                "flat_amount": "0",
                "subtotal": "7.5",
            },
            {
                "tier": 1,
                "from": "5000000",
                "up_to": None,
                "units": "13059974",
                "unit_amount": "0.000001",
                "flat_amount": "0",
                "subtotal": "13.059974",
            },
        ],
        "exact": "20.559974",
        "rounding": "half_away_from_zero",
        "exponent": 2,
        "amount_minor": 20_56,
        "currency": "USD",
    }


def test_an_explanation_names_the_package_and_the_share() -> None:
    line = rate(GENERATED, quantity=D(245_896), share=Fraction(1, 3), currency="USD").explain()
    assert line["package_size"] == "1000"
    assert line["share"] == "1/3"
    assert line["exact"] == "0.492"
    whole = rate(Flat(D(1)), quantity=D(1), share=Fraction(1, 3), currency="USD").explain()
    assert whole["exact"] == "1/3"


@given(TERMS, UNITS, UNITS, SHARES, CURRENCIES)
def test_a_price_agrees_with_the_oracle_and_explains_itself(
    terms: Terms, quantity: Decimal, included: Decimal, share: Fraction, currency: str
) -> None:
    rated = rate(terms, quantity=quantity, included=included, share=share, currency=currency)
    price = oracle.price(terms.as_dict(), Fraction(quantity), Fraction(included))
    assert rated.exact == price * share * 10 ** exponent(currency)
    assert rated.amount.minor == oracle.rounded(rated.exact)
    explained = json.loads(json.dumps(rated.explain()))
    assert replay(explained) == explained["amount_minor"] == rated.amount.minor


@given(st.sampled_from([REQUESTS, CONTEXT, GENERATED, Graduated(STEPPED)]), UNITS, UNITS)
def test_more_usage_never_costs_less(terms: Terms, one: Decimal, other: Decimal) -> None:
    low, high = sorted((one, other))
    assert usd(terms, str(low)).exact <= usd(terms, str(high)).exact


ARITHMETIC = {
    "quantity", "included", "billable", "package_size", "share", "exact", "exponent", "units",
    "unit_amount", "flat_amount", "subtotal", "rounding", "rule", "model",
}  # fmt: skip


def alterations(node: Any, whole: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Copies of the explanation with one number or word of its arithmetic altered or missing."""
    for holder in (node, *node.get("steps", [])):
        for key, value in list(holder.items()):
            if key in ARITHMETIC and not (key == "unit_amount" and holder["units"] == "0"):
                holder[key] = value + "1" if isinstance(value, str) else value + 1
                yield key, copy.deepcopy(whole)
                holder[key] = value
                del holder[key]
                yield f"no {key}", copy.deepcopy(whole)
                holder[key] = value


@pytest.mark.parametrize(
    "rated",
    [
        usd(REQUESTS, 8_819, 5000),
        usd(Graduated(STEPPED), 12, 1),
        usd(Volume(STEPPED), 7, 1),
        usd(GENERATED, 245_896, 10),
        rate(Flat(D("9.99")), quantity=D(1), share=Fraction(5, 6), currency="USD"),
    ],
    ids=lambda rated: rated.terms.model,
)
def test_an_altered_explanation_does_not_replay(rated: Rated) -> None:
    explanation = json.loads(json.dumps(rated.explain()))
    unnoticed = []
    for key, altered in alterations(explanation, explanation):
        try:
            if replay(altered) == rated.amount.minor:
                unnoticed.append(key)
        except BrokenExplanation:
            continue
    assert not unnoticed


@pytest.mark.parametrize(("field", "bound"), [("up_to", "4"), ("up_to", "10.9"), ("from", "11")])
def test_units_outside_their_tier_do_not_replay(field: str, bound: str) -> None:
    explanation: Any = usd(Volume((*STEPPED[:1], Tier(D(12), D(1)), *STEPPED[2:])), 11).explain()
    explanation["steps"][0][field] = bound
    with pytest.raises(BrokenExplanation, match="do not lie in the tier"):
        replay(explanation)


@pytest.mark.parametrize(
    "altered",
    [
        {"steps": "none"}, {"steps": ["none"]}, {"exponent": "2"}, {"quantity": 8819},
        {"share": "1/0"}, {"exact": "much"}, {"rounding": "half_even"}, {"rule": "guess"},
    ],
)  # fmt: skip
def test_an_explanation_of_the_wrong_shape_is_broken(altered: dict[str, Any]) -> None:
    with pytest.raises(BrokenExplanation):
        replay(usd(REQUESTS, 8_819, 5000).explain() | altered)
