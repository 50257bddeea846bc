"""The catalogue file is read exactly, and refused with the place of everything that is wrong."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core.errors import Invalid
from apps.engine.calendar import Interval, Unit
from apps.engine.prices import Flat, Graduated, Package, PerUnit, Tier
from apps.plans.catalog import MAX_BYTES, parse_catalog, read_catalog, shipped
from apps.plans.document import label_of
from apps.plans.errors import CatalogInvalid, UnknownCatalog
from tests.plans.samples import GATEWAY, gateway, gateway_text

AMOUNT = 'amount: "50.00"'


def problems_of(text: str) -> list[tuple[int, int, str]]:
    """Read a text that must be refused; return its problems."""
    with pytest.raises(CatalogInvalid) as caught:
        parse_catalog(text, source="x.yaml")
    return [(p.place.line, p.place.column, p.message) for p in caught.value.problems]


def test_the_gateway_reads_as_it_is_written() -> None:
    document = gateway()
    plan = document.plans[0]
    prices = {price.key: price for price in plan.prices}
    assert (plan.code, plan.currency, plan.interval) == ("gateway", "USD", Interval(Unit.MONTH))
    assert prices["base"].terms == Flat(Decimal("50.00"))
    assert prices["seats"].terms == PerUnit(Decimal("12.00"))
    assert prices["seats"].included == 3
    assert prices["context_tokens"].terms == Graduated(
        (Tier(Decimal(5_000_000), Decimal("0.0000015")), Tier(None, Decimal("0.000001")))
    )
    assert prices["generated_tokens"].terms == Package(Decimal(1000), Decimal("0.006"))
    assert [price.timing for price in plan.prices] == ["advance", "advance", *["arrears"] * 3]
    assert {grant.feature: grant.value for grant in plan.entitlements} == {
        "max_devices": 50,
        "can_export": True,
    }


@pytest.mark.parametrize(
    ("written", "exact"),
    [
        ("0.1", "0.1"),
        ('"0.1"', "0.1"),
        ("0.10", "0.1"),
        ("1e-7", "0.0000001"),
        ("0.0000015", "0.0000015"),
        ("'0.0000015'", "0.0000015"),
        ("1_000.50", "1000.5"),
        ("2.675", "2.675"),
        ("123456789012.123456789012", "123456789012.123456789012"),
        ("0", "0"),
    ],
)
def test_an_amount_is_exact_quoted_or_not(written: str, exact: str) -> None:
    document = gateway((AMOUNT, f"amount: {written}"))
    assert document.plans[0].prices[0].terms.as_dict()["amount"] == exact


def test_two_spellings_of_an_amount_are_the_same_content() -> None:
    assert gateway().plans[0].content() == gateway((AMOUNT, "amount: 5e1")).plans[0].content()


@pytest.mark.parametrize(
    "written",
    [".5", "010", "'1,000'", "1.", "0x10", ".inf", ".nan", "1:30", "5 USD", "1__0", "12_34", "[1]",
     "1e999", "9" * 60, "null", "true", "-1", "0.0000000000001", "!!float 1"],
)  # fmt: skip
def test_a_doubtful_amount_is_refused_where_it_stands(written: str) -> None:
    found = problems_of(gateway_text((AMOUNT, f"amount: {written}")))
    assert [(line, column) for line, column, _ in found] == [(14, 41)]


def test_exponents_cannot_blow_up() -> None:
    [(_, _, message)] = problems_of(gateway_text((AMOUNT, "amount: 1e999999999")))
    assert "decimal number" in message


def test_words_that_yaml_would_turn_into_something_else_stay_words() -> None:
    document = gateway(
        ("name: Gateway", "name: 010"),
        ("slug: gateway, name: AI Gateway", "slug: gateway, name: no"),
    )
    assert document.plans[0].name == "010"
    assert document.applications[0].name == "no"


def test_null_is_unlimited() -> None:
    for written in ("null", "~", ""):
        plan = gateway(("max_devices: 50", f"max_devices: {written}")).plans[0]
        assert plan.entitlements[0].value is None


@pytest.mark.parametrize(
    ("written", "interval"),
    [
        ("week", Interval(Unit.WEEK)),
        ("{unit: month, count: 6}", Interval(Unit.MONTH, 6)),
        ("{unit: year}", Interval(Unit.YEAR)),
    ],
)
def test_an_interval_is_a_word_or_counted(written: str, interval: Interval) -> None:
    assert gateway(("interval: month", f"interval: {written}")).plans[0].interval == interval


def test_a_plan_may_say_much_more() -> None:
    tiers = "tiers: [{up_to: null, unit_amount: 3, flat_amount: 1}]"
    text = gateway_text(
        ("interval: month", "interval: quarter\n    trial_days: 14\n    visibility: private"),
        ("application: gateway", "application: gateway\n    kind: add_on\n    currency: EUR"),
        ("    prices:", "    industries: [hs, rest]\n    description: For tests.\n    prices:"),
        ("type: licensed, model: per_unit", "type: licensed, timing: arrears, name: Chairs"),
        ('unit_amount: "12.00", included: 3', f"model: volume, zero_quantity_flat: false, {tiers}"),
    )
    plan = parse_catalog(text, source="x.yaml").plans[0]
    assert (plan.trial_days, plan.visibility, plan.kind, plan.currency) == (
        14,
        "private",
        "add_on",
        "EUR",
    )
    assert plan.industries == ("hs", "rest")
    assert plan.prices[1].name == "Chairs"
    assert plan.prices[1].timing == "arrears"
    assert plan.prices[1].terms.as_dict()["zero_quantity_flat"] is False


def test_a_negotiated_plan_without_prices_has_a_base_fee_to_be_agreed() -> None:
    text = GATEWAY.split("    prices:", maxsplit=1)[0] + "    custom: true\n"
    (price,) = parse_catalog(text, source="x.yaml").plans[0].prices
    assert (price.key, price.type, price.terms.as_dict()["amount"]) == ("base", "flat", "0")


WRONG = [
    ("currency: USD", "currency: Dollars", 1, 11, "characters"),
    ("currency: USD", "currency: XXQ", 1, 11, "ISO 4217"),
    ("currency: USD\n", "", 8, 5, "needs 'currency'"),
    ("currency: USD", "currency: USD\nfetaures: []", 2, 1, "did you mean 'features'"),
    ("slug: gateway", "slug: Gate Way", 2, 23, "'slug' must be"),
    ("slug: gateway, name: AI Gateway", "slug: gateway", 2, 16, "needs 'name'"),
    ("kind: limit", "kind: limits", 3, 37, "did you mean 'limit'"),
    ("kind: limit", "kind: limit, kind: switch", 3, 44, "stands here twice, first on line 3"),
    ("aggregation: count", "aggregation: average", 5, 61, "'aggregation' must be one of"),
    ("aggregation: count", "aggregation: count, value: n", 5, 75, "has no 'value'"),
    ("aggregation: sum, value: context_tokens", "aggregation: sum", 6, 5, "needs 'value'"),
    ("{key: context_tokens, event", "{key: ai_requests, event", 6, 5, "line 5 already"),
    ("code: gateway", "code: -gateway", 9, 11, "'code' must be"),
    ("name: Gateway", "name: null", 11, 11, "needs text"),
    ("name: Gateway", 'name: ""', 11, 11, "must not be empty"),
    ("name: Gateway", r'name: "a\0b"', 11, 11, "control character"),
    ("interval: month", "interval: monthly", 12, 15, "did you mean 'month'"),
    ("interval: month", "interval: {unit: month, count: 0}", 12, 36, "from 1 to 366"),
    ("    interval: month\n", "", 9, 5, "needs 'interval'"),
    ("interval: month", "interval: month\n    trial_days: -1", 13, 17, "from 0 to 730"),
    ("interval: month", "interval: month\n    trial_days: 1.5", 13, 17, "whole number"),
    ("interval: month", "interval: month\n    custom: yes", 13, 13, "true or false"),
    ("interval: month", "interval: month\n    visibility: hidden", 13, 17, "public, private"),
    ("interval: month", "interval: month\n    industries: [hs, hs]", 13, 22, "stands twice"),
    ("interval: month", "interval: month\n    price: 3", 13, 5, "did you mean 'prices'"),
    ("type: flat", "type: fixed", 14, 27, "flat, licensed, metered"),
    ("type: flat, ", "", 14, 9, "needs 'type'"),
    ("{key: seats", "{key: base", 15, 9, "price 'base' stands here again"),
    ('model: per_unit, unit_amount: "12.00"', 'unit_amount: "12.00"', 15, 9, "needs 'model'"),
    ('unit_amount: "12.00"', "amount: 12", 15, 9, "per_unit needs 'unit_amount'"),
    ("included: 3}", "included: 2.5}", 15, 87, "whole number of seats"),
    ("included: 3}", "included: null}", 15, 87, "decimal number"),
    (AMOUNT, f"{AMOUNT}, included: 1", 14, 50, "flat price of model flat has no key 'included'"),
    ("meter: ai_requests, model", "model", 16, 9, "needs 'meter'"),
    ("included: 5000}", "timing: advance}", 16, 109, "'timing' must be one of arrears"),
    ("up_to: 5000000", "up_to: 0", 18, 26, "tiers[0].up_to"),
    ("up_to: null", "up_to: 9e6", 18, 70, "last tier must be open"),
    ("{up_to: null, ", "{", 18, 62, "needs 'up_to'"),
    ("package_size: 1000, ", "", 19, 9, "needs 'package_size'"),
    ("    prices:\n", "    prices: none\n    notes:\n", 13, 13, "'prices' must be a list"),
    ("can_export: true}", "can_export: [true]}", 20, 49, "single value"),
    ("max_devices: 50", "max_devices: -5", 20, 33, "from 0 to"),
]


@pytest.mark.parametrize(("old", "new", "line", "column", "said"), WRONG)
def test_what_is_wrong_is_named_with_its_place(
    old: str, new: str, line: int, column: int, said: str
) -> None:
    found = problems_of(gateway_text((old, new)))
    assert any((line, column) == (row, at) and said in what for row, at, what in found), found


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("", 1, 1, "empty"),
        ("# nothing\n", 1, 1, "empty"),
        ("- a\n- b\n", 1, 1, "must be a mapping"),
        ("plans:\n  - code: [a\n", 3, 1, "not YAML"),
        ("plans:\n\t- code: a\n", 2, 1, "not YAML"),
        ("a: 1\nb: \x07\n", 2, 4, "control character"),
        ("plans: !!python/object/apply:os.system [echo]\n", 1, 8, "tags are not read"),
        ("plans: !include /etc/passwd\n", 1, 8, "tags are not read"),
        ("a: &a [1, 1]\nb: [*a, *a]\n", 1, 4, "anchors and aliases"),
        ("plans: []\n---\nplans: []\n", 3, 1, "one document only"),
        ("? [a]\n: 1\n", 1, 3, "single word"),
        ("a: " + "[" * 40 + "]" * 40, 1, 15, "nested deeper"),
        ("plans:\n- <<: {code: x}\n", 2, 3, "no key '<<'"),
    ],
)
def test_a_text_that_is_no_catalogue_is_refused_with_its_place(
    text: str, line: int, column: int, said: str
) -> None:
    found = problems_of(text)
    assert any((line, column) == (row, at) and said in what for row, at, what in found), found


def test_everything_wrong_is_told_at_once_in_the_files_order() -> None:
    found = problems_of(
        gateway_text(
            ("kind: limit", "kind: x"),
            (AMOUNT, "amount: free"),
            ("interval: month", "interval: eon"),
        )
    )
    assert [line for line, _, _ in found] == [3, 12, 14]


def test_what_follows_from_another_problem_is_not_told_beside_it() -> None:
    assert len(problems_of(gateway_text(("type: flat", "type: falt")))) == 1
    assert len(problems_of(gateway_text(("model: package", "model: packet")))) == 1


@settings(max_examples=150, deadline=None)
@given(
    cut=st.tuples(st.integers(0, len(GATEWAY)), st.integers(0, 12)),
    put=st.text(st.sampled_from("{}[]:,-#&*!|>'\"%@`?~0123 \n\tabe_.\0\u2028\ud7ff"), max_size=6),
)
def test_whatever_is_written_is_read_or_refused_with_a_place(
    cut: tuple[int, int], put: str
) -> None:
    start, length = cut
    text = GATEWAY[:start] + put + GATEWAY[start + length :]
    lines = text.count("\n") + text.count("\u2028") + 2
    assert all(1 <= line <= lines for line in lines_refused(text))


def lines_refused(text: str) -> list[int]:
    try:
        parse_catalog(text, source="x.yaml")
    except CatalogInvalid as refusal:
        return [problem.place.line for problem in refusal.problems]
    return []


def test_a_flood_of_problems_is_cut_off() -> None:
    text = "features:\n" + "  - {key: x}\n" * 500
    with pytest.raises(CatalogInvalid) as caught:
        parse_catalog(text, source="x.yaml")
    assert len(caught.value.problems) == 999
    assert caught.value.message.endswith("x.yaml: and 949 more")


def test_the_message_has_one_line_for_each_problem_like_a_compilers() -> None:
    with pytest.raises(CatalogInvalid) as caught:
        gateway((AMOUNT, "amount: free"))
    assert caught.value.message.startswith("gateway.yaml:14:41: 'amount' must be a decimal number")
    assert "\n" not in caught.value.message


def test_a_file_is_read_by_path_or_by_its_shipped_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("\ufeff" + GATEWAY, encoding="utf-8")
    assert read_catalog(str(path)).source == "mine.yaml"
    assert read_catalog("gateway").plans[0].code == "gateway"
    assert shipped() == ["gateway", "industries", "licences", "metered", "payments", "seats"]
    with pytest.raises(UnknownCatalog, match="gateway, industries"):
        read_catalog("../settings")


def test_a_file_that_is_too_large_or_no_text_is_refused(tmp_path: Path) -> None:
    large, binary = tmp_path / "large.yaml", tmp_path / "binary.yaml"
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    binary.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(Invalid, match="256 KiB"):
        read_catalog(str(large))
    with pytest.raises(CatalogInvalid, match=r"binary.yaml:2:4: not UTF-8"):
        read_catalog(str(binary))


@pytest.mark.parametrize(
    ("key", "label"), [("ai_requests", "AI requests"), ("base", "Base"), ("max-users", "Max users")]
)
def test_a_key_makes_a_label(key: str, label: str) -> None:
    assert label_of(key) == label
