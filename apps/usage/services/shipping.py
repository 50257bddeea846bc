"""Bringing events to ClickHouse, block by block, each of them exactly once.

A block is a span of transactions below the roll-up's watermark: all of them have ended, so none
can put an event into it later. It is written, read back and compared with PostgreSQL before a row
of `UsageShipment` says that it is there. A run that dies before that leaves rows which nothing
reads; the next one writes the same block again, over them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple

from django.db import connection, transaction

from apps.core.faults import point
from apps.usage import clickhouse, selectors
from apps.usage.blocks import LAST_ID, LAST_XID
from apps.usage.errors import EventStoreDiffers
from apps.usage.models import UsageEpoch, UsageShipment
from apps.usage.store import rows

BLOCK = 100_000  # events; a transaction is never cut in two
CHUNK = 10_000
LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('usage.ship', 0))"

RANGE = """e.xid >= %(since)s::xid8 AND e.xid < %(until)s::xid8
    AND e.id + 0 > %(base)s AND e.id + 0 <= %(next_base)s"""
# The transactions of the first events of a span; of one more than a block holds, if there are.
CUT = f"""SELECT min(xid)::text, max(xid)::text, count(*) FROM (
  SELECT e.xid FROM usage_event e WHERE {RANGE} ORDER BY e.xid LIMIT %(most)s) found"""  # noqa: S608
SUMS = f"""SELECT count(*), count(voids_id), coalesce(sum(usage_lane(digest, 0)), 0),
  coalesce(sum(usage_lane(digest, 8)), 0)
FROM usage_event e WHERE {RANGE}"""  # noqa: S608 - constants
LOAD = f"""SELECT e.organization_id, e.type, e.occurred_at, e.id, e.received_at, e.source, e.key,
  e.dedupe_key, e.data::text, l.texts::text, l.numbers::text, usage_lane(e.digest, 0),
  usage_lane(e.digest, 8), e.xid::text, e.voids_id
