"""The clients of the ingest harness: every form says the same, and lies are noticed."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from apps.api.forms import read_events
from apps.usage.checking import NewEvent
from tests.prove import ingest_clients
from tests.prove.ingest_clients import Acknowledged, Batch, Mistaken
from tests.prove.ingest_world import TYPE, Stream

STREAM = Stream(3, 1, "bk_test_1", datetime(2026, 11, 1, tzinfo=UTC))
OK = 200


def answer(*outcomes: tuple[str, str]) -> bytes:
    """Return the door's answer: the id of every event, and what became of it."""
    told: Sequence[dict[str, str]] = [{"id": key, "status": status} for key, status in outcomes]
    count = [status for _, status in outcomes].count
    return json.dumps(
        {"accepted": count("accepted"), "duplicate": count("duplicate"), "events": told}
    ).encode()


@pytest.mark.parametrize("seed", range(40))
def test_an_event_is_the_same_in_every_form_that_a_client_chooses(seed: int) -> None:
    asked = Batch(7, 1 + seed % 2 * 2)
    body, headers = ingest_clients._written(STREAM, asked, random.Random(seed))
    raw = gzip.decompress(body) if "Content-Encoding" in headers else body
    names = {f"HTTP_{name.upper().replace('-', '_')}": text for name, text in headers.items()}
    found = read_events(raw, headers["Content-Type"], names)
    sent = [STREAM.event(number) for number in asked.numbers()]
    assert [
        (event.key, event.occurred_at, event.data, event.source, event.type)
        for event in found
        if isinstance(event, NewEvent)
    ] == [(event.key, event.at, event.data, "client-3", TYPE) for event in sent]


def test_what_was_acknowledged_reads_back_as_it_was_written() -> None:
    told = Acknowledged(3, Batch(7, 100), "accepted", 2)
    assert Acknowledged.read(str(told)) == told


def test_events_of_one_request_have_one_outcome() -> None:
    text = answer(("call-7", "duplicate"), ("call-8", "duplicate"))
    assert ingest_clients._outcome(OK, text, Batch(7, 2)) == "duplicate"


@pytest.mark.parametrize(
    ("status", "text", "said"),
    [
        (500, b"", "answered with 500"),
        (OK, answer(("call-7", "accepted"), ("call-8", "duplicate")), "stored in part"),
        (OK, answer(("call-7", "accepted")), "outcome of other events"),
    ],
    ids=["a failure", "half of it", "less than asked"],
)
def test_a_client_believes_no_answer_that_must_not_be(status: int, text: bytes, said: str) -> None:
    with pytest.raises(Mistaken, match=said):
        ingest_clients._outcome(status, text, Batch(7, 2))
