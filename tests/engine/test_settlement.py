"""The whole document: the order of its steps, its sums, and the proof of both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given

from apps.engine.credits import CreditGrant, NoteBalance
from apps.engine.discounts import Discount, Split
from apps.engine.lines import Line, Scope
from apps.engine.money import CurrencyMismatch, Money
from apps.engine.settlement import BrokenSettlement, Settlement, settle, verify_settlement
from apps.engine.tax import TaxPolicy, TaxRate, TaxRounding, Treatment
from tests.engine.settlements import VAT, rich, settlements, usd

USAGE = Scope.of(kinds=["usage"])
TEN = TaxRate("ten", Decimal(10))


def stored(settlement: Settlement) -> dict[str, Any]:
    """As the database gives it back."""
    found: dict[str, Any] = json.loads(json.dumps(settlement.as_dict()))
    return found


@given(settlements())
def test_every_document_proves_itself_from_what_is_stored(settlement: Settlement) -> None:
    assert verify_settlement(stored(settlement)) == settlement.totals.amount_due.minor


def test_a_net_above_zero_with_a_tax_below_it_is_proven_as_it_was_rounded() -> None:
    # the net is 2013.5 and rounds to 2014, so of 521 there are −1493 of tax inside: not −1492
    half = TaxRate("half", Decimal(100), inclusive=True)
    lines = [
        Line("sale", usd(35_06), rates=(half,), treatment=Treatment.REVERSE_CHARGE),
        Line("back", usd(-29_85), rates=(half,)),
    ]
    found = settle(lines, currency="USD", policy=TaxPolicy(TaxRounding.ONCE))
    assert found.totals.tax_included == usd(-14_93)
    assert verify_settlement(stored(found)) == 5_21


@given(settlements())
def test_the_parts_of_a_document_sum_to_it(settlement: Settlement) -> None:
    totals, lines = settlement.totals, settlement.lines
    owed = Money.sum((line.owed for line in lines), "USD")
    assert sum(line.discount for line in lines) == totals.discount.minor
    assert Money.sum((line.tax for line in lines), "USD") == totals.tax
    assert owed == totals.net + totals.tax - totals.tax_included
    assert totals.total == owed - totals.prepaid
    paid = totals.credit_notes + totals.credits + totals.balance_used
    assert totals.amount_due == totals.total - paid
    assert settlement.balance_after == settlement.balance - totals.balance_used


@given(settlements())
def test_nobody_pays_more_or_is_given_more_than_there_is(settlement: Settlement) -> None:
    assert settlement.totals.amount_due >= usd(0)
    for line in settlement.lines:
        assert 0 <= line.discount <= max(0, line.line.amount.minor)
    for spent in settlement.grants:
        assert usd(0) <= spent.amount <= spent.grant.available
        assert Money.sum((part for _, part in spent.parts), "USD") == spent.amount
    for drawn in settlement.credit_notes:
        assert usd(0) <= drawn.amount <= drawn.note.available


@given(settlements())
def test_credit_never_shrinks_the_tax(settlement: Settlement) -> None:
    without = settle(
        [line.line for line in settlement.lines],
        currency="USD",
        discounts=[applied.discount for applied in settlement.discounts],
        split=settlement.split,
        policy=settlement.policy,
    )
    assert without.totals.tax == settlement.totals.tax


def test_the_steps_come_in_their_order() -> None:
    settled = settle(
        [
            Line("plan", usd(50_00), kind="fixed", rates=(TEN,)),
            Line("usage", usd(20_00), kind="usage", rates=(TEN,)),
        ],
        currency="USD",
        discounts=[Discount("coupon", amount=usd(10_00))],
        credit_notes=[NoteBalance("note", usd(20_00))],
        grants=[CreditGrant("wallet", usd(30_00))],
        balance=usd(4_00),
    )
    totals = settled.totals
    assert (totals.subtotal, totals.discount, totals.net) == (usd(70_00), usd(10_00), usd(60_00))
    assert (totals.tax, totals.total) == (usd(6_00), usd(66_00))
    assert (totals.credit_notes, totals.credits) == (usd(20_00), usd(30_00))
    assert (totals.balance_used, totals.amount_due) == (usd(4_00), usd(12_00))


def test_credit_used_before_tax_leaves_the_tax_where_it_was() -> None:
    settled = settle(
        [
            Line("api", usd(80_00), kind="usage", rates=(TaxRate("us", Decimal("8.25")),)),
            Line("plan", usd(20_00), kind="fixed", rates=(TaxRate("us", Decimal("8.25")),)),
        ],
        currency="USD",
        discounts=[
            Discount("all", amount=usd(10_00)),
            Discount("api", percent=Decimal(25), scope=USAGE),
        ],
        policy=TaxPolicy(TaxRounding.PER_RATE),
        grants=[CreditGrant("wallet", usd(5_00), scope=USAGE, before_tax=True)],
    )
    assert [applied.amount for applied in settled.discounts] == [usd(20_00), usd(10_00)]
    assert settled.totals.net == usd(70_00)
    assert settled.totals.tax == usd(5_78)
    assert settled.totals.total == usd(70_78)


def test_a_negative_total_is_due_to_nobody_and_grows_the_balance() -> None:
    settled = settle(
        [Line("credit", usd(-30_00), rates=(TEN,)), Line("plan", usd(10_00), rates=(TEN,))],
        currency="USD",
        credit_notes=[NoteBalance("note", usd(5_00))],
        grants=[CreditGrant("wallet", usd(5_00))],
        balance=usd(1_00),
    )
    assert settled.totals.total == usd(-22_00)
    assert settled.totals.amount_due == usd(0)
    assert settled.totals.credit_notes == settled.totals.credits == usd(0)
    assert settled.balance_after == usd(23_00)


def test_a_debt_on_the_balance_is_collected() -> None:
    settled = settle([Line("plan", usd(10_00))], currency="USD", balance=usd(-3_00))
    assert settled.totals.amount_due == usd(13_00)
    assert settled.balance_after == usd(0)


def test_a_wallet_for_usage_stops_at_the_usage_with_its_tax() -> None:
    settled = settle(
        [
            Line("plan", usd(60), kind="fixed", rates=(TEN,)),
            Line("api", usd(40), kind="usage", rates=(TEN,)),
        ],
        currency="USD",
        grants=[CreditGrant("wallet", usd(10_00), scope=USAGE)],
    )
    assert settled.totals.credits == usd(44)
    assert settled.lines[1].credits == (("wallet", usd(44)),)
    assert settled.totals.amount_due == usd(66)


def test_credit_is_capped_at_the_rounded_total() -> None:
    settled = settle(
        [Line(str(i), usd(1), rates=(TaxRate("t", Decimal(40)),)) for i in range(8)],
        currency="USD",
        policy=TaxPolicy(TaxRounding.ONCE),
        grants=[CreditGrant("wallet", usd(100_00))],
    )
    assert settled.totals.tax == usd(3)
    assert settled.totals.credits == settled.totals.total == usd(11)


def test_a_line_is_credited_for_what_it_was_really_billed() -> None:
    settled = rich()
    line = settled.lines[0]
    creditable = line.creditable(usd(2_500))
    assert creditable.left == usd(7_500)
    assert creditable.discount == line.discount
    assert creditable.tax == line.tax


def test_an_empty_document_owes_nothing() -> None:
    settled = settle([], currency="USD", discounts=[Discount("d", amount=usd(5))])
    assert settled.totals.amount_due == usd(0)
    assert settled.totals.discount == usd(0)
    assert verify_settlement(stored(settled)) == 0


def test_ids_and_currencies_do_not_mix() -> None:
    with pytest.raises(ValueError, match="ids must differ: a, a"):
        settle([Line("a", usd(1)), Line("a", usd(2))], currency="USD")
    with pytest.raises(CurrencyMismatch):
        settle([Line("a", Money(1, "EUR"))], currency="USD")
    with pytest.raises(CurrencyMismatch):
        settle(
            [Line("a", usd(1))], currency="USD", discounts=[Discount("d", amount=Money(1, "EUR"))]
        )
    with pytest.raises(CurrencyMismatch):
        settle([Line("a", usd(1))], currency="USD", grants=[CreditGrant("g", Money(1, "EUR"))])


def test_shares_of_a_discount_may_stay_exact_while_the_document_is_whole() -> None:
    settled = settle(
        [Line(str(i), usd(100), rates=(VAT,)) for i in range(3)],
        currency="USD",
        discounts=[Discount("d", amount=usd(100))],
        split=Split.EXACT,
        policy=TaxPolicy(TaxRounding.ONCE),
    )
    assert [line.discount for line in settled.lines] == [Fraction(100, 3)] * 3
    assert settled.totals.tax == usd(40)
    assert [line.taxed.alone for line in settled.lines] == [usd(13)] * 3
    assert [line.owed for line in settled.lines] == [usd(81), usd(80), usd(79)]


# What is given, and may be anything as long as the rest follows from it.
GIVEN = {"available_minor", "percent", "cap_minor", "priority"}


def numbers(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every number in an explanation that other numbers follow or make."""
    if isinstance(node, dict | list):
        pairs = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in pairs:
            yield from numbers(value, (*path, key))
    elif path[-1] not in GIVEN and (type(node) is int or str(path[-1]).endswith("minor")):
        yield path


