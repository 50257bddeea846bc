"""The matrix: everybody at every operation of the API, against the table that people reviewed.

Whoever may come (nobody, keys that are over, keys with each scope missing and with nothing more
than needed, keys of the platform and of others, people of each role by each kind of token, who was
removed or switched off) asks at every operation of the OpenAPI document for what is their own,
somebody else's, nobody's and no name at all. `docs/access.md` says who is let in. Then the doors
are opened, one by one, in a process each, and the harness has to notice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.api.access import declared
from tests.api.client import operations
from tests.prove import aside, ground
from tests.prove import matrix_world as world
from tests.prove.matrix_checks import inspect
from tests.prove.matrix_mutants import MUTANTS, Opened
from tests.prove.matrix_world import Stage
from tests.prove.verdict import Findings, Verdict


@dataclass(frozen=True, slots=True)
class Profile:
    """How closely to look, and by how many at once."""

    thorough: bool
    workers: int = 2


PROFILES = {"push": Profile(thorough=False), "long": Profile(thorough=True)}


def prove(profile_name: str, seed: int) -> Verdict:
    """Run the harness and its mutants; `seed` draws who asks where, unless everybody does."""
    profile = PROFILES[profile_name]
    verdict = Verdict("matrix", profile_name)
    logging.disable()  # every refusal is a warning
    original = ground.here()
    with ground.copy_of(original, f"{original}_matrix"), aside.directory() as directory:
        stage = world.build(declared().values())
        verdict.faults += undeclared()
        inspect(stage, [declared()["get_me"]], only="nobody")  # all is loaded before anybody forks
        verdict.say(f"{len(operations())} operations, {len(stage.everybody)} callers beside keys")
        for found in aside.at_once(_shifts(stage, profile, seed), directory).values():
            verdict.rounds += found.probes
            verdict.faults += found.faults
        verdict.say(f"{verdict.rounds} requests, {len(verdict.faults)} faults")
        for mutant, faults in _mutants(stage, profile, directory):
            verdict.caught[mutant.name] = bool(faults)
            verdict.say(f"mutant '{mutant.name}': {faults[0] if faults else 'NOT CAUGHT'}")
    return verdict


def undeclared() -> list[str]:
    """Return the operations that nobody has said of who may call them, and rows of none."""
    served, told = operations().keys(), declared().keys()
    return [
        *(f"{name} has no row in docs/access.md" for name in sorted(served - told)),
        *(f"docs/access.md has a row for {name}, which is none" for name in sorted(told - served)),
    ]


def _shifts(stage: Stage, profile: Profile, seed: int) -> Mapping[str, partial[Findings]]:
    """Share the operations out, so that each worker has some of every kind."""
    rows = list(declared().values())
    return {
        f"shift {number}": partial(
            inspect, stage, rows[number :: profile.workers], turn=None if profile.thorough else seed
        )
        for number in range(profile.workers)
    }


def _mutants(stage: Stage, profile: Profile, directory: Path) -> Iterator[tuple[Opened, list[str]]]:
    """Yield each mutant with the faults it makes; all that they write is rolled back."""
    for first in range(0, len(MUTANTS), profile.workers):
        some = MUTANTS[first : first + profile.workers]
        started = [
            aside.start(partial(_open, mutant, stage), directory / f"{number}", ground.here())
            for number, mutant in enumerate(some)
        ]
        for mutant, one in zip(some, started, strict=True):
            yield mutant, one.findings().faults


def _open(mutant: Opened, stage: Stage) -> Findings:
    rows = [declared()[name] for name in mutant.operations]
    mutant.change()
    found = inspect(stage, rows, only=mutant.only)
    return Findings(found.probes, found.faults + undeclared())
