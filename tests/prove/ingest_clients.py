"""The programs that send usage and believe what they are told: nothing else is known to them.

A client sends its events in all forms of the door, and sends a request again until it is answered.
What was acknowledged goes to a log that no crash of ours can reach. Now and then, and after every
request that broke, it sends again what was acknowledged before, in another form: all of that must
be known by then.
"""

from __future__ import annotations

import gzip
import http.client
import json
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from apps.api import forms
from apps.api.reading import JSON
from tests.prove.ingest_world import TYPE, Sent, Stream
from tests.prove.processes import Log, Tally

HOST, PATH = "127.0.0.1", "/api/v1/events"
PATIENCE = 10.0  # seconds for an answer
PAUSE = 0.02
SIZES = (2, 10, 50, 200, 1000)
REMEMBERED, SAMPLE = 3, 20
LOST_WITHOUT_A_WORD = (OSError, http.client.HTTPException)
TRY_AGAIN = 503

Body = tuple[bytes, dict[str, str]]


class Mistaken(Exception):
    """The door answered what it must never answer."""


@dataclass(slots=True)
class Logs:
    """What the clients of a run leave behind, and how far they are."""

    acknowledged: Log
    repeated: Log
    mistakes: Log
    progress: Tally


@dataclass(frozen=True, slots=True)
class Batch:
    """A request: the events of a stream from `first` on."""

    first: int
    count: int

    def numbers(self) -> range:
        """Return the events' numbers."""
        return range(self.first, self.first + self.count)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A line of the log: what a client was told, and how often it had asked."""

    client: int
    sent: Batch
    outcome: str
    unanswered: int

    def __str__(self) -> str:
        said = (self.client, self.sent.first, self.sent.count, self.outcome, self.unanswered)
        return " ".join(map(str, said))

    @classmethod
    def read(cls, line: str) -> Acknowledged:
        """Return what a line of the log says."""
        client, first, count, outcome, unanswered = line.split()
        return cls(int(client), Batch(int(first), int(count)), outcome, int(unanswered))


@dataclass
class Client:
    """One program that sends its stream up to a number of events, over connections of its own."""

    stream: Stream
    port: int
    chance: random.Random
    logs: Logs
    sent: list[Batch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.connection, self.second = (
            http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE) for _ in range(2)
        )

    def send_all(self, events: int) -> None:
        """Send so many events, each until it is acknowledged, and some of them again."""
        recent: deque[Batch] = deque(maxlen=REMEMBERED)
        first = 0
        with self._telling_mistakes():
            while first < events:
                asked = Batch(first, min(self._size(), events - first))
                if self._deliver(asked) or self.chance.random() < 0.05:
                    self._repeat(recent)
                recent.append(asked)
                self.sent.append(asked)
                first += asked.count
                self.logs.progress.put(self.stream.client, first)
            self._repeat(self.chance.sample(self.sent, min(SAMPLE, len(self.sent))))

    @contextmanager
    def _telling_mistakes(self) -> Iterator[None]:
        try:
            yield
        except Mistaken as mistake:
            self.logs.mistakes.write(f"{self.stream.source}: {mistake}")

    def _size(self) -> int:
        return 1 if self.chance.random() < 0.5 else self.chance.choice(SIZES)

    def _deliver(self, asked: Batch) -> int:
        """Send events until somebody says that they are stored; return how often nobody did."""
        answers, unanswered = self._answered(asked)
        if answers.count("accepted") > 1:
            raise Mistaken(f"{asked} was accepted twice at the same time")
        if not unanswered and "accepted" not in answers:
            raise Mistaken(f"{asked} was never sent before and is called a duplicate")
        outcome = "accepted" if "accepted" in answers else "duplicate"
        told = Acknowledged(self.stream.client, asked, outcome, unanswered)
        self.logs.acknowledged.write(str(told))
        return unanswered

    def _repeat(self, known: Sequence[Batch]) -> None:
        """Send again what was acknowledged, until it is answered: everything is a duplicate."""
        for asked in known:
            answers, unanswered = self._answered(asked)
            if "accepted" in answers:
                raise Mistaken(f"{asked} was acknowledged before and is accepted now")
            told = Acknowledged(self.stream.client, asked, "duplicate", unanswered)
            self.logs.repeated.write(str(told))

    def _answered(self, asked: Batch) -> tuple[list[str], int]:
        """Send events until there is an answer; return all there are, and how many are missing."""
        unanswered = 0
        while not any(answers := self._answers(asked)):
            unanswered += len(answers)
            time.sleep(PAUSE)
        return answers, unanswered + answers.count("")

    def _answers(self, asked: Batch) -> list[str]:
        """Send events once, or twice at the same time; return the answers, empty without one."""
        hedged = self.chance.random() < 0.05
        asking = [self.connection, self.second] if hedged else [self.connection]
        under_way = [(one, self._is_sent(one, asked)) for one in asking]
        return [self._answer(one, asked) if is_sent else "" for one, is_sent in under_way]

    def _is_sent(self, connection: http.client.HTTPConnection, asked: Batch) -> bool:
        body, headers = _written(self.stream, asked, self.chance)
        try:
            connection.request("POST", PATH, body, headers)
        except LOST_WITHOUT_A_WORD:
            connection.close()
            return False
        return True

    def _answer(self, connection: http.client.HTTPConnection, asked: Batch) -> str:
        try:
            answer = connection.getresponse()
            status, text = answer.status, answer.read()
        except LOST_WITHOUT_A_WORD:
            connection.close()
            return ""
        return "" if status == TRY_AGAIN else _outcome(status, text, asked)


def _outcome(status: int, text: bytes, asked: Batch) -> str:
    """Return what became of the events of a request: all the same, for it is one transaction."""
    if status != http.HTTPStatus.OK:
        raise Mistaken(f"{asked} was answered with {status}: {text[:300]!r}")
    told = json.loads(text)
    statuses = {one["status"] for one in told["events"]}
    if [one["id"] for one in told["events"]] != [f"call-{n}" for n in asked.numbers()]:
        raise Mistaken(f"{asked} was answered with the outcome of other events")
    if len(statuses) != 1 or told.get(*statuses) != asked.count:
        raise Mistaken(f"{asked} was stored in part: {told['accepted']} and {told['duplicate']}")
    return str(statuses.pop())


# --- the forms of the door ----------------------------------------------------------------------
def _written(stream: Stream, asked: Batch, chance: random.Random) -> Body:
    """Return a request in any form that fits it, compressed or not, with its headers."""
    events = [stream.event(number) for number in asked.numbers()]
    body, headers = chance.choice(_FORMS if len(events) == 1 else _FORMS_OF_MANY)(stream, events)
    if chance.random() < 0.3:
        body, headers = gzip.compress(body, 1), {**headers, "Content-Encoding": "gzip"}
    return body, {**headers, "Authorization": f"Bearer {stream.secret}"}


def _cloud_event(stream: Stream, event: Sent) -> dict[str, object]:
    attributes: Mapping[str, object] = _attributes(stream, event)
    return {**attributes, "data": event.data}


def _attributes(stream: Stream, event: Sent) -> dict[str, str]:
    named = {"id": event.key, "source": stream.source, "type": TYPE, "time": event.at.isoformat()}
    return {"specversion": "1.0", **named}


def _one(stream: Stream, events: Sequence[Sent]) -> Body:
    text = json.dumps(_cloud_event(stream, events[0]))
    return text.encode(), {"Content-Type": forms.ONE}


def _in_headers(stream: Stream, events: Sequence[Sent]) -> Body:
    attributes = _attributes(stream, events[0])
    headers = {f"ce-{name}": value for name, value in attributes.items()}
    return json.dumps(events[0].data).encode(), {**headers, "Content-Type": JSON}


def _many(stream: Stream, events: Sequence[Sent]) -> Body:
    text = json.dumps([_cloud_event(stream, event) for event in events])
    return text.encode(), {"Content-Type": forms.MANY}


def _lines(stream: Stream, events: Sequence[Sent]) -> Body:
    text = "\n".join(json.dumps(_cloud_event(stream, event)) for event in events)
    return text.encode(), {"Content-Type": forms.LINES}


def _rows(stream: Stream, events: Sequence[Sent]) -> Body:
    rows = [[event.key, event.at.isoformat(), event.data] for event in events]
    text = json.dumps({"source": stream.source, "type": TYPE, "events": rows})
    return text.encode(), {"Content-Type": forms.ROWS}


_FORMS_OF_MANY: tuple[Callable[[Stream, Sequence[Sent]], Body], ...] = (_many, _lines, _rows)
_FORMS = (_one, _in_headers, *_FORMS_OF_MANY)
