"""Billing under kill -9 and power cuts: exactly one invoice a period, whatever happens.

Several processes bill the same subscriptions at once while others settle the invoices and roll
usage up. They are killed at every fault point, then at random moments; the server is crashed under
them. Then the work is done to its end and everything is compared with the oracle.
"""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from tests.prove import ground, processes, world
from tests.prove.billing_checks import faults
from tests.prove.billing_mutants import MUTANTS, Seeded
from tests.prove.billing_workers import (
    BILLING_POINTS,
    PAYMENT_POINTS,
    POINTS,
    STARTING,
    USAGE_POINTS,
    Crew,
    bill,
    bill_in_any_order,
    count_usage,
    pay,
)
from tests.prove.verdict import Verdict
from tests.prove.world import World

Job = Callable[[datetime], None]
FIRST_INVOICES = datetime(2023, 1, 2, tzinfo=UTC)
FIRST_AS_OF = datetime(2023, 3, 5, tzinfo=UTC)
ALL = 500  # subscriptions at once, more than there are
MONTH = timedelta(days=30)
SOME_ARE_DUE = timedelta(
    days=16
)  # whenever it begins: they begin on the 1st, the 15th and the 31st


@dataclass(frozen=True, slots=True)
class Profile:
    """How hard to try."""

    customers: int
    kills: int
    crashes: int
    occurrences: tuple[int, ...]
    chunk: int = 5  # few, so that many billers meet and many are killed
    mutant_customers: int = 3
    mutant_chunk: int = 1  # or one biller would take them all, and nobody would meet
    billers: int = 3


PROFILES = {
    "push": Profile(customers=40, kills=220, crashes=2, occurrences=(1, 3)),
    "long": Profile(customers=150, kills=3000, crashes=60, occurrences=(1, 2, 3, 5, 8, 13)),
}


@dataclass(slots=True)
class Run:
    """One run under way: the crew, how far it bills, and what was done to it."""

    crew: Crew
    chance: random.Random
    chunk: int
    as_of: datetime = FIRST_AS_OF
    kills: int = 0
    crashes: int = 0
    meetings: int = 0
    where: Counter[str] = field(default_factory=Counter)
    mistakes: list[str] = field(default_factory=list)

    def killed_at_a_point(self, name: str, nth: int) -> None:
        """Start the worker that gets to this point and let it die there."""
        status = self.crew.start(self._work_to(name), point=f"{name}:{nth}").wait()
        if status == -signal.SIGKILL:
            self.note_kill(name)

    def met_at_a_point(self, name: str) -> None:
        """Hold a worker at this point, have another do the same work, then let both come to an end.

        The other one comes to its end, or to where it has to wait for the first. What they do is
        billing what has come due since (the other one all that is free, and not only the next), or
        entering what was paid for it.
        """
        self.as_of += SOME_ARE_DUE
        if name not in BILLING_POINTS:
            self.crew.start(partial(self.bill, self.as_of)).wait()
        first = self.crew.start(self._work_to(name), hold=name)
        if not first.held():
            raise RuntimeError(f"nobody comes to {name}")
        other = self.crew.start(self._work_to(name, chunk=ALL), place=1)
        while not (other.ended() or ground.somebody_waits()):
            time.sleep(0.01)
        first.go_on()
        if first.wait() or other.wait():
            self.mistakes.append(f"one of two who met at {name} failed: see the traceback")
        self.meetings += 1

    def crash_at_a_word(self) -> None:
        """Crash the server as soon as a biller says that something is committed."""
        said = self.crew.invoices.size()
        biller = self.crew.start(self._work_to("billing.committed"))
        while self.crew.invoices.size() == said and not biller.ended():
            time.sleep(0.0005)
        ground.crash()
        self.crashes += 1
        biller.wait()

    def _work_to(self, point: str, *, chunk: int | None = None) -> Callable[[], None]:
        """Return the work that passes this point."""
        jobs = {**dict.fromkeys(PAYMENT_POINTS, pay), **dict.fromkeys(USAGE_POINTS, count_usage)}
        return jobs.get(point, partial(bill, self.as_of, chunk=chunk or self.chunk))

    def note_kill(self, where: str) -> None:
        """Count a kill."""
        self.kills += 1
        self.where[where] += 1

    def storm(self, kills: int, *, billers: int, crashes: int = 0) -> None:
        """Kill so many random workers, each followed by a new one, and crash the server amid them.

        When everything is billed the next month comes due, so that there is always work.
        """
        until, step = self.kills + kills, kills // (crashes + 1)
        pending = {self.kills + step * (n + 1) for n in range(crashes)}
        shifts = [Shift(self, job, place) for place, job in enumerate(self._jobs(billers))]
        weighted = [*zip(shifts, [3] * billers + [2, 2, 1], strict=True)]
        while self.kills < until and not self.mistakes:
            at_work = [0 if shift.is_starting() else weight for shift, weight in weighted]
            if not any(at_work):
                time.sleep(0.002)
                continue
            time.sleep(self.chance.uniform(0, 0.03))
            self.chance.choices(shifts, at_work)[0].strike()
            if pending and self.kills >= min(pending):
                pending.remove(min(pending))
                ground.crash()
                self.crashes += 1
        for shift in shifts:
            shift.worker.kill()

    def bill(self, as_of: datetime) -> None:
        """Bill in the order of what is due."""
        bill(as_of, chunk=self.chunk)

    def bill_in_any_order(self, as_of: datetime) -> None:
        """Bill beside the others, not behind them."""
        bill_in_any_order(as_of, chunk=self.chunk)

    def _jobs(self, billers: int) -> list[Job]:
        """Return what is done at once: half of the billers meet, the others spread out."""
        billing = [self.bill if n % 2 else self.bill_in_any_order for n in range(billers)]
        return [*billing, _pay, _pay, _count_usage]

    def finish(self) -> None:
        """Do the work to its end, undisturbed, then bill once more: there must be nothing left."""
        last = [self.bill, self.bill_in_any_order, _pay]
        for jobs in (last, [_pay, _pay, _count_usage], [self.bill]):
            workers = [self.crew.start(partial(job, self.as_of)) for job in jobs]
            for status in [worker.wait() for worker in workers]:
                if status != 0:
                    self.mistakes.append("the last, undisturbed run failed: see its traceback")


