from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.credits import (
    Creditable,
    CreditGrant,
    CreditTooLarge,
    NoteBalance,
    credit_note,
    draw,
    in_order,
    refundable,
    spend,
)
from apps.engine.lines import EVERYTHING, Line, Scope
from apps.engine.money import CurrencyMismatch, Money
from tests.engine.settlements import usd

SUBSCRIPTION, CHARGE = Line("s", usd(0), kind="fixed"), Line("c", usd(0), kind="usage")
FOR_CHARGES, FOR_SUBSCRIPTIONS = Scope.of(kinds=["usage"]), Scope.of(kinds=["fixed"])


def day(number: int) -> datetime:
    return datetime(2026, 1, number, tzinfo=UTC)


def grant(
    name: str, minor: int = 10_00, scope: Scope = EVERYTHING, priority: int = 50
) -> CreditGrant:
    return CreditGrant(name, usd(minor), priority=priority, scope=scope)


def used(*grants: CreditGrant, owed: tuple[int, int], limit: int | None = None) -> dict[str, int]:
    lines = list(zip((SUBSCRIPTION, CHARGE), map(usd, owed), strict=True))
    found = spend(grants, lines, limit=usd(sum(owed) if limit is None else limit))
    return {spent.grant.id: spent.amount.minor for spent in found}


def test_credit_is_used_by_priority_then_expiry_then_age() -> None:
    grants = [
        CreditGrant("forever, new", usd(1), granted_at=day(2)),
        CreditGrant("forever, old", usd(1), granted_at=day(1)),
        CreditGrant("expires late", usd(1), expires_at=day(20)),
        CreditGrant("expires soon", usd(1), expires_at=day(10), granted_at=day(9)),
        CreditGrant("first of all", usd(1), priority=10),
    ]
    assert [each.id for each in in_order(grants)] == [
        "first of all",
        "expires soon",
        "expires late",
        "forever, old",
        "forever, new",
    ]


def test_wallets_in_priority_each_pay_only_what_they_may() -> None:
    wallets = [
        grant("all", priority=49),
        grant("charges", scope=FOR_CHARGES, priority=49),
        grant("subscriptions", scope=FOR_SUBSCRIPTIONS, priority=49),
        grant("all, later"),
        grant("charges, later", scope=FOR_CHARGES),
        grant("subscriptions, later", scope=FOR_SUBSCRIPTIONS),
    ]
    assert used(*wallets, owed=(36_00, 15_50)) == {
        "all": 10_00,
        "charges": 10_00,
        "subscriptions": 10_00,
        "all, later": 10_00,
        "charges, later": 5_50,
        "subscriptions, later": 6_00,
    }


def test_no_credit_is_used_beyond_the_limit_or_on_what_owes_nothing() -> None:
    assert used(grant("g"), owed=(60, 44), limit=50) == {"g": 50}
    assert used(grant("g", 30), grant("h"), owed=(60, 44), limit=50) == {"g": 30, "h": 20}
    assert used(grant("g"), owed=(-60, 44), limit=44) == {"g": 44}
    assert used(grant("g"), owed=(60, 44), limit=-1) == {"g": 0}


def test_credit_in_another_currency_is_refused() -> None:
    with pytest.raises(CurrencyMismatch):
        spend([CreditGrant("g", Money(1, "EUR"))], [], limit=usd(1))
    with pytest.raises(ValueError, match="below zero"):
        CreditGrant("g", usd(-1))


@pytest.mark.parametrize(
    ("due", "expected"), [(1_00, [20, 50]), (10, [10, 0]), (0, [0, 0]), (-5, [0, 0])]
)
def test_credit_notes_are_used_one_after_another(due: int, expected: list[int]) -> None:
    notes = [NoteBalance("first", usd(20)), NoteBalance("second", usd(50))]
    assert [drawn.amount.minor for drawn in draw(notes, usd(due))] == expected


def creditable(
    minor: int, discount: int = 0, tax: int = 0, included: int = 0, credited: int = 0
) -> Creditable:
    return Creditable("a", usd(minor), Fraction(discount), usd(tax), usd(included), usd(credited))


def test_discount_and_tax_go_back_in_proportion() -> None:
    note = credit_note(
        [creditable(100_00, discount=10_00, tax=18_00)], {"a": usd(50_00)}, currency="USD"
    )
    assert (note.net, note.tax, note.total) == (usd(45_00), usd(9_00), usd(54_00))


def test_net_and_tax_are_rounded_apart() -> None:
    note = credit_note([creditable(3_00, tax=61)], {"a": usd(1_25)}, currency="USD")
    assert (note.net, note.tax) == (usd(1_25), usd(25))
    note = credit_note([creditable(3_01, discount=1, tax=1)], {"a": usd(1_50)}, currency="USD")
    assert (note.net, note.tax, note.total) == (usd(1_50), usd(0), usd(1_50))


def test_a_tax_inside_the_price_goes_back_from_inside() -> None:
    note = credit_note([creditable(1_19, tax=19, included=19)], {"a": usd(1_19)}, currency="USD")
    assert (note.net, note.tax, note.total) == (usd(1_00), usd(19), usd(1_19))


@given(
    st.integers(1, 5_000),
    st.integers(0, 100),
    st.integers(0, 1_000),
    st.lists(st.integers(1, 2_000), max_size=6),
)
def test_notes_that_take_back_everything_sum_to_the_invoice(
    minor: int, off: int, tax: int, steps: list[int]
) -> None:
    discount, credited = minor * off // 100, 0
    net = total_tax = usd(0)
    for step in [*steps, minor]:
        step = min(step, minor - credited)
        if not step:
            break
        line = creditable(minor, discount, tax, credited=credited)
        note = credit_note([line], {"a": usd(step)}, currency="USD")
        net, total_tax, credited = net + note.net, total_tax + note.tax, credited + step
    assert (net, total_tax) == (usd(minor - discount), usd(tax))


def test_a_note_never_takes_back_more_than_is_left_of_a_line() -> None:
    lines = [creditable(10_00, credited=4_00)]
    with pytest.raises(CreditTooLarge):
        credit_note(lines, {"a": usd(6_01)}, currency="USD")
    with pytest.raises(CreditTooLarge):
        credit_note(lines, {"b": usd(1)}, currency="USD")
    with pytest.raises(ValueError, match="takes nothing back"):
        credit_note(lines, {"a": usd(0)}, currency="USD")


def test_no_more_goes_back_than_was_paid() -> None:
    assert refundable(usd(30_00), paid=usd(75_00), refunded=usd(0)) == usd(30_00)
    assert refundable(usd(30_00), paid=usd(25_00), refunded=usd(10_00)) == usd(15_00)
    assert refundable(usd(30_00), paid=usd(0), refunded=usd(0)) == usd(0)
