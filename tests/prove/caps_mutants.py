"""Caps with a guard taken away; each must be passed, or leave something that is not free."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from apps.entitlements import selectors
from apps.entitlements.models import Reservation
from apps.entitlements.selectors import ReservationFacts
from apps.entitlements.services import reserving, turns
from tests.prove.mutation import mutate


@dataclass(frozen=True, slots=True)
class Weakened:
    """The guards that a round is played without, in the code and in the database.

    What `is_race` lets two pass at once; it is played for what they get, not for what they return.
    """

    name: str
    change: Callable[[], None]
    is_race: bool = False
    by_money: bool = False
    spoils: tuple[str, ...] = ()


def _linger(seconds: float) -> None:
    """Wait between the look at what is left and the write, so that a race is run on any machine."""
    stored = reserving._stored

    def later(row: Reservation) -> ReservationFacts:
        time.sleep(seconds)
        return stored(row)

    vars(reserving)["_stored"] = later


def _nobody_waits() -> None:
    _linger(0.3)
    mutate(
        turns,
        "take_turn",
        ("mine.select_for_update(no_key=True).first()", "mine.first()"),
        ("mine.select_for_update(no_key=True).get()", "mine.get()"),
    )


def _looks_first() -> None:
    _linger(0.05)
    mutate(
        reserving,
        "reserve",
        ("    _take_turns(found, held)\n", "    early = selectors.judge(found, held, amount)\n"),
        (
            "    decision = selectors.judge(found, held, amount)\n",
            "    _take_turns(found, held)\n    decision = early\n",
        ),
    )


def _never_free() -> None:
    mutate(selectors, "_reserved", ("        expires_at__gt=found.at,\n", ""))
    mutate(reserving, "_run_out", ("status=Status.OPEN, expires_at__lte=at", "pk=None"))


def _whatever_is_said() -> None:
    mutate(
        reserving,
        "_check_excess",
        ("row.on_limit == Behaviour.BLOCK", "False"),
        ("not decision.allowed", "False"),
    )


def _money_waits_for_nobody() -> None:
    _linger(0.1)
    mutate(selectors, "hard_money", ("held.rules.prepaid or any(", "False and any("))


HOLDS_TO_RESERVED = """ALTER TABLE entitlements_reservation
    DROP CONSTRAINT a_hard_limit_commits_what_was_reserved"""
MUTANTS = (
    Weakened("nobody waits for a turn", _nobody_waits, is_race=True),
    Weakened("what is used is read before the turn is taken", _looks_first, is_race=True),
    Weakened("what has run out is not free", _never_free),
    Weakened(
        "a commit takes whatever is said, and the database too",
        _whatever_is_said,
        spoils=(HOLDS_TO_RESERVED,),
    ),
    Weakened(
        "features wait for themselves alone under a spend cap",
        _money_waits_for_nobody,
        is_race=True,
        by_money=True,
    ),
)
