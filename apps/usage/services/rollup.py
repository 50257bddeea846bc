"""Rolling events up into hourly buckets, exactly once each, and counting them all anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.core.faults import point
from apps.usage import counting, selectors
from apps.usage.models import Meter, UsageBucket, UsageDistinct, UsageEpoch
from apps.usage.selectors import BucketDifference
from apps.usage.shipped import event_store
from apps.usage.store import Hours, Touched, rows

LOCK = "hashtextextended('usage.roll_up', 0)"


@dataclass(frozen=True, slots=True)
class RolledUp:
    """What a run did: events and buckets touched; `skipped` when another run held the lock."""

    events: int = 0
    buckets: int = 0
    skipped: bool = False
    rebuilt: bool = False


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild found different before it, and whether it began a new epoch."""

    differences: tuple[BucketDifference, ...]
    new_epoch: bool


@transaction.atomic
def roll_up(at: datetime) -> RolledUp:
    """Add the committed events that are not in the buckets yet; needs the ops scope.

    Takes the events of all transactions from the watermark up to the oldest one still running:
    those have all ended, so none can appear there later. Event ids could not tell: they are given
    out before the commit, in any order. Safe to repeat and to run twice at once. After a restore
    from a dump it rebuilds first.
    """
    if not _value(f"SELECT pg_try_advisory_xact_lock({LOCK})"):
        return RolledUp(skipped=True)
    epoch = selectors.epoch()
    if epoch is None:
        _start_epoch(at)
        return RolledUp(rebuilt=True)
    return _advance(epoch)


@transaction.atomic
def rebuild(*, actor: Actor, at: datetime, organization_id: int | None = None) -> Rebuilt:
    """Count the buckets anew from the events and say what was different; needs the ops scope.

    For one organization or (None) all; sealed hours stand as they are. After a restore it begins a
    new epoch, for all of them. What is not rolled up yet stays so. Readers see the old buckets
    until the commit, then the new ones.
    """
    require("manage_platform", actor=actor)
    _value(f"SELECT pg_advisory_xact_lock({LOCK})")
    if selectors.epoch() is None:
        _start_epoch(at)
        return Rebuilt((), new_epoch=True)
    differences = tuple(selectors.bucket_differences(organization_id))
    _clear(organization_id)
    fill(organization_id=organization_id)
    audit.record(
        action="usage.rebuilt",
        target="",
        actor=actor,
        at=at,
        organization_id=organization_id,
        after={"differences": len(differences)},
    )
    return Rebuilt(differences, new_epoch=False)


def hold() -> None:
    """Keep roll-ups out until the transaction ends: for what must not miss an event."""
    _value(f"SELECT pg_advisory_xact_lock({LOCK})")


def fill(*, organization_id: int | None = None, meter_id: int | None = None) -> None:
    """Write the buckets of the rolled-up events where there are none; under `hold()`."""
    _take_time()
    for piece in event_store().pieces(organization_id, meter_id):
        rows(piece.making.buckets, piece.parameters)
        rows(piece.making.values, piece.parameters)


def refill(meter_id: int) -> None:
    """Write a meter's buckets anew, with the slices of now; under `hold()`.

    Only for meters without buckets in sealed hours: see `retention.is_sealed`.
    """
    UsageBucket.objects.filter(meter_id=meter_id).delete()
    UsageDistinct.objects.filter(meter_id=meter_id).delete()
    fill(meter_id=meter_id)


def _advance(epoch: UsageEpoch) -> RolledUp:
    # Read before the events are: the next statement's snapshot can only be newer.
    until = int(_value("SELECT pg_snapshot_xmin(pg_current_snapshot())::text"))
    if until <= epoch.watermark:
        return RolledUp()
    _take_time()
    span: dict[str, int | str] = {
        "since": str(epoch.watermark),  # as texts: there is no cast from an integer
        "until": str(until),
        "base": epoch.base_event_id,
    }
    with connection.cursor() as cursor:
        cursor.execute(counting.ROLL_UP, span)
        events, buckets, voiding = cursor.fetchone()
    if events == 0:
        return RolledUp()  # the watermark may stay: there is nothing between it and `until`
    if Meter.objects.filter(aggregation=Meter.Kind.UNIQUE_COUNT).exists():
        _execute(counting.ROLL_UP_DISTINCT, span)
    point("usage.rolled_up")
    UsageEpoch.objects.filter(pk=epoch.pk).update(watermark=until)
    if voiding:
        _take_out(span)
    return RolledUp(events=events, buckets=buckets)


def _take_out(span: Mapping[str, Any]) -> None:
    """Take what is voided out of the buckets it was rolled up into; the watermark is the new one.

    Sums are subtracted from. Where a maximum may be gone, the hour is counted anew.
    """
    _execute(counting.TAKE_OUT, span)
    with connection.cursor() as cursor:
        cursor.execute(counting.TOUCHED, span)
        touched = [Touched(*row) for row in cursor.fetchall()]
    if not touched:
        return
    hours = Hours.of(touched)._asdict()
    _execute(counting.DROP_BUCKETS, hours)
    _execute(counting.DROP_DISTINCT, hours)
    for piece in event_store().hourly(touched):
        rows(piece.making.touched_buckets, piece.parameters)
        rows(piece.making.touched_values, piece.parameters)


def _start_epoch(at: datetime) -> None:
    """Begin anew in this cluster: everything stored is rolled up, later events are told by id.

    The table's lock waits for writers that have begun, and none begins before the commit; so every
    event is either in the buckets or has a larger id.
    """
    _take_time()
    _value("SELECT usage_hold_events()")
    last = UsageEpoch.objects.order_by("-number").values_list("number", flat=True).first() or 0
    _execute(
        """INSERT INTO usage_epoch
          (number, system_identifier, base_event_id, watermark, started_at)
        SELECT %(number)s, (SELECT system_identifier FROM pg_control_system()),
          greatest((SELECT coalesce(max(id), 0) FROM usage_event),
            (SELECT coalesce(max(id), 0) FROM usage_pruned_event)),
          pg_snapshot_xmin(pg_current_snapshot()), %(at)s""",
        {"number": last + 1, "at": at},
    )
    _clear(None)
    fill()


def _clear(organization_id: int | None) -> None:
    for table in ("usage_bucket", "usage_distinct"):
        _execute(counting.CLEAR.format(table=table), {"organization": organization_id})


def _take_time() -> None:
    """Lift the time limit for this transaction: a first roll-up or a rebuild may take minutes."""
    _value("SELECT set_config('statement_timeout', '0', true)")


def _execute(sql: str, parameters: Mapping[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def _value(sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]
