"""Webhooks with real processes: shuffled, doubled, delayed, lost; afterwards nothing is stale.

Doors take deliveries in: each change of an object is told late and in no order, three in ten twice
and by another door, one in ten never. Workers handle what came, meanwhile, and some are killed in
the middle of it; answers of the provider take their time, a few longer than a lease lasts. When all
is quiet, the list of events is read, as every hour. Then every object must be believed as it is,
its effect have happened once, and every event be stored once. Then each guard is taken away, and
the harness has to notice.
"""

from __future__ import annotations

import itertools
import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from django.test import Client

from apps.core import clock
from apps.payments import services
from apps.payments.services import inbox
from tests.prove import ground, processes
from tests.prove import webhooks_world as world
from tests.prove.verdict import Verdict
from tests.prove.webhooks_mutants import MUTANTS, Weakened

DOORS, WORKERS, KILLS = 3, 4, 6
DOUBLED, DROPPED = 0.3, 0.1
SLOW = 12  # objects whose last change but one is read slowly
ADDRESS = "/api/v1/webhooks/stripe"
LEASE = timedelta(seconds=1)
QUIET_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Profile:
    """How many objects change, five times each; in all and until a mutant has to be caught."""

    objects: int
    mutant_objects: int = 48


PROFILES = {"push": Profile(objects=350), "long": Profile(objects=8_600)}


def prove(profile_name: str, seed: int) -> Verdict:
    """Run the harness and its mutants; `seed` draws what is lost, doubled and when."""
    profile = PROFILES[profile_name]
    verdict = Verdict("webhooks", profile_name)
    original = ground.here()
    with ground.copy_of(original, f"{original}_webhooks"):
        played = play(profile.objects, seed)
        verdict.faults += [*world.wrong()]
        verdict.rounds = played.deliveries
        verdict.say(f"{played.told()}, {len(verdict.faults)} faults")
    for mutant in MUTANTS:
        fault = _fault_of(mutant, original, profile.mutant_objects, seed)
        verdict.caught[mutant.name] = fault is not None
        verdict.say(f"mutant '{mutant.name}': {fault or 'NOT CAUGHT'}")
    return verdict


def _fault_of(mutant: Weakened, original: str, many: int, seed: int) -> str | None:
    with ground.copy_of(original, f"{original}_mutant"):
        ground.spoil(*mutant.spoils)
        play(many, seed, mutant.change)
        return next(world.wrong(), None)


@dataclass(frozen=True, slots=True)
class Played:
    """What went on."""

    deliveries: int
    lost: int
    killed: int
    found: int
    seconds: float

    def told(self) -> str:
        """Return it in words."""
        return (
            f"{self.deliveries} deliveries in {self.seconds:.1f} s, {self.lost} events lost,"
            f" {self.found} found in the list, {self.killed} workers killed"
        )


def play(many: int, seed: int, mutant: Callable[[], None] = lambda: None) -> Played:
    """Let objects change, deliver, handle, and at last read what was lost."""
    ground.spoil(world.SCHEMA)
    started, plan = time.monotonic(), _Plan(many, seed)
    stop = processes.Board(1)
    doors = [processes.start(partial(_door, plan, number, mutant)) for number in range(DOORS)]
    workers = [_worker(stop, plan, number, mutant) for number in range(WORKERS)]
    killed = _kill_some(doors, workers, partial(_worker, stop, plan, mutant=mutant), seed)
    _all_well(doors)
    _until_quiet()
    before = _stored()
    _all_well([processes.start(partial(_sweep, mutant))])
    found = _stored() - before
    _until_quiet()
    stop.put(0, 1)
    _all_well(workers)
    return Played(plan.deliveries, plan.lost, killed, found, time.monotonic() - started)


