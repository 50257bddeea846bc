"""Reading the platform's answer: what became of each event of a batch, or that nobody knows."""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Mapping, Sequence
from email.message import Message
from typing import Any, NamedTuple

from countinghouse import events
from countinghouse.errors import UnexpectedAnswer
from countinghouse.transport import Answer, Transport

PATH = "/api/v1/events"
CONTENT_TYPE = "application/x-ndjson"
PROBLEM = "application/problem+json"
TOO_LARGE = 413
JUDGED = {200, 207, 400}  # the statuses under which an answer speaks of the events themselves
REFUSED = {"rejected", "conflict"}
LONGEST_WAIT = 300.0  # seconds; who is asked to wait longer asks again after this


class Rejected(NamedTuple):
    """An event that the platform refused for good, and why.

    `event` is the CloudEvent as it was sent, `code` the platform's reason (`unknown_type`,
    `too_old`, …), `pointer` a JSON pointer to what is wrong in it.
    """

    event: Mapping[str, object]
    code: str
    detail: str
    pointer: str


class Settled(NamedTuple):
    """What became of a batch: no event of it needs to be sent again."""

    accepted: int = 0
    duplicate: int = 0
    rejected: Sequence[Rejected] = ()

    def plus(self, other: Settled) -> Settled:
        """Return both together."""
        return Settled(
            self.accepted + other.accepted,
            self.duplicate + other.duplicate,
            (*self.rejected, *other.rejected),
        )


def deliver(transport: Transport, lines: Sequence[bytes]) -> Settled:
    """Send events; return once the platform has said what became of all of them.

    Halves what is too large for one request. Raises ConnectionFailed and UnexpectedAnswer when
    that is not known: the same lines may then be sent again, they count once.
    """
    answer = transport.post(PATH, b"\n".join(lines), CONTENT_TYPE)
    if answer.status != TOO_LARGE:
        return _judge(answer, lines)
    if len(lines) == 1:
        return Settled(rejected=_all(lines, "body_too_large", "The event alone is too large."))
    middle = len(lines) // 2
    return deliver(transport, lines[:middle]).plus(deliver(transport, lines[middle:]))


def _judge(answer: Answer, lines: Sequence[bytes]) -> Settled:
    said = _document(answer.body)
    code = str(said.get("code") or "")
    if answer.status not in JUDGED:
        raise UnexpectedAnswer(answer.status, code, retry_after=retry_after(answer.headers))
    if _is_refusal(answer) and "events" not in said:
        return Settled(rejected=_all(lines, code, str(said.get("detail") or "")))
    outcomes = said.get("events")
    if not isinstance(outcomes, list) or len(outcomes) != len(lines):
        raise UnexpectedAnswer(answer.status, "not an answer of the platform")
    statuses = [one.get("status") for one in outcomes]
    pairs = zip(outcomes, lines, strict=True)
    rejected = [_rejected(one, line) for one, line in pairs if one.get("status") in REFUSED]
    return Settled(statuses.count("accepted"), statuses.count("duplicate"), rejected)


def _is_refusal(answer: Answer) -> bool:
    """Tell whether the platform itself refused the request, and not something before it."""
    return answer.status == 400 and answer.headers.get_content_type() == PROBLEM


def _document(body: bytes) -> Mapping[str, Any]:
    """Return the JSON object of an answer; nothing for what is none, such as a proxy's page."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _rejected(outcome: Mapping[str, Any], line: bytes) -> Rejected:
    said = [str(outcome.get(name) or "") for name in ("code", "detail", "pointer")]
    return Rejected(events.read(line), *said)


def _all(lines: Sequence[bytes], code: str, detail: str) -> list[Rejected]:
    return [Rejected(events.read(line), code, detail, "") for line in lines]


def retry_after(headers: Message) -> float:
    """Return the seconds that a Retry-After asks for: it is a number or a date (RFC 9110)."""
    given = str(headers.get("Retry-After") or "").strip()
    if given.isascii() and given.isdigit():
        return min(float(given), LONGEST_WAIT)
    try:
        until = email.utils.parsedate_to_datetime(given).timestamp()
    except ValueError:
        return 0.0
    return min(max(until - time.time(), 0.0), LONGEST_WAIT)
