from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db import connections

from apps.core.ids import new_id
from apps.core.outbox import Told
from apps.core.snapshots import Snapshot
from apps.invoicing.events import InvoiceVoided
from apps.live.access import Credential, Refused, Viewer
from apps.live.cursors import Cursor
from apps.live.hub import Limits
from apps.live.listeners import MOST_WAITING, Listener
from apps.live.reading import News, Opening
from tests.live.customers import Customer
from tests.live.ears import ORIGIN, House, bearer, cookie_of, meanwhile, quantity, run
from tests.worlds import NOW, make_key, make_member, make_staff

NOBODY, FORBIDDEN, UNKNOWN = 4401, 4403, 4404


def test_a_stranger_hears_what_nobody_hears(acme: Customer, stranger: Customer) -> None:
    foreign = [stranger.session, bearer(make_key(stranger.organization, ["usage:read"]))]

    async def story() -> None:
        house = House()
        for headers in foreign:
            for name in (acme.organization.public_id, new_id("org"), "acme", "%00", "0"):
                assert await house.refusal(name, headers) == UNKNOWN

    run(story)


def test_whoever_shows_nothing_good_is_nobody_everywhere(acme: Customer) -> None:
    expired = make_key(acme.organization, ["usage:read"], expires_at=NOW - timedelta(days=1))
    shown = [
        {"origin": ORIGIN},
        {"origin": ORIGIN, "cookie": "sessionid=" + "a" * 32},
        {"origin": ORIGIN, "cookie": 'sessionid="\\000"; ;='},
        bearer(expired),
        bearer("bk_test_nonsense"),
        {"authorization": "Basic b3duZXI6c2VjcmV0"},
    ]

    async def story() -> None:
        house = House()
        for headers in shown:
            for name in (acme.organization.public_id, new_id("org")):
                assert await house.refusal(name, headers) == NOBODY, headers

    run(story)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "https://billing.example.evil.example", ""]
)
def test_pages_of_others_do_not_listen_with_our_cookie(acme: Customer, origin: str) -> None:
    headers = {**acme.session, "origin": origin}
    without = {"cookie": acme.session["cookie"]}

    async def story() -> None:
        assert await House().refusal(acme.organization, headers) == FORBIDDEN
        assert await House().refusal(acme.organization, without) == FORBIDDEN

    run(story)


def test_a_key_without_the_scope_is_forbidden(acme: Customer) -> None:
    key = bearer(make_key(acme.organization, ["usage:write", "invoices:read"]))

    async def story() -> None:
        assert await House().refusal(acme.organization, key) == FORBIDDEN

    run(story)


def test_a_key_hears_what_its_scopes_read(acme: Customer) -> None:
    usage = bearer(make_key(acme.organization, ["usage:read"]))
    money = bearer(make_key(None, ["usage:read", "invoices:read"]))

    async def story() -> None:
        house = House()
        async with (
            house.listening(acme.organization, usage) as one,
            house.listening(acme.organization, money) as other,
        ):
            assert "amount" not in (await one.next("usage.updated"))["data"]["usage"][0]
            assert "amount" in (await other.next("usage.updated"))["data"]["usage"][0]
            await meanwhile(acme.tell, InvoiceVoided("inv_1", acme.id, "CH-1"))
            assert (await other.next())["type"] == "invoice.voided"
            await meanwhile(acme.request, "after")
            assert (await one.next())["type"] == "usage.updated"

    run(story)


def test_staff_listen_to_everybody(acme: Customer) -> None:
    staff = cookie_of(make_staff(f"support@{acme.organization.slug}.example", "Support"))

    async def story() -> None:
        async with House().listening(acme.organization, staff) as ear:
            assert quantity(await ear.next("usage.updated"), "ai_requests") == "1"
        assert await House().refusal(new_id("org"), staff) == UNKNOWN

    run(story)


# --- rights that end -----------------------------------------------------------------------------
def test_a_removed_member_is_cut(acme: Customer) -> None:
    member = make_member(acme.organization, f"m@{acme.organization.slug}.example", role="ADMIN")
    session = cookie_of(member)

    async def story() -> None:
        async with House().listening(acme.organization, session) as ear:
            await ear.next("usage.updated")
            await meanwhile(acme.remove, member)
            assert await ear.closed() == UNKNOWN

    run(story)


def test_a_revoked_key_is_cut(acme: Customer) -> None:
    key = bearer(make_key(acme.organization, ["usage:read"]))

    async def story() -> None:
        async with House().listening(acme.organization, key) as ear:
            await ear.next("usage.updated")
            await meanwhile(acme.revoke_keys)
            assert await ear.closed() == NOBODY

    run(story)


def test_whoever_signs_out_is_cut(acme: Customer) -> None:
    def sign_out() -> None:
        Session.objects.filter(pk=acme.session["cookie"].split("=")[1]).delete()
        connections.close_all()

    async def story() -> None:
        async with House().listening(*acme.own) as ear:
            await ear.next("usage.updated")
            await meanwhile(sign_out)
            assert await ear.closed() == NOBODY

    run(story)


