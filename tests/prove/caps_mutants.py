"""Caps with a guard taken away; each must be passed, or leave something that is not free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from apps.entitlements import selectors
from apps.entitlements.services import reserving, turns
from tests.prove.mutation import mutate


@dataclass(frozen=True, slots=True)
class Weakened:
    """The guards that a round is played without, in the code and in the database."""

    name: str
    change: Callable[[], None]
    by_money: bool = False
    spoils: tuple[str, ...] = ()


def _nobody_waits() -> None:
    mutate(turns, "take_turn", ("mine.select_for_update(no_key=True).first()", "mine.first()"))


def _looks_first() -> None:
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
    mutate(reserving, "_check_excess", ("row.on_limit == Behaviour.BLOCK", "False"))
    mutate(reserving, "_check_excess", ("not decision.allowed", "False"))


def _money_waits_for_nobody() -> None:
    mutate(selectors, "hard_money", ("held.rules.prepaid or any(", "False and any("))


HOLDS_TO_RESERVED = """ALTER TABLE entitlements_reservation
    DROP CONSTRAINT a_hard_limit_commits_what_was_reserved"""
MUTANTS = (
    Weakened("nobody waits for a turn", _nobody_waits),
    Weakened("what is used is read before the turn is taken", _looks_first),
    Weakened("what has run out is not free", _never_free),
    Weakened(
        "a commit takes whatever is said, and the database too",
        _whatever_is_said,
        spoils=(HOLDS_TO_RESERVED,),
    ),
    Weakened("features wait for themselves alone under a spend cap", _money_waits_for_nobody, True),
)
