"""Events on their way to a server that fails in every way: the same ids, none twice, none lost."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

import countinghouse
from countinghouse import Client, Rejected, UsageOptions
from tests.sdk.server import KEY, Reply, Seen, Server, said, serving

PROXY_PAGE = Reply(200, b"<html>Please sign in</html>")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if condition():
            return True
        time.sleep(0.01)
    return False


def track(client: Client, *ids: str) -> None:
    for one in ids:
        client.usage.track("call", id=one)


def test_an_event_arrives_as_a_cloudevent(server: Server) -> None:
    with server.client(source="shop") as client:
        data = {"amount": Decimal("0.10"), "day": date(2026, 3, 1)}
        client.usage.track("sale", organization="acme", data=data, id="s-1", time=NOON)
    (seen,) = server.seen
    assert seen.path == "/api/v1/events"
    assert seen.headers["Authorization"] == f"Bearer {KEY}"
    assert seen.events == [
        {
            "specversion": "1.0",
            "id": "s-1",
            "source": "shop",
            "type": "sale",
            "time": "2026-03-01T12:00:00+00:00",
            "subject": "acme",
            "data": {"amount": "0.10", "day": "2026-03-01"},
        }
    ]


def test_an_id_that_nobody_gave_is_returned(server: Server) -> None:
    with server.client() as client:
        given = client.usage.track("call")
    assert server.ids == [given]
    assert uuid.UUID(given)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"id": "two words"}, "id"),
        ({"id": 7}, "id"),
        ({"data": {"x": float("nan")}}, "JSON"),
        ({"data": {"x": object()}}, "object"),
        ({"data": {"x": Decimal("Infinity")}}, "Decimal"),
        ({"data": {"x": "y" * 70_000}}, "larger"),
        ({"organization": 7}, "organization"),
        ({"time": datetime(2026, 3, 1)}, "time zone"),  # noqa: DTZ001 - the mistake itself
    ],
)
def test_what_can_never_be_an_event_is_refused_at_once(
    server: Server, options: dict[str, object], said: str
) -> None:
    with server.client() as client, pytest.raises(countinghouse.InvalidEvent, match=said):
        client.usage.track("call", **options)  # type: ignore[arg-type]
    assert server.seen == []


def test_data_that_changes_afterwards_is_sent_as_it_was(server: Server) -> None:
    data = {"tokens": 1}
    with server.client(interval=5) as client:
        client.usage.track("call", data=data)
        data["tokens"] = 2
    assert server.seen[0].events[0]["data"] == {"tokens": 1}


def test_events_travel_together_on_one_connection_and_compressed(server: Server) -> None:
    with server.client(batch_size=100, interval=5) as client:
        track(client, *(f"c-{number}" for number in range(250)))
    assert [len(seen.events) for seen in server.seen] == [100, 100, 50]
    assert server.ids == [f"c-{number}" for number in range(250)]
    assert len({seen.connection for seen in server.seen}) == 1
    assert {seen.headers["Content-Encoding"] for seen in server.seen} == {"gzip"}


def test_a_batch_stays_below_its_size_in_bytes(server: Server) -> None:
    with server.client(batch_bytes=10_000, interval=5) as client:
        for _ in range(30):
            client.usage.track("call", data={"text": "x" * 900})
    sizes = [sum(len(json.dumps(one)) for one in seen.events) for seen in server.seen]
    assert len(server.ids) == 30
    assert max(sizes) < 11_000


def test_a_single_event_waits_no_longer_than_the_interval(server: Server) -> None:
    with server.client(interval=0.05) as client:
        track(client, "one")
        assert within(5, lambda: server.ids == ["one"])


@pytest.mark.parametrize(
    "failure",
    [
        Reply(500),
        Reply(503, b"{}"),
        Reply(401, json.dumps({"code": "api_key_revoked"}).encode()),
        Reply(404),
        Reply(302, b"", {"Location": "http://elsewhere.example/"}),
        Reply(400, b"<html>Bad gateway settings</html>"),
        Reply(400, b'{"code": "bad_header"}', {"Content-Type": "application/json"}),
        said("accepted"),  # speaks of one event where two were sent
        PROXY_PAGE,
    ],
    ids=lambda reply: str(reply.status),
)
def test_what_was_not_settled_is_sent_again_with_the_same_ids(
    server: Server, failure: Reply
) -> None:
    server.replies = [failure, failure]
    with server.client(interval=0.05, batch_size=2) as client:
        track(client, "a", "b")
        assert client.usage.flush()
        counts = client.usage.counts
    assert [seen.ids for seen in server.seen] == [["a", "b"]] * 3
    assert (counts.accepted, counts.rejected, counts.waiting) == (2, 0, 0)


def test_a_lost_answer_makes_a_duplicate_and_nothing_else(server: Server) -> None:
    server.replies = [Reply(500), said("duplicate", status=200)]
    with server.client() as client:
        track(client, "a")
        assert client.usage.flush()
        assert (client.usage.counts.accepted, client.usage.counts.duplicate) == (0, 1)


def test_who_asks_to_wait_is_waited_for(server: Server) -> None:
    server.replies = [Reply(429, b"", {"Retry-After": "1"})]
    with server.client() as client:
        track(client, "a")
        assert within(10, lambda: len(server.seen) == 2)
    assert server.seen[1].at - server.seen[0].at >= 1


def test_a_refused_event_is_reported_and_never_sent_again(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    reported: list[Rejected] = []
    server.replies = [said("accepted", "rejected:unknown_type", "conflict:id_reused")]
    with server.client(on_rejected=reported.append, interval=5) as client:
        track(client, "a", "b", "c")
        assert client.usage.flush()
        assert client.usage.counts.rejected == 2
    assert [(one.event["id"], one.code) for one in reported] == [
        ("b", "unknown_type"),
        ("c", "id_reused"),
    ]
    assert server.ids == ["a", "b", "c"]
    assert "unknown_type" in caplog.text


def test_a_request_that_the_platform_refuses_as_a_whole_is_reported_event_by_event(
    server: Server,
) -> None:
    reported: list[Rejected] = []
    refusal = json.dumps({"code": "malformed_body", "detail": "This is no batch."}).encode()
    server.replies = [Reply(400, refusal, {"Content-Type": "application/problem+json"})]
    with server.client(on_rejected=reported.append, interval=5) as client:
        track(client, "a", "b")
        assert client.usage.flush()
    assert [(one.event["id"], one.code) for one in reported] == [
        ("a", "malformed_body"),
        ("b", "malformed_body"),
    ]
    assert len(server.seen) == 1


def test_a_callback_that_fails_stops_nothing(server: Server) -> None:
    def fail(one: Rejected) -> None:
        raise RuntimeError(one.code)

    server.replies = [said("rejected:unknown_type", status=400)]
    with server.client(on_rejected=fail) as client:
        track(client, "a")
        assert client.usage.flush()
        track(client, "b")
        assert client.usage.flush()
    assert server.ids == ["a", "b"]


def test_what_is_too_large_together_is_sent_in_halves(server: Server) -> None:
    def small(seen: Seen) -> Reply:
        return Reply(413) if len(seen.events) > 2 else Reply()

    server.replies = [small] * 20
    with server.client(interval=5) as client:
        track(client, "a", "b", "c", "d", "e")
        assert client.usage.flush()
        assert client.usage.counts.accepted == 5
    assert [seen.ids for seen in server.seen if len(seen.ids) <= 2] == [
        ["a", "b"],
        ["c"],
        ["d", "e"],
    ]


def test_what_is_too_large_alone_is_refused(server: Server) -> None:
    reported: list[Rejected] = []
    server.replies = [Reply(413)]
    with server.client(on_rejected=reported.append) as client:
        track(client, "a")
        assert client.usage.flush()
    assert [one.code for one in reported] == ["body_too_large"]


def test_a_server_that_comes_late_gets_everything() -> None:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}"
    client = Client(api_key=KEY, base_url=nobody, usage=UsageOptions(interval=0.01))
    track(client, "a")
    assert not client.usage.flush(timeout=0.3)
    with serving() as server:
        client.usage._transport._port = int(server.address.rsplit(":", 1)[1])
        assert client.close()
        assert server.ids == ["a"]


def test_a_connection_that_the_server_closed_is_opened_again(server: Server) -> None:
    server.replies = [Reply(200, said("accepted").body, {"Connection": "close"})]
    with server.client() as client:
        track(client, "a")
        assert client.usage.flush()
        track(client, "b")
        assert client.usage.flush()
        assert client.usage.counts.accepted == 2


def test_a_full_queue_forgets_the_oldest_and_counts_them(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with server.client(max_waiting=3, interval=5) as client:
        track(client, "a", "b", "c", "d", "e")
        assert client.usage.counts.dropped == 2
        assert client.usage.flush()
    assert server.ids == ["c", "d", "e"]
    assert "oldest events are lost" in caplog.text


def test_a_full_queue_may_refuse(server: Server) -> None:
    with server.client(max_waiting=2, interval=5, when_full="raise") as client:
        track(client, "a", "b")
        with pytest.raises(countinghouse.QueueFull):
            track(client, "c")
    assert server.ids == ["a", "b"]


def test_a_full_queue_may_let_wait(server: Server) -> None:
    with server.client(max_waiting=2, interval=0.1, when_full="block") as client:
        track(client, *(f"w-{number}" for number in range(7)))
    assert server.ids == [f"w-{number}" for number in range(7)]


def test_closing_releases_who_waits() -> None:
    with serving() as gone:
        pass
    client = gone.client(max_waiting=1, when_full="block", interval=60)
    track(client, "a")
    refused: list[Exception] = []

    def wait() -> None:
        try:
            track(client, "b")
        except countinghouse.ClientClosed as error:
            refused.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert not client.close(timeout=0.2)
    thread.join(5)
    assert len(refused) <= 1
    assert not thread.is_alive()


def test_a_callback_that_tracks_into_a_full_queue_does_not_wait_for_itself(
    server: Server,
) -> None:
    refused: list[Exception] = []

    def report(one: Rejected) -> None:
        try:
            track(client, "report-1", "report-2")
        except countinghouse.QueueFull as error:
            refused.append(error)

    server.replies = [said("rejected:unknown_type", status=400)]
    with server.client(max_waiting=1, when_full="block", on_rejected=report) as client:
        track(client, "a")
        assert client.usage.flush()
    assert len(refused) == 1


def test_what_is_left_at_the_end_is_counted_as_lost(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as gone:
        pass
    client = gone.client()
    track(client, "a", "b")
    assert not client.close(timeout=0.1)
    assert client.usage.counts.dropped == 2
    assert "2 events were not sent" in caplog.text


def test_a_closed_client_tracks_nothing(server: Server) -> None:
    client = server.client()
    assert client.close()
    assert client.close()
    with pytest.raises(countinghouse.ClientClosed):
        track(client, "a")


def test_many_threads_lose_nothing_and_double_nothing(server: Server) -> None:
    def run(thread: int) -> None:
        track(client, *(f"t-{thread}-{number}" for number in range(500)))

    server.replies = [Reply(500), Reply(), Reply(429), Reply()]
    with server.client(batch_size=200) as client:
        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.usage.flush(60)
        assert client.usage.counts.accepted == client.usage.counts.tracked == 4000
    assert len(set(server.ids)) == 4000


def test_tracking_does_not_wait_for_the_server(server: Server) -> None:
    release = threading.Event()

    def slow(seen: Seen) -> Reply:
        release.wait(30)
        return Reply()

    server.replies = [slow]
    with server.client(batch_size=1) as client:
        track(client, "a")
        assert within(10, lambda: len(server.seen) == 1)
        track(client, "b", "c")  # while the first is still on its way
        assert client.usage.counts.waiting == 3
        release.set()
        assert client.usage.flush(30)


@pytest.mark.parametrize("address", ["billing.example.com", "ftp://billing.example.com", "http://"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        Client(api_key=KEY, base_url=address)


@pytest.mark.parametrize(
    "options", [{"when_full": "forget"}, {"batch_size": 0}, {"source": "two words"}]
)
def test_options_that_mean_nothing_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"when_full|at least|source"):
        UsageOptions(**options)  # type: ignore[arg-type]


def test_the_key_never_shows(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.replies = [Reply(401)]
    with server.client() as client:
        track(client, "a")
        assert client.usage.flush()
    assert KEY not in caplog.text
    assert KEY not in repr(client)
