"""Buckets are exact whatever commits when, and can be made anew from the events."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connections

from apps.core import rls
from apps.tenants.models import Organization
from apps.usage import selectors, services
from apps.usage.errors import UsageNotReady
from apps.usage.models import Event, UsageBucket, UsageEpoch
from apps.usage.selectors import Measured, Want
from apps.usage.services import RolledUp
from tests.conftest import AT, STAFF, make_organization
from tests.usage import clickhouse
from tests.usage.conftest import METERS, define, event, take

pytestmark = [pytest.mark.committed, pytest.mark.usefixtures("event_store")]
HOUR = timedelta(hours=1)
ROOT = Path(__file__).resolve().parents[2]
MONTH = (AT, datetime(2026, 4, 1, tzinfo=UTC))
LATER = datetime(2026, 4, 2, tzinfo=UTC)


@pytest.fixture
def acme(committed_db: str) -> Organization:
    with rls.ops_scope("test"):
        define()
    return make_organization("acme")


def roll_up() -> RolledUp:
    with rls.ops_scope("test"):
        done = services.roll_up(LATER)
    clickhouse.after_roll_up()
    return done


def settle() -> int:
    """Roll up until nothing is left; return how many events it took.

    PostgreSQL's own housekeeping may run a transaction at that moment and hold the watermark back.
    """
    events, deadline = 0, time.monotonic() + 60
    while time.monotonic() < deadline:
        events += roll_up().events
        epoch = UsageEpoch.objects.latest("number")
        with rls.ops_scope("test"):
            tail = Event.objects.filter(id__gt=epoch.base_event_id).extra(
                where=["xid >= %s::text::xid8"], params=[str(epoch.watermark)]
            )
            if not tail.exists():
                return events
        time.sleep(0.01)
    raise TimeoutError("a transaction holds the watermark back")


def measure(organization: Organization, start: datetime, end: datetime) -> list[Measured]:
    with rls.tenant_scope(organization.pk):
        return selectors.measure(organization.pk, [Want(key, start, end) for key in METERS])


def recount(
    organization: Organization, claims: list[Measured], start: datetime, end: datetime
) -> list[Measured]:
    with rls.tenant_scope(organization.pk):
        return [
            selectors.recount(organization.pk, Want(key, start, end), one.epoch, one.snapshot)
            for key, one in zip(METERS, claims, strict=True)
        ]


def differences(**chosen: Any) -> list[selectors.BucketDifference]:
    with rls.ops_scope("test"):
        return selectors.bucket_differences(**chosen)


def counts(measured: list[Measured]) -> list[tuple[Any, ...]]:
    return [(one.quantity, one.event_count, one.value_count, one.hash) for one in measured]


@contextmanager
def as_owner() -> Iterator[psycopg.Connection]:
    """The schema's owner at work by hand, past the triggers."""
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as connection:
        for table in ("usage_event", "usage_shipment"):
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield connection
        for table in ("usage_event", "usage_shipment"):
            connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def some_events(n: int = 40) -> list[Any]:
    return [
        event(AT + k * timedelta(minutes=17), tokens=k, user=f"u{k % 7}", gauge={"level": k})
        for k in range(n)
    ]


def test_a_roll_up_changes_no_measurement(acme: Organization) -> None:
    take(acme, *some_events(), at=LATER)
    windows = [MONTH, (AT + 90 * timedelta(seconds=1), AT + 5 * HOUR), (AT, AT + HOUR / 3)]
    before = [counts(measure(acme, *window)) for window in windows]
    assert settle() == 40
    assert roll_up() == RolledUp()
    assert [counts(measure(acme, *window)) for window in windows] == before
    assert differences() == []


def test_late_events_of_an_old_hour_are_added(acme: Organization) -> None:
    take(acme, event(AT, tokens=5, gauge={"level": 1}, user="a"), at=LATER)
    settle()
    take(acme, event(AT, tokens=7, gauge={"level": 2}, user="a"), at=LATER)
    take(acme, event(AT - timedelta(seconds=1) + HOUR, tokens=1, user="b"), at=LATER)
    settle()
    quantities = [one.quantity for one in measure(acme, *MONTH)]
    assert quantities == [3, 13, 7, 2, 2]
    assert differences() == []


