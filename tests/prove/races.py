"""Races with real processes: of those who want the last one, as many win as there are left.

Every race is run many times. Its racers are processes with a connection of their own; they wait at
a gate until all are there, and start together. Then it is run without its guard and must be lost.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from django.db import connection

from apps.core.errors import DomainError
from tests.prove import ground, processes
from tests.prove import races_world as world
from tests.prove.races_mutants import MUTANTS, Unguarded
from tests.prove.races_run import RACES, Act, Start
from tests.prove.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Profile:
    """How often each race is run; one without its guard at most so often."""

    rounds: int
    mutant_rounds: int = 20


PROFILES = {"push": Profile(rounds=6), "long": Profile(rounds=300)}


def prove(profile_name: str, seed: int) -> Verdict:
    """Run the harness and its mutants. Nothing is drawn: the processes are the chance."""
    profile = PROFILES[profile_name]
    verdict = Verdict("races", profile_name)
    original = ground.here()
    with ground.copy_of(original, f"{original}_races"):
        world.load()
        for name, prepare in RACES.items():
            lost = [fault for _ in range(profile.rounds) for fault in run(prepare)]
            verdict.faults += [f"{name}: {fault}" for fault in lost]
            verdict.rounds += profile.rounds
            verdict.say(f"{name}: {profile.rounds} rounds, {len(lost)} faults")
    for mutant in MUTANTS:
        found = _fault_of(mutant, original, profile.mutant_rounds)
        verdict.caught[mutant.name] = found is not None
        verdict.say(f"mutant '{mutant.name}': {found or 'NOT CAUGHT'}")
    return verdict


def run(prepare: Callable[[], Start], mutant: Callable[[], None] = lambda: None) -> Iterator[str]:
    """Run a race once; yield what came out wrong."""
    start = prepare()
    yield from start.faults(at_once(start.acts, mutant))


def at_once(acts: Sequence[Act], mutant: Callable[[], None]) -> list[str]:
    """Do all of it in processes that start together; return their words: won, refused, or why."""
    with tempfile.TemporaryDirectory(prefix="prove-") as directory:
        log = processes.Log(str(Path(directory) / "outcomes"))
        ready = processes.Board(len(acts))
        gate, opened = os.pipe()

        def racer(act: Act, place: int) -> None:
            os.close(opened)
            logging.disable()  # those who lose say so in one word
            mutant()
            connection.ensure_connection()
            ready.put(place, 1)
            os.read(gate, 1)  # ends when the last one lets go of the other side
            log.write(_outcome(act))

        racers = [processes.start(partial(racer, act, n)) for n, act in enumerate(acts)]
        while not all(ready.get(n) or one.ended() for n, one in enumerate(racers)):
            time.sleep(0.001)
        os.close(opened)
        for one in racers:
            one.wait()
        os.close(gate)
        return log.read()


def _outcome(act: Act) -> str:
    try:
        act()
    except DomainError:
        return "refused"
    except Exception as error:  # noqa: BLE001 - whatever it was is told to the parent
        return f"{type(error).__name__}: {error}".replace("\n", " ")
    return "won"


def _fault_of(mutant: Unguarded, original: str, rounds: int) -> str | None:
    with ground.copy_of(original, f"{original}_mutant"):
        world.load()
        ground.spoil(*mutant.spoils)
        prepare = RACES[mutant.race]
        return next((f for _ in range(rounds) for f in run(prepare, mutant.change)), None)
