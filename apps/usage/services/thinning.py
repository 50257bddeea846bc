"""Letting rows go that ClickHouse has, a block at a time: it answers for them then.

Nothing is lost but the row: what was asked before is answered as before. In this order, so that
whatever dies half-way leaves numbers that are true, and the next run goes on:

1. The block is compared with its copies, content and all.
2. The block says that it is thinned: from then on nobody takes PostgreSQL's rows for all there is.
3. The keys of its events are kept, so that each is known for ever when it comes again.
4. All statements that store events are waited for, once: one that began before the keys were there
   would else find neither the event nor its key, and count it twice.
5. The events go, a chunk at a time.

An event that another one takes back leaves together with that one, or stays with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from apps.core import rls
from apps.core.faults import point
from apps.usage import clickhouse
from apps.usage.blocks import LAST_ID, boundary
from apps.usage.copies import altered_copies
from apps.usage.errors import EventStoreDiffers
from apps.usage.models import EARLIEST, UsageEpoch, UsageShipment
from apps.usage.services.shipping import RANGE, block_differences
from apps.usage.services.waiting import THIN, WRITERS, TooBusyError, wait
from apps.usage.store import rows, thinned

CHUNK = 5_000  # events that a transaction looks at
SETTLED = timedelta(hours=1)  # no question that began before a block was shipped takes as long

NEWEST = f"""SELECT max(received_at), max(occurred_at), max(id) FROM usage_event e
WHERE {RANGE}"""  # noqa: S608 - constants
# Those of the block, with what they take back and what takes them back; whole families of which
# all are shipped up to this block, and no rejected event was replayed into one.
GOING = f"""WITH RECURSIVE slice AS MATERIALIZED (
  SELECT e.id, e.organization_id, e.voids_id, e.xid FROM usage_event e
  WHERE {RANGE} AND e.id > %(after)s ORDER BY e.id LIMIT %(limit)s
), up AS (
  SELECT id, organization_id, voids_id, xid FROM slice
  UNION
  SELECT t.id, t.organization_id, t.voids_id, t.xid
  FROM up u JOIN usage_event t ON t.organization_id = u.organization_id AND t.id = u.voids_id
), family AS (
  SELECT id AS root, id, organization_id, xid FROM up WHERE voids_id IS NULL
  UNION ALL
  SELECT f.root, v.id, v.organization_id, v.xid
  FROM family f
  JOIN usage_event v ON v.organization_id = f.organization_id AND v.voids_id = f.id
), root AS (
  SELECT root FROM family f GROUP BY root
  HAVING bool_and((id <= %(base)s OR (id <= %(next_base)s AND xid < %(until)s::xid8))
    AND NOT EXISTS (SELECT FROM usage_rejected_event r
      WHERE r.organization_id = f.organization_id AND r.event_id = f.id))
), going AS (
  SELECT f.id, f.organization_id FROM family f JOIN root USING (root)
)"""  # noqa: S608 - constants
KEEP = f"""{GOING}, kept AS (
  INSERT INTO usage_pruned_event (id, organization_id, dedupe_key, content)
  SELECT e.id, e.organization_id, e.dedupe_key, usage_event_content(
    e.organization_id, e.source, e.key, e.type, e.occurred_at, e.data, e.voids_id)
  FROM going JOIN usage_event e USING (id)
  ORDER BY e.organization_id, e.dedupe_key
  ON CONFLICT DO NOTHING
)
SELECT max(id) FROM slice"""  # noqa: S608 - constants
LEAVING = f"""{GOING}
SELECT s.last, o.organization_id, o.events
FROM (SELECT max(id) AS last FROM slice) s LEFT JOIN (
  SELECT g.organization_id, array_agg(g.id) AS events
  FROM going g JOIN usage_pruned_event p ON p.id = g.id GROUP BY 1
) o ON true ORDER BY 2"""  # noqa: S608 - constants
DROP = "SELECT usage_drop_events(%(organization)s, %(events)s::bigint[])"
ALONE = f"SELECT pg_advisory_xact_lock({THIN})"


@dataclass(frozen=True, slots=True)
class Thinning:
    """What a run did: which block it thinned, and how many rows went.

    `block` None: none is due. `busy`: others took too long, and the next run goes on.
    """

    block: int | None = None
    events: int = 0
    busy: bool = False


def thin_block(
    *, received_before: datetime, at: datetime, step: Callable[[int], None] = lambda _: None
) -> Thinning:
    """Let the rows of the next block go whose events all came before; ClickHouse answers for them.

    Safe to repeat, to run twice at once and to kill. In scopes of its own; must not be called
    inside one. Raises EventStoreUnavailable, and EventStoreDiffers, changing nothing, where
    ClickHouse does not hold the block as it was shipped.
    """
    with rls.ops_scope("usage: what ClickHouse has"):
        block = _next(received_before, at)
        if block is None:
            return Thinning()
        chosen = _span(block)
        _refuse_altered(block)
        if block.thinning_at is None:
            _tell(block, chosen, at)
    point("usage.thinning")
    _in_chunks(lambda after: _keep(chosen | {"after": after}))
    gone = 0

    def drop(after: int) -> int | None:
        nonlocal gone
        dropped, last = _drop(chosen | {"after": after})
        gone += dropped
        step(dropped)
        return last

    try:
        with rls.ops_scope("usage: wait for writers"):
            wait(WRITERS)
        _in_chunks(drop)
    except TooBusyError:
        return Thinning(block.number, gone, busy=True)
    with rls.ops_scope("usage: a block is thin"):
        UsageShipment.objects.filter(pk=block.pk).update(thinned_at=at)
    return Thinning(block.number, gone)


def _next(received_before: datetime, at: datetime) -> UsageShipment | None:
    """Return the first block that is not thin, if it is begun or due."""
    block = UsageShipment.objects.filter(thinned_at=None).order_by("number").first()
    if block is None or boundary() is None:
        return None
    if block.thinning_at is not None:
        return block
    [(newest, *_)] = rows(NEWEST, _span(block))
    is_due = newest is None or newest < received_before
    return block if is_due and block.shipped_at <= at - SETTLED else None


def _span(block: UsageShipment) -> dict[str, Any]:
    bases = dict(UsageEpoch.objects.values_list("number", "base_event_id"))
    return {
        "since": str(block.since),
        "until": str(block.until),
        "base": bases[block.epoch],
        "next_base": bases.get(block.epoch + 1, LAST_ID),
        "limit": CHUNK,
    }


def _refuse_altered(block: UsageShipment) -> None:
    if found := block_differences([block]):
        raise EventStoreDiffers(f"No event goes while ClickHouse lacks some: {found[0]}.")
    for page in clickhouse.of_block(block.number):
        for one in altered_copies(page):
            said = f"{one.type} '{one.key}' of {one.source} in block {block.number}"
            raise EventStoreDiffers(f"No event goes while its copy is another: {said}.")


def _tell(block: UsageShipment, chosen: dict[str, Any], at: datetime) -> None:
    """Say that ClickHouse alone may have the block, and up to where that is so."""
    [(_, latest, last)] = rows(NEWEST, chosen)
    before = thinned()
    block.thinning_at = at
    block.occurred_until = max(latest or EARLIEST, before.until if before else EARLIEST)
    block.last_event_id = max(last or 0, before.last_id if before else 0)
    block.save(update_fields=["thinning_at", "occurred_until", "last_event_id"])


def _in_chunks(act: Callable[[int], int | None]) -> None:
    after: int | None = 0
    while after is not None:
        after = act(after)


def _keep(chosen: dict[str, Any]) -> int | None:
    with rls.ops_scope("usage: keep the keys of events that go"):
        [(last,)] = rows(KEEP, chosen)
    point("usage.thin_keys_kept")
    return None if last is None else int(last)


def _drop(chosen: dict[str, Any]) -> tuple[int, int | None]:
    """Drop a chunk while nobody voids: what is voided by then stays."""
    dropped = 0
    with rls.ops_scope("usage: events go"):
        wait(ALONE)
        found = rows(LEAVING, chosen)
        for _, owner, events in found:
            if owner is not None:
                [(gone,)] = rows(DROP, {"organization": owner, "events": list(events)})
                dropped += gone
        point("usage.thinned")
    return dropped, found[0][0]
