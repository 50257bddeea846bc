"""Looking in processes of their own, on copies of the world: nobody finds what another spoiled."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.prove import ground, processes
from tests.prove.verdict import Findings


@dataclass(frozen=True, slots=True)
class Started:
    """Somebody who looks in a process of their own: they may spoil the code, and have threads."""

    worker: processes.Worker
    log: processes.Log

    def findings(self) -> Findings:
        """Return what they found, when they are done."""
        if self.worker.wait() != 0:
            raise RuntimeError("the probing process failed; see its traceback")
        return Findings(**json.loads(self.log.read()[0]))


def start(work: Callable[[], Findings], told: Path, database: str) -> Started:
    """Let somebody look at a database, and tell what they find in a file."""
    log = processes.Log(str(told))

    def look() -> None:
        ground.use(database)
        log.write(json.dumps(asdict(work())))

    return Started(processes.start(look), log)


def at_once(works: Mapping[str, Callable[[], Findings]], directory: Path) -> dict[str, Findings]:
    """Return what each of the works finds, in a process and on a copy of the world of its own."""
    world = ground.here()
    with ExitStack() as copies:
        spares = [
            copies.enter_context(ground.spare(world, f"{world}_{number}"))
            for number in range(len(works))
        ]
        started = {
            name: start(work, directory / spare, spare)
            for (name, work), spare in zip(works.items(), spares, strict=True)
        }
        return {name: one.findings() for name, one in started.items()}


@contextmanager
def directory() -> Iterator[Path]:
    """Yield a directory that is gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="prove-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)
