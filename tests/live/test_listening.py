from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from datetime import timedelta
from queue import Queue
from typing import Any

import pytest
from django.db import connection, connections

from apps.core import outbox, rls
from apps.core.snapshots import Snapshot
from apps.invoicing.events import InvoiceVoided, SubscriptionParked
from apps.live.cursors import Cursor
from apps.live.reading import MOST_MISSED
from apps.usage import selectors as usage
from apps.usage.selectors import Want
from apps.watch.events import AlertRaised, AnomalyFound
from tests.live.customers import Customer
from tests.live.ears import Heard, House, bearer, cookie_of, meanwhile, quantity, run
from tests.worlds import NOW, START, make_key, make_member

DECEMBER = START + timedelta(days=30)


def invoices(heard: list[Heard]) -> list[str]:
    return [one["data"]["invoice_id"] for one in heard if one["type"].startswith("invoice.")]


def test_a_new_listener_hears_how_things_stand(acme: Customer) -> None:
    async def story() -> None:
        async with House().listening(acme.organization, acme.session) as ear:
            heard = await ear.next()
            assert heard["type"] == "connected"
            assert heard["data"] == {"organization": acme.organization.public_id, "heartbeat": 0.3}
            heard = await ear.next()
            assert (heard["type"], heard["at"]) == ("usage.updated", "2023-12-10T12:00:00Z")
            requests = heard["data"]["usage"][0]
            assert requests | {"name": ""} == {
                "subscription_id": acme.subscription.public_id,
                "item": "ai_requests",
                "meter": "ai_requests",
                "name": "",
                "unit": "request",
                "period": {"start": "2023-12-01T00:00:00Z", "end": "2024-01-01T00:00:00Z"},
                "quantity": "1",
                "included": "5000",
                "event_count": 1,
                "amount": 0,
                "currency": "USD",
            }
            assert quantity(heard, "context_tokens") == "1000000"

    run(story)


def test_an_event_moves_the_figures_of_everybody_who_listens(acme: Customer) -> None:
    key = bearer(make_key(acme.organization, ["usage:read"]))

    async def story() -> None:
        house = House()
        async with (
            house.listening(acme.organization, acme.session) as one,
            house.listening(acme.organization, key) as other,
        ):
            assert quantity(await one.next("usage.updated"), "ai_requests") == "1"
            assert quantity(await other.next("usage.updated"), "ai_requests") == "1"
            await meanwhile(acme.request, "live-1")
            first, second = await one.next("usage.updated"), await other.next("usage.updated")
            assert quantity(first, "ai_requests") == quantity(second, "ai_requests") == "2"
            assert await one.until_calm() == []

    run(story)
    with rls.tenant_scope(acme.id):
        (counted,) = usage.measure(acme.id, [Want("ai_requests", DECEMBER, NOW)])
    assert counted.quantity == 2


def test_another_organizations_events_are_not_heard(acme: Customer, stranger: Customer) -> None:
    async def story() -> None:
        async with House().listening(acme.organization, acme.session) as ear:
            await ear.next("usage.updated")
            await meanwhile(stranger.request, "theirs")
            await meanwhile(stranger.tell, stranger.paid("theirs"))
            assert await ear.until_calm() == []
            assert await ear.until_calm() == []

    run(story)


def test_facts_are_told_by_their_public_names_and_others_are_not(acme: Customer) -> None:
    voided = InvoiceVoided("inv_1", acme.id, "CH-1")
    parked = SubscriptionParked("sub_1", acme.id, "a secret of ours")

    async def story() -> None:
        async with House().listening(acme.organization, acme.session) as ear:
            await ear.next("usage.updated")
            await meanwhile(acme.tell, voided, parked)
            heard = await ear.next()
            assert heard["type"] == "invoice.voided"
            assert await ear.until_calm() == []
            assert heard["data"] == {"invoice_id": "inv_1", "number": "CH-1"}

    run(story)


def test_members_without_a_right_to_amounts_hear_of_usage_only(acme: Customer) -> None:
    member = cookie_of(make_member(acme.organization, "member@acme.example", role="MEMBER"))

    async def story() -> None:
        async with House().listening(acme.organization, member) as ear:
            figures = (await ear.next("usage.updated"))["data"]["usage"]
            assert not any("amount" in one for one in figures)
            await meanwhile(acme.tell, acme.paid("inv_1"))
            await meanwhile(acme.request, "live-1")
            heard = await ear.next("usage.updated", "invoice.paid")
            assert quantity(heard, "ai_requests") == "2"

    run(story)


def test_unusual_usage_is_told_to_whoever_sees_usage_and_alerts_with_amounts(
    acme: Customer,
) -> None:
    member = cookie_of(make_member(acme.organization, "reader@acme.example", role="MEMBER"))

    async def story() -> None:
        house = House()
        async with (
            house.listening(acme.organization, acme.session) as owner,
            house.listening(acme.organization, member) as other,
        ):
            await owner.next("usage.updated")
            await other.next("usage.updated")
            await meanwhile(acme.tell, AlertRaised("al_1", acme.id), AnomalyFound("an_1", acme.id))
            raised = await owner.next("alert.raised")
            assert raised["data"] == {"alert_id": "al_1"}
            assert (await owner.next("anomaly.found"))["data"] == {"anomaly_id": "an_1"}
            heard = await other.next("alert.raised", "anomaly.found")
            assert heard["type"] == "anomaly.found"

    run(story)


