"""The tables of docs/anomalies.md are what the traces give, and within bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from apps.engine.anomalies import Basis
from tests.watch import traces

DOCUMENT = Path("docs/anomalies.md")
ALARM_SEEDS, FOUND_SEEDS = 3, 40


def table(name: str) -> list[str]:
    """Return the rows of a table of the document, without its heading."""
    _, between, _ = DOCUMENT.read_text().split(f"<!-- {name} -->")
    return between.strip().splitlines()[2:]


def test_the_table_of_false_alarms_is_what_the_traces_give() -> None:
    assert table("alarms") == list(traces.rows_of_alarms(ALARM_SEEDS))


def test_the_table_of_what_is_found_is_what_the_traces_give() -> None:
    assert table("found") == list(traces.rows_of_found(FOUND_SEEDS))


@pytest.mark.parametrize("basis", list(Basis))
def test_there_is_a_false_alarm_in_five_weeks_at_most(basis: Basis) -> None:
    cells = [row.split("|")[2 + list(Basis).index(basis)].split() for row in table("alarms")]
    alarms = sum(int(found) for found, _, _ in cells)
    assert 5 * alarms <= sum(int(weeks) for _, _, weeks in cells)


def test_what_is_tenfold_is_found_whatever_the_noise() -> None:
    factors = [f"{a}/{b}" for a, b in traces.FACTORS]
    column = 2 + factors.index("10/1")
    found = [int(row.split("|")[column].removesuffix(" % ").strip()) for row in table("found")]
    assert min(found) >= 50
    assert all(percent >= 95 for percent in found[:3])  # the conversations
