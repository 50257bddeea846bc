"""Letting events go: sealed first, then their keys kept, then deleted, a chunk at a time.

A seal is for ever: from its commit on nothing is taken before it, and reads need no event of its
hours. So whatever dies half-way leaves numbers that are true, and the next run goes on.

The keys of a run are kept before any of its events goes, and between the two all statements that
store events are waited for: one that began before the keys were there would else find neither the
event nor its key, and count it twice.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.db import transaction

from apps.audit import services as audit
from apps.core import rls
from apps.core.actor import Actor, require
from apps.core.faults import point
from apps.core.ids import new_id
from apps.usage import retention, selectors
from apps.usage.errors import EventStoreDiffers, SealRefused
from apps.usage.models import EARLIEST, RejectedEvent, UsageSeal, UsageShipment
from apps.usage.retention import SealFacts
from apps.usage.services import rollup
from apps.usage.services.shipping import verify_shipments
from apps.usage.services.waiting import WRITERS, TooBusyError, wait
from apps.usage.shipped import event_store
from apps.usage.store import rows

CHUNK = 5_000  # events that a transaction looks at

# What is not in the buckets and touches what is to be closed.
PENDING = """SELECT EXISTS (
  SELECT FROM usage_event e LEFT JOIN usage_event t
    ON t.organization_id = e.organization_id AND t.id = e.voids_id
  WHERE e.organization_id = %(organization)s AND e.xid >= %(watermark)s::xid8
    AND e.id + 0 > %(base)s
    AND least(e.occurred_at, t.occurred_at) < %(closed_until)s)"""

# An event leaves together with all that voids or corrects it, or stays with them.
GOING = """WITH RECURSIVE slice AS MATERIALIZED (
  SELECT id, organization_id, voids_id, occurred_at, received_at, xid FROM usage_event
  WHERE organization_id = %(organization)s AND id > %(after)s ORDER BY id LIMIT %(limit)s
), family AS (
  SELECT id AS root, id, organization_id, occurred_at, received_at, xid FROM slice
  WHERE voids_id IS NULL
  UNION ALL
  SELECT f.root, v.id, v.organization_id, v.occurred_at, v.received_at, v.xid
  FROM family f
  JOIN usage_event v ON v.organization_id = f.organization_id AND v.voids_id = f.id
), root AS (
  SELECT root FROM family f GROUP BY root
  HAVING bool_and(occurred_at < %(until)s AND received_at < %(received_before)s
    AND (%(shipped)s::xid8 IS NULL OR id <= %(base)s OR xid < %(shipped)s::xid8))
), going AS (
  SELECT f.id FROM family f JOIN root USING (root)
)"""
KEEP = f"""{GOING}, kept AS (
  INSERT INTO usage_pruned_event (id, organization_id, dedupe_key, content)
  SELECT e.id, e.organization_id, e.dedupe_key, usage_event_content(
    e.organization_id, e.source, e.key, e.type, e.occurred_at, e.data, e.voids_id)
  FROM going JOIN usage_event e USING (id)
  ORDER BY e.dedupe_key
  ON CONFLICT DO NOTHING
)
SELECT max(id), bool_or(received_at < %(received_before)s) FROM slice"""  # noqa: S608 - constants
LEAVING = f"""{GOING}
SELECT (SELECT max(id) FROM slice),
  (SELECT bool_or(received_at < %(received_before)s) FROM slice),
  ARRAY(SELECT id FROM going JOIN usage_pruned_event USING (id))"""  # noqa: S608 - constants
DROP = "SELECT usage_drop_events(%(organization)s, %(events)s::bigint[])"


@transaction.atomic
def seal(
    organization_id: int,
    *,
    until: datetime,
    closed_until: datetime,
    proof: str,
    actor: Actor,
    at: datetime,
    seal_id: str = "",
) -> SealFacts:
    """Seal an organization's hours before `until`, the start of one; needs the ops scope.

    From the commit on no event is taken or voided that occurred before `closed_until`, and those
    before `until` may go. What is still needed of them the caller knows; `proof` is a hash of what
    it keeps. Waits for the transactions that store events, for an instant. Raises SealRefused where
    something is not rolled up yet: it is tried again later.
    """
    require("manage_platform", actor=actor, organization_id=organization_id)
    rollup.hold()
    last = retention.last_seal(organization_id)
    since = EARLIEST if last is None else last.until
    row = UsageSeal(
        public_id=seal_id or new_id("seal"),
        organization_id=organization_id,
        since=since,
        until=until,
        closed_until=closed_until if last is None else max(closed_until, last.closed_until),
        events=event_store().count(organization_id, since, until),
        buckets=retention.bucket_hash(organization_id, since, until),
        proof=proof,
        sealed_at=at,
    )
    _hold_writers()
    _refuse_pending(organization_id, row.closed_until)
    row.save(force_insert=True)
    audit.record(
        action="usage.sealed",
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=organization_id,
        after=retention.document(row),
    )
    return retention.facts(row)


def _refuse_pending(organization_id: int, closed_until: datetime) -> None:
    epoch = selectors.epoch()
    if epoch is None:
        raise SealRefused(selectors.NOT_READY)
    parameters = {
        "organization": organization_id,
        "watermark": str(epoch.watermark),
        "base": epoch.base_event_id,
        "closed_until": closed_until,
    }
    if rows(PENDING, parameters)[0][0]:
        raise SealRefused("Events of that time came just now and are not rolled up yet; try again.")


def _hold_writers() -> None:
    """Wait for the transactions that have stored events, and keep others out until the commit."""
    try:
        wait(WRITERS)
    except TooBusyError as error:
        raise SealRefused("Events are being stored and take long; try again.") from error


class _Chunk(NamedTuple):
    """What a transaction looked at: up to which event, and whether old ones were among them."""

    last: int | None
    is_old: bool | None


def prune(
    organization_id: int,
    *,
    received_before: datetime,
    actor: Actor,
    at: datetime,
    step: Callable[[int], None] = lambda _: None,
) -> int:
    """Delete the organization's sealed events that came before; return how many went.

    An event that something voids stays until that goes as well. Rejected events that were replayed
    before go, too. A transaction a chunk, in scopes of its own; must not be called inside one. Safe
    to repeat, to run twice at once and to kill. With ClickHouse only what is shipped goes. Raises
    EventStoreDiffers when ClickHouse lacks some of that, and SealRefused when it has not got them
    yet, or writers take too long.
    """
    require("manage_platform", actor=actor, organization_id=organization_id)
    with rls.ops_scope("usage: what is sealed"):
        last = retention.last_seal(organization_id)
        if last is None:
            return 0
        chosen = _chosen(last, received_before)
    _in_chunks(lambda after: _keep(chosen | {"after": after}))
    with rls.ops_scope("usage: wait for writers"):
        _hold_writers()
    gone = 0

    def drop(after: int) -> _Chunk:
        nonlocal gone
        dropped, chunk = _drop(chosen | {"after": after})
        gone += dropped
        step(dropped)
        return chunk

    _in_chunks(drop)
    with rls.ops_scope("usage: record what went"):
        _forget_replayed(organization_id, received_before)
        if gone:
            after = {"events": gone, "until": last.until.isoformat()}
            audit.record(
                action="usage.pruned", target=last.id, actor=actor, at=at,
                organization_id=organization_id, after=after,
            )  # fmt: skip
    return gone


def _chosen(last: SealFacts, received_before: datetime) -> dict[str, Any]:
    return {
        "organization": last.organization_id,
        "until": last.until,
        "received_before": received_before,
        "limit": CHUNK,
        **_shipped(),
    }


def _shipped() -> dict[str, Any]:
    """Return up to which transaction ClickHouse has all events; None where it is not used."""
    if not settings.CLICKHOUSE_URL:
        return {"shipped": None, "base": 0}
    epoch, last = selectors.epoch(), UsageShipment.objects.order_by("-number").first()
    if epoch is None or last is None or last.epoch != epoch.number:
        raise SealRefused("ClickHouse does not have the events yet; ship_events brings them there.")
    if differences := verify_shipments():
        said = f"Nothing is pruned while ClickHouse lacks events: {differences[0]}."
        raise EventStoreDiffers(said)
    return {"shipped": str(last.until), "base": epoch.base_event_id}


def _in_chunks(act: Callable[[int], _Chunk]) -> None:
    """Act chunk by chunk until nothing that is old enough comes; ids follow the order of coming."""
    after = 0
    while True:
        chunk = act(after)
        if chunk.last is None or not chunk.is_old:
            return
        after = chunk.last


def _keep(chosen: dict[str, Any]) -> _Chunk:
    with rls.ops_scope("usage: keep the keys of events that go"):
        [found] = rows(KEEP, chosen)
    point("usage.keys_kept")
    return _Chunk(*found)


def _drop(chosen: dict[str, Any]) -> tuple[int, _Chunk]:
    with rls.ops_scope("usage: events go"):
        [(last, is_old, events)] = rows(LEAVING, chosen)
        organization_id = chosen["organization"]
        RejectedEvent.objects.filter(organization_id=organization_id, event_id__in=events).delete()
        [(dropped,)] = rows(DROP, {"organization": organization_id, "events": events})
        point("usage.dropped")
    return dropped, _Chunk(last, is_old)


def _forget_replayed(organization_id: int, before: datetime) -> None:
    rejected = RejectedEvent.objects.filter(organization_id=organization_id)
    rejected.filter(replayed_at__lt=before).delete()