# --- after a cut ---------------------------------------------------------------------------------
def test_whoever_resumes_hears_what_was_missed_once(acme: Customer) -> None:
    async def story() -> None:
        async with House().listening(acme.organization, acme.session) as ear:
            last = (await ear.next("usage.updated"))["id"]
        await meanwhile(acme.request, "missed-1")
        await meanwhile(acme.tell, acme.paid("inv_1"))
        await meanwhile(acme.tell, acme.paid("inv_2"))
        async with House().listening(*acme.own, last_id=last) as ear:
            heard = await ear.until_calm()
            assert invoices(heard) == ["inv_1", "inv_2"]
            assert [one["type"] for one in heard[-1:]] == ["usage.updated"]
            assert quantity(heard[-1], "ai_requests") == "2"
        last = heard[-1]["id"]
        async with House().listening(
            acme.organization, acme.session, last_id=heard[-1]["id"]
        ) as ear:
            assert [one["type"] for one in await ear.until_calm()] == ["connected"]

    run(story)


def test_a_cut_between_two_facts_of_one_moment_loses_and_doubles_nothing(acme: Customer) -> None:
    facts = [acme.paid(f"inv_{number}") for number in range(3)]

    async def story() -> None:
        async with House().listening(acme.organization, acme.session) as ear:
            await ear.next("usage.updated")
            await meanwhile(acme.tell, *facts)
            heard = [await ear.next("invoice.paid") for _ in facts]
        for told, one in enumerate(heard, start=1):
            async with House().listening(*acme.own, last_id=one["id"]) as ear:
                missed = invoices(await ear.until_calm())
            assert invoices(heard[:told]) + missed == ["inv_0", "inv_1", "inv_2"]

    run(story)


@contextlib.contextmanager
def unfinished(customer: Customer, fact: Any) -> Iterator[Queue[str]]:
    """Record a fact in a transaction that commits when it is told to."""
    say: Queue[str] = Queue()
    begun = threading.Event()

    def linger() -> None:
        with rls.tenant_scope(customer.id):
            outbox.emit(fact, at=NOW, organization_id=customer.id)
            begun.set()
            say.get()
        connections.close_all()
        say.task_done()

    thread = threading.Thread(target=linger)
    thread.start()
    assert begun.wait(10)
    yield say
    thread.join()


def test_what_began_earlier_and_committed_later_is_not_lost(acme: Customer) -> None:
    async def story() -> None:
        with unfinished(acme, acme.paid("early")) as say:
            async with House().listening(acme.organization, acme.session) as ear:
                await ear.next("usage.updated")
                await meanwhile(acme.tell, acme.paid("late"))
                late = await ear.next("invoice.paid")
                assert late["data"]["invoice_id"] == "late"
                say.put("commit")
                assert invoices([await ear.next("invoice.paid")]) == ["early"]
            async with House().listening(
                acme.organization, acme.session, last_id=late["id"]
            ) as ear:
                assert invoices(await ear.until_calm()) == ["early"]

    run(story)


@pytest.mark.parametrize(
    "last_id", ["nonsense", "999.5:5:", "1.5:5:x", f"1.{2**62}:{2**62}:", "1.5:5:.5:5:", "1"]
)
def test_an_id_of_no_use_means_reading_everything_again(acme: Customer, last_id: str) -> None:
    async def story() -> None:
        async with House().listening(*acme.own, last_id=last_id) as ear:
            heard = await ear.until_calm()
            assert [one["type"] for one in heard] == ["connected", "resync", "usage.updated"]
            assert heard[1]["data"]["reason"]

    run(story)


def test_whoever_missed_too_much_reads_everything_again(acme: Customer) -> None:
    facts = [acme.paid(f"inv_{number}") for number in range(MOST_MISSED + 1)]

    async def story() -> None:
        async with House().listening(acme.organization, acme.session) as ear:
            last = (await ear.next("usage.updated"))["id"]
        await meanwhile(acme.tell, *facts)
        async with House().listening(*acme.own, last_id=last) as ear:
            heard = await ear.until_calm()
            assert [one["type"] for one in heard] == ["connected", "resync", "usage.updated"]

    run(story)


def test_facts_from_before_a_restore_are_not_told_again(acme: Customer) -> None:
    everything = Snapshot(1)
    acme.tell(acme.paid("inv_1"))
    with rls.tenant_scope(acme.id):
        pulse = usage.pulse({acme.id: everything})
        assert pulse.changed == {acme.id}
        names = ["invoicing.InvoicePaid"]
        asked: dict[str, Any] = {
            "seen": everything,
            "upto": pulse.snapshot,
            "names": names,
            "limit": 9,
        }
        assert len(outbox.told(acme.id, since=pulse.epoch_started_at, **asked)) == 1
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            (restored_at,) = cursor.fetchone()
        assert outbox.told(acme.id, since=restored_at, **asked) == []


def test_a_ping_moves_the_id_on(acme: Customer, stranger: Customer) -> None:
    async def story() -> None:
        async with House().listening(acme.organization, acme.session) as ear:
            first = (await ear.next("usage.updated"))["id"]
            await meanwhile(stranger.request, "theirs")
            await meanwhile(acme.request, "ours")
            await ear.next("usage.updated")
            assert Cursor.parse((await ear.next("ping"))["id"]) != Cursor.parse(first)

    run(story)


def test_without_listeners_the_database_is_left_alone(acme: Customer) -> None:
    async def story() -> None:
        house = House()
        async with house.listening(acme.organization, acme.session) as ear:
            await ear.next("usage.updated")
            assert len(house.hub._beats) == 2
        await asyncio.sleep(0)
        assert (house.hub._beats, house.hub._channels) == ([], {})

    run(story)
