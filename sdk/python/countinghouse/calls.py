"""Requests that are answered with JSON: sent again where that is safe, refused with types."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from countinghouse.delivery import retry_after
from countinghouse.errors import ConnectionFailed, Refused, UnexpectedAnswer
from countinghouse.forking import after_fork
from countinghouse.transport import Answer, Transport

JSON = "application/json"
TRIES = 3
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds
BUSY = {409, 429, 500, 502, 503, 504}
IN_FLIGHT = "idempotency_in_flight"


class Calls:
    """Calls operations of the platform. Safe to share between threads.

    Every request that changes something carries an Idempotency-Key, the same one each time it is
    sent: however often it arrives, it happens once.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        tries: int = TRIES,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport, self._tries, self._sleep = transport, tries, sleep
        after_fork(self)

    def begin_anew(self) -> None:
        """Leave the connection to the parent."""
        self._transport.forget()

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Return the JSON at a path. Raises Refused, ConnectionFailed, UnexpectedAnswer."""
        full = f"{path}?{urlencode(query)}" if query else path
        return self._answered(lambda: self._transport.get(full))

    def post(self, path: str, body: Mapping[str, Any], *, key: str = "") -> Any:
        """Send JSON and return the answer's; `key` is the Idempotency-Key, else a new one.

        Raises Refused, ConnectionFailed, UnexpectedAnswer.
        """
        content = json.dumps(body).encode()
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        return self._answered(lambda: self._transport.post(path, content, JSON, headers))

    def _answered(self, send: Callable[[], Answer]) -> Any:
        for last in (number == self._tries - 1 for number in range(self._tries)):
            try:
                answer = send()
            except ConnectionFailed:
                if last:
                    raise
                self._pause(0.0)
                continue
            if last or not _is_busy(answer):
                return _judged(answer)
            self._pause(retry_after(answer.headers))
        raise ConnectionFailed("nothing was sent")

    def _pause(self, asked: float) -> None:
        chance = FIRST_PAUSE * (1 + random.random())  # noqa: S311 - spreads retries, no secret
        self._sleep(min(max(asked, chance), LONGEST_PAUSE))


def _is_busy(answer: Answer) -> bool:
    if answer.status not in BUSY:
        return False
    return answer.status != 409 or _document(answer).get("code") == IN_FLIGHT


def _judged(answer: Answer) -> Any:
    said = _document(answer)
    if answer.status in (200, 201):
        return said
    code = str(said.get("code") or "")
    if not code or answer.status in (401, 429) or answer.status >= 500:
        raise UnexpectedAnswer(answer.status, code, retry_after=retry_after(answer.headers))
    raise Refused(answer.status, code, str(said.get("detail") or ""), said.get("extra") or {})


def _document(answer: Answer) -> Mapping[str, Any]:
    """Return the JSON object of an answer; nothing for what is none, such as a proxy's page."""
    try:
        found = json.loads(answer.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