class Shift:
    """One worker's place, taken by a new worker whenever the last one is gone."""

    def __init__(self, run: Run, job: Job, place: int) -> None:
        self.run, self.job, self.place = run, job, place
        self.begin()

    def begin(self) -> None:
        """Start a worker."""
        self.as_of = self.run.as_of
        self.worker = self.run.crew.start(partial(self.job, self.as_of), place=self.place)

    def strike(self) -> None:
        """Kill the worker, wherever it is, and start the next one."""
        if self.worker.kill():
            self.run.note_kill(POINTS[self.run.crew.board.get(self.place)])
        elif self.worker.status != 0:
            self.run.mistakes.append("a worker failed by itself: see its traceback")
        elif self.place == 0 and self.as_of == self.run.as_of:
            self.run.as_of += MONTH
        self.begin()

    def is_starting(self) -> bool:
        """Tell whether the worker has not come to its work yet: killing it would prove little."""
        return self.run.crew.board.get(self.place) == STARTING and not self.worker.ended()


def _pay(_: datetime) -> None:
    pay()


def _count_usage(_: datetime) -> None:
    count_usage()


def prove(profile_name: str, seed: int) -> Verdict:
    """Run the harness and its mutants."""
    profile = PROFILES[profile_name]
    verdict = Verdict("billing", profile_name)
    original = ground.here()
    with ground.copy_of(original, f"{original}_world"), _directory() as directory:
        sold = world.build(profile.customers, seed)
        verdict.say(f"{len(sold.agreements)} subscriptions stand")
        run = Run(Crew.hired(directory), random.Random(seed), profile.chunk)
        _break(run, profile)
        verdict.rounds = run.kills + run.crashes + run.meetings
        verdict.say(f"{run.kills} kills {dict(run.where)}")
        verdict.say(f"{run.crashes} crashes, {run.meetings} meetings")
        run.finish()
        verdict.faults = run.mistakes + faults(sold, run.as_of, run.crew.told())
        verdict.say(f"{len(run.crew.told().invoices)} invoices told, {len(verdict.faults)} faults")
    with ground.copy_of(original, f"{original}_small"), _directory() as directory:
        sold = world.build(profile.mutant_customers, seed)
        for mutant in MUTANTS:
            found = _faults_of(mutant, sold, directory, seed, profile.mutant_chunk)
            verdict.caught[mutant.name] = bool(found)
            verdict.say(f"mutant '{mutant.name}': {found[0] if found else 'NOT CAUGHT'}")
    return verdict


def _break(run: Run, profile: Profile) -> None:
    """Every fault point in turn, several times, then at random."""
    run.crew.start(partial(run.bill, FIRST_INVOICES)).wait()  # so that there is something to pay
    for nth in profile.occurrences:
        for point in (*BILLING_POINTS, *PAYMENT_POINTS, *USAGE_POINTS):
            run.killed_at_a_point(point, nth)
    for point in (*BILLING_POINTS, *PAYMENT_POINTS):
        run.met_at_a_point(point)
    unreached = {*BILLING_POINTS, *PAYMENT_POINTS, *USAGE_POINTS} - run.where.keys()
    run.mistakes += [f"nobody could be killed at {point}" for point in sorted(unreached)]
    more = profile.kills - run.kills
    run.storm(more, billers=profile.billers, crashes=profile.crashes)


def _faults_of(mutant: Seeded, sold: World, directory: Path, seed: int, chunk: int) -> list[str]:
    """Run a mutant on a copy of the small world; it must be noticed as the real thing would be.

    The last, undisturbed run is the mutant's too: what it breaks, nobody repairs.
    """
    with ground.copy_of(ground.here(), f"{ground.here()}_mutant"):
        if processes.start(mutant.change).wait() != 0:
            raise RuntimeError(f"the mutant '{mutant.name}' cannot be made; see its traceback")
        ground.spoil(*mutant.spoils)
        run = Run(Crew.hired(directory, mutant.change), random.Random(seed), chunk)
        for name, nth in mutant.kills:
            run.killed_at_a_point(name, nth)
        for name in mutant.meets:
            run.met_at_a_point(name)
        for _ in range(mutant.crashes):
            run.crash_at_a_word()
        run.finish()
        return run.mistakes + faults(sold, run.as_of, run.crew.told())


@contextmanager
def _directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="prove-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)