def moved(explanation: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    *way, last = path
    node: Any = explanation
    for key in way:
        node = node[key]
    node[last] = node[last] + 1 if type(node[last]) is int else str(Fraction(node[last]) + 1)
    return explanation


@pytest.mark.parametrize("path", list(numbers(rich().as_dict())), ids=str)
def test_no_number_of_a_stored_document_can_be_moved_alone(path: tuple[Any, ...]) -> None:
    with pytest.raises(BrokenSettlement):
        verify_settlement(moved(stored(rich()), path))


def leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from leaves(value, (*path, key))
    elif node is not None:
        yield path


@pytest.mark.parametrize("path", list(leaves(rich().as_dict())), ids=str)
def test_a_stored_document_that_lacks_something_is_refused_or_comes_to_the_same(
    path: tuple[Any, ...],
) -> None:
    explanation = stored(rich())
    *way, last = path
    node: Any = explanation
    for key in way:
        node = node[key]
    node[last] = None
    try:
        assert verify_settlement(explanation) == rich().totals.amount_due.minor
    except BrokenSettlement:
        assert last not in {"currency", "reason", "jurisdiction"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rule", "price"),
        ("rounding", "down"),
        ("tax_rounding", "never"),
        ("inclusive_first", "neither"),
        ("discount_split", "anyhow"),
        ("discounts", [{"id": "d"}]),
        ("totals", {}),
        ("lines", None),
        ("balance_minor", "10"),
    ],
)
def test_an_explanation_that_says_something_else_is_refused(key: str, value: object) -> None:
    with pytest.raises(BrokenSettlement):
        verify_settlement(stored(rich()) | {key: value})


def test_discounts_and_credits_out_of_their_order_are_refused() -> None:
    explanation = stored(rich())
    explanation["discounts"].reverse()
    with pytest.raises(BrokenSettlement, match="after a general one"):
        verify_settlement(explanation)
    settled = settle(
        [Line("a", usd(100))],
        currency="USD",
        grants=[CreditGrant("first", usd(0), priority=1), CreditGrant("second", usd(0))],
    )
    explanation = stored(settled)
    explanation["grants"].reverse()
    with pytest.raises(BrokenSettlement, match="by priority"):
        verify_settlement(explanation)
