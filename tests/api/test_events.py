"""Usage over HTTP: each event counted once, refused ones kept, the answer after the commit."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings

from apps.core import clock, rls
from apps.usage import services as usage
from apps.usage.models import Event, RejectedEvent
from tests import worlds
from tests.api.client import Api
from tests.conftest import STAFF
from tests.worlds import NOW, World

BATCH = "application/cloudevents-batch+json"
ONE = "application/cloudevents+json"


def event(key: str = "e-1", **changes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": key,
        "source": "gateway-eu-1",
        "type": "ai.request",
        "time": "2023-12-09T10:00:00Z",
        "data": {"context_tokens": 10, "generated_tokens": 5},
        **changes,
    }


def counts(body: dict[str, Any]) -> tuple[int, int, int]:
    return body["accepted"], body["duplicate"], body["rejected"]


def stored(world: World) -> int:
    with rls.tenant_scope(world.id):
        return Event.objects.filter(source="gateway-eu-1").count()


def kept() -> list[tuple[int | None, str]]:
    with rls.ops_scope("test"):
        rows = RejectedEvent.objects.order_by("code")
        return list(rows.values_list("organization_id", "code"))


@pytest.mark.parametrize("media_type", ["application/json", ONE, f"{ONE}; charset=UTF-8"])
def test_one_event_is_counted_once(api: Api, world: World, media_type: str) -> None:
    first = api.call("POST", "events", event(), content_type=media_type)
    again = api.call("POST", "events", event(), content_type=media_type)
    assert (first.status_code, counts(first.json())) == (200, (1, 0, 0))
    assert (again.status_code, counts(again.json())) == (200, (0, 1, 0))
    assert again.json()["events"] == [
        {
            "index": 0,
            "id": "e-1",
            "status": "duplicate",
            "code": None,
            "detail": None,
            "pointer": None,
        }
    ]
    assert stored(world) == 1


@pytest.mark.parametrize("media_type", ["application/json", BATCH])
def test_a_batch_answers_for_each_event_in_its_order(
    api: Api, world: World, media_type: str
) -> None:
    batch = [
        event("a"),
        event("a"),
        event("a", data={"context_tokens": 11}),
        event("b", type="unheard.of"),
        event("c", data={"context_tokens": "many"}),
        event("d", time="yesterday"),
        event("e", time="2023-12-10T13:00:00Z"),
        event("f", time="2023-10-01T00:00:00Z"),
        event("no blanks in ids"),
        event("g", specversion="0.3"),
        "no event",
        event("h"),
    ]
    reply = api.call("POST", "events", batch, content_type=media_type)
    assert (reply.status_code, counts(reply.json())) == (207, (2, 1, 9))
    said = [(one["status"], one["code"], one["pointer"]) for one in reply.json()["events"]]
    assert said == [
        ("accepted", None, None),
        ("duplicate", None, None),
        ("conflict", "conflict", "/id"),
        ("rejected", "unknown_type", "/type"),
        ("rejected", "not_numeric", "/data/context_tokens"),
        ("rejected", "invalid_time", "/time"),
        ("rejected", "in_future", "/time"),
        ("rejected", "too_old", "/time"),
        ("rejected", "invalid_id", "/id"),
        ("rejected", "invalid_event", "/specversion"),
        ("rejected", "invalid_event", ""),
        ("accepted", None, None),
    ]
    assert [one["index"] for one in reply.json()["events"]] == list(range(12))
    assert stored(world) == 2
    assert len(kept()) == 9


def test_when_all_are_refused_the_answer_is_a_problem_and_all_are_kept(
    api: Api, world: World
) -> None:
    reply = api.post("events", [event("a", type="unheard.of"), event("b", time="")])
    problem = reply.json()
    assert (reply.status_code, problem["code"]) == (400, "events_rejected")
    assert counts(problem) == (0, 0, 2)
    assert kept() == [(world.id, "invalid_time"), (world.id, "unknown_type")]


def test_tokens_show_in_the_usage_at_once(api: Api) -> None:
    assert api.get("usage/context_tokens").json()["quantity"] == "1000000"
    api.post("events", event(data={"context_tokens": 0.1}))
    found = api.get("usage/context_tokens").json()
    assert (found["quantity"], found["event_count"]) == ("1000000.1", 2)


def test_a_key_that_stands_twice_is_refused(api: Api, world: World) -> None:
    doubled = json.dumps(event("a")).replace('"id": "a"', '"id": "a", "id": "b"')
    inside = json.dumps(event("c")).replace('"data": {', '"data": {"context_tokens": 1, ')
    alone = api.call("POST", "events", doubled)
    batch = api.call("POST", "events", f"[{doubled}, {inside}, {json.dumps(event('d'))}]")
    assert (alone.status_code, alone.json()["code"]) == (400, "malformed_body")
    assert (batch.status_code, counts(batch.json())) == (207, (1, 0, 2))
    assert [one["code"] for one in batch.json()["events"]] == ["malformed", "malformed", None]
    assert stored(world) == 1
    assert kept() == [(world.id, "malformed")] * 2


@pytest.mark.parametrize("subject", ["acme", "ID", ""])
def test_a_customer_may_name_itself(api: Api, world: World, subject: str) -> None:
    named = world.organization.public_id if subject == "ID" else subject
    assert api.post("events", event(subject=named)).status_code == 200
    assert stored(world) == 1


def test_a_customer_cannot_send_for_another_and_a_replay_does_not_either(
    api: Api, world: World, stranger: World
) -> None:
    foreign = api.post("events", event(subject="globex")).json()
    missing = api.post("events", event(subject="nobody")).json()
    assert foreign["events"][0]["code"] == "unknown_subject"
    assert foreign["events"] == missing["events"]
    with rls.ops_scope("test"):
        replayed = usage.replay_rejected(actor=STAFF, at=NOW)
    assert (replayed.tried, replayed.accepted) == (2, 0)
    assert stored(world) == stored(stranger) == 0


def test_the_platform_sends_for_many(platform: Api, world: World, stranger: World) -> None:
    batch = [
        event("a", subject="acme"),
        event("b", subject="globex"),
        event("c", subject="nobody"),
        event("d"),
        event("e", subject=world.organization.public_id),
    ]
    reply = platform.post("events", batch)
    assert (reply.status_code, counts(reply.json())) == (207, (3, 0, 2))
    assert [one["code"] for one in reply.json()["events"]] == [
        None,
        None,
        "unknown_subject",
        "unknown_subject",
        None,
    ]
    assert (stored(world), stored(stranger)) == (2, 1)
    assert kept() == [(None, "unknown_subject"), (None, "unknown_subject")]


def test_the_oldest_event_that_is_taken_is_as_old_as_the_setting(
    api: Api, settings: LazySettings
) -> None:
    settings.USAGE_MAX_AGE_DAYS = 7
    edge = NOW - timedelta(days=7)
    assert api.post("events", event("a", time=edge.isoformat())).status_code == 200
    older = (edge - timedelta(seconds=1)).isoformat()
    assert api.post("events", event("b", time=older)).json()["events"][0]["code"] == "too_old"


def test_a_batch_above_the_limit_is_refused_whole(
    api: Api, world: World, settings: LazySettings
) -> None:
    settings.USAGE_MAX_BATCH = 3
    assert api.post("events", [event(str(n)) for n in range(3)]).status_code == 200
    reply = api.post("events", [event(f"x{n}") for n in range(4)])
    assert (reply.status_code, reply.json()["code"]) == (413, "batch_too_large")
    assert stored(world) == 3


def test_a_body_above_the_limit_is_refused_unread(
    api: Api, world: World, settings: LazySettings
) -> None:
    body = json.dumps(event(data={"note": "x" * 1000}))
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = len(body)
    assert api.post("events", body).status_code == 200
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = len(body) - 1
    reply = api.post("events", body)
    assert (reply.status_code, reply.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("body", ["{", event(), [event("a"), event("b")], {"data": "x" * 9000}])
def test_who_may_not_send_is_told_that_first(world: World, body: object) -> None:
    for nobody in (Api(None), Api("bk_test_" + "0" * 40)):
        reply = nobody.post("events", body)
        assert (reply.status_code, reply["Content-Type"]) == (401, "application/problem+json")
    reader = Api(worlds.make_key(world.organization, scopes=["usage:read"]))
    reply = reader.post("events", body)
    assert (reply.status_code, reply.json()["code"]) == (403, "missing_scope")
    assert stored(world) == 0


@pytest.mark.parametrize(
    ("body", "media_type", "status", "code"),
    [
        ([], "application/json", 400, "malformed_body"),
        ("7", "application/json", 400, "malformed_body"),
        ("", "application/json", 400, "malformed_body"),
        ("[{}", "application/json", 400, "malformed_body"),
        ('{"id": "a"', "application/json", 400, "malformed_body"),
        ("[" * 100_000, "application/json", 400, "malformed_body"),
        ('{"data":' * 100_000, "application/json", 400, "malformed_body"),
        (b'{"id": "\xff"}', "application/json", 400, "malformed_body"),
        (event(), BATCH, 400, "malformed_body"),
        ([event()], ONE, 400, "malformed_body"),
        (event(), "text/plain", 415, "unsupported_media_type"),
        (event(), "application/json; charset=utf-16", 415, "unsupported_media_type"),
    ],
)
def test_what_is_no_event_at_all_is_refused(
    api: Api, world: World, body: Any, media_type: str, status: int, code: str
) -> None:
    reply = api.call("POST", "events", body, content_type=media_type)
    assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert kept() == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ('{"context_tokens": 1e400}', "invalid_number"),
        ('{"context_tokens": 1e18}', "not_numeric"),
        ('{"context_tokens": -1}', "negative"),
        ('{"context_tokens": NaN}', None),
        ('{"context_tokens": "0x10"}', "not_numeric"),
        ('{"context_tokens": true}', "not_numeric"),
        ('{"note": "\\u0000"}', "invalid_text"),
        ('{"note": "\\ud800"}', None),
        ('{"a": ' * 17 + "1" + "}" * 17, "too_deep"),
        (json.dumps({f"k{n}": n for n in range(65)}), "too_many_keys"),
        (json.dumps({"note": "x" * 20_000}), "too_large"),
        ('{"context_tokens": ' + "9" * 5000 + "}", None),
    ],
)
def test_hostile_data_is_refused_item_by_item(
    api: Api, world: World, data: str, code: str | None
) -> None:
    bad = json.dumps(event("bad")).replace(json.dumps(event()["data"]), data)
    reply = api.post("events", f"[{bad}, {json.dumps(event('good'))}]")
    if reply.status_code == 207:
        statuses = [(one["status"], one["code"]) for one in reply.json()["events"]]
        assert statuses[1] == ("accepted", None)
        assert statuses[0][0] == "rejected"
        assert code in {None, statuses[0][1]}
    else:
        assert (reply.status_code, reply.json()["code"]) == (400, "malformed_body")
        assert stored(world) == 0


def test_an_idempotency_key_has_no_effect_on_events(api: Api, world: World) -> None:
    header = {"Idempotency-Key": "once"}
    assert counts(api.post("events", event("a"), **header).json()) == (1, 0, 0)
    assert counts(api.post("events", event("b"), **header).json()) == (1, 0, 0)
    assert stored(world) == 2


@pytest.mark.committed
def test_what_was_answered_is_committed(committed_db: str) -> None:
    worlds.load_catalog()
    organization, _ = worlds.make_customer("acme")
    api = Api(worlds.make_key(organization))
    assert api.post("events", event(time="2026-01-01T00:00:00Z")).status_code == 400
    now = clock.now()
    assert api.post("events", event(time=now.isoformat())).status_code == 200
    with rls.tenant_scope(organization.pk):
        assert Event.objects.count() == 1
        assert RejectedEvent.objects.count() == 1
