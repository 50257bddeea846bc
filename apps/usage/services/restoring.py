"""Bringing events back that only ClickHouse has: one that is to be voided, or all of them.

A row comes back as it was: with its number, its transaction and the digest of its content. So
nothing that was counted counts again, and old evidence sees what it saw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from apps.core import rls
from apps.core.faults import point
from apps.usage import clickhouse
from apps.usage.clickhouse import Stored
from apps.usage.copies import COPIES, copies_of, families
from apps.usage.errors import EventStoreDiffers
from apps.usage.models import UsageShipment
from apps.usage.services.shipping import block_differences
from apps.usage.store import rows

NUMBERS = 20_000  # of events, in a transaction

# Only what was thinned: what retention took stays away.
PUT_BACK = f"""WITH copy AS MATERIALIZED (
  SELECT c.*, usage_event_digest(c.organization_id, c.source, c.key, c.type, c.occurred_at,
    c.received_at, c.data::jsonb, c.voids_id) AS digest
  FROM {COPIES}
), back AS (
  INSERT INTO usage_event (id, organization_id, dedupe_key, source, key, type, occurred_at,
    received_at, data, digest, xid, voids_id)
  SELECT c.id, c.organization_id, c.dedupe_key, c.source, c.key, c.type, c.occurred_at,
    c.received_at, c.data::jsonb, c.digest, c.xid::text::xid8, c.voids_id
  FROM copy c
  JOIN usage_pruned_event p ON p.organization_id = c.organization_id AND p.id = c.id
  WHERE NOT EXISTS (SELECT FROM usage_seal s
    WHERE s.organization_id = c.organization_id AND s.until > c.occurred_at)
  ORDER BY c.id
  ON CONFLICT DO NOTHING
  RETURNING id
)
SELECT (SELECT count(*) FROM back),
  EXISTS (SELECT FROM copy
    WHERE (usage_lane(digest, 0), usage_lane(digest, 8)) <> (lane_a, lane_b))"""  # noqa: S608


def bring_back(organization_id: int, numbers: Sequence[int]) -> None:
    """Put thinned events back, each with what it takes back and what takes it back.

    For this room's services, in the caller's transaction. Raises EventStoreUnavailable, and
    EventStoreDiffers where a copy is not what was shipped.
    """
    _put_back(families(organization_id, numbers))


def restore_events(*, step: Callable[[int], None] = lambda _: None) -> int:
    """Bring all thinned events back and return how many; then PostgreSQL is whole, and says so.

    Safe to repeat and to kill: what is back already stays. In scopes of its own; must not be called
    inside one. While it runs nothing may be thinned. Raises EventStoreUnavailable, and
    EventStoreDiffers where ClickHouse does not hold what was shipped.
    """
    with rls.ops_scope("usage: what is thinned"):
        blocks = list(UsageShipment.objects.filter(thinning_at__isnull=False).order_by("number"))
        if not blocks:
            return 0
        if found := block_differences(blocks):
            raise EventStoreDiffers(f"Nothing came back: ClickHouse lacks events of {found[0]}.")
        newest = blocks[-1].number
        last = clickhouse.last_number(block=newest)
    events = 0
    for first in range(0, last + 1, NUMBERS):
        page = clickhouse.of_numbers(first, first + NUMBERS, block=newest)
        with rls.ops_scope("usage: events come back"):
            back = _put_back(page)
        events += back
        step(back)
        point("usage.restored")
    with rls.ops_scope("usage: PostgreSQL is whole"):
        UsageShipment.objects.filter(pk__in=[one.pk for one in blocks]).update(
            thinning_at=None, thinned_at=None, occurred_until=None, last_event_id=None
        )
    return events


def _put_back(copies: Sequence[Stored]) -> int:
    [(back, is_altered)] = rows(PUT_BACK, {"copies": copies_of(copies)}) if copies else [(0, False)]
    if is_altered:
        raise EventStoreDiffers("A copy in ClickHouse is not what was shipped; nothing came back.")
    return int(back)
