"""Ingest as it would be with one guard missing; the harness must notice every one of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg

from apps.api import intake as door
from apps.core.postgres import base
from apps.usage.services import intake
from tests.prove.mutation import mutate, mutate_text


@dataclass(frozen=True, slots=True)
class Seeded:
    """A fault planted in the code and in the database, and what brings it to light."""

    name: str
    change: Callable[[], None]
    spoils: tuple[str, ...] = ()
    kills: int = 0
    crashes: int = 0


BETWEEN = 0.05  # seconds that a busy database may take between two transactions
IN_TIME = """    with caller.scope():
        return _Intake(caller, clock.now()).take(events)
"""
TOO_EARLY = f"""    import threading
    import time
    from concurrent.futures import Future
    from django.db import connection
    found = Future()
    def store():
        try:
            with caller.scope():
                found.set_result(_Intake(caller, clock.now()).take(events))
                time.sleep({BETWEEN})
        except Exception as error:
            if not found.done():
                found.set_exception(error)
        finally:
            connection.close()
    threading.Thread(target=store).start()
    return found.result()
"""
STORED = """    if not judged:
        return
    stored = set()
"""
CLAIMED = """    new = claim(judged)
    for one in judged:
        if one.dedupe_key not in new:
            yield one.position, EventResult(Status.DUPLICATE)
    judged = [one for one in judged if one.dedupe_key in new]
"""


def _claim_first() -> None:
    vars(intake)["claim"] = _claim
    mutate(intake, "_store", (STORED, CLAIMED + STORED))


def _claim(judged: Sequence[Any]) -> set[str]:
    """Claim the keys of events in a transaction of its own; return those nobody claimed before."""
    keys = [one.dedupe_key for one in judged]
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        rows = connection.execute(
            "INSERT INTO claimed SELECT unnest(%s::uuid[]) ON CONFLICT DO NOTHING RETURNING key",
            [keys],
        )
        new = {key.hex for (key,) in rows}
    time.sleep(BETWEEN)
    return new


MUTANTS = (
    Seeded(
        "commits do not wait for the disk",
        partial(mutate_text, base, "DURABLE", ("= on", "= off")),
        crashes=1,
    ),
    Seeded(
        "a key is claimed in a transaction of its own, before the event is stored",
        _claim_first,
        spoils=("CREATE TABLE claimed (key uuid PRIMARY KEY)", "GRANT ALL ON claimed TO PUBLIC"),
        kills=8,
    ),
    Seeded(
        "the answer comes before the commit",
        partial(mutate, door, "_take", (IN_TIME, TOO_EARLY)),
        kills=8,
    ),
)