class _Plan:
    """Who delivers what: the same for every process, drawn from the seed."""

    def __init__(self, many: int, seed: int) -> None:
        chance = random.Random(seed)
        self.seed = seed
        self.keys = [f"prod_{number:05}" for number in range(many)]
        some = self.keys[:: max(1, many // SLOW)]
        self.slow = dict(zip(some, itertools.cycle(world.STALLS), strict=False))
        events = [(key, step) for key in self.keys for step in range(1, world.CHANGES + 1)]
        self.dropped = {one for one in events if self._may_be_lost(one, chance)}
        kept = [one for one in events if one not in self.dropped]
        self.doubled = {one for one in kept if chance.random() < DOUBLED}
        self.lost, self.deliveries = len(self.dropped), len(kept) + len(self.doubled)

    def _may_be_lost(self, one: tuple[str, int], chance: random.Random) -> bool:
        is_awaited = one[0] in self.slow and one[1] >= world.LAST_BUT_ONE
        return chance.random() < DROPPED and not is_awaited

    def mine(self, door: int) -> list[str]:
        """Return the objects whose changes this door tells first."""
        return self.keys[door::DOORS]

    def again(self, door: int) -> list[tuple[str, int]]:
        """Return the events of the door before that this one delivers too."""
        theirs = set(self.mine((door - 1) % DOORS))
        return sorted(one for one in self.doubled if one[0] in theirs)


def _door(plan: _Plan, number: int, mutant: Callable[[], None]) -> None:
    """Change objects, and deliver what they tell late and in no order."""
    logging.disable()
    mutant()
    chance, client = random.Random(plan.seed + number), Client()
    steps = dict.fromkeys(plan.mine(number), 0)
    waiting = [*plan.again(number)]
    with world.speaking(plan.seed + number) as there:
        while steps or waiting:
            if steps and (len(waiting) < 30 or chance.random() < 0.5):
                key = chance.choice([*steps])
                steps[key] += 1
                there.change(key, steps[key])
                if key in plan.slow and steps[key] == world.LAST_BUT_ONE:
                    _change_while_it_is_read(client, there, key)
                    steps[key] += 1
                elif (key, steps[key]) not in plan.dropped:
                    waiting.append((key, steps[key]))
                if steps[key] == world.CHANGES:
                    del steps[key]
            else:
                one = waiting.pop(chance.randrange(len(waiting)))
                if not _delivered(client, there, *one):
                    waiting.append(one)  # it has not happened yet


def _change_while_it_is_read(client: Client, there: world.There, key: str) -> None:
    """Tell of the last change but one, and change the object once more before it is handled."""
    _delivered(client, there, key, world.LAST_BUT_ONE)
    give_up = time.monotonic() + 5
    while not there.is_read(key) and time.monotonic() < give_up:
        time.sleep(0.01)
    there.change(key, world.CHANGES)
    _delivered(client, there, key, world.CHANGES)


def _delivered(client: Client, there: world.There, key: str, version: int) -> bool:
    row = there.database.execute(
        "SELECT created FROM there.event WHERE id = %s", (f"evt_{key}_{version}",)
    ).fetchone()
    if row is None:
        return False
    body = json.dumps(world.event(key, version, row[0])).encode()
    headers = {"Stripe-Signature": world.signed(body, clock.now())}
    answer = client.post(ADDRESS, body, content_type="application/json", headers=headers)
    if answer.status_code != 200:
        raise RuntimeError(f"a delivery was answered with {answer.status_code}")
    return True


def _worker(
    stop: processes.Board, plan: _Plan, number: int, mutant: Callable[[], None]
) -> processes.Worker:
    def work() -> None:
        logging.disable()
        inbox.LEASE, inbox.NEEDED = LEASE, LEASE / 10
        inbox.PAUSES = (timedelta(milliseconds=50),) * 7
        mutant()
        with world.speaking(plan.seed * 31 + number, plan.slow):
            while not stop.get(0):
                if not services.handle_events(limit=inbox.BATCH):
                    time.sleep(0.02)

    return processes.start(work)


def _kill_some(
    doors: list[processes.Worker],
    workers: list[processes.Worker],
    another: Callable[[int], processes.Worker],
    seed: int,
) -> int:
    """Kill workers while the doors are open, and start others in their place."""
    chance, killed = random.Random(seed + 7), 0
    while not all(door.ended() for door in doors):
        time.sleep(chance.uniform(0.2, 0.6))
        if killed < KILLS:
            place = chance.randrange(len(workers))
            killed += workers[place].kill()
            workers[place] = another(100 + killed)
    return killed


def _sweep(mutant: Callable[[], None]) -> None:
    logging.disable()
    mutant()
    with world.speaking(0):
        services.backfill_events(since=clock.now() - timedelta(hours=2))


def _until_quiet() -> None:
    """Wait until nothing is pending and nobody has anything, or for long enough."""
    give_up = time.monotonic() + QUIET_SECONDS
    busy = "SELECT FROM payments_providerevent WHERE state = 'pending' LIMIT 1"
    while ground.ask(busy) and time.monotonic() < give_up:
        time.sleep(0.1)


def _stored() -> int:
    return int(ground.ask("SELECT count(*) FROM payments_providerevent")[0][0])


def _all_well(started: list[processes.Worker]) -> None:
    if any(one.wait() != 0 for one in started):
        raise RuntimeError("a process failed; its traceback stands above")
