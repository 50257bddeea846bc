"""One event in every form: the same outcome, and whatever is hostile is refused event by event."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from django.conf import LazySettings
from django.core.handlers.wsgi import WSGIRequest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.api import forms
from apps.api.errors import BodyTooLarge, MalformedBody
from apps.api.reading import streamed_body
from apps.core import rls
from apps.usage import cloudevents
from apps.usage import services as usage
from apps.usage.checking import Unread
from apps.usage.models import Event, RejectedEvent
from tests.api.client import Api, Reply
from tests.conftest import STAFF
from tests.worlds import NOW, World

TIME = "2023-12-09T10:00:00Z"
Parts = dict[str, str]  # attributes of an event as JSON texts
Send = Callable[[Api, list[Parts]], Reply]


def parts(key: str = "e-1", **changes: str) -> Parts:
    said = {
        "id": json.dumps(key),
        "source": '"gateway-eu-1"',
        "type": '"ai.request"',
        "time": json.dumps(TIME),
        "data": '{"context_tokens": 10}',
    }
    return {**said, **changes}


def document(event: Parts) -> str:
    said = {"specversion": '"1.0"', **event}
    return "{" + ", ".join(f'"{name}": {text}' for name, text in said.items()) + "}"


def send(api: Api, body: str | bytes, media_type: str, **headers: Any) -> Reply:
    return api.call("POST", "events", body, content_type=media_type, **headers)


def batch(api: Api, events: list[Parts]) -> Reply:
    return send(api, f"[{', '.join(map(document, events))}]", forms.MANY)


def lines(api: Api, events: list[Parts]) -> Reply:
    return send(api, "\n\n".join(map(document, events)) + "\r\n", forms.LINES)


def rows(api: Api, events: list[Parts]) -> Reply:
    told = ", ".join(f"[{one['id']}, {one['time']}, {one['data']}]" for one in events)
    shared = f'"source": {events[0]["source"]}, "type": {events[0]["type"]}'
    return send(api, f'{{{shared}, "events": [{told}]}}', forms.ROWS)


def squeezed(api: Api, events: list[Parts]) -> Reply:
    body = gzip.compress(f"[{', '.join(map(document, events))}]".encode())
    return send(api, body, forms.MANY, **{"Content-Encoding": "gzip"})


MANY_AT_ONCE: dict[str, Send] = {
    "batch": batch,
    "lines": lines,
    "rows": rows,
    "gzip": squeezed,
}


def single(api: Api, event: Parts) -> Reply:
    return send(api, document(event), forms.ONE)


def binary(api: Api, event: Parts) -> Reply:
    attributes = {name: json.loads(text) for name, text in event.items() if name != "data"}
    named = {f"ce-{name}": quote(str(text)) for name, text in attributes.items()}
    return send(api, event["data"], "application/json", **named, **{"ce-specversion": "1.0"})


def stored(world: World) -> list[tuple[str, str, Any]]:
    with rls.tenant_scope(world.id):
        found = Event.objects.filter(source="gateway-eu-1").order_by("id")
        return [(one.key, one.type, one.data) for one in found]


def kept() -> list[str]:
    with rls.ops_scope("test"):
        return list(RejectedEvent.objects.order_by("id").values_list("payload", flat=True))


@pytest.mark.parametrize("form", MANY_AT_ONCE)
def test_every_form_says_the_same(api: Api, world: World, form: str) -> None:
    events = [parts("a"), parts("b", data='{"context_tokens": 0.1}'), parts("a"), parts("c d")]
    reply = MANY_AT_ONCE[form](api, events)
    assert reply.status_code == 207
    said = [(one["id"], one["status"], one["code"]) for one in reply.json()["events"]]
    assert said == [
        ("a", "accepted", None),
        ("b", "accepted", None),
        ("a", "duplicate", None),
        ("c d", "rejected", "invalid_id"),
    ]
    assert [key for key, _, _ in stored(world)] == ["a", "b"]


@pytest.mark.parametrize("form", [single, binary])
def test_one_event_alone_says_the_same(
    api: Api, world: World, form: Callable[[Api, Parts], Reply]
) -> None:
    assert form(api, parts("a")).json()["accepted"] == 1
    assert single(api, parts("a")).json()["duplicate"] == 1
    assert stored(world) == [("a", "ai.request", {"context_tokens": 10})]


HOSTILE: dict[str, tuple[dict[str, str], set[str]]] = {
    "not a number": ({"data": '{"context_tokens": "NaN"}'}, {"not_numeric"}),
    "beyond a float": ({"data": '{"context_tokens": 1e400}'}, {"invalid_number"}),
    "beyond any number": ({"data": '{"context_tokens": 1e999999999}'}, {"invalid_number"}),
    "5,000 digits": (
        {"data": '{"context_tokens": ' + "9" * 5000 + "}"},
        {"invalid_number", "invalid_event"},
    ),
    "5,000 places": ({"data": '{"context_tokens": 0.' + "1" * 5000 + "}"}, {"invalid_number"}),
    "a NUL": ({"data": '{"note": "\\u0000"}'}, {"invalid_text"}),
    "a NUL in a key": ({"data": '{"\\u0000": 1}'}, {"invalid_text"}),
    "too deep": ({"data": '{"a":' * 17 + "1" + "}" * 17}, {"too_deep"}),
    "too many keys": ({"data": json.dumps(dict.fromkeys(map(str, range(65))))}, {"too_many_keys"}),
    "too large": ({"data": json.dumps({"a": "x" * 20_000})}, {"too_large"}),
    "a doubled key": ({"data": '{"a": 1, "a": 2}'}, {"malformed"}),
    "a doubled key, spaced": ({"data": '{"a" : 1, "a" : 2}'}, {"malformed"}),
    "no object": ({"data": "[1]"}, {"invalid_event"}),
    "the far future": ({"time": '"9999-12-31T23:59:59Z"'}, {"invalid_time"}),
    "an hour ahead": ({"time": '"2023-12-10T23:59:59Z"'}, {"in_future"}),
    "ancient": ({"time": '"0001-01-01T00:00:00+14:00"'}, {"invalid_time"}),
    "before computers": ({"time": '"1969-12-31T23:59:59Z"'}, {"invalid_time"}),
    "no time": ({"time": '"infinity"'}, {"invalid_time"}),
    "a blank id": ({"id": '""'}, {"invalid_id"}),
    "a composed id": ({"id": '"caf\\u00e9"'}, {"invalid_id"}),
    "the id decomposed": ({"id": '"cafe\\u0301"'}, {"invalid_id"}),
    "a wide id": ({"id": '"\\uff41"'}, {"invalid_id"}),
    "a right-to-left id": ({"id": '"\\u202ea"'}, {"invalid_id"}),
}


@pytest.mark.parametrize("form", MANY_AT_ONCE)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_event_is_refused_and_its_neighbours_are_taken(
    api: Api, world: World, form: str, name: str
) -> None:
    changes, codes = HOSTILE[name]
    reply = MANY_AT_ONCE[form](api, [parts("a"), parts("bad", **changes), parts("z")])
    assert reply.status_code == 207, reply.json()
    first, refused, last = reply.json()["events"]
    assert (first["status"], last["status"]) == ("accepted", "accepted")
    assert (refused["status"], refused["code"] in codes) == ("rejected", True), refused
    assert refused["detail"].endswith(".")
    assert [key for key, _, _ in stored(world)] == ["a", "z"]
    assert len(kept()) == 1


@pytest.mark.parametrize("form", [single, binary])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_event_alone_is_refused(
    api: Api, world: World, form: Callable[[Api, Parts], Reply], name: str
) -> None:
    changes, _ = HOSTILE[name]
    assert form(api, parts(**{"id": '"bad"', **changes})).status_code == 400
    assert stored(world) == []


BROKEN = ['{"context_tokens": NaN}', '{"note": "\\ud800"}', '{"note": "\\udfff\\ud800"}', "{", "}"]


@pytest.mark.parametrize("text", BROKEN)
def test_a_line_that_is_no_json_is_refused_alone(api: Api, world: World, text: str) -> None:
    reply = lines(api, [parts("a"), parts("bad", data=text), parts("z")])
    assert reply.status_code == 207
    assert [one["code"] for one in reply.json()["events"]] == [None, "malformed", None]
    assert [key for key, _, _ in stored(world)] == ["a", "z"]
    with rls.ops_scope("test"):
        assert RejectedEvent.objects.get().line == 3


@pytest.mark.parametrize("form", ["batch", "rows", "gzip"])
@pytest.mark.parametrize("text", BROKEN)
def test_a_body_that_is_no_json_is_refused_whole(
    api: Api, world: World, form: str, text: str
) -> None:
    reply = MANY_AT_ONCE[form](api, [parts("a"), parts("bad", data=text)])
    assert reply.status_code in {207, 400}
    assert {key for key, _, _ in stored(world)} <= {"a"}
    if reply.status_code == 400:
        assert reply.json()["code"] == "malformed_body"


@pytest.mark.parametrize("form", MANY_AT_ONCE)
def test_what_was_refused_can_be_replayed_in_whatever_form_it_came(
    api: Api, world: World, form: str
) -> None:
    MANY_AT_ONCE[form](api, [parts("a"), parts("late", time='"2023-10-01T00:00:00Z"')])
    with rls.ops_scope("test"):
        replayed = usage.replay_rejected(actor=STAFF, at=NOW)
    assert (replayed.tried, replayed.accepted) == (1, 1)
    assert [key for key, _, _ in stored(world)] == ["a", "late"]


def test_rows_may_name_whom_they_are_about(platform: Api, world: World) -> None:
    shared = {"source": "gateway-eu-1", "type": "ai.request", "subject": "acme"}
    body = json.dumps({**shared, "events": [["a", TIME], ["b", TIME, {"context_tokens": 3}]]})
    assert send(platform, body, forms.ROWS).json()["accepted"] == 2
    assert [key for key, _, _ in stored(world)] == ["a", "b"]


@pytest.mark.parametrize(
    "row", ["7", '"a"', "[]", '["a"]', '["a", "b", {}, 1]', '[1, "2023-12-09T10:00:00Z"]', "{}"]
)
def test_a_row_of_another_shape_is_refused_alone(api: Api, world: World, row: str) -> None:
    shared = '"source": "gateway-eu-1", "type": "ai.request"'
    body = f'{{{shared}, "events": [["a", "{TIME}"], {row}, ["z", "{TIME}"]]}}'
    reply = send(api, body, forms.ROWS)
    assert [one["code"] for one in reply.json()["events"]] == [None, "invalid_event", None]
    assert [key for key, _, _ in stored(world)] == ["a", "z"]


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "{}",
        "7",
        "",
        '{"source": "s", "type": "t", "events": []}',
        '{"source": "s", "type": "t", "events": [["a", "b"]], "more": 1}',
        '{"source": "s", "source": "t", "type": "t", "events": [["a", "b"]]}',
        '{"source" : "s", "source" : "t", "type": "t", "events": [["a", "b"]]}',
        '{"source": 1, "type": "t", "events": [["a", "b"]]}',
        '{"source": "\\ud800", "type": "t", "events": [["a", "b"]]}',
        '{"source": "s", "type": "t", "events": ' + "[" * 100_000,
    ],
)
def test_rows_in_another_frame_are_refused_whole(api: Api, world: World, body: str) -> None:
    reply = send(api, body, forms.ROWS)
    assert (reply.status_code, reply.json()["code"]) == (400, "malformed_body")
    assert kept() == []


@pytest.mark.parametrize("form", MANY_AT_ONCE)
def test_a_batch_above_the_limit_is_refused_whole_in_every_form(
    api: Api, world: World, settings: LazySettings, form: str
) -> None:
    settings.USAGE_MAX_BATCH = 2
    reply = MANY_AT_ONCE[form](api, [parts("a"), parts("b"), parts("c")])
    assert (reply.status_code, reply.json()["code"]) == (413, "batch_too_large")
    assert stored(world) == []


def test_headers_that_are_no_text_are_refused(api: Api, world: World) -> None:
    named = {"ce-specversion": "1.0", "ce-id": "%ff", "ce-source": "s", "ce-type": "t"}
    reply = send(api, "{}", "application/json", **named)
    assert (reply.status_code, reply.json()["code"]) == (400, "malformed_body")


def test_data_beside_headers_cannot_add_attributes(api: Api, world: World) -> None:
    reply = binary(api, parts("a", data='{}, "id": "b"'))
    assert (reply.status_code, reply.json()["code"]) == (400, "malformed_body")
    assert stored(world) == []


# --- bodies -------------------------------------------------------------------------------------
def test_a_gzip_bomb_is_refused_at_the_limit(api: Api, world: World) -> None:
    bomb = gzip.compress(b" " * 200_000_000)
    assert len(bomb) < 300_000
    reply = send(api, bomb, forms.MANY, **{"Content-Encoding": "gzip"})
    assert (reply.status_code, reply.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "body",
    [b"", b"no gzip", gzip.compress(b"[]", mtime=0)[:-4], gzip.compress(b"[]", mtime=0) + b"more"],
    ids=["empty", "plain", "cut off", "more behind it"],
)
def test_a_body_that_is_not_what_it_says_is_refused(api: Api, world: World, body: bytes) -> None:
    reply = send(api, body, forms.MANY, **{"Content-Encoding": "gzip"})
    assert (reply.status_code, reply.json()["code"]) == (400, "malformed_body")


def test_other_codings_are_refused(api: Api, world: World) -> None:
    reply = send(api, document(parts()), forms.ONE, **{"Content-Encoding": "br"})
    assert (reply.status_code, reply.json()["code"]) == (415, "unsupported_media_type")


class Stream(io.BytesIO):
    """A body that comes in pieces of 1,000 bytes and tells how much of it was read."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(1000, size) if size and size > 0 else 1000)


