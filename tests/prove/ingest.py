"""Usage over HTTP under kill -9 and power cuts: what was acknowledged is counted, once.

Clients send events to the web server that `up` runs while a worker rolls them up. The processes
that serve, the whole web server and the worker are killed at random moments, and the database is
crashed under all of them. What the clients were told is kept outside and compared at the end with
every event and every hour.
"""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from django.test import override_settings

from apps.core import clock
from tests.prove import ground, ingest_world, processes
from tests.prove.ingest_checks import faults
from tests.prove.ingest_clients import Acknowledged, Client, Logs
from tests.prove.ingest_mutants import MUTANTS, Seeded
from tests.prove.ingest_programs import POINT, Mutant, RollUp, WebServer, roll_up_all
from tests.prove.ingest_world import Stream
from tests.prove.verdict import Verdict

SERVING = 2  # processes, so that the same event races on two of them
STILL = 120.0  # seconds without any progress are a fault


@dataclass(frozen=True, slots=True)
class Profile:
    """How hard to try: how many events are acknowledged, and what happens meanwhile."""

    clients: int
    events: int
    kills: int
    crashes: int


PROFILES = {
    "push": Profile(clients=4, events=40_000, kills=8, crashes=1),
    "long": Profile(clients=6, events=1_000_000, kills=90, crashes=6),
}
MUTANT_CLIENTS, MUTANT_EVENTS = 4, 9_000
TRIES = 3  # for a mutant to be noticed: a kill has to come in between


@dataclass(frozen=True, slots=True)
class Blow:
    """What is killed or crashed once so many events are acknowledged."""

    after: int
    what: str


