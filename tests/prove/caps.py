"""Hard caps with real processes: of all who reserve at once, never one gets too many.

Sixteen processes a round reserve random amounts of the same feature, commit less or as much,
release, let it expire, or are killed in the middle of it. After every round the database is asked,
as superuser, whether used and set aside together are within the cap, and whether the events are
what was committed. Every fourth round does so with a spend cap over two features. Then each guard
is taken away, and the harness has to notice.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from django.db import connection

from apps.core.errors import DomainError
from tests.prove import caps_world as world
from tests.prove import ground, processes
from tests.prove.caps_mutants import MUTANTS, Weakened
from tests.prove.verdict import Verdict

PROCESSES = 16
MOMENTS = 2
"""Instants a round: reservations last less than from one to the next, so some run out."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How many rounds, and how many at most until a mutant has to be caught."""

    rounds: int
    mutant_rounds: int = 12


PROFILES = {"push": Profile(rounds=20), "long": Profile(rounds=400)}


def prove(profile_name: str, seed: int) -> Verdict:
    """Run the harness and its mutants; `seed` draws the amounts and who is killed when."""
    profile = PROFILES[profile_name]
    verdict = Verdict("caps", profile_name)
    original, chance = ground.here(), random.Random(seed)
    with ground.copy_of(original, f"{original}_caps"):
        world.load()
        killed = 0
        for number in range(profile.rounds):
            story = world.Story(by_money=number % 4 == 3)
            killed += play(story, chance)
            verdict.faults += [f"round {number}: {fault}" for fault in _found(story)]
            verdict.rounds += 1
        verdict.say(f"{profile.rounds} rounds, {killed} killed, {len(verdict.faults)} faults")
        verdict.say(f"{world.tally()}")
    for mutant in MUTANTS:
        found = _fault_of(mutant, original, profile.mutant_rounds, chance)
        verdict.caught[mutant.name] = found is not None
        verdict.say(f"mutant '{mutant.name}': {found or 'NOT CAUGHT'}")
    return verdict


def play(
    story: world.Story, chance: random.Random, mutant: Callable[[], None] = lambda: None
) -> int:
    """Let everybody at it, instant after instant; return how many were killed."""
    killed = 0
    for moment in range(MOMENTS):
        acts = [story.act(chance, moment) for _ in range(PROCESSES)]
        killed += _at_once(acts, chance, mutant)
    return killed


def _at_once(acts: list[world.Act], chance: random.Random, mutant: Callable[[], None]) -> int:
    """Start all behind a gate, open it, and kill some on their way; return how many."""
    ready = processes.Board(len(acts))
    gate, opened = os.pipe()

    def racer(act: world.Act, place: int) -> None:
        os.close(opened)
        logging.disable()
        mutant()
        connection.ensure_connection()
        ready.put(place, 1)
        os.read(gate, 1)  # ends when the last one lets go of the other side
        with contextlib.suppress(DomainError):  # refused: that is what caps are for
            act()

    racers = [processes.start(partial(racer, act, n)) for n, act in enumerate(acts)]
    while not all(ready.get(n) or one.ended() for n, one in enumerate(racers)):
        time.sleep(0.001)
    os.close(opened)
    time.sleep(chance.uniform(0, 0.15))
    killed = sum(one.kill() for one in chance.sample(racers, 3))
    statuses = [one.wait() for one in racers]
    os.close(gate)
    if processes.MISTAKE in statuses:
        raise RuntimeError("a racer failed; its traceback stands above")
    return killed


def _fault_of(mutant: Weakened, original: str, rounds: int, chance: random.Random) -> str | None:
    with ground.copy_of(original, f"{original}_mutant"):
        world.load()
        return next(_faults(mutant, rounds, chance), None)


def _faults(mutant: Weakened, rounds: int, chance: random.Random) -> Iterator[str]:
    ground.spoil(*mutant.spoils)
    for _ in range(rounds):
        story = world.Story(by_money=mutant.by_money, keeps=mutant.is_race)
        play(story, chance, mutant.change)
        yield from _found(story, mutant.change)


def _found(story: world.Story, mutant: Callable[[], None] = lambda: None) -> list[str]:
    """Return what is wrong now, and then what can be had, which settles what has run out.

    The services are asked in a process of their own, for a mutant.
    """
    wrong = [*story.wrong()]
    with tempfile.TemporaryDirectory(prefix="prove-") as directory:
        log = processes.Log(str(Path(directory) / "faults"))

        def work() -> None:
            mutant()
            for fault in story.not_free():
                log.write(fault)

        if processes.start(work).wait() != 0:
            raise RuntimeError("the services cannot be asked; a traceback stands above")
        return [*wrong, *log.read()]
