"""What must hold after ingest was killed and crashed: read as superuser, held against the log.

What should be there is computed from the acknowledgements alone. Each fault is a sentence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from apps.core import rls
from apps.usage import selectors
from tests.prove.ground import ask
from tests.prove.ingest_clients import Acknowledged
from tests.prove.ingest_world import Sent, Stream

Hours = Counter[tuple[int, datetime]]


def faults(streams: Sequence[Stream], told: Sequence[Acknowledged]) -> list[str]:
    """Return everything that is wrong, once all is answered and rolled up."""
    return [
        fault
        for stream in streams
        for fault in _against_the_log(stream, [one for one in told if one.client == stream.client])
    ] + [*_strangers(streams), *_buckets(streams, told), *_recounted()]


def _against_the_log(stream: Stream, told: Sequence[Acknowledged]) -> Iterator[str]:
    """Every event that was acknowledged is there once, as it was sent, and nothing else is."""
    rows = ask(
        "SELECT key, occurred_at, data FROM usage_event WHERE organization_id = %s AND source = %s",
        stream.organization_id,
        stream.source,
    )
    stored = {key: (at, data) for key, at, data in rows}
    acknowledged = {event.key: event for event in _events(stream, told)}
    if doubled := len(rows) - len(stored):
        yield f"{stream.source}: {doubled} events are stored twice"
    if lost := acknowledged.keys() - stored.keys():
        yield f"{stream.source}: {len(lost)} events were acknowledged and lost, as {min(lost)}"
    if unknown := stored.keys() - acknowledged.keys():
        yield f"{stream.source}: {len(unknown)} events are stored, nobody was told, {min(unknown)}"
    for key in stored.keys() & acknowledged.keys():
        sent = acknowledged[key]
        if stored[key] != (sent.at, sent.data):
            yield f"{stream.source}: {key} is stored as {stored[key]}"


def _events(stream: Stream, told: Sequence[Acknowledged]) -> Iterator[Sent]:
    for one in told:
        yield from map(stream.event, one.sent.numbers())


def _strangers(streams: Sequence[Stream]) -> Iterator[str]:
    known = {(stream.organization_id, stream.source) for stream in streams}
    for pair in ask("SELECT DISTINCT organization_id, source FROM usage_event"):
        if pair not in known:
            yield f"events of {pair}, which nobody sent"
    if rejected := ask("SELECT code, detail FROM usage_rejected_event"):
        yield f"{len(rejected)} events were refused, such as {rejected[0]}"


def _buckets(streams: Sequence[Stream], told: Sequence[Acknowledged]) -> Iterator[str]:
    """The hours add up to what the clients were told, event by event and token by token."""
    calls: Hours = Counter()
    tokens: Hours = Counter()
    for one in told:
        stream = streams[one.client]
        for event in _events(stream, [one]):
            hour = (stream.organization_id, event.at.replace(minute=0, second=0))
            calls[hour] += 1
            tokens[hour] += event.tokens
    for meter, wanted in {"calls": calls, "tokens": calls, "callers": calls}.items():
        yield from _differing(f"{meter}: events", _stored(meter, "event_count"), wanted)
    yield from _differing("tokens", _stored("tokens", "total"), tokens)


def _stored(meter: str, column: str) -> Hours:
    rows = ask(
        f"SELECT b.organization_id, b.hour, sum(b.{column})::bigint FROM usage_bucket b"
        " JOIN usage_meter m ON m.id = b.meter_id WHERE m.key = %s GROUP BY 1, 2",
        meter,
    )
    return Counter({(organization_id, hour): total for organization_id, hour, total in rows})


def _differing(what: str, stored: Hours, wanted: Hours) -> Iterator[str]:
    wrong = [hour for hour in stored | wanted if stored[hour] != wanted[hour]]
    if wrong:
        first = min(wrong)
        said = f"such as {stored[first]} for {wanted[first]} at {first[1]:%d %H}h"
        yield f"buckets of {what}: {len(wrong)} hours differ, {said}"


def _recounted() -> list[str]:
    with rls.ops_scope("prove: recount"):
        return [str(one) for one in selectors.bucket_differences()]
