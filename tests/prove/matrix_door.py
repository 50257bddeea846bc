"""The server, asked in the process: WSGI and nothing before it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlencode

from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from tests.api.calls import Filled

# What tells one answer from another of the same kind.
PASSING = re.compile(rb'"request_id":\s*"[^"]*"')
PASSING_HEADERS = {"date", "x-request-id", "content-length"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """What a refusal calls itself; empty for what is none."""
        if not self.headers.get("content-type", "").startswith("application/problem+json"):
            return ""
        return str(json.loads(self.body).get("code", ""))

    def but_for(self, *names: str) -> tuple[int, Mapping[str, str], bytes]:
        """Return all that could tell something, without the names that were asked for."""
        body = PASSING.sub(b"", self.body)
        for name in names:
            body = body.replace(name.encode(), b"NAME")
        headers = {key: value for key, value in self.headers.items() if key not in PASSING_HEADERS}
        return self.status, headers, body


@contextmanager
def one_connection() -> Iterator[None]:
    """Keep the connection, and its transaction, from one request to the next."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    try:
        yield
    finally:
        for signal in signals:
            signal.connect(close_old_connections)


class Door:
    """Where requests are handed in."""

    def __init__(self) -> None:
        self._serve = WSGIHandler()

    def ask(self, asked: Filled, headers: Mapping[str, str]) -> Answer:
        """Send a request and return all of the answer."""
        began: list[tuple[str, list[tuple[str, str]]]] = []

        def start(status: str, told: list[tuple[str, str]], *_: object) -> Any:
            began.append((status, told))

        reply: Any = self._serve(_environ(asked, headers), start)
        try:
            body = b"".join(reply)
        finally:
            reply.close()
        [(status, told)] = began
        return Answer(int(status[:3]), {key.lower(): value for key, value in told}, body)


def _environ(asked: Filled, headers: Mapping[str, str]) -> dict[str, Any]:
    body = b"" if asked.body is None else json.dumps(asked.body).encode()
    path = unquote_to_bytes(quote(asked.path)).decode("latin-1")
    return {
        "REQUEST_METHOD": asked.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": urlencode(asked.query),
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **{f"HTTP_{key.upper().replace('-', '_')}": value for key, value in headers.items()},
    }
