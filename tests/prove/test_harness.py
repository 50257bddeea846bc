"""The harnesses' own instruments: the oracle by hand, and mutants that cannot go stale."""

from __future__ import annotations

import types
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import partial
from random import Random
from zoneinfo import ZoneInfo

import pytest
from django.test import Client

from tests.engine.oracle_documents import Coupon
from tests.prove import billing_oracle as oracle
from tests.prove import mutation, oracle_mutants, year_oracle
from tests.prove.billing_oracle import Agreement, Reading
from tests.prove.strangers import OTHERS, Party
from tests.prove.year_oracle import Account, Discounted

NEW_YEAR = datetime(2025, 1, 1, tzinfo=UTC)
START = datetime(2023, 1, 31, tzinfo=ZoneInfo("America/New_York"))


def agreement(plan: str, *readings: Reading, seats: int = 0) -> Agreement:
    return Agreement(plan, START, seats, readings)


def calls(count: int, *, tokens: int = 0, size: int = 0) -> list[Reading]:
    first = oracle.boundary(START, 0)
    return [Reading(first + timedelta(hours=hour), tokens, size) for hour in range(count)]


def test_a_month_from_the_31st_ends_with_february_and_comes_back_to_the_31st() -> None:
    assert [oracle.boundary(START, index) for index in range(3)] == [
        datetime(2023, 1, 31, 5, tzinfo=UTC),
        datetime(2023, 2, 28, 5, tzinfo=UTC),
        datetime(2023, 3, 31, 4, tzinfo=UTC),
    ]


def test_the_oracle_bills_seats_beyond_three() -> None:
    assert oracle.expected(agreement("desk", seats=10), 0) == {"base": 29_00, "seats": 87_50}


def test_the_oracle_rounds_half_a_cent_up() -> None:
    # 22 calls, 20 of them included: 2 x 3.75 cents = 7.5
    assert oracle.expected(agreement("wire", *calls(22)), 1) == {"base": 10_00, "calls": 8}


def test_the_oracle_fills_the_dear_tier_first() -> None:
    # 1,000 x 0.15 + 200 x 0.105 cents = 171
    used = calls(12, tokens=100)
    assert oracle.expected(agreement("mill", *used), 1) == {"base": 5_00, "tokens": 1_71}


def test_the_oracle_counts_a_package_begun() -> None:
    # 15 bytes are 3 packages of 7: 99.9 cents
    assert oracle.expected(agreement("vault", *calls(3, size=5)), 1) == {
        "base": 99_00,
        "bytes": 1_00,
    }


def test_an_event_on_the_boundary_belongs_to_the_next_month() -> None:
    late = Reading(oracle.boundary(START, 1), 1000, 0)
    assert oracle.expected(agreement("mill", late), 1)["tokens"] == 0
    assert oracle.expected(agreement("mill", late), 2)["tokens"] == 1_50


def test_a_mutant_is_the_real_function_with_one_line_changed() -> None:
    module = types.ModuleType("copy_of_oracle")
    vars(module).update(vars(oracle))
    mutation.mutate(module, "_rounded", ("+ denominator", "+ 0"))
    assert vars(module)["_rounded"](15, 10) == 1
    assert oracle._rounded(15, 10) == 2


def test_a_mutant_of_a_line_that_is_gone_is_refused() -> None:
    with pytest.raises(LookupError, match="no longer says"):
        mutation.mutate(oracle, "_rounded", ("never written", "pass"))


def test_a_mutant_of_a_text_that_is_gone_is_refused() -> None:
    module = types.ModuleType("a_module")
    vars(module)["DURABLE"] = "commit = on"
    mutation.mutate_text(module, "DURABLE", ("= on", "= off"))
    assert vars(module)["DURABLE"] == "commit = off"
    with pytest.raises(LookupError, match="no longer says"):
        mutation.mutate_text(module, "DURABLE", ("= on", "= off"))