def test_an_event_committed_after_a_later_one_is_not_lost(acme: Organization) -> None:
    """Ids would lose it: the open transaction has the smaller one."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as slow:
        slow.execute("SELECT set_config('app.organization_id', %s, true)", [str(acme.pk)])
        slow.execute(
            """INSERT INTO usage_event
              (organization_id, dedupe_key, source, key, type, occurred_at, received_at, data,
               digest)
            VALUES (%s, usage_dedupe_key('s', 'slow'), 's', 'slow', 'ai.request', %s, %s,
              '{"tokens": 100}',
              usage_event_digest(%s, 's', 'slow', 'ai.request', %s, %s, '{"tokens": 100}'))""",
            [acme.pk, AT, LATER, acme.pk, AT, LATER],
        )
        take(acme, event(AT, tokens=1), at=LATER)
        assert roll_up().events == 0  # nothing from the slow one on is settled
        before = measure(acme, *MONTH)
        assert before[1].quantity == 1
        slow.commit()
    assert measure(acme, *MONTH)[1].quantity == 101
    assert settle() == 2
    assert measure(acme, *MONTH)[1].quantity == 101
    assert counts(recount(acme, before, *MONTH)) == counts(before)


def test_a_measurement_can_be_counted_again_after_late_events(acme: Organization) -> None:
    take(acme, *some_events(), at=LATER)
    settle()
    take(acme, event(AT, tokens=3), at=LATER)
    claimed = measure(acme, *MONTH)
    take(acme, event(AT, tokens=1000), at=LATER)
    settle()
    assert measure(acme, *MONTH)[1].quantity == claimed[1].quantity + 1000
    assert recount(acme, claimed, *MONTH) == claimed


def test_a_second_run_at_the_same_time_is_skipped(acme: Organization) -> None:
    take(acme, event(), at=LATER)
    with psycopg.connect(os.environ["DATABASE_URL"]) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended('usage.roll_up', 0))")
        assert roll_up() == RolledUp(skipped=True)
    assert settle() == 1


def test_a_meter_on_old_events_counts_them_all(committed_db: str) -> None:
    with rls.ops_scope("test"):
        define("requests")
    acme = make_organization("acme")
    take(acme, *some_events(), at=LATER)
    settle()
    take(acme, event(AT, tokens=1, user="new", gauge={"level": 1}), at=LATER)
    take(acme, event(AT, tokens="none", gauge=5), at=LATER)  # nobody reads these yet
    with rls.ops_scope("test"):
        define()
    assert [one.quantity for one in measure(acme, *MONTH)] == [42, 781, 39, 39, 8]
    settle()
    assert [one.quantity for one in measure(acme, *MONTH)] == [42, 781, 39, 39, 8]
    assert differences() == []


FAR = 10**12


def restore_elsewhere(claims: Sequence[Measured] = ()) -> list[Measured]:
    """Make the database look like a dump restored into a younger cluster.

    The numbers of everything so far, in the rows and in the claims, come from one that has seen
    10^12 transactions more.
    """
    with as_owner() as owner:
        owner.execute("UPDATE usage_event SET xid = (xid::text::bigint + %s)::text::xid8", [FAR])
        owner.execute(
            """UPDATE usage_epoch SET system_identifier = 1,
              watermark = (watermark::text::bigint + %s)::text::xid8""",
            [FAR],
        )
        owner.execute(
            """UPDATE usage_shipment SET since = (since::text::bigint + %(far)s)::text::xid8,
              until = (until::text::bigint + %(far)s)::text::xid8""",
            {"far": FAR},
        )
    clickhouse.age(FAR)
    return [replace(one, snapshot=older(one.snapshot)) for one in claims]


def older(snapshot: str) -> str:
    return re.sub("[0-9]+", lambda number: str(int(number[0]) + FAR), snapshot)


def test_no_roll_up_passes_by_a_meter_that_is_being_defined(committed_db: str) -> None:
    with rls.ops_scope("test"):
        define("requests")
    take(make_organization("acme"), event(), at=LATER)
    with rls.ops_scope("test"):
        define("tokens")
        with ThreadPoolExecutor(1) as other:
            assert other.submit(roll_up_elsewhere).result() == RolledUp(skipped=True)


def roll_up_elsewhere() -> RolledUp:
    try:
        return roll_up()
    finally:
        connections.close_all()


def test_after_a_restore_nothing_is_measured_before_the_rebuild(acme: Organization) -> None:
    take(acme, *some_events(), at=LATER)
    settle()
    restore_elsewhere()
    with pytest.raises(UsageNotReady):
        measure(acme, *MONTH)
    with pytest.raises(UsageNotReady):
        differences()


def test_after_a_restore_the_worker_rebuilds_and_old_evidence_holds(acme: Organization) -> None:
    take(acme, *some_events(), at=LATER)
    settle()
    take(acme, event(AT, tokens=50, user="tail"), at=LATER)
    claimed = measure(acme, *MONTH)
    take(acme, event(AT, tokens=60), at=LATER)
    claimed = restore_elsewhere(claimed)
    with pytest.raises(UsageNotReady):
        take(acme, event(AT, tokens=70), at=LATER)
    assert roll_up().rebuilt
    take(acme, event(AT, tokens=70), at=LATER)
    take(acme, event(AT, tokens=80), at=LATER)
    settle()
    now = measure(acme, *MONTH)
    assert now[0].quantity == 44
    assert now[0].epoch == 2
    assert counts(recount(acme, claimed, *MONTH)) == counts(claimed)
    assert counts(recount(acme, now, *MONTH)) == counts(now)
    assert differences() == []


def test_a_rebuild_says_what_was_different_and_mends_it(acme: Organization) -> None:
    take(acme, *some_events(), at=LATER)
    settle()
    right = counts(measure(acme, *MONTH))
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute("UPDATE usage_bucket SET total = total + 1 WHERE total = 6")
        owner.execute("DELETE FROM usage_distinct WHERE id = (SELECT max(id) FROM usage_distinct)")
    found = differences()
    assert sorted(one.meter_key for one in found) == ["level", "peak", "tokens", "users"]
    with rls.ops_scope("test"):
        done = services.rebuild(actor=STAFF, at=LATER, organization_id=acme.pk)
    assert (list(done.differences), done.new_epoch) == (found, False)
    assert differences() == []
    assert counts(measure(acme, *MONTH)) == right


def test_a_rebuild_of_one_organization_leaves_the_others(acme: Organization) -> None:
    other = make_organization("other")
    for organization in (acme, other):
        take(organization, *some_events(3), at=LATER)
    settle()
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute("UPDATE usage_bucket SET event_count = event_count + 1")
    with rls.ops_scope("test"):
        services.rebuild(actor=STAFF, at=LATER, organization_id=acme.pk)
    assert {one.organization_id for one in differences()} == {other.pk}


@pytest.mark.rows_of_postgresql
def test_an_altered_event_is_named(acme: Organization) -> None:
    take(acme, event(AT, key="honest", tokens=1), event(AT, key="forged", tokens=5), at=LATER)
    settle()
    with rls.ops_scope("test"):
        assert selectors.altered_events() == []
    with as_owner() as owner:
        owner.execute("UPDATE usage_event SET data = '{\"tokens\": 4}' WHERE key = 'forged'")
    with rls.ops_scope("test"):
        assert [one.key for one in selectors.altered_events()] == ["forged"]
        assert [one.key for one in selectors.altered_events(acme.pk)] == ["forged"]
        assert selectors.altered_events(acme.pk + 1) == []


@pytest.mark.rows_of_postgresql
def test_a_forged_event_with_a_new_digest_still_breaks_its_bucket(acme: Organization) -> None:
    take(acme, *some_events(5), at=LATER)
    settle()
    with as_owner() as owner:
        owner.execute(
            'UPDATE usage_event SET data = \'{"user": "u1"}\' WHERE data @> \'{"tokens": 0}\''
        )
        owner.execute(
            """UPDATE usage_event SET digest = usage_event_digest(
                organization_id, source, key, type, occurred_at, received_at, data)"""
        )
    found = differences()
    assert {one.hour for one in found} == {AT}
    assert all(one.stored_hash != one.counted_hash for one in found if one.stored_hash)


@pytest.mark.rows_of_postgresql
@pytest.mark.parametrize("by_hand", ["remove", "add"])
def test_the_bucket_of_a_removed_or_added_event_is_named(acme: Organization, by_hand: str) -> None:
    take(acme, event(AT, key="a", tokens=0), event(AT + HOUR, key="b", tokens=0), at=LATER)
    settle()
    claimed = measure(acme, *MONTH)
    statements = {
        "remove": "DELETE FROM usage_event WHERE key = 'b'",
        "add": """INSERT INTO usage_event
            (organization_id, dedupe_key, source, key, type, occurred_at, received_at, data, digest,
             xid)
          SELECT organization_id, usage_dedupe_key('s', 'c'), 's', 'c', type, occurred_at,
            received_at, data, usage_event_digest(
              organization_id, 's', 'c', type, occurred_at, received_at, data), xid
          FROM usage_event WHERE key = 'b'""",
    }
    with as_owner() as owner:
        owner.execute(statements[by_hand])
    found = differences()
    assert {(one.meter_key, one.hour) for one in found} == {(key, AT + HOUR) for key in METERS}
    assert recount(acme, claimed, *MONTH)[0].hash != claimed[0].hash
    assert "requests 2026-03-01T01:00Z" in str(
        next(one for one in found if one.meter_key == "requests")
    )


def test_a_tenant_cannot_write_buckets_of_others_or_epochs(acme: Organization) -> None:
    take(acme, event(), at=LATER)
    settle()
    other = make_organization("other")
    with rls.tenant_scope(other.pk):
        assert not UsageBucket.objects.exists()
        with pytest.raises(Exception, match="permission denied"):
            UsageEpoch.objects.update(watermark=0)


def test_the_documents_table_of_windows_is_true(acme: Organization) -> None:
    table = (ROOT / "docs/algorithms/usage.md").read_text().partition("### Reading")[2]
    rows = re.findall(r"\| (\d\d):(\d\d) – (\d\d):(\d\d) \|.*\| (\d) \|", table)
    assert len(rows) == 4

    def moment(hour: str, minute: str) -> datetime:
        return AT + timedelta(hours=int(hour), minutes=int(minute))

    for text in ("10:20", "11:10", "11:50", "12:40"):
        take(acme, event(moment(*text.split(":")), tokens=1), at=LATER)
    settle()
    take(acme, event(moment("11", "55"), tokens=1), at=LATER)
    for *window, tokens in rows:
        measured = measure(acme, moment(*window[:2]), moment(*window[2:]))
        assert measured[1].quantity == int(tokens)
