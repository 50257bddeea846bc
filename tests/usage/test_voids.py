"""A voided event is measured as if it had never come; nothing is changed or removed for it."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import connections, transaction

from apps.audit.models import AuditEntry
from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import Forbidden
from apps.tenants.models import Organization
from apps.usage import cloudevents, selectors, services
from apps.usage.checking import VOID, NewEvent
from apps.usage.errors import EventRefused, UnknownEvent
from apps.usage.models import Event, RejectedEvent, UsageBucket
from apps.usage.selectors import Want
from apps.usage.services import EventResult
from tests.conftest import AT, STAFF, make_organization
from tests.usage.conftest import define, event, take
from tests.usage.test_concurrency import run_together
from tests.usage.test_rollup import counts, differences, measure, recount, roll_up, settle

HOUR = timedelta(hours=1)
MONTH = (AT, datetime(2026, 4, 1, tzinfo=UTC))
LATER = datetime(2026, 4, 2, tzinfo=UTC)
pytestmark = pytest.mark.usefixtures("event_store")


@pytest.fixture
def acme(committed_db: str) -> Organization:
    with rls.ops_scope("test"):
        define()
    return make_organization("acme")


def void(name: str, *, key: str | None = None, source: str = "") -> NewEvent:
    made = event(AT + HOUR, key=key)
    return NewEvent(
        source=made.source,
        key=made.key,
        type=VOID,
        occurred_at=made.occurred_at,
        data={},
        voids=name,
        voids_source=source,
    )


def correction(name: str, at: datetime = AT, *, key: str | None = None, **said: object) -> NewEvent:
    made = event(at, key=key)
    return NewEvent(
        source=made.source, key=made.key, type=made.type, occurred_at=at, data=said, voids=name
    )


def results(organization: Organization, *events: NewEvent) -> list[EventResult]:
    return list(take(organization, *events, at=LATER).results)


def codes(organization: Organization, *events: NewEvent) -> list[str]:
    return [one.code or one.status.value for one in results(organization, *events)]


def said(n: int) -> dict[str, Any]:
    return {"tokens": n, "user": f"u{n}", "gauge": {"level": n}}


def quantities(organization: Organization) -> list[Decimal]:
    return [one.quantity for one in measure(organization, *MONTH)]


@pytest.mark.committed
@pytest.mark.parametrize("rolled_up", ["never", "before", "after", "between"])
def test_a_voided_event_counts_nowhere(acme: Organization, rolled_up: str) -> None:
    take(acme, event(AT, key="keep", **said(5)), at=LATER)
    without = [counts(measure(acme, *MONTH)), counts(measure(acme, AT, AT + HOUR / 2))]
    take(acme, event(AT, key="wrong", **said(9)), at=LATER)
    assert quantities(acme) == [2, 14, 9, 9, 2]
    if rolled_up in {"before", "between"}:
        settle()
    assert codes(acme, void("wrong")) == ["accepted"]
    if rolled_up in {"after", "between"}:
        settle()
    assert [counts(measure(acme, *MONTH)), counts(measure(acme, AT, AT + HOUR / 2))] == without
    settle()
    assert counts(measure(acme, *MONTH)) == without[0]
    assert differences() == []
    assert not UsageBucket.objects.filter(event_count=0).exists()


@pytest.mark.committed
def test_an_hour_of_nothing_but_voided_events_has_no_bucket(acme: Organization) -> None:
    take(acme, event(AT, key="wrong", **said(9)), at=LATER)
    settle()
    take(acme, void("wrong"), at=LATER)
    assert quantities(acme) == [0, 0, 0, 0, 0]
    settle()
    with rls.ops_scope("test"):
        assert not UsageBucket.objects.exists()
    assert differences() == []


@pytest.mark.committed
def test_what_was_counted_before_the_void_can_be_counted_again(acme: Organization) -> None:
    take(acme, event(AT, **said(5)), event(AT, key="wrong", **said(9)), at=LATER)
    settle()
    claimed = measure(acme, *MONTH)
    take(acme, correction("wrong", **said(7)), at=LATER)
    corrected = measure(acme, *MONTH)
    settle()
    assert [one.quantity for one in corrected] == [2, 12, 7, 7, 2]
    assert counts(recount(acme, claimed, *MONTH)) == counts(claimed)
    assert counts(recount(acme, corrected, *MONTH)) == counts(corrected)
    assert claimed[1].event_count == corrected[1].event_count
    assert claimed[1].hash != corrected[1].hash


@pytest.mark.committed
def test_a_rebuild_leaves_voided_events_out(acme: Organization) -> None:
    take(acme, event(AT, **said(5)), event(AT, key="wrong", **said(9)), at=LATER)
    settle()
    take(acme, void("wrong"), at=LATER)
    settle()
    with rls.ops_scope("test"):
        assert services.rebuild(actor=STAFF, at=LATER).differences == ()
    assert quantities(acme) == [1, 5, 5, 5, 1]
    assert differences() == []


@pytest.mark.committed
def test_a_void_may_be_rolled_up_before_what_it_voids(acme: Organization) -> None:
    """Its transaction began before the other's, and a third one, between them, goes on."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as third, rls.tenant_scope(acme.pk):
        services.ingest(acme.pk, events=[event(**said(1))], actor=STAFF, at=LATER)
        third.execute("SELECT pg_current_xact_id()")

        def store() -> None:
            take(acme, event(key="wrong", **said(9)), at=LATER)

        run_together(store)
        services.ingest(acme.pk, events=[void("wrong")], actor=STAFF, at=LATER)
        transaction.on_commit(roll_up_now)
    assert quantities(acme) == [1, 1, 1, 1, 1]
    assert differences() == []
    settle()
    assert quantities(acme) == [1, 1, 1, 1, 1]
    assert differences() == []


