"""Events as ClickHouse has them: held against what was shipped, and read as rows again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from apps.usage import clickhouse
from apps.usage.blocks import boundary
from apps.usage.clickhouse import Stored
from apps.usage.errors import EventStoreUnavailable
from apps.usage.models import Event
from apps.usage.store import rows

COPIES = """jsonb_to_recordset(%(copies)s::jsonb) AS c (id bigint,
  organization_id bigint, source text, key text, type text, occurred_at timestamptz,
  received_at timestamptz, dedupe_key uuid, data text, voids_id bigint, texts jsonb, numbers jsonb,
  lane_a bigint, lane_b bigint, xid bigint)"""
# A copy against its own digest, of which the lanes are half, and what meters read of it against
# what they would read here.
ALTERED_COPIES = f"""SELECT c.id FROM {COPIES}
CROSS JOIN LATERAL (SELECT usage_event_digest(c.organization_id, c.source, c.key, c.type,
  c.occurred_at, c.received_at, c.data::jsonb, c.voids_id) AS digest) d
CROSS JOIN LATERAL (
  SELECT coalesce(jsonb_object_agg(path, value #>> '{{}}'), '{{}}') AS texts,
    coalesce(jsonb_object_agg(path, usage_number(value, true))
      FILTER (WHERE usage_number(value, true) IS NOT NULL), '{{}}') AS numbers
  FROM usage_leaves(c.data::jsonb)
) l
WHERE (c.dedupe_key, c.texts, c.numbers, c.lane_a, c.lane_b) IS DISTINCT FROM
  (usage_dedupe_key(c.source, c.key), l.texts, l.numbers, usage_lane(d.digest, 0),
   usage_lane(d.digest, 8))"""  # noqa: S608 - constants

_json = msgspec.json.Encoder(decimal_format="number")


def altered_copies(page: Sequence[Stored]) -> list[Stored]:
    """Return the events whose copy is not what was shipped."""
    wrong = {number for (number,) in rows(ALTERED_COPIES, {"copies": copies_of(page)})}
    return [one for one in page if one.id in wrong]


def copies_of(events: Iterable[Stored]) -> str:
    """Return shipped events as the document that COPIES reads."""
    return _json.encode([_copy(one) for one in events]).decode()


def families(organization_id: int, numbers: Iterable[int]) -> list[Stored]:
    """Return shipped events, each with what it takes back and what takes it back.

    Raises EventStoreUnavailable.
    """
    shipped = boundary()
    if shipped is None:
        raise EventStoreUnavailable("Events are in ClickHouse alone; CLICKHOUSE_URL says where.")
    known = {
        one
        for number in numbers
        for one in clickhouse.family(organization_id, number, block=shipped.block)
    }
    return clickhouse.by_number(organization_id, sorted(known), block=shipped.block)


def _copy(one: Stored) -> dict[str, Any]:
    named = {name: getattr(one, name) for name in one.__slots__}
    read = {"texts": msgspec.Raw(one.texts.encode()), "numbers": msgspec.Raw(one.numbers.encode())}
    return {**named, **read}


def named(one: Stored) -> tuple[Any, ...]:
    """Return what is told of an event that was altered."""
    return one.id, one.organization_id, one.source, one.key, one.type, one.occurred_at


def as_row(one: Stored) -> Event:
    """Return a shipped event as the row that it was; its digest stayed in its two lanes."""
    return Event(
        id=one.id,
        organization_id=one.organization_id,
        dedupe_key=one.dedupe_key,
        source=one.source,
        key=one.key,
        type=one.type,
        occurred_at=one.occurred_at,
        received_at=one.received_at,
        data=json.loads(one.data),
        xid=one.xid,
        voids_id=one.voids_id,
    )
