"""The engine and the rooms against oracles that were written apart from them, on Fractions.

Random examples of every rule are answered twice and compared. Whole years of random changes, usage,
payments and crashes are lived in a database, and every invoice is held against what an oracle makes
of the same events. Then the engine is broken in one line after another, and the same examples must
show it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.prove import ground, processes, year
from tests.prove.oracle_examples import SUBJECTS
from tests.prove.oracle_mutants import MUTANTS, Broken
from tests.prove.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Profile:
    """How many examples of each subject, how many years with how many customers.

    A mutant is given up after so many examples of its own subject.
    """

    examples: int
    years: int
    customers: int
    mutant_examples: int = 4_000


PROFILES = {
    "push": Profile(examples=300, years=1, customers=2),
    "long": Profile(examples=6_000, years=20, customers=4),
}


def prove(profile_name: str, seed: int) -> Verdict:
    """Run the harness and its mutants."""
    profile = PROFILES[profile_name]
    verdict = Verdict("oracle", profile_name)
    verdict.faults = list(differences(seed, profile.examples, SUBJECTS))
    verdict.rounds = profile.examples * len(SUBJECTS)
    verdict.say(f"{verdict.rounds} examples, {len(verdict.faults)} differences")
    for number in range(profile.years):
        outcome = _year(seed + number, profile.customers)
        verdict.faults += outcome.differences
        verdict.rounds += outcome.invoices + outcome.kills
        verdict.say(f"year {seed + number}: {outcome.said()}")
    for mutant in MUTANTS:
        found = _difference_of(mutant, seed, profile.mutant_examples)
        verdict.caught[mutant.name] = found is not None
        verdict.say(f"mutant '{mutant.name}': {(found or 'NOT CAUGHT')[:160]}")
    return verdict


def _year(seed: int, customers: int) -> year.Outcome:
    original = ground.here()
    with ground.copy_of(original, f"{original}_year"):
        return year.live(seed, customers)


def differences(seed: int, examples: int, subjects: Collection[str]) -> Iterator[str]:
    """Yield a sentence for every example on which engine and oracle disagree.

    Each example has a seed of its own, which the sentence names.
    """
    for number in range(examples):
        for subject in subjects:
            own_seed = f"{seed}/{subject}/{number}"
            if difference := SUBJECTS[subject](Random(own_seed)).difference():
                yield f"{own_seed}: {difference}"


def _difference_of(mutant: Broken, seed: int, examples: int) -> str | None:
    """Return the first difference that a mutant makes, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="prove-") as directory:
        log = processes.Log(str(Path(directory) / "differences"))

        def work() -> None:
            mutant.change()
            for difference in differences(seed, examples, [mutant.subject]):
                log.write(difference.replace("\n", " "))
                return

        if processes.start(work).wait() != 0:
            raise RuntimeError(f"the mutant '{mutant.name}' cannot be made; see its traceback")
        return next(iter(log.read()), None)
