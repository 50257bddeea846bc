"""Usage over HTTP, through the server that `up` runs: batches, single events, and the roll-up.

| name | clients | limit | typical |
|---|---|---|---|
| ingest_1000, _1000_4, _100 | 1, 4, 4 | COPY behind the same request | DRF, `bulk_create` |
| ingest_1 | 32, one key | one transaction for each request | DRF, `save` |
| ingest_hot | 32, one key | the same over 32 organizations | |
| rollup | | ingest alone | an upsert per event and meter |

All take turns in the same minutes. BENCH_ROUNDS says how many.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from apps.core import clock, rls
from apps.plans import services as plans
from apps.plans.catalog import read_catalog
from apps.tenants import services as tenants
from tests.bench import rollup
from tests.bench.timing import Result, result
from tests.bench.wire import Load, burst, serving
from tests.prove.ground import superuser
from tests.prove.world import ACTOR, NOW

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
ORGANIZATIONS = 32
REAL, COPY, ALONE, TYPICAL = "/api/v1/events", "/bench/copy", "/bench/alone", "/bench/typical"


@dataclass(slots=True)
class Race:
    """One row of the table: who sends how much where, and what was measured so far."""

    name: str
    clients: int
    requests: int  # of each client
    events: int  # of each request
    limit: str
    typical: str = ""
    spread: bool = False  # the limit's clients have an organization each
    rates: dict[str, list[float]] = field(default_factory=dict)

    def turn(self, port: int, keys: Sequence[str]) -> None:
        """Let each of them run once."""
        self._run("ours", port, REAL, keys[:1])
        self._run("limit", port, self.limit, keys if self.spread else keys[:1])
        if self.typical:
            self._run("typical", port, self.typical, keys[:1])

    def _run(self, who: str, port: int, path: str, keys: Sequence[str]) -> None:
        loads = [
            Load(keys[number % len(keys)], [_body(self.events) for _ in range(self.requests)])
            for number in range(self.clients)
        ]
        self.rates.setdefault(who, []).append(burst(port, path, loads) * self.events)

    def result(self) -> Result:
        """Return the medians, without the first turn: it warms up."""
        found = {who: rates[1:] for who, rates in self.rates.items()}
        return result(self.name, "events/s", found["ours"], found["limit"], found.get("typical"))


def measure() -> list[Result]:
    """Run all races in turns, then the roll-up."""
    races = [
        Race("ingest_1000", 1, 12, 1000, COPY, TYPICAL),
        Race("ingest_1000_4", 4, 4, 1000, COPY, TYPICAL),
        Race("ingest_100", 4, 20, 100, COPY, TYPICAL),
        Race("ingest_1", 32, 25, 1, ALONE, TYPICAL),
        Race("ingest_hot", 32, 25, 1, REAL, spread=True),
    ]
    keys = _build()
    with serving("tests.bench.server:application") as port:
        for _ in range(ROUNDS + 1):
            for race in races:
                race.turn(port, keys)
    return [*(race.result() for race in races), rollup.measure()]


def _build() -> list[str]:
    """Make organizations with a key each, and the table that the limit copies into."""
    with rls.ops_scope("bench: customers"):
        plans.load_catalog(read_catalog("gateway"), actor=ACTOR, at=NOW)
        keys = [_key(number) for number in range(ORGANIZATIONS)]
    with superuser() as connection:
        connection.execute("CREATE TABLE copied (LIKE usage_event INCLUDING ALL)")
    return keys


def _key(number: int) -> str:
    row = tenants.create_organization(f"bench-{number}", name="Bench", actor=ACTOR, at=NOW)
    made = tenants.create_api_key(
        row.pk, name="bench", scopes=["usage:write"], actor=ACTOR, at=clock.now()
    )
    return made.secret


def _body(count: int) -> bytes:
    events = [_event(number) for number in range(count)]
    return json.dumps(events if count > 1 else events[0]).encode()


def _event(number: int) -> dict[str, object]:
    at = clock.now() - timedelta(seconds=3600 + number)
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": "bench",
        "type": "ai.request",
        "time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "data": {"context_tokens": number * 7, "generated_tokens": number},
    }
