"""Isolation: nobody sees another organization's row, through a pool, by any door.

Threads share a few pooled connections and look at each other's rows in every way they can, and a
stranger walks every address of portal and API. The same against a system with one guard missing
must find something.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from django.db import connection, connections

from apps.core import rls
from apps.subscriptions import selectors as subscriptions
from tests.prove import aside, ground, strangers, tenancy
from tests.prove.isolation_mutants import MUTANTS, Planted
from tests.prove.mutation import mutate
from tests.prove.probes import PROBES, Prober
from tests.prove.tenancy import Person, Places
from tests.prove.verdict import Findings, Verdict

WIDE_DOOR = "the portal opens the staff's scope and names no organization"


@dataclass(frozen=True, slots=True)
class Profile:
    """How hard to look."""

    probes: int
    mutant_probes: int = 600
    organizations: int = 8
    threads: int = 8
    connections: int = 5
    every_name: bool = False  # of every kind in every address, or the right ones and a few others

    def few(self, seed: int) -> random.Random | None:
        """Return what draws the few others."""
        return None if self.every_name else random.Random(seed)


PROFILES = {
    "push": Profile(probes=21_000),
    "long": Profile(probes=1_000_000, organizations=30, every_name=True),
}


@dataclass(slots=True)
class Look:
    """What the probes of one run saw."""

    probes: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, probe: str, rows: int) -> None:
        """Add what one look found."""
        with self.lock:
            self.probes += 1
            self.seen[probe] += rows

    def fail(self, probe: str, error: Exception) -> None:
        """Add a probe that could not be made."""
        with self.lock:
            self.probes += 1
            self.failures[f"{probe}: {type(error).__name__} {error}"[:200]] += 1

    def faults(self) -> list[str]:
        """Return everything that is wrong."""
        leaks = [f"{probe} saw {rows} foreign rows" for probe, rows in self.seen.items() if rows]
        return leaks + [f"{text} ({times} times)" for text, times in self.failures.items()]


def prove(profile_name: str, seed: int) -> Verdict:
    """Run the probes, the mutants and the stranger's walk."""
    profile = PROFILES[profile_name]
    verdict = Verdict("isolation", profile_name)
    original = ground.here()
    with ground.copy_of(original, f"{original}_world"), aside.directory() as directory:
        places, people = tenancy.build(profile.organizations, seed)
        verdict.faults += [f"{table} has no foreign rows to see" for table in places.unprobed()]
        verdict.say(f"{len(places.rows)} tenant tables have rows of {len(places.organizations)}")
        for mutant in MUTANTS:
            leaks = _with_mutant(mutant, places, profile, seed, directory)
            verdict.caught[mutant.name] = bool(leaks)
            verdict.say(f"mutant '{mutant.name}': {leaks[0] if leaks else 'NOT CAUGHT'}")
        met = aside.at_once(_looks(places, people, profile, seed), directory)
    wide = met.pop(WIDE_DOOR)
    verdict.caught[WIDE_DOOR] = bool(wide.faults)
    verdict.say(f"mutant '{WIDE_DOOR}': {wide.faults[0] if wide.faults else 'NOT CAUGHT'}")
    for what, found in met.items():
        verdict.rounds += found.probes
        verdict.faults += found.faults
        verdict.say(f"{found.probes} {what}, {len(found.faults)} faults")
    return verdict


def _looks(
    places: Places, people: Mapping[int, Person], profile: Profile, seed: int
) -> dict[str, Callable[[], Findings]]:
    foreign, own = (
        partial(step, few=profile.few(seed))
        for step in (strangers.foreign_ids, strangers.own_pages)
    )
    return {
        "probes": partial(_probe, places, profile, profile.probes, seed),
        "requests with foreign ids": partial(strangers.walk, people, foreign),
        "requests for its own": partial(strangers.walk, people, own),
        WIDE_DOOR: partial(_wide_door, people),
    }


def _wide_door(people: Mapping[int, Person]) -> Findings:
    """Walk a part of the portal when both of its guards are gone: the scope and the filter."""
    mutate(subscriptions, "get", ("rows = rows.filter(organization_id=organization_id)", "pass"))
    vars(rls)["tenant_scope"] = lambda _: rls.ops_scope("prove: a mutant")
    return strangers.walk(
        people, strangers.foreign_ids, under="portal/plan/<str:subscription>/cancel/"
    )


def _with_mutant(
    mutant: Planted, places: Places, profile: Profile, seed: int, directory: Path
) -> list[str]:
    def probe() -> Findings:
        mutant.change()
        return _probe(places, profile, profile.mutant_probes, seed)

    with ground.copy_of(ground.here(), f"{ground.here()}_mutant"):
        try:
            ground.spoil(*mutant.spoils)
            found = aside.start(probe, directory / "mutant", ground.here()).findings()
        finally:
            ground.spoil(*mutant.mends)
    return [fault for fault in found.faults if "foreign rows" in fault]


def _probe(places: Places, profile: Profile, probes: int, seed: int) -> Findings:
    settings = connections["default"].settings_dict
    settings.update(CONN_MAX_AGE=0, CONN_HEALTH_CHECKS=False)
    settings["OPTIONS"]["pool"] = {"min_size": 2, "max_size": profile.connections}
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # failed transactions are planned
    look = Look()
    threads = [
        threading.Thread(target=_keep_looking, args=(look, places, probes, seed * 100 + number))
        for number in range(profile.threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wrapper: Any = connections["default"]
    wrapper.close_pool()
    return Findings(look.probes, look.faults())


def _keep_looking(look: Look, places: Places, probes: int, seed: int) -> None:
    prober = Prober(places, random.Random(seed))
    while look.probes < probes:
        prober.begin()
        probe = prober.chance.choices([*PROBES], [*PROBES.values()])[0]
        try:
            for rows in probe(prober):
                look.note(probe.__name__, rows)
        except Exception as error:  # noqa: BLE001 - a probe that cannot be made is a fault
            look.fail(probe.__name__, error)
            connection.close()
        if prober.chance.random() < 0.4:
            connection.close()  # back to the pool
    connection.close()
