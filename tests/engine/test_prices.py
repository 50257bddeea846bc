from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

from apps.engine.prices import Flat, Graduated, InvalidTerms, Terms, Tier, Volume, parse_terms
from tests.engine.strategies import TERMS

CATALOGUE: list[dict[str, Any]] = [
    {"model": "flat", "amount": "50"},
    {"model": "per_unit", "unit_amount": "12"},
    {
        "model": "graduated",
        "tiers": [
            {"up_to": "5000000", "unit_amount": "0.0000015", "flat_amount": "0"},
            {"up_to": None, "unit_amount": "0.000001", "flat_amount": "0"},
        ],
    },
    {
        "model": "volume",
        "tiers": [{"up_to": None, "unit_amount": "5", "flat_amount": "2.5"}],
        "zero_quantity_flat": False,
    },
    {"model": "package", "package_size": "1000", "unit_amount": "0.006"},
]


@pytest.mark.parametrize("written", CATALOGUE, ids=lambda terms: terms["model"])
def test_terms_come_back_as_they_were_written(written: dict[str, Any]) -> None:
    assert parse_terms(written).as_dict() == written


@given(TERMS)
def test_terms_survive_a_trip_through_json(terms: Terms) -> None:
    assert parse_terms(json.loads(json.dumps(terms.as_dict()))) == terms


def test_the_same_amount_spelled_otherwise_is_the_same_price() -> None:
    spellings: list[object] = ["50.00", "50", 50, Decimal("5E+1")]
    parsed = [parse_terms({"model": "flat", "amount": amount}) for amount in spellings]
    assert len(set(parsed)) == 1
    assert {json.dumps(terms.as_dict()) for terms in parsed} == {
        '{"model": "flat", "amount": "50"}'
    }


def test_graduated_and_volume_are_not_equal_with_equal_tiers() -> None:
    tiers = (Tier(None, Decimal(1)),)
    terms: list[Terms] = [Graduated(tiers), Volume(tiers)]
    assert terms[0] != terms[1]


def tiered(*tiers: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"model": "graduated", "tiers": list(tiers), **more}


OPEN = {"up_to": None, "unit_amount": "1"}
TEN = {"up_to": "10", "unit_amount": "2"}
HIGH, FINE = "1" + "0" * 15, "0." + "0" * 12 + "1"


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ({}, "model"),
        ({"model": "auction"}, "model"),
        ({"model": "percentage"}, "rate_percent"),
        ({"model": "flat"}, "amount"),
        ({"model": "flat", "amount": "-1"}, "amount"),
        ({"model": "flat", "amount": 0.1}, "amount"),
        ({"model": "flat", "amount": None}, "amount"),
        ({"model": "flat", "amount": "NaN"}, "amount"),
        ({"model": "flat", "amount": True}, "amount"),
        ({"model": "flat", "amount": HIGH}, "amount"),
        ({"model": "flat", "amount": "1", "unit_amout": "1"}, "unit_amout"),
        ({"model": "per_unit", "unit_amount": FINE}, "unit_amount"),
        ({"model": "package", "package_size": "0", "unit_amount": "1"}, "package_size"),
        ({"model": "package", "unit_amount": "1"}, "package_size"),
        ({"model": "volume", "tiers": []}, "tiers"),
        ({"model": "volume", "tiers": "10"}, "tiers"),
        ({"model": "volume"}, "tiers"),
        (tiered(TEN), "tiers[0].up_to"),
        (tiered(TEN, TEN, OPEN), "tiers[1].up_to"),
        (tiered(OPEN, OPEN), "tiers[0].up_to"),
        (tiered(TEN, {"up_to": "9", "unit_amount": "1"}, OPEN), "tiers[1].up_to"),
        (tiered({"up_to": "0", "unit_amount": "1"}, OPEN), "tiers[0].up_to"),
        (tiered({"up_to": "1" + "0" * 24, "unit_amount": "1"}, OPEN), "tiers[0].up_to"),
        (tiered(TEN, {"unit_amount": "1"}), "tiers[1].up_to"),
        (tiered(TEN, {"up_to": None}), "tiers[1].unit_amount"),
        (tiered(TEN, OPEN | {"flat_amount": "-1"}), "tiers[1].flat_amount"),
        (tiered(TEN, OPEN | {"flat": "1"}), "tiers[1].flat"),
        (tiered(TEN, "open"), "tiers[1]"),  # type: ignore[arg-type]
        (tiered(OPEN, zero_quantity_flat="yes"), "zero_quantity_flat"),
    ],
)
def test_wrong_terms_are_refused_where_they_are_wrong(written: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidTerms) as refusal:
        parse_terms(written)
    assert refusal.value.path == path
    assert str(refusal.value).startswith(f"{path}: ")


def test_terms_built_by_hand_obey_the_same_rules() -> None:
    with pytest.raises(InvalidTerms, match="negative"):
        Flat(Decimal(-1))
    with pytest.raises(InvalidTerms, match="must be open"):
        Graduated((Tier(Decimal(1), Decimal(1)),))


def test_terms_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Flat(Decimal(1)).amount = Decimal(2)  # type: ignore[misc]