def roll_up_now() -> None:
    def run() -> None:
        taken, deadline = 0, time.monotonic() + 60
        while taken < 2 and time.monotonic() < deadline:  # other tests' transactions hold it back
            taken += roll_up().events
            time.sleep(0.05)
        assert taken == 2  # not the one that is voided

    run_together(run)


@pytest.mark.committed
def test_of_two_voids_at_once_one_wins(acme: Organization) -> None:
    take(acme, event(key="wrong", tokens=9), at=LATER)
    found: list[str] = []

    def run() -> None:
        found.extend(codes(acme, void("wrong")))

    run_together(run, run, run, run)
    assert sorted(found) == ["accepted", "already_voided", "already_voided", "already_voided"]
    connections.close_all()
    with rls.tenant_scope(acme.pk):
        assert Event.objects.filter(voids__isnull=False).count() == 1


@pytest.mark.usefixtures("meters")
def test_a_correction_counts_in_the_place_of_the_wrong_one(organization: Organization) -> None:
    take(organization, event(key="wrong", tokens=9))
    fixed = correction("wrong", tokens=4, key="right")
    assert codes(organization, fixed, fixed) == ["accepted", "duplicate"]
    assert codes(organization, fixed) == ["duplicate"]
    assert codes(organization, correction("right", tokens=3)) == ["accepted"]
    assert total(organization) == 3


def total(organization: Organization) -> Decimal:
    with rls.tenant_scope(organization.pk):
        [found] = selectors.measure(organization.pk, [Want("tokens", AT, AT + HOUR)])
    return found.quantity


@pytest.mark.usefixtures("meters")
def test_what_cannot_be_voided_is_refused_event_by_event(
    organization: Organization, other_organization: Organization
) -> None:
    take(other_organization, event(key="foreign", tokens=1))
    take(organization, event(key="a", tokens=1), event(key="b", tokens=2), event(key="c", tokens=4))
    assert codes(organization, void("a", key="void-a")) == ["accepted"]
    batch = [
        void("a"),
        void("void-a"),
        void("foreign"),
        void("nothing"),
        void("b", source="elsewhere"),
        void("b b"),
        correction("b", tokens="many"),
        void("self", key="self"),
        NewEvent("test", "no-name", VOID, AT, {}),
        void("c"),
    ]
    assert codes(organization, *batch) == [
        "already_voided",
        "voids_a_void",
        "unknown_event",
        "unknown_event",
        "unknown_event",
        "invalid_void",
        "not_numeric",
        "unknown_event",
        "invalid_void",
        "accepted",
    ]
    assert total(organization) == 2
    assert total(other_organization) == 1
    with rls.tenant_scope(organization.pk):
        assert RejectedEvent.objects.count() == 9


@pytest.mark.usefixtures("meters")
def test_a_batch_may_void_what_it_brings(organization: Organization) -> None:
    chain = [
        correction("second", key="third", tokens=3),
        correction("first", key="second", tokens=2),
        event(key="first", tokens=1),
        void("round", key="go"),
        void("go", key="round"),
    ]
    found = codes(organization, *chain)
    assert found == ["accepted", "accepted", "accepted", "unknown_event", "unknown_event"]
    assert total(organization) == 3


