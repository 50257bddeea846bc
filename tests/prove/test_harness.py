"""The harnesses' own instruments: the oracle by hand, and mutants that cannot go stale."""

from __future__ import annotations

import types
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.prove import billing_oracle as oracle
from tests.prove import mutation
from tests.prove.billing_oracle import Agreement, Reading

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
