"""Raw usage goes when its period is billed and proven; what was billed of it stays proven."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection

from apps.core import clock, rls
from apps.core.errors import Invalid
from apps.invoicing import books, services
from apps.invoicing.explaining import events_of_line
from apps.invoicing.models import InvoiceLine, LineSeal
from apps.invoicing.services import Pruned
from apps.tenants.models import Organization
from apps.usage import selectors as usage
from apps.usage import services as usage_services
from apps.usage.checking import NewEvent
from apps.usage.errors import UsageSealed
from apps.usage.models import Event, PrunedEvent, UsageSeal
from apps.usage.selectors import Want
from apps.usage.services import Status
from tests.conftest import STAFF, make_organization
from tests.invoicing import world
from tests.invoicing.world import day
from tests.races import at_once
from tests.usage import clickhouse

# Events are dated by the database when they come: retention is asked for from the future.
LATER = clock.now() + timedelta(days=100)
BEFORE = LATER - timedelta(days=70)


@pytest.fixture
def two_months(committed_db: str) -> Organization:
    """January and February are billed, with 30 and 20 requests; March has 5 and is not."""
    world.load()
    organization = make_organization("acme")
    world.subscribe(organization, start=day(1, 1), seats=5)
    world.use(organization, *world.hourly(day(1, 5) + timedelta(minutes=10), 30))
    world.use(organization, *world.hourly(day(2, 5) + timedelta(minutes=10), 20))
    world.use(organization, *world.hourly(day(3, 1), 5))
    world.roll_up()
    world.bill(day(3, 1))
    return organization


def prune(**options: Any) -> list[Pruned]:
    return services.prune_usage(before=BEFORE, actor=STAFF, at=LATER, **options)


def events_left() -> int:
    with rls.ops_scope("test: count"):
        return Event.objects.count()


def measured(organization: Organization, start: datetime, end: datetime) -> int:
    with rls.tenant_scope(organization.pk):
        return int(usage.measure(organization.pk, [Want("requests", start, end)])[0].quantity)


def take(organization: Organization, *events: NewEvent) -> list[Status]:
    with rls.tenant_scope(organization.pk):
        found = usage_services.ingest(organization.pk, events=events, actor=STAFF, at=LATER)
    return [one.status for one in found.results]


def request(at: datetime, key: str, **data: int) -> NewEvent:
    return NewEvent("test", key, "ai.request", at, {"tokens": 100, **data})


def by_hand(app_url: str, *statements: str) -> None:
    """Change the database as its superuser, with the triggers out of the way."""
    url = app_url.replace("//billing_app@", "//postgres@")
    with psycopg.connect(url, autocommit=True) as superuser:
        superuser.execute("SET session_replication_role = replica")
        for statement in statements:
            assert superuser.execute(statement).rowcount == 1, statement


def test_what_is_billed_goes_and_the_books_hold(two_months: Organization) -> None:
    assert books.verify().hold
    [done] = prune()
    assert (done.until, done.lines, done.events) == (day(3, 1), 4, 50)
    assert events_left() == 5
    found = books.verify()
    assert (found.invoices, found.findings) == (3, ())
    with rls.ops_scope("test: sealed"):
        [sealed] = books.sealed_lines()
        assert (sealed.lines, sealed.until) == (4, day(3, 1))
        assert books.late_usage() == []


def test_whole_hours_answer_as_before(two_months: Organization) -> None:
    before = measured(two_months, day(1, 5), day(2, 6))
    prune()
    assert measured(two_months, day(1, 5), day(2, 6)) == before == 50
    assert measured(two_months, day(1, 5, 3), day(1, 5, 5)) == 2


def test_the_middle_of_a_sealed_hour_is_refused_in_words(two_months: Organization) -> None:
    prune()
    with pytest.raises(UsageSealed, match="gone by retention"):
        measured(two_months, day(1, 5), day(1, 5, 3) + timedelta(minutes=30))


def test_the_period_under_way_is_billed_as_ever(two_months: Organization) -> None:
    prune()
    world.use(two_months, *world.hourly(day(3, 20), 15))
    world.roll_up()
    world.bill(day(4, 1))
    # 20 requests, 10 of them included, at 5 cents; 2,000 tokens at 60 cents a thousand.
    assert world.amounts(world.invoices(two_months)[-1])["requests"] == 50
    assert world.amounts(world.invoices(two_months)[-1])["tokens"] == 1_20
    assert books.verify().hold


def test_an_event_that_went_is_known_when_it_comes_again(two_months: Organization) -> None:
    first = day(1, 5) + timedelta(minutes=10)
    key = f"{first.isoformat()}-0".replace("+00:00", "Z")
    prune()
    moved = request(day(3, 10), key)
    assert take(two_months, request(first, key)) == [Status.DUPLICATE]
    assert take(two_months, request(first, key, tokens=7)) == [Status.CONFLICT]
    assert take(two_months, moved) == [Status.CONFLICT]
    assert events_left() == 5


def test_nothing_is_added_or_voided_in_a_sealed_time(two_months: Organization) -> None:
    with rls.tenant_scope(two_months.pk):
        rows = Event.objects.order_by("occurred_at")
        old, young = rows[0].public_id, rows.reverse()[0].public_id
    prune()
    assert take(two_months, request(day(2, 10), "late")) == [Status.REJECTED]
    assert take(two_months, request(day(3, 10), "new")) == [Status.ACCEPTED]
    void = NewEvent("test", "v1", "usage.void", day(3, 11), {}, voids=old)
    assert take(two_months, void) == [Status.REJECTED]
    void = NewEvent("test", "v2", "usage.void", day(3, 11), {}, voids=young)
    assert take(two_months, void) == [Status.ACCEPTED]


def test_a_second_run_has_nothing_to_do(two_months: Organization) -> None:
    prune()
    [done] = prune()
    assert (done.lines, done.events) == (0, 0)
    assert "already" in done.reason


def test_a_dry_run_changes_nothing(two_months: Organization) -> None:
    [done] = prune(dry_run=True)
    assert (done.until, done.lines, done.events) == (day(3, 1), 4, 0)
    assert events_left() == 55
    with rls.ops_scope("test: seals"):
        assert not UsageSeal.objects.exists()


def test_events_that_are_still_accepted_are_never_pruned(two_months: Organization) -> None:
    with pytest.raises(Invalid, match="30 days"):
        services.prune_usage(before=LATER - timedelta(days=64), actor=STAFF, at=LATER)
    assert events_left() == 55


def test_books_that_do_not_hold_lose_nothing(two_months: Organization, committed_db: str) -> None:
    by_hand(committed_db, "UPDATE usage_bucket SET total = total + 1 WHERE id = 1")
    [done] = prune()
    assert (done.until, done.events) == (None, 0)
    assert "books do not hold" in done.reason
    assert events_left() == 55


def test_a_correction_that_waits_keeps_its_period(two_months: Organization) -> None:
    world.use(two_months, day(2, 20))
    world.roll_up()
    report = services.heal_usage(actor=STAFF, at=LATER)
    assert report.found
    [done] = prune()
    assert done.until == day(2, 1)
    assert events_left() == 26
    assert books.verify().hold


@pytest.mark.parametrize(
    "tampered",
    [
        "UPDATE invoicing_lineseal SET quantity = quantity + 1 WHERE id = 1",
        "DELETE FROM invoicing_lineseal WHERE id = 1",
        "UPDATE usage_seal SET until = until - interval '1 hour'",
        "UPDATE usage_seal SET buckets = repeat('0', 64)",
        "UPDATE usage_bucket SET total = total + 1 WHERE id = 1",
    ],
)
def test_a_tampered_seal_is_found(
    two_months: Organization, committed_db: str, tampered: str
) -> None:
    prune()
    by_hand(committed_db, tampered)
    found = books.verify().findings
    assert "seal" in {one.kind for one in found}


def test_a_rebuild_leaves_sealed_hours_alone(two_months: Organization) -> None:
    prune()
    with rls.ops_scope("test: rebuild"):
        done = usage_services.rebuild(actor=STAFF, at=LATER)
    assert done.differences == ()
    assert measured(two_months, day(1, 5), day(2, 6)) == 50
    assert books.verify().hold


def test_a_rebuild_after_a_restore_leaves_sealed_hours_alone(
    two_months: Organization, committed_db: str
) -> None:
    prune()
    by_hand(committed_db, "UPDATE usage_epoch SET system_identifier = 1")
    with rls.ops_scope("test: roll up"):
        assert usage_services.roll_up(LATER).rebuilt
    assert measured(two_months, day(1, 5), day(2, 6)) == 50
    assert books.verify().hold


def test_a_voided_event_goes_with_what_voids_it(committed_db: str) -> None:
    world.load()
    organization = make_organization("acme")
    world.subscribe(organization, start=day(1, 1))
    wrong, other = request(day(1, 5), "wrong"), request(day(1, 6), "other")
    take(organization, wrong, other)
    take(organization, NewEvent("test", "v1", "usage.void", day(1, 7), {}, voids="wrong"))
    take(organization, NewEvent("test", "v2", "usage.void", day(3, 7), {}, voids="other"))
    world.roll_up()
    world.bill(day(3, 1))
    [done] = prune()
    assert done.events == 2
    with rls.ops_scope("test: who stayed"):
        assert set(Event.objects.values_list("key", flat=True)) == {"other", "v2"}
        assert PrunedEvent.objects.count() == 2
    assert books.verify().hold


def test_a_line_says_that_its_events_are_gone(two_months: Organization) -> None:
    prune()
    with rls.ops_scope("test: a line"):
        line = InvoiceLine.objects.filter(key="requests", amount__gt=0).order_by("id")[0]
        told = events_of_line(line.public_id)
        assert (list(told.events), told.sealed_at) == ([], LATER)
        assert LineSeal.objects.get(line=line).quantity == 30


def test_the_database_lets_no_other_event_go(two_months: Organization) -> None:
    with rls.ops_scope("test: which"):
        event = Event.objects.order_by("-id")[0]
    with pytest.raises(Exception, match="is a fact and stays"), rls.ops_scope("test: drop"):  # noqa: SIM117
        with connection.cursor() as cursor:
            cursor.execute("SELECT usage_drop_events(%s, ARRAY[%s])", [two_months.pk, event.pk])
    assert events_left() == 55


DIES = """
import django
django.setup()
from datetime import timedelta
from apps.core import clock
from apps.core.actor import operator
from apps.invoicing import services
from apps.usage.services import pruning
pruning.CHUNK = 7
at = clock.now() + timedelta(days=100)
services.prune_usage(before=at - timedelta(days=70), actor=operator("test"), at=at)
"""


@pytest.mark.parametrize(
    "place",
    [
        "retention.proven",
        "retention.sealed",
        "usage.keys_kept:3",
        "usage.dropped",
        "usage.dropped:4",
    ],
)
def test_whoever_dies_half_way_leaves_all_true(two_months: Organization, place: str) -> None:
    environment = {**os.environ, "FAULT_POINT": place}
    died = subprocess.run([sys.executable, "-c", DIES], env=environment, check=False)
    assert died.returncode == -signal.SIGKILL
    assert books.verify().hold
    assert measured(two_months, day(1, 5), day(2, 6)) == 50
    prune()
    assert events_left() == 5
    assert books.verify().hold


def test_what_comes_again_while_events_go_is_never_counted_twice(
    two_months: Organization,
) -> None:
    with rls.ops_scope("test: which"):
        keys = list(Event.objects.order_by("id").values_list("key", flat=True)[:50])
    again = [request(day(3, 10), key) for key in keys]
    turns = iter(range(5))

    def act() -> None:
        if next(turns) == 0:
            prune()
            return
        for _ in range(10):
            assert set(take(two_months, *again)) == {Status.CONFLICT}

    at_once(5, act)
    assert events_left() == 5
    assert measured(two_months, day(3, 1), day(4, 1)) == 5
    assert books.verify().hold


def test_with_clickhouse_the_evidence_stays(two_months: Organization) -> None:
    middle = day(1, 5, 3) + timedelta(minutes=30)
    with clickhouse.store():
        [refused] = prune()
        assert "ClickHouse does not have the events" in refused.reason
        assert events_left() == 55
        clickhouse.ship()
        assert prune()[0].events == 50
        assert measured(two_months, day(1, 5), middle) == 4
        with rls.ops_scope("test: a line"):
            line = InvoiceLine.objects.filter(key="requests", amount__gt=0).order_by("id")[0]
            assert len(events_of_line(line.public_id).events) == 30
        assert books.verify().hold
    with pytest.raises(UsageSealed):
        measured(two_months, day(1, 5), middle)


def test_what_is_thinned_is_sealed_all_the_same(two_months: Organization) -> None:
    middle = day(1, 5, 3) + timedelta(minutes=30)
    with clickhouse.store():
        clickhouse.ship()
        assert (clickhouse.thin(), events_left()) == (55, 0)
        assert books.verify().hold
        [done] = prune()
        assert (done.until, done.lines, done.events) == (day(3, 1), 4, 0)
        with rls.ops_scope("test: a seal"):
            assert UsageSeal.objects.get().events == 50
        assert take(two_months, request(day(1, 6), "late")) == [Status.REJECTED]
        assert measured(two_months, day(1, 5), middle) == 4
        assert books.verify().hold
        assert usage_services.restore_events() == events_left() == 5  # what is sealed stays away
    with pytest.raises(UsageSealed):
        measured(two_months, day(1, 5), middle)
