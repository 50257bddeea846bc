from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.core import clock, rls
from apps.core.models import OutboxEvent
from apps.payments import objects, services
from apps.payments.models import EventCursor, ObjectLease, ProviderCustomer, ProviderEvent
from apps.payments.objects import Json
from apps.payments.services import inbox
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.payments.there import There, provider, signed

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, tzinfo=UTC)
State = ProviderEvent.State


@pytest.fixture
def there() -> Iterator[There]:
    with provider() as there:
        yield there


@contextmanager
def following(kind: str, follow: Any) -> Iterator[None]:
    """Let a function follow a kind of object for the time being."""
    before = list(objects.followers(kind))
    objects.follows(kind)(follow)
    try:
        yield
    finally:
        objects._followers[kind] = before


class Seen(list[Json]):
    """What a follower was told."""

    def __call__(self, found: Json, *, at: datetime) -> None:
        self.append(found)


def deliver(event: Json, *, at: datetime = NOW) -> bool:
    body = json.dumps(event).encode()
    return services.receive_event(body, header=signed(body, at=at), at=at)


def handle(at: datetime = NOW) -> int:
    with clock.frozen(at):
        return services.handle_events()


def rows() -> list[ProviderEvent]:
    with rls.ops_scope("test: events"):
        return list(ProviderEvent.objects.order_by("id"))


def states() -> list[str]:
    return [row.state for row in rows()]


def test_an_event_is_stored_once_and_its_object_read_as_it_is_now(there: There) -> None:
    event = there.change("credit_note", "cn_1", status="needs_response", at=NOW)
    there.put("credit_note", "cn_1", status="won")
    assert deliver(event)
    assert not deliver(event)
    with following("credit_note", seen := Seen()):
        assert handle() == 1
        assert handle() == 0
    assert [one["status"] for one in seen] == ["won"]
    assert states() == [State.DONE]


def test_all_events_of_an_object_are_handled_at_once(there: There) -> None:
    events = [there.change("credit_note", "cn_1", status=str(n), at=NOW) for n in range(5)]
    for event in reversed(events):
        deliver(event)
    with following("credit_note", seen := Seen()):
        assert handle() == 1
    assert [one["status"] for one in seen] == ["4"]
    assert states() == [State.DONE] * 5
    assert there.asked.count("/v1/credit_notes/cn_1") == 1


def test_what_comes_while_the_object_is_read_is_handled_after_it(there: There) -> None:
    first = there.change("credit_note", "cn_1", status="old", at=NOW)
    deliver(first)

    def meanwhile(path: str) -> None:
        there.before_answer = lambda _: None
        deliver(there.change("credit_note", "cn_1", status="new", at=NOW))

    there.before_answer = meanwhile
    with following("credit_note", seen := Seen()):
        assert handle() == 2
    assert [one["status"] for one in seen] == ["old", "new"]
    assert states() == [State.DONE] * 2


def test_who_lost_the_lease_writes_nothing(there: There) -> None:
    deliver(there.change("credit_note", "cn_1", status="old", at=NOW))

    def meanwhile(path: str) -> None:
        there.before_answer = lambda _: None
        there.put("credit_note", "cn_1", status="new")
        assert handle(NOW + inbox.LEASE) == 1

    there.before_answer = meanwhile
    with following("credit_note", seen := Seen()):
        handle()
    assert [one["status"] for one in seen] == ["new"]


def test_nobody_reads_an_object_that_somebody_has(there: There) -> None:
    deliver(there.change("credit_note", "cn_1", status="old", at=NOW))
    others: list[int] = []
    there.before_answer = lambda _: others.append(handle())
    with following("credit_note", seen := Seen()):
        handle()
    assert (len(seen), others) == (1, [0])
    with rls.ops_scope("test: leases"):
        assert not ObjectLease.objects.exists()


def test_an_unknown_kind_of_event_is_kept_and_left_alone(there: There) -> None:
    there.objects["/v1/x"] = {}
    deliver(there.tell("moon.landed", {"id": "moon_1", "object": "moon"}, at=NOW))
    deliver(there.tell("invoice.upcoming", {"object": "invoice"}, at=NOW))
    assert handle() == 0
    assert states() == [State.SKIPPED] * 2


def test_an_object_that_is_gone_is_told_as_it_last_was(there: There) -> None:
    there.put("coupon", "c_1", name="Launch")
    gone = there.objects.pop("/v1/coupons/c_1")
    deliver(there.tell("coupon.deleted", gone, at=NOW))
    with following("coupon", seen := Seen()):
        handle()
    assert seen == [{**gone, "deleted": True}]


def test_an_object_that_is_gone_without_a_word_is_skipped(there: There) -> None:
    deliver(there.tell("coupon.updated", {"id": "c_1", "object": "coupon"}, at=NOW))
    with following("coupon", seen := Seen()):
        handle()
    assert (seen, states()) == ([], [State.SKIPPED])


def test_a_failure_is_tried_eight_times_within_a_day_and_then_given_up(there: There) -> None:
    deliver(there.change("credit_note", "cn_1", status="lost", at=NOW))

    def fails(found: Json, *, at: datetime) -> None:
        raise LookupError("no such row yet")

    at, tries = NOW, 0
    with following("credit_note", fails):
        while rows()[0].state == State.PENDING:
            at = max(at, rows()[0].next_try_at)
            tries += handle(at)
    assert tries == 8
    assert timedelta(hours=23) < at - NOW < timedelta(hours=24)
    assert rows()[0].error == "LookupError: no such row yet"
    with rls.ops_scope("test: facts"):
        told = OutboxEvent.objects.get(name="payments.ProviderEventGivenUp")
    assert told.payload["object_id"] == "cn_1"