def test_other_rights_begin_with_another_connection(acme: Customer) -> None:
    member = make_member(acme.organization, f"m@{acme.organization.slug}.example", role="OWNER")
    session = cookie_of(member)

    async def story() -> None:
        house = House()
        async with house.listening(acme.organization, session) as ear:
            assert "amount" in (await ear.next("usage.updated"))["data"]["usage"][0]
            await meanwhile(acme.change_role, member, "MEMBER")
            assert await ear.closed() == 1012
        async with house.listening(acme.organization, session) as ear:
            assert "amount" not in (await ear.next("usage.updated"))["data"]["usage"][0]

    run(story)


# --- bounds --------------------------------------------------------------------------------------
def test_an_organization_and_a_process_take_so_many(acme: Customer, stranger: Customer) -> None:
    async def story() -> None:
        house = House(limits=Limits(listeners=2, per_organization=1))
        async with house.listening(*acme.own) as one:
            await one.next("usage.updated")
            assert await house.refusal(*acme.own) == 4429
            async with house.listening(*stranger.own) as two:
                await two.next("usage.updated")
                assert await house.refusal(*stranger.own) == 1013
        async with house.listening(*acme.own) as again:
            await again.next("usage.updated")

    run(story)


def test_whoever_says_something_is_cut(acme: Customer) -> None:
    async def story() -> None:
        async with House().listening(*acme.own) as ear:
            await ear.next("usage.updated")
            await ear.socket.send_input({"type": "websocket.receive", "text": "x" * 100_000})
            assert await ear.closed() == 1003

    run(story)


def test_a_listener_that_takes_nothing_is_cut_and_holds_a_bounded_number() -> None:
    def news(number: int) -> News:
        fact = Told(number, "evt", "invoicing.InvoicePaid", {"invoice_id": "inv"}, NOW, number)
        return News(Snapshot(number + 1), NOW, (fact,))

    async def story() -> None:
        viewer = Viewer(Credential("key", ""), "org_1", 1, frozenset({"*"}))
        listener = Listener(viewer)
        listener.open(Opening(Cursor(1, Snapshot(1)), news(1)), heartbeat=1, at=NOW)
        for number in range(2, MOST_WAITING + 50):
            listener.tell(news(number))
        assert listener._waiting.qsize() == MOST_WAITING + 1
        with pytest.raises(Refused) as refused:
            [one async for one in listener.messages(heartbeat=1)]
        assert refused.value.code == 1013

    run(story)


# --- server-sent events --------------------------------------------------------------------------
def test_the_twin_streams_the_same_messages_and_resumes(acme: Customer) -> None:
    path = f"/sse/org/{acme.organization.public_id}"
    cookie = {"cookie": acme.session["cookie"]}

    async def story() -> None:
        house = House()
        status, headers, text = await house.streamed(path, cookie, until=lambda t: "updated" in t)
        assert (status, headers["content-type"]) == (200, "text/event-stream")
        assert "access-control-allow-origin" not in headers
        retry, connected, updated, _ = text.split("\n\n")
        assert retry.startswith("retry: ")
        assert connected.startswith("id: ")
        last, message = updated.split("\n")
        heard = json.loads(message.removeprefix("data: "))
        assert heard["id"] == last.removeprefix("id: ")
        assert quantity(heard, "ai_requests") == "1"
        await meanwhile(acme.request, "missed")
        resuming = {**cookie, "last-event-id": heard["id"]}
        _, _, text = await house.streamed(path, resuming, until=lambda t: "updated" in t)
        assert '"quantity":"2"' in text

    run(story)


def test_the_twin_refuses_with_problem_details(acme: Customer, stranger: Customer) -> None:
    ours, theirs = acme.organization.public_id, {"cookie": stranger.session["cookie"]}
    evil = {**acme.session, "origin": "https://evil.example"}
    cases = [
        (f"/sse/org/{ours}", {}, 401),
        (f"/sse/org/{ours}", theirs, 404),
        (f"/sse/org/{new_id('org')}", theirs, 404),
        (f"/sse/org/{ours}", evil, 403),
        ("/portal/", {}, 404),
        ("/", {}, 404),
    ]

    async def story() -> None:
        house, bodies = House(), []
        for path, shown, expected in cases:
            status, headers, text = await house.streamed(path, shown, until=lambda _: False)
            assert (status, json.loads(text)["status"]) == (expected, expected)
            assert headers["content-type"] == "application/problem+json"
            assert "access-control-allow-origin" not in headers
            bodies.append(text)
        assert bodies[1] == bodies[2]
        status, *_ = await house.streamed(
            f"/sse/org/{ours}", acme.session, until=lambda _: False, method="POST"
        )
        assert status == 405
        assert (await house.streamed("/health", {}, until=lambda _: False))[0] == 200

    run(story)


def test_our_own_page_of_another_port_may_read_the_twin(acme: Customer) -> None:
    path, own = f"/sse/org/{acme.organization.public_id}", acme.session

    async def story() -> None:
        _, headers, _ = await House().streamed(path, own, until=lambda t: "connected" in t)
        assert headers["access-control-allow-origin"] == ORIGIN
        assert headers["access-control-allow-credentials"] == "true"

    run(story)
