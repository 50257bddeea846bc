"""Rows leave PostgreSQL once ClickHouse has them, and every answer stays what it was."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections

from apps.backoffice.management.commands import doctor
from apps.core import clock, rls
from apps.tenants.models import Organization
from apps.usage import breakdown, clickhouse, selectors, services
from apps.usage.breakdown import Question
from apps.usage.checking import NewEvent, Refusal, Unread
from apps.usage.errors import EventRefused, EventStoreDiffers, EventStoreUnavailable
from apps.usage.models import (
    LATEST,
    Event,
    PrunedEvent,
    RejectedEvent,
    UsageBucket,
    UsageDistinct,
    UsageShipment,
)
from apps.usage.selectors import Want
from apps.usage.services import Thinning, thinning
from tests.conftest import AT, STAFF, make_organization
from tests.usage.clickhouse import ship, ship_once, store, thin
from tests.usage.conftest import METERS, MORE_METERS, define, event, take
from tests.usage.test_clickhouse import (
    WINDOWS,
    define_the_rest,
    differences,
    readable_events,
    requests,
    some_events,
    switched_off,
    take_back,
)
from tests.usage.test_rollup import LATER, settle

pytestmark = pytest.mark.committed
HOUR = timedelta(hours=1)
NEXT_DAY = AT + timedelta(days=1)


@pytest.fixture
def acme(committed_db: str) -> Iterator[Organization]:
    """An organization whose events only one meter counts so far: it takes any values."""
    with store():
        with rls.ops_scope("test"):
            define("requests")
        yield make_organization("acme")


@pytest.fixture
def thinned(acme: Organization) -> Organization:
    """One with twenty events, of which PostgreSQL has none."""
    take(acme, *(said(n) for n in range(20)), at=LATER)
    settle()
    ship()
    assert thin() == 20
    return acme


def said(n: int, **more: Any) -> NewEvent:
    return event(AT + n * timedelta(minutes=17), key=f"k{n}", tokens=n, user=f"u{n % 7}", **more)


def rows_left() -> int:
    with rls.ops_scope("test"):
        return Event.objects.count()


def thin_next(**options: Any) -> Thinning:
    return services.thin_block(**{"received_before": LATEST, "at": NEXT_DAY, **options})


def breakdowns(organization: Organization) -> dict[str, Any]:
    """Usage by a dimension, with and without a series and a filter, of every kind of meter."""
    asked = {
        f"{key} {start} {by} {grain} {where}": Question(
            key, start, end, by, where=where, grain=grain
        )
        for key in MORE_METERS
        for start, end in WINDOWS[:2]
        for by in [(), ("model",)]
        for grain, where in [("", {}), ("day", {"model": ["large", "1"]})]
    }
    for key in METERS:
        asked[key] = Question(key, *WINDOWS[1], ("model",), grain="day")
    with rls.tenant_scope(organization.pk):
        return {
            name: seen(breakdown.break_down(organization.pk, one)) for name, one in asked.items()
        }


def seen(found: breakdown.Breakdown) -> Any:
    total = found.total
    return (total.quantity, total.hash, total.event_count, found.points, found.groups, found.rest)


def events_seen(organization: Organization) -> dict[str, Any]:
    """Lists, pages of them, and events one by one with their exact data."""
    with rls.tenant_scope(organization.pk):
        whole = selectors.latest_events(organization.pk, limit=500)
        found: dict[str, Any] = {
            "whole": whole,
            "type": selectors.latest_events(organization.pk, event_type="usage.void"),
            "page": selectors.latest_events(organization.pk, before_id=whole[9].id, limit=7),
        }
        for one in whole[::9]:
            row = selectors.get_event(organization.pk, one.public_id)
            assert row == selectors.get_event(organization.pk, one.key, source=one.source)
            found[one.key] = (row.occurred_at, row.voids_id, selectors.data_text(row))
    return found


def made() -> list[Any]:
    """The buckets and the different values, as they stand."""
    with rls.ops_scope("test"):
        buckets = UsageBucket.objects.order_by("meter", "hour", "slice").values()
        values = UsageDistinct.objects.order_by("meter", "hour", "value").values()
        return [{**row, "id": 0} for row in [*buckets, *values]]


def test_groups_and_lists_are_the_same_without_the_rows(acme: Organization, settings: Any) -> None:
    """What is measured and recounted without the rows: see test_clickhouse."""
    first = some_events(1, 60)
    assert take(acme, *first, at=LATER).accepted == len(first)
    settle()
    define_the_rest()
    with rls.ops_scope("test"):
        define(*METERS, dimensions=["model"])
    take_back(acme, *first[:5])
    settle()
    ship()
    take_back(acme, *first[5:8])
    take(acme, *readable_events(), at=LATER)
    groups = switched_off(settings, breakdowns, acme)
    events = switched_off(settings, events_seen, acme)
    assert thin() == len(first) + 5 - 3  # three are taken back by something that is not shipped
    assert differences(breakdowns(acme), groups) == {}
    assert differences(events_seen(acme), events) == {}
    settle()
    ship()
    thin()
    assert rows_left() == 0
    assert differences(breakdowns(acme), groups) == {}
    assert differences(events_seen(acme), events) == {}


def test_buckets_are_made_anew_of_what_is_elsewhere(acme: Organization, settings: Any) -> None:
    events = some_events(3, 60)
    take(acme, *events, at=LATER)
    settle()
    ship()
    take(acme, *readable_events()[:20], at=LATER)
    take_back(acme, *events[:3])
    settle()
    thin()
    define_the_rest()
    with rls.ops_scope("test"):
        define(*METERS, dimensions=["model", "place.region"])
    here = made()
    assert checked() == ([], [])
    with rls.ops_scope("test"):
        assert services.rebuild(actor=STAFF, at=LATER).differences == ()
    assert made() == here
    services.restore_events()
    assert switched_off(settings, checked) == ([], [])
    switched_off(settings, rebuilt)
    assert made() == here


def checked() -> tuple[list[Any], list[Any]]:
    with rls.ops_scope("test"):
        return selectors.bucket_differences(), selectors.altered_events()


def rebuilt() -> None:
    with rls.ops_scope("test"):
        services.rebuild(actor=STAFF, at=LATER)


def test_months_are_compared_one_after_the_other(
    acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.usage.remaking.PIECE", 5)
    days = [event(AT + n * timedelta(days=9), tokens=n, user=f"u{n % 3}") for n in range(20)]
    take(acme, *days, at=LATER + timedelta(days=200))
    settle()
    define_the_rest()
    here = made()
    ship()
    thin()
    assert checked() == ([], [])
    rebuilt()
    assert made() == here


def test_an_event_that_comes_again_is_known_whatever_its_time(thinned: Organization) -> None:
    assert statuses(thinned, said(3)) == ["duplicate"]
    assert statuses(thinned, event(AT, key="k3", tokens=3)) == ["conflict"]
    assert statuses(thinned, event(LATER, key="k3", tokens=3), at=LATER) == ["conflict"]
    assert statuses(thinned, event(AT, key="new", tokens=1)) == ["accepted"]
    assert requests(thinned) == 21


def statuses(organization: Organization, *events: NewEvent, at: datetime = LATER) -> list[str]:
    return [one.status.value for one in take(organization, *events, at=at).results]


def test_a_void_brings_back_what_it_takes_back(thinned: Organization) -> None:
    define_the_rest()
    take_back(thinned, said(4))
    assert rows_left() == 2
    assert requests(thinned) == 19
    assert peak(thinned) == 19
    settle()
    assert (requests(thinned), checked()) == (19, ([], []))
    take_back(thinned, said(19))
    assert peak(thinned) == 18
    settle()
    assert (peak(thinned), checked()) == (18, ([], []))
    ship()
    assert (thin(), rows_left()) == (4, 0)
    assert (requests(thinned), peak(thinned), checked()) == (18, 18, ([], []))


def peak(organization: Organization) -> int:
    with rls.tenant_scope(organization.pk):
        [found] = selectors.measure(organization.pk, [Want("peak", AT, AT + 60 * HOUR)])
    return int(found.quantity)


def test_what_is_voided_elsewhere_cannot_be_voided_again(thinned: Organization) -> None:
    take_back(thinned, said(4))
    settle()
    ship()
    assert (thin(), rows_left()) == (2, 0)
    with pytest.raises(EventRefused) as refused:
        take_back(thinned, said(4))
    assert refused.value.extra == {"reason": "already_voided"}
    assert requests(thinned) == 19


def test_a_chain_of_corrections_goes_and_comes_as_one(thinned: Organization) -> None:
    first = corrected(thinned, "k4", tokens=40)
    settle()
    ship()
    assert (thin(), rows_left()) == (2, 0)
    second = corrected(thinned, first, tokens=41)
    with rls.tenant_scope(thinned.pk):
        held = [one for one in selectors.latest_events(thinned.pk) if not one.voided]
        assert selectors.exact_data(selectors.get_event(thinned.pk, second)) == {"tokens": 41}
    assert len(held) == 20
    assert (rows_left(), requests(thinned)) == (3, 20)
    settle()
    ship()
    assert (thin(), rows_left(), requests(thinned)) == (3, 0, 20)


def corrected(organization: Organization, name: str, **data: int) -> str:
    with rls.tenant_scope(organization.pk):
        return services.correct_event(
            organization.pk,
            event=name,
            source="" if name.startswith("uev_") else "test",
            data=data,
            actor=STAFF,
            at=LATER,
        ).public_id


def test_what_is_taken_back_meanwhile_stays(acme: Organization) -> None:
    take(acme, *(said(n) for n in range(20)), at=LATER)
    settle()
    ship()
    take_back(acme, said(4))
    assert (thin(), rows_left()) == (19, 2)
    settle()
    ship()
    assert (thin(), rows_left(), requests(acme)) == (2, 0, 19)


def test_nothing_goes_before_its_time(acme: Organization) -> None:
    take(acme, *(said(n) for n in range(20)), at=LATER)
    settle()
    assert thin_next() == Thinning()
    ship()
    assert thin_next(received_before=clock.now() - timedelta(days=1)) == Thinning()
    assert thin_next(at=AT) == Thinning()  # shipped just now
    assert (thin_next(), rows_left()) == (Thinning(1, 20), 0)


def test_nothing_goes_while_a_copy_differs(acme: Organization) -> None:
    take(acme, *(said(n, note="x") for n in range(20)), at=LATER)
    settle()
    ship()
    clickhouse.command(
        "ALTER TABLE usage_event UPDATE texts = map('tokens', '7') WHERE key = 'k3'"
        " SETTINGS mutations_sync = 2"
    )
    with pytest.raises(EventStoreDiffers, match="'k3' of test in block 1"):
        thin_next()
    with rls.ops_scope("test"):
        assert [one.key for one in selectors.altered_events()] == ["k3"]
    clickhouse.command("DELETE FROM usage_event WHERE key = 'k3'")
    with pytest.raises(EventStoreDiffers, match="19 and 0 found"):
        thin_next()
    assert rows_left() == 20
    assert not UsageShipment.objects.filter(thinning_at__isnull=False).exists()


@pytest.mark.parametrize("changed", ["data = '{}'", "lane_a = 7", "key = 'other'"])
def test_an_altered_copy_is_named(thinned: Organization, changed: str) -> None:
    clickhouse.command(
        f"ALTER TABLE usage_event UPDATE {changed} WHERE id = 3 SETTINGS mutations_sync = 2"
    )
    with rls.ops_scope("test"):
        assert [one.id for one in selectors.altered_events()] == [3]
        assert [one.id for one in selectors.altered_events(thinned.pk)] == [3]


def test_a_run_that_dies_goes_on(acme: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    take(acme, *(said(n) for n in range(20)), at=LATER)
    settle()
    ship()
    monkeypatch.setattr(thinning, "CHUNK", 6)

    def die(_: int) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        thin_next(step=die)
    assert (rows_left(), requests(acme)) == (14, 20)
    assert statuses(acme, said(3), said(15)) == ["duplicate", "duplicate"]
    with rls.tenant_scope(acme.pk):
        assert len(selectors.latest_events(acme.pk)) == 20
    assert (thin_next(), thin_next()) == (Thinning(1, 14), Thinning())
    assert (rows_left(), requests(acme)) == (0, 20)


def test_without_clickhouse_nothing_is_answered_wrongly(
    thinned: Organization, settings: Any
) -> None:
    settings.CLICKHOUSE_URL = ""
    with rls.tenant_scope(thinned.pk):
        [whole] = selectors.measure(thinned.pk, [Want("requests", AT, AT + 60 * HOUR)])
        assert whole.quantity == 20  # from the buckets
        claim = selectors.Claim(Want("requests", AT, AT + 60 * HOUR), whole.epoch, whole.snapshot)
        for ask in (
            lambda: selectors.measure(thinned.pk, [Want("requests", AT, AT + HOUR / 2)]),
            lambda: selectors.recount_all([(thinned.pk, claim)]),
            lambda: selectors.readings(thinned.pk, claim),
            lambda: selectors.latest_events(thinned.pk),
            lambda: selectors.find_event(thinned.pk, "k3", source="test"),
        ):
            with pytest.raises(EventStoreUnavailable, match="in ClickHouse alone"):
                ask()
        after = Want("requests", LATER + HOUR / 2, LATER + HOUR)
        assert selectors.measure(thinned.pk, [after])[0].quantity == 0
    with pytest.raises(EventStoreUnavailable):
        rebuilt()
    with pytest.raises(EventStoreUnavailable):
        checked()
    with rls.ops_scope("test"), pytest.raises(EventStoreUnavailable):
        define("tokens")
    assert statuses(thinned, said(3), event(LATER, key="new")) == ["duplicate", "accepted"]
    with pytest.raises(EventStoreUnavailable):
        take_back(thinned, said(4))
    assert [one.state for one in doctor.CHECKS["event store"]()] == ["fail"]


def test_what_a_block_says_of_its_rows_stays(thinned: Organization) -> None:
    with pytest.raises(DatabaseError, match="is a fact and stays"), rls.ops_scope("test"):
        UsageShipment.objects.all().delete()
    with pytest.raises(DatabaseError, match="never changes"), rls.ops_scope("test"):
        UsageShipment.objects.update(events=0)


def test_an_event_without_a_copy_never_goes(acme: Organization) -> None:
    take(acme, said(1), at=LATER)
    with rls.ops_scope("test"):
        [row] = Event.objects.all()
        PrunedEvent.objects.create(
            id=row.pk, organization_id=acme.pk, dedupe_key=row.dedupe_key, content=0
        )
    with pytest.raises(DatabaseError, match="stays"), rls.ops_scope("test"):
        drop(acme, row.pk)
    assert rows_left() == 1


def drop(organization: Organization, event_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT usage_drop_events(%s, ARRAY[%s])", [organization.pk, event_id])


def test_everything_comes_back(thinned: Organization, settings: Any) -> None:
    take_back(thinned, said(4))
    settle()
    ship()
    thin()
    expected = events_seen(thinned)
    assert services.restore_events() == 21
    assert not UsageShipment.objects.filter(thinning_at__isnull=False).exists()
    assert switched_off(settings, requests, thinned) == 19
    assert switched_off(settings, events_seen, thinned) == expected
    assert switched_off(settings, checked) == ([], [])
    assert statuses(thinned, said(3)) == ["duplicate"]
    assert services.restore_events() == 0
    assert (thin(), rows_left(), requests(thinned)) == (21, 0, 19)


def test_a_replayed_event_stays_and_a_repeated_one_is_only_marked(acme: Organization) -> None:
    take(acme, *(said(n) for n in range(5)), at=LATER)
    settle()
    ship()
    thin()
    again, new = said(3), said(7)
    with rls.tenant_scope(acme.pk):
        services.ingest(acme.pk, events=[unread(again), unread(new)], actor=STAFF, at=LATER)
    with rls.ops_scope("test"):
        done = services.replay_rejected(actor=STAFF, at=LATER)
        assert (done.accepted, done.duplicate) == (1, 1)
        assert RejectedEvent.objects.filter(replayed_at__isnull=False, event=None).count() == 1
    settle()
    ship()
    assert (thin(), rows_left(), requests(acme)) == (0, 1, 6)


def unread(one: NewEvent) -> Unread:
    payload = {
        "specversion": "1.0",
        "id": one.key,
        "source": one.source,
        "type": one.type,
        "time": one.occurred_at.isoformat() if one.occurred_at else "",
        "data": dict(one.data),
    }
    return Unread(Refusal("later", "Tried again later."), json.dumps(payload))


def test_a_stranger_gets_nothing_of_it(thinned: Organization) -> None:
    with rls.tenant_scope(make_organization("stranger").pk):
        assert selectors.find_event(thinned.pk, "k3", source="test") is None
        assert selectors.latest_events(thinned.pk) == []
        question = Question("requests", AT, AT + HOUR / 2)
        assert breakdown.break_down(thinned.pk, question).total.quantity == 0


def test_who_looked_long_ago_is_told_that_everything_may_have_changed(acme: Organization) -> None:
    with rls.ops_scope("test"):
        then = selectors.mark()
        before = selectors.pulse({}).snapshot
    take(acme, *(said(n) for n in range(3)), at=LATER)
    settle()
    ship()
    with rls.ops_scope("test"):
        assert len(selectors.changed_since(then) or []) == 1
    thin()
    with rls.ops_scope("test"):
        assert selectors.changed_since(then) is None
        assert selectors.changed_since(selectors.mark()) == []
        assert selectors.pulse({acme.pk: before}).changed == {acme.pk}
        assert selectors.pulse({acme.pk: selectors.pulse({}).snapshot}).changed == frozenset()


def test_no_event_counts_twice_or_is_lost_while_rows_go(
    acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thins, one sends every event again, one takes some back."""
    monkeypatch.setattr(thinning, "CHUNK", 20)
    events = [said(n) for n in range(200)]
    for first in range(0, 200, 20):
        take(acme, *events[first : first + 20], at=LATER)
    settle()
    monkeypatch.setattr("apps.usage.services.shipping.BLOCK", 50)
    while not ship_once().complete:
        pass
    found: list[str] = []
    stop = threading.Event()

    def send_again() -> None:
        try:
            while not stop.is_set():
                for first in range(0, 200, 40):
                    found.extend(statuses(acme, *events[first : first + 40]))
        finally:
            connections.close_all()

    def void() -> None:
        try:
            for n in range(0, 200, 10):
                take_back(acme, events[n])
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as others:
        running = [others.submit(send_again), others.submit(void)]
        while thin_next().block is not None:
            pass
        running[1].result()
        stop.set()
        running[0].result()
    assert set(found) == {"duplicate"}
    settle()
    ship()
    thin()
    assert (requests(acme), rows_left(), checked()) == (180, 0, ([], []))


def test_the_commands_thin_and_restore(
    acme: Organization, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    take(acme, *(said(n) for n in range(20)), at=LATER)
    settle()
    ship()
    with pytest.raises(CommandError, match="USAGE_THIN_DAYS"):
        call_command("thin_events")
    call_command("thin_events", "--older-than", "1")
    assert "0 events of 0 blocks went" in capsys.readouterr().out
    with rls.ops_scope("test"):
        assert services.thin_block(received_before=LATEST, at=clock.now()) == Thinning(1, 20)
    settings.USAGE_THIN_DAYS = 30
    call_command("thin_events", "--format", "json")
    assert json.loads(capsys.readouterr().out) == {"events": 0, "blocks": 0, "busy": False}
    assert [one.seen for one in doctor.CHECKS["event store"]()] == [
        "ClickHouse, 20 events in 1 blocks, 1 of them thinned"
    ]
    with pytest.raises(CommandError, match="USAGE_THIN_DAYS"):
        call_command("restore_events")
    settings.USAGE_THIN_DAYS = 0
    call_command("restore_events")
    assert "20 events are back" in capsys.readouterr().out
    assert rows_left() == 20