FROM usage_event e CROSS JOIN LATERAL (
  SELECT coalesce(jsonb_object_agg(path, value #>> '{{}}'), '{{}}') AS texts,
    coalesce(jsonb_object_agg(path, usage_number(value, true)::text)
      FILTER (WHERE usage_number(value, true) IS NOT NULL), '{{}}') AS numbers
  FROM usage_leaves(e.data)
) l
WHERE {RANGE} ORDER BY e.organization_id, e.type, e.occurred_at, e.id"""  # noqa: S608 - constants
EVENT_COLUMNS = (
    "organization_id", "type", "occurred_at", "id", "received_at", "source", "key", "dedupe_key",
    "data", "texts", "numbers", "lane_a", "lane_b", "xid", "block",
)  # fmt: skip
VOID_COLUMNS = ("organization_id", "voids_id", "id", "xid", "block")
EVENTS_OF_BLOCKS = """SELECT block, count(), sum(toInt128(lane_a)), sum(toInt128(lane_b))
FROM usage_event FINAL WHERE block >= {first:UInt64} AND block <= {last:UInt64} GROUP BY block"""
VOIDS_OF_BLOCKS = """SELECT block, count() FROM usage_void FINAL
WHERE block >= {first:UInt64} AND block <= {last:UInt64} GROUP BY block"""


@dataclass(frozen=True, slots=True)
class Shipped:
    """What a run did; `complete` when nothing that is rolled up is left, `skipped` when another
    run held the lock or the buckets are another cluster's.
    """

    events: int = 0
    complete: bool = False
    skipped: bool = False


class BlockDifference(NamedTuple):
    """A block that is not in ClickHouse what it was when it was shipped."""

    block: int
    shipped: Sums
    found: Sums

    def __str__(self) -> str:
        return (
            f"block {self.block}: {self.shipped.events} events and {self.shipped.voids} voids"
            f" shipped, {self.found.events} and {self.found.voids} found"
            + ("" if self.shipped[:2] != self.found[:2] else ", with another hash")
        )


class Sums(NamedTuple):
    """What tells one block from another: numbers of rows, and the hash lanes modulo 2^64."""

    events: int = 0
    voids: int = 0
    lane_a: int = 0
    lane_b: int = 0


class _Span(NamedTuple):
    """Transactions of one epoch whose events are not shipped yet."""

    epoch: UsageEpoch
    since: int
    until: int
    next_base: int
    is_current: bool

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of RANGE."""
        return {
            "since": str(self.since),
            "until": str(self.until),
            "base": self.epoch.base_event_id,
            "next_base": self.next_base,
        }


@transaction.atomic
def ship_events(at: datetime) -> Shipped:
    """Ship the next block of what is rolled up; needs the ops scope.

    Safe to repeat, to run twice at once and to kill at any point. Raises EventStoreUnavailable, and
    EventStoreDiffers when what was written cannot be read back.
    """
    [(locked,)] = rows(LOCK, {})
    if not locked or not selectors.is_ready():
        return Shipped(skipped=True)
    last = UsageShipment.objects.order_by("-number").first()
    span = _next(last)
    parameters = span.parameters()
    [(events, voids, lane_a, lane_b)] = rows(SUMS, parameters)
    complete = span.is_current and span.until == span.epoch.watermark
    if not events and last is not None and last.complete and last.epoch == span.epoch.number:
        return Shipped(complete=complete)
    number = 1 if last is None else last.number + 1
    _write(number, parameters)
    sums = _sums(events, voids, lane_a, lane_b)
    found = _found(number, number).get(number, Sums())
    if found != sums:
        raise EventStoreDiffers(f"After shipping {BlockDifference(number, sums, found)}.")
    point("usage.shipped")
    UsageShipment.objects.create(
        number=number,
        epoch=span.epoch.number,
        since=span.since,
        until=span.until,
        events=events,
        voids=voids,
        lane_a=lane_a,
        lane_b=lane_b,
        complete=complete,
        shipped_at=at,
    )
    return Shipped(events, complete=complete)


@transaction.atomic
def verify_shipments() -> list[BlockDifference]:
    """Return the blocks that ClickHouse does not hold as they were shipped; needs the ops scope."""
    return block_differences(list(UsageShipment.objects.order_by("number")))


def block_differences(blocks: Sequence[UsageShipment]) -> list[BlockDifference]:
    """Return those of these blocks, in their order, that ClickHouse does not hold as shipped."""
    shipped = {one.number: _sums(one.events, one.voids, one.lane_a, one.lane_b) for one in blocks}
    found = _found(min(shipped, default=1), max(shipped, default=0))
    return [
        BlockDifference(number, sums, found.get(number, Sums()))
        for number, sums in shipped.items()
        if found.get(number, Sums()) != sums
    ]


def _next(last: UsageShipment | None) -> _Span:
    """Return the span of the next block, in the first epoch that is not shipped to its end."""
    epochs = list(UsageEpoch.objects.order_by("number"))
    number = epochs[0].number if last is None else last.epoch
    since = 0 if last is None else last.until
    for epoch, following in zip(epochs, [*epochs[1:], None], strict=True):
        if epoch.number < number:
            continue
        span = _span(epoch, following, since if epoch.number == number else 0)
        if following is None or span.since < span.until:
            return span
    raise UsageEpoch.DoesNotExist


def _span(epoch: UsageEpoch, following: UsageEpoch | None, since: int) -> _Span:
    """Return the next block's worth of an epoch; empty when nothing of it is left."""
    is_current = following is None
    end = epoch.watermark if following is None else LAST_XID
    whole = _Span(
        epoch, since, end, LAST_ID if following is None else following.base_event_id, is_current
    )
    [(first, last, events)] = rows(CUT, {**whole.parameters(), "most": BLOCK + 1})
    if events > BLOCK:
        return whole._replace(until=max(int(last), int(first) + 1))
    return whole if is_current or events else whole._replace(until=since)


def _write(number: int, parameters: dict[str, Any]) -> None:
    """Put a block's rows into ClickHouse, where there may be some of a run that died."""
    clickhouse.prepare()
    for table in ("usage_event", "usage_void"):
        left = f"SELECT count() FROM {table} WHERE block >= {{block:UInt64}}"  # noqa: S608
        if clickhouse.rows(left, {"block": number})[0][0]:
            clickhouse.command(
                f"DELETE FROM {table} WHERE block >= {{block:UInt64}}",  # noqa: S608 - constants
                {"block": number},
            )
    with connection.chunked_cursor() as cursor:
        cursor.execute(LOAD, parameters)
        for chunk in _chunks(cursor):
            clickhouse.insert("usage_event", EVENT_COLUMNS, [_event(row, number) for row in chunk])
            voids = [_void(row, number) for row in chunk if row[-1] is not None]
            if voids:
                clickhouse.insert("usage_void", VOID_COLUMNS, voids)
            point("usage.shipping")


def _chunks(cursor: Any) -> Iterator[list[tuple[Any, ...]]]:
    found = iter(cursor)
    while chunk := list(islice(found, CHUNK)):
        yield chunk


def _event(row: tuple[Any, ...], block: int) -> tuple[Any, ...]:
    *fields, texts, numbers, lane_a, lane_b, xid, _ = row
    figures = {path: Decimal(number) for path, number in json.loads(numbers).items()}
    return (*fields, json.loads(texts), figures, lane_a, lane_b, int(xid), block)


def _void(row: tuple[Any, ...], block: int) -> tuple[int, ...]:
    return row[0], row[-1], row[3], int(row[-2]), block


def _found(first: int, last: int) -> dict[int, Sums]:
    """Return what stands in ClickHouse of these blocks."""
    blocks = {"first": first, "last": last}
    voids = dict(clickhouse.rows(VOIDS_OF_BLOCKS, blocks))
    return {
        block: _sums(events, voids.get(block, 0), lane_a, lane_b)
        for block, events, lane_a, lane_b in clickhouse.rows(EVENTS_OF_BLOCKS, blocks)
    }


def _sums(events: int, voids: int, lane_a: Decimal | int, lane_b: Decimal | int) -> Sums:
    return Sums(events, voids, int(lane_a) % 2**64, int(lane_b) % 2**64)
