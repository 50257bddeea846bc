"""Seats with real processes: of all who grab at once, never one gets a seat too many.

Sixteen processes a round grab seats for people and addresses, give them up, and ask again for those
they have, while others buy and sell seats and some are killed in the middle of it. After every
round the database is asked, as superuser, whether anybody sits on a seat that is not bought or on
two at once, and whether the counter is the count; then it is told, past all services, to seat one
more, to sell one below, and to seat somebody twice. Then each guard is taken away, and the harness
has to notice.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from django.db import connection

from tests.prove import ground, processes
from tests.prove import seats_world as world
from tests.prove.seats_mutants import MUTANTS, Weakened
from tests.prove.verdict import Verdict

PROCESSES = 16
DEALERS = 2
"""How many of the processes buy and sell instead of grabbing."""
KILLED = 2


@dataclass(frozen=True, slots=True)
class Profile:
    """How many rounds of how many grabs a process, and at most until a mutant has to be caught."""

    rounds: int
    grabs: int
    mutant_rounds: int = 6
    mutant_grabs: int = 8


PROFILES = {"push": Profile(rounds=3, grabs=12), "long": Profile(rounds=20, grabs=600)}


def prove(profile_name: str, seed: int) -> Verdict:
    """Run the harness and its mutants; `seed` draws who grabs what and who is killed when."""
    profile = PROFILES[profile_name]
    verdict = Verdict("seats", profile_name)
    original, chance = ground.here(), random.Random(seed)
    with ground.copy_of(original, f"{original}_seats"):
        world.load()
        for number in range(profile.rounds):
            story = world.Story()
            play(story, chance, profile.grabs)
            verdict.faults += [f"round {number}: {fault}" for fault in story.wrong()]
            verdict.rounds += 1
        verdict.say(f"{profile.rounds} rounds of {PROCESSES} x {profile.grabs} grabs")
        verdict.say(world.tally())
    for mutant in MUTANTS:
        found = _fault_of(mutant, original, profile, chance)
        verdict.caught[mutant.name] = found is not None
        verdict.say(f"mutant '{mutant.name}': {found or 'NOT CAUGHT'}")
    return verdict


def play(
    story: world.Story,
    chance: random.Random,
    grabs: int,
    mutant: Callable[[], None] = lambda: None,
) -> None:
    """Start all behind a gate, open it, and kill some on their way."""
    ready = processes.Board(PROCESSES)
    gate, opened = os.pipe()

    def racer(place: int, seed: int) -> None:
        os.close(opened)
        logging.disable()
        mutant()
        connection.ensure_connection()
        ready.put(place, 1)
        os.read(gate, 1)  # ends when the last one lets go of the other side
        mine = random.Random(seed)
        for _ in range(grabs):
            story.deal(mine) if place < DEALERS else story.grab(mine)

    seeds = [chance.randrange(2**31) for _ in range(PROCESSES)]
    racers = [processes.start(partial(racer, n, seed)) for n, seed in enumerate(seeds)]
    while not all(ready.get(n) or one.ended() for n, one in enumerate(racers)):
        time.sleep(0.001)
    os.close(opened)
    time.sleep(chance.uniform(0, 0.3))
    for one in chance.sample(racers, KILLED):
        one.kill()
    statuses = [one.wait() for one in racers]
    os.close(gate)
    if processes.MISTAKE in statuses:
        raise RuntimeError("a racer failed; its traceback stands above")


def _fault_of(
    mutant: Weakened, original: str, profile: Profile, chance: random.Random
) -> str | None:
    with ground.copy_of(original, f"{original}_mutant"):
        world.load()
        ground.spoil(*mutant.spoils)
        for _ in range(profile.mutant_rounds):
            story = world.Story()
            with contextlib.suppress(RuntimeError):  # a racer that broke is no seat too many
                play(story, chance, profile.mutant_grabs, mutant.change)
            if found := next(iter(story.wrong()), None):
                return found
    return None