@dataclass(slots=True)
class Run:
    """One run under way: who sends, who serves, and what was done to them."""

    streams: Sequence[Stream]
    logs: Logs
    chance: random.Random
    web: WebServer
    roll_up: RollUp
    kills: int = 0
    crashes: int = 0
    acknowledged: int = 0
    struck: int = 0  # when so many were acknowledged
    moved: float = 0.0
    where: Counter[str] = field(default_factory=Counter)
    mistakes: list[str] = field(default_factory=list)

    def endure(self, profile: Profile) -> None:
        """Have all events sent while what serves is killed and crashed, evenly over the run."""
        self.web.wait()
        self.moved = time.monotonic()
        clients = [self._client(stream, profile) for stream in self.streams]
        blows = self._blows(profile)
        while not all(client.ended() for client in clients) and self._moves():
            self._mend()
            if blows and self.acknowledged >= max(blows[0].after, self.struck + 1):
                self._strike(blows)
            time.sleep(self.chance.uniform(0, 0.02))
        self._end(clients)

    def _moves(self) -> bool:
        """Tell whether the clients get on; that they do not for so long is a mistake."""
        before, self.acknowledged = self.acknowledged, self.logs.progress.total()
        if self.acknowledged > before:
            self.moved = time.monotonic()
        if time.monotonic() - self.moved < STILL:
            return True
        self.mistakes.append(f"nothing was acknowledged for {STILL:.0f} s")
        return False

    def _client(self, stream: Stream, profile: Profile) -> processes.Worker:
        client = Client(stream, self.web.port, random.Random(self.chance.random()), self.logs)
        events = profile.events // profile.clients
        return processes.start(lambda: client.send_all(events))

    def _blows(self, profile: Profile) -> list[Blow]:
        """Return what is done, and when: half of it hits a process that serves."""
        kinds = ("serving", "serving", "roll-up", "web")
        chosen = [kinds[n % len(kinds)] for n in range(profile.kills)]
        self.chance.shuffle(chosen)
        for n in range(profile.crashes):
            chosen.insert((n + 1) * len(chosen) // (profile.crashes + 1), "crash")
        step = profile.events / (len(chosen) + 1)
        return [Blow(int(step * (n + 1)), what) for n, what in enumerate(chosen)]

    def _strike(self, blows: list[Blow]) -> None:
        """Do the first of them; it stays the first when there is nothing to kill just then.

        The one after it waits for another acknowledgement, so that each hits a system at work.
        """
        if self._is_done(blows[0].what):
            blows.pop(0)
            self.struck = self.acknowledged

    def _is_done(self, what: str) -> bool:
        if what == "crash":
            ground.crash()
            self.crashes += 1
            return True
        if what == "serving":
            killed = self.web.kill_one(self.chance)
        else:
            killed = self.web.kill() if what == "web" else self.roll_up.kill()
        self._note(what, killed=killed)
        return killed

    def _mend(self) -> None:
        """Start what is gone, as `up` does. The worker also dies by itself, at its fault point."""
        self.web.mend()
        self._note(POINT, killed=self.roll_up.mend(self.chance))

    def _note(self, where: str, *, killed: bool) -> None:
        self.kills += killed
        self.where[where] += killed

    def _end(self, clients: Sequence[processes.Worker]) -> None:
        for client in clients:
            client.kill()
            if client.status not in {0, -signal.SIGKILL}:
                self.mistakes.append("a client failed by itself: see its traceback")
        self.web.kill()
        self.roll_up.kill()
        roll_up_all()

    def told(self) -> list[Acknowledged]:
        """Return what the clients were told."""
        return [*map(Acknowledged.read, self.logs.acknowledged.read())]

    def faults(self) -> list[str]:
        """Return everything that is wrong at the end."""
        said = [*self.mistakes, *self.logs.mistakes.read()]
        return said + faults(self.streams, self.told())


def prove(profile_name: str, seed: int) -> Verdict:
    """Run the harness and its mutants."""
    profile = PROFILES[profile_name]
    verdict = Verdict("ingest", profile_name)
    original = ground.here()
    with override_settings(WEB_WORKERS=SERVING):
        with ground.copy_of(original, f"{original}_world"), _run(profile, seed) as run:
            run.endure(profile)
            verdict.rounds = run.kills + run.crashes
            verdict.say(f"{run.kills} kills {dict(run.where)}, {run.crashes} crashes")
            verdict.say(_summary(run))
            verdict.faults = run.faults()
            verdict.say(f"{len(verdict.faults)} faults")
        for mutant in MUTANTS:
            found = _noticed(mutant, original, seed)
            verdict.caught[mutant.name] = bool(found)
            said = f"{len(found)} faults, such as {found[0]}" if found else "NOT CAUGHT"
            verdict.say(f"mutant '{mutant.name}': {said}")
    return verdict


def _summary(run: Run) -> str:
    told, repeated = run.told(), len(run.logs.repeated.read())
    events = sum(one.sent.count for one in told)
    broken = Counter(one.outcome for one in told if one.unanswered)
    return (
        f"{events} events acknowledged in {len(told)} requests; {broken.total()} of them broke"
        f" first, {broken['duplicate']} after the commit and {broken['accepted']} before it;"
        f" {repeated} sent again"
    )


def _noticed(mutant: Seeded, original: str, seed: int) -> list[str]:
    tried = (_faults_of(mutant, original, seed + number) for number in range(TRIES))
    return next(filter(None, tried), [])


def _faults_of(mutant: Seeded, original: str, seed: int) -> list[str]:
    """Run a mutant on a world of its own; it must be noticed as the real thing would be."""
    profile = Profile(MUTANT_CLIENTS, MUTANT_EVENTS, mutant.kills, mutant.crashes)
    with ground.copy_of(original, f"{original}_mutant"), _slow_log_writer():
        ground.spoil(*mutant.spoils)
        with _run(profile, seed, mutant.change) as run:
            run.endure(profile)
            return run.faults()


@contextmanager
def _run(profile: Profile, seed: int, mutant: Mutant | None = None) -> Iterator[Run]:
    streams = ingest_world.build(profile.clients, clock.now())
    directory = Path(tempfile.mkdtemp(prefix="prove-"))
    logs = Logs(
        processes.Log(str(directory / "acknowledged.log")),
        processes.Log(str(directory / "repeated.log")),
        processes.Log(str(directory / "mistakes.log")),
        processes.Tally(profile.clients),
    )
    run = Run(streams, logs, random.Random(seed), WebServer(mutant), RollUp())
    try:
        yield run
    finally:
        run.web.kill()
        run.roll_up.kill()
        shutil.rmtree(directory)


@contextmanager
def _slow_log_writer() -> Iterator[None]:
    """Have the server write nothing to its log that no commit waits for, as a busy disk would."""
    settings = {"wal_writer_delay": "'10s'", "wal_writer_flush_after": "'1GB'"}
    ground.spoil(*(f"ALTER SYSTEM SET {name} = {value}" for name, value in settings.items()))
    ground.spoil("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        ground.spoil(*(f"ALTER SYSTEM RESET {name}" for name in settings))
        ground.spoil("SELECT pg_reload_conf()")