def chunked(stream: io.BytesIO) -> WSGIRequest:
    return WSGIRequest(
        {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/api/v1/events",
            "CONTENT_TYPE": forms.MANY,
            "wsgi.input": stream,
            "wsgi.input_terminated": True,
        }
    )


def test_a_body_without_a_length_is_read_to_its_end() -> None:
    body = b"[" + b" " * 5000 + b"]"
    assert streamed_body(chunked(Stream(body)), media_types=forms.MEDIA_TYPES)[0] == body


def test_a_body_without_an_end_is_left_at_the_limit(settings: LazySettings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 2500
    stream = Stream(b"x" * 1_000_000)
    with pytest.raises(BodyTooLarge):
        streamed_body(chunked(stream), media_types=forms.MEDIA_TYPES)
    assert stream.tell() == 2501


# --- reading together ---------------------------------------------------------------------------
TEXTS = st.text(st.sampled_from('ab":\\ {}[],\u0000\ud800é'), max_size=6)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
SPACES = st.sampled_from([(", ", ": "), (",", ":"), (" , ", " : "), (",\t", "\n:")])


def spelled(value: Any, twice: bool, separators: tuple[str, str]) -> str:
    text = json.dumps(value, separators=separators)
    colon = separators[1]
    return text.replace("{", '{"a"' + colon + '1,"a"' + colon + "2,", 1) if twice else text


DOCUMENTS = st.builds(
    spelled,
    st.fixed_dictionaries(
        {
            "specversion": st.sampled_from(["1.0", "1.0", "1.0", "0.3"]),
            "id": TEXTS,
            "source": TEXTS,
        },
        optional={
            "type": TEXTS,
            "time": st.sampled_from([TIME, "no time", ""]),
            "data": VALUES,
            "other": VALUES,
        },
    ),
    st.booleans(),
    SPACES,
)


@settings(max_examples=500, deadline=None)
@given(st.lists(DOCUMENTS, min_size=1, max_size=4))
def test_events_read_together_are_what_each_is_alone(texts: list[str]) -> None:
    pieces = [text.encode() for text in texts]
    together = cloudevents.read_all(pieces, b"[" + b",".join(pieces) + b"]")
    alone = [cloudevents.read(piece) for piece in pieces]
    assert together == alone


@settings(max_examples=500, deadline=None)
@given(VALUES)
def test_a_key_that_stands_twice_is_never_missed(value: Any) -> None:
    for twice in (False, True):
        for separators in ((",", ":"), (", ", ": "), (",", " :"), (",", "\t:")):
            raw = spelled({"x": value}, twice, separators).encode("utf-8", "surrogatepass")
            try:
                read = msgspec.json.decode(raw)
            except msgspec.DecodeError:
                continue
            assert not (twice and cloudevents.are_keys_once([read], raw))


def test_a_frame_is_bounded_before_it_is_read(settings: LazySettings) -> None:
    with pytest.raises(MalformedBody):
        forms.read_events(b"[" * 1000, forms.MANY, {})
    found = forms.read_events(b"{\n{}\n", forms.LINES, {})
    assert [isinstance(one, Unread) for one in found] == [True, True]