def test_a_mutant_of_a_method_changes_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Discounted, "counts_at", Discounted.counts_at)  # put back at the end
    coupon = Coupon(Fraction(50), None, None, None, None)
    spent = Discounted((0, 0), coupon, once=True, start=NEW_YEAR, end=None, spent=True)
    assert not spent.counts_at(NEW_YEAR)
    mutation.mutate(year_oracle, "Discounted.counts_at", ("not self.spent and ", ""))
    assert spent.counts_at(NEW_YEAR)


def test_a_year_is_billed_from_what_happened_alone() -> None:
    account = Account("UTC", "USD", tax_percent=19)
    account.subscribe("solo", begins=NEW_YEAR, start=NEW_YEAR, seats=5)
    account.grant(20_00, NEW_YEAR, expires=None)
    account.bill(NEW_YEAR)
    account.change_seats(7, NEW_YEAR + timedelta(days=15, hours=12))
    account.bill(datetime(2025, 2, 1, tzinfo=UTC))
    january, february = account.bills.values()
    # 29.00 and 2 seats of 12.50 beyond three; 19 % are 10.26; credit pays 20.00
    assert january.lines == [("base advance", 29_00), ("seats advance", 25_00)]
    assert (january.tax, january.credits, january.total) == (10_26, 20_00, 44_26)
    # 4 seats beyond three, and 2 of them for half of January
    assert february.lines == [
        ("base advance", 29_00),
        ("seats advance", 50_00),
        ("seats proration", 12_50),
    ]


def test_calls_that_come_after_the_end_are_billed_at_once() -> None:
    account = Account("UTC", "USD", tax_percent=0)
    account.subscribe("solo", begins=NEW_YEAR, start=NEW_YEAR, seats=3)
    account.stop(NEW_YEAR + timedelta(days=20))
    account.bill(datetime(2025, 2, 1, tzinfo=UTC))
    account.calls |= {str(n): NEW_YEAR + timedelta(hours=n) for n in range(7)}
    account.heal(datetime(2025, 2, 10, tzinfo=UTC), over=True)
    # 7 calls, 5 of them included: 0.75
    assert account.bills[datetime(2025, 2, 10, tzinfo=UTC)].lines == [("calls correction", 75)]


def test_calls_that_come_late_are_on_the_next_bill() -> None:
    account = Account("UTC", "USD", tax_percent=0)
    account.subscribe("solo", begins=NEW_YEAR, start=NEW_YEAR, seats=3)
    account.bill(datetime(2025, 2, 1, tzinfo=UTC))
    account.calls |= {str(n): NEW_YEAR + timedelta(hours=n) for n in range(7)}
    account.heal(datetime(2025, 2, 10, tzinfo=UTC), over=False)
    account.bill(datetime(2025, 3, 1, tzinfo=UTC))
    # 7 calls, 5 of them included: 0.75
    assert account.bills[datetime(2025, 3, 1, tzinfo=UTC)].lines == [
        ("base advance", 29_00),
        ("calls correction", 75),
    ]


@pytest.mark.parametrize("mutant", oracle_mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_no_mutant_of_the_engine_has_outlived_the_line_that_it_changes(
    mutant: oracle_mutants.Broken,
) -> None:
    assert isinstance(mutant.change, partial)
    assert mutation.mutant_of(*mutant.change.args)


def test_a_stranger_tries_every_name_of_the_right_kind_and_a_few_others() -> None:
    names = ("inv_a", "inv_b", "CH-1", "sub_a", "org_a", "acme", "seat_a", "key_a")
    party = Party(Client(), Client(), "", names)
    tried = party.of_kind("invoice", Random(1))
    assert {"inv_a", "inv_b", "CH-1", "acme"} <= set(tried)
    assert len(tried) == 4 + OTHERS
    assert party.of_kind("invoice") == party.of_kind("a new word", Random(1)) == list(names)