@pytest.mark.usefixtures("meters")
def test_of_two_voids_in_a_batch_the_first_counts(organization: Organization) -> None:
    take(organization, event(key="a", tokens=1))
    assert codes(organization, void("a", key="z"), void("a", key="b")) == [
        "accepted",
        "already_voided",
    ]


@pytest.mark.usefixtures("meters")
def test_an_event_is_also_known_by_its_public_id(organization: Organization) -> None:
    take(organization, event(key="a", tokens=1, source="there"))
    with rls.tenant_scope(organization.pk):
        [one] = selectors.latest_events(organization.pk)
    assert codes(organization, void(one.public_id)) == ["accepted"]
    assert total(organization) == 0


@pytest.mark.usefixtures("meters")
def test_a_door_with_an_age_voids_nothing_older(organization: Organization) -> None:
    take(organization, event(AT, key="old", tokens=1))
    with rls.tenant_scope(organization.pk):
        outcome = services.ingest(
            organization.pk,
            events=[correction("old", LATER, tokens=2)],
            actor=STAFF,
            at=LATER,
            max_age=timedelta(days=3),
        )
    assert outcome.results[0].code == "too_old"
    assert total(organization) == 1


def test_the_same_id_with_another_target_is_a_conflict(
    organization: Organization, meters: None
) -> None:
    take(organization, event(key="a"), event(key="b"))
    assert codes(organization, void("a", key="v")) == ["accepted"]
    assert codes(organization, void("b", key="v")) == ["conflict"]


@pytest.mark.usefixtures("meters")
def test_a_rejected_void_is_replayed_when_its_event_has_come(organization: Organization) -> None:
    line = (
        '{"specversion":"1.0","id":"v","source":"test","type":"usage.void",'
        '"time":"2026-03-01T00:00:00Z","voids":"late","voidssource":"app"}'
    )
    read = cloudevents.read(line.encode())
    assert isinstance(read, NewEvent)
    assert cloudevents.read(cloudevents.write(read).encode()).voids_source == "app"  # type: ignore[union-attr]
    assert codes(organization, read) == ["unknown_event"]
    take(organization, event(key="late", source="app", tokens=7))
    with rls.ops_scope("test"):
        assert services.replay_rejected(actor=STAFF, at=LATER).accepted == 1
    assert total(organization) == 0


@pytest.mark.usefixtures("meters")
def test_staff_void_and_correct_an_event_and_leave_a_record(organization: Organization) -> None:
    take(organization, event(key="a", tokens=Decimal("0.1")), event(key="b", tokens=2))
    with rls.tenant_scope(organization.pk):
        a, b = sorted(selectors.latest_events(organization.pk), key=lambda one: one.key)
        services.void_event(
            organization.pk, event=a.public_id, actor=STAFF, at=LATER, reason="test run"
        )
        fixed = services.correct_event(
            organization.pk, event="b", source="test", data={"tokens": 5}, actor=STAFF, at=LATER
        )
        moved = services.correct_event(
            organization.pk, event=fixed.public_id, occurred_at=AT + HOUR / 2, actor=STAFF, at=LATER
        )
        assert (moved.data, moved.occurred_at) == ({"tokens": 5}, AT + HOUR / 2)
        refused = {
            EventRefused: a.public_id,
            UnknownEvent: "uev_" + "0" * 32,
        }
        for error, name in refused.items():
            with pytest.raises(error):
                services.void_event(organization.pk, event=name, actor=STAFF, at=LATER)
        assert [one.voided for one in selectors.latest_events(organization.pk)] == [
            False, True, False, True, True,
        ]  # fmt: skip
    assert total(organization) == 5
    with rls.ops_scope("test"):
        entries = AuditEntry.objects.filter(action__startswith="event.").order_by("id")
        assert [(one.action, one.target) for one in entries] == [
            ("event.voided", a.public_id),
            ("event.corrected", b.public_id),
            ("event.corrected", fixed.public_id),
        ]


@pytest.mark.usefixtures("meters")
def test_a_reader_may_not_void(organization: Organization) -> None:
    take(organization, event(key="a", tokens=1))
    reader = Actor("user", "usr_1", "READER", organization.pk, frozenset({"view_usage"}))
    with rls.tenant_scope(organization.pk), pytest.raises(Forbidden):
        services.void_event(organization.pk, event="a", source="test", actor=reader, at=LATER)
    assert total(organization) == 1