def test_what_fails_first_and_works_then_is_done(there: There) -> None:
    deliver(there.change("credit_note", "cn_1", status="lost", at=NOW))
    seen = Seen()

    def fails(found: Json, *, at: datetime) -> None:
        if at == NOW:
            raise LookupError("no such row yet")
        seen(found, at=at)

    with following("credit_note", fails):
        handle()
        assert handle() == 0
        assert handle(NOW + timedelta(seconds=10)) == 1
    assert (len(seen), states()) == (1, [State.DONE])


def test_an_outage_of_the_provider_costs_no_tries(there: There) -> None:
    deliver(there.change("credit_note", "cn_1", status="lost", at=NOW))
    there.down = True
    for minute in range(20):
        handle(NOW + timedelta(minutes=minute))
    assert (rows()[0].state, rows()[0].tries) == (State.PENDING, 0)
    there.down = False
    assert handle(NOW + timedelta(minutes=21)) == 1
    assert states() == [State.DONE]


def test_what_was_lost_is_found_in_the_list(there: There) -> None:
    events = [
        there.change("credit_note", f"cn_{n}", at=NOW + timedelta(minutes=n)) for n in range(250)
    ]
    for event in events[::3]:
        deliver(event, at=NOW)
    with clock.frozen(NOW + timedelta(hours=5)):
        assert services.backfill_events(since=NOW) == 250 - 84
        assert services.backfill_events() == 0
    assert {row.event_id for row in rows()} == {event["id"] for event in events}
    assert {row.source for row in rows()} == {"webhook", "backfill"}


def test_two_days_of_lost_webhooks_are_read_window_by_window(there: There) -> None:
    for hour in range(48):
        there.change("credit_note", f"cn_{hour}", at=NOW + timedelta(hours=hour))
    with clock.frozen(NOW):
        services.backfill_events()
    with clock.frozen(NOW + timedelta(hours=48)):
        assert services.backfill_events() == 47
    with rls.ops_scope("test: cursor"):
        assert EventCursor.objects.get().through == NOW + timedelta(hours=48)


def test_a_list_that_breaks_off_goes_on_where_it_was(there: There) -> None:
    for hour in range(24):
        there.change("credit_note", f"cn_{hour}", at=NOW + timedelta(hours=hour))
    with clock.frozen(NOW):
        services.backfill_events()

    def breaks(self: There, asked: Any) -> Any:
        if len(there.asked) > 140:
            raise RuntimeError("killed")
        return listed(self, asked)

    listed, there.asked = There._listed, ["/v1/events"] * 138
    There._listed = breaks  # type: ignore[method-assign]
    try:
        with clock.frozen(NOW + timedelta(hours=24)), pytest.raises(RuntimeError):
            services.backfill_events()
    finally:
        There._listed = listed  # type: ignore[method-assign]
    with rls.ops_scope("test: cursor"):
        assert EventCursor.objects.get().through == NOW + timedelta(hours=12)
    with clock.frozen(NOW + timedelta(hours=24)):
        services.backfill_events()
    assert len(rows()) == 24


def test_events_can_be_handled_again(there: There) -> None:
    for number in range(3):
        deliver(there.change("credit_note", f"cn_{number}", at=NOW))
    deliver(there.change("invoice_payment", "inpay_1", at=NOW))
    handle()
    with rls.ops_scope("test: replay"), clock.frozen(NOW):
        assert (
            services.replay_events(type_prefix="credit_note.", object_id="cn_1", actor=STAFF) == 1
        )
        assert services.replay_events(since=NOW + timedelta(days=1), actor=STAFF) == 0
        assert services.replay_events(only_failed=True, actor=STAFF) == 0
        assert services.replay_events([rows()[0].event_id], actor=STAFF) == 1
    with following("credit_note", seen := Seen()):
        assert handle() == 2
    assert sorted(one["id"] for one in seen) == ["cn_0", "cn_1"]


def test_old_events_go_and_those_given_up_stay(there: There) -> None:
    deliver(there.change("credit_note", "cn_1", at=NOW))
    deliver(there.tell("moon.landed", {"id": "moon_1", "object": "moon"}, at=NOW))
    handle()
    deliver(there.change("credit_note", "cn_2", at=NOW))
    with rls.ops_scope("test: give one up"):
        ProviderEvent.objects.filter(object_id="cn_2").update(state=State.DEAD)
        assert services.forget_events(at=NOW + timedelta(days=89)) == 0
        assert services.forget_events(at=NOW + timedelta(days=91)) == 2
    assert states() == [State.DEAD]


def test_a_customer_deleted_there_is_noted_here(there: There, organization: Organization) -> None:
    from_there = there.put("customer", "cus_1", metadata={})
    with rls.ops_scope("test: a customer"):
        ProviderCustomer.objects.create(
            organization=organization, provider_id="cus_1", livemode=False
        )
    there.put("customer", "cus_1", deleted=True)
    deliver(there.tell("customer.deleted", from_there, at=NOW))
    handle()
    with rls.ops_scope("test: a customer"):
        assert ProviderCustomer.objects.get().gone_at == NOW
