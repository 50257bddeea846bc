"""Events as they travel."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from apps.usage import cloudevents
from apps.usage.checking import NewEvent, Unread

GOOD = (
    b'{"specversion":"1.0","id":"a-1","source":"app/1","type":"ai.request","subject":"acme",'
    b'"time":"2026-03-01T01:00:00.1234567+01:00","datacontenttype":"application/json",'
    b'"extension":1,"data":{"tokens":0.1,"many":12345678901234567890}}'
)


def test_an_event_is_read_exactly() -> None:
    event = cloudevents.read(GOOD, line=7)
    assert isinstance(event, NewEvent)
    assert (event.key, event.source, event.type, event.subject) == (
        "a-1", "app/1", "ai.request", "acme",
    )  # fmt: skip
    assert event.occurred_at == datetime(2026, 3, 1, 0, 0, 0, 123456, tzinfo=UTC)
    assert event.data == {"tokens": Decimal("0.1"), "many": 12345678901234567890}
    assert (event.line, event.payload) == (7, GOOD)


def test_what_is_written_is_read_back() -> None:
    event = cloudevents.read(GOOD)
    assert isinstance(event, NewEvent)
    again = cloudevents.read(cloudevents.write(event).encode())
    assert isinstance(again, NewEvent)
    assert (again.key, again.occurred_at, again.data) == (event.key, event.occurred_at, event.data)


MINIMAL = '{{"specversion":"1.0","id":"a","source":"s","type":"t"{}}}'


@pytest.mark.parametrize("rest", ["", ',"data":null', ',"time":""'])
def test_data_and_time_may_be_missing_and_are_judged_later(rest: str) -> None:
    event = cloudevents.read(MINIMAL.format(rest).encode())
    assert isinstance(event, NewEvent)
    assert (event.data, event.occurred_at) == ({}, None)


@pytest.mark.parametrize(
    ("raw", "code", "pointer"),
    [
        (b"", "malformed", ""),
        (b"{", "malformed", ""),
        (b"hello", "malformed", ""),
        (b'{"a":NaN}', "malformed", ""),
        (b'{"id":"\xff"}', "malformed", ""),
        (b'{"id":"\\ud800"}', "malformed", ""),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "malformed", ""),
        (b'{"specversion":"1.0","id":"a","id":"b","source":"s","type":"t"}', "malformed", ""),
        (GOOD.replace(b'"many"', b'"tok\\u0065ns"'), "malformed", ""),
        (b"[]", "invalid_event", ""),
        (b"null", "invalid_event", ""),
        (b"{}", "invalid_event", ""),
        (b'{"specversion":1}', "invalid_event", "/specversion"),
        (MINIMAL.format(',"data":[]').encode(), "invalid_event", "/data"),
        (MINIMAL.format(',"data_base64":"eA=="').encode(), "invalid_event", "/data_base64"),
        (MINIMAL.replace("1.0", "0.3").format("").encode(), "invalid_event", "/specversion"),
        (
            MINIMAL.format(',"data":{"a":' + "1" * 5000 + "}").encode(),
            "invalid_event",
            "/data",
        ),
    ],
)
def test_what_cannot_be_read_comes_back_whole(raw: bytes, code: str, pointer: str) -> None:
    found = cloudevents.read(raw, line=3)
    assert isinstance(found, Unread)
    assert (found.refusal.code, found.refusal.pointer, found.line) == (code, pointer, 3)
    assert found.payload == cloudevents.text_of(raw)
    assert found.refusal.reason.endswith(".")


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2023-11-16 18:17:03.9799600", "2023-11-16T18:17:03.979960+00:00"),
        ("2023-11-16T18:17:03Z", "2023-11-16T18:17:03+00:00"),
        ("2023-11-16t18:17:03z", "2023-11-16T18:17:03+00:00"),
        ("2023-11-16T18:17:03", "2023-11-16T18:17:03+00:00"),
        ("2023-11-16T18:17:03.9999999999", "2023-11-16T18:17:03.999999+00:00"),
        ("2023-11-16T18:17:03.5+05:30", "2023-11-16T12:47:03.500000+00:00"),
        ("2023-11-16 18:17:03 -0800", "2023-11-17T02:17:03+00:00"),
    ],
)
def test_times_are_utc_and_cut_at_the_microsecond(text: str, time: str) -> None:
    assert cloudevents.parse_time(text) == datetime.fromisoformat(time)


@pytest.mark.parametrize(
    "text",
    ["", "now", "2023-11-16", "2023-11-16T18:17", "2023-13-01T00:00:00Z", "2023-11-16T24:01:00Z",
     "2023-11-16T18:17:60Z", "1700000000", "20231116T181703", "0001-01-01T00:00:00+14:00",
     "2023-11-16T18:17:03+25:00", "２０２３-11-16T18:17:03Z", "2023-11-16T18:17:03Z "],
)  # fmt: skip
def test_other_texts_are_no_times(text: str) -> None:
    assert cloudevents.parse_time(text) is None


def test_text_keeps_what_postgresql_cannot_store_readable() -> None:
    assert cloudevents.text_of(b"a\x00\xff\n") == "a\\x00\\xff"
