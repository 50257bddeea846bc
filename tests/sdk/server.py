"""A web server that answers events as it is told, and remembers what came: the outside world."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from countinghouse import Client, UsageOptions

KEY = "bk_test_key"
Events = list[dict[str, Any]]


@dataclass(frozen=True)
class Reply:
    """What is answered; without a body, what the platform would say when all is new."""

    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """A request that came."""

    path: str
    headers: Mapping[str, str]
    events: Events
    at: float
    connection: int

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in self.events]


def said(*statuses: str, status: int = 207) -> Reply:
    """Return what the platform says of each event; `rejected:code` gives a reason."""
    outcomes = []
    for index, text in enumerate(statuses):
        word, _, code = text.partition(":")
        outcomes.append({"index": index, "status": word, "code": code or None, "pointer": "/type"})
    return Reply(status, json.dumps({"object": "event_batch", "events": outcomes}).encode())


@dataclass
class Server:
    """Answers in the order told, then as the platform would."""

    address: str = ""
    replies: list[Reply | Callable[[Seen], Reply]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """The ids of all events that came, in order, as often as they came."""
        return [event_id for one in self.seen for event_id in one.ids]

    def answer(self, seen: Seen) -> Reply:
        self.seen.append(seen)
        reply = self.replies.pop(0) if self.replies else Reply()
        if callable(reply):
            reply = reply(seen)
        if reply.body is None and reply.status == 200:
            return said(*["accepted"] * len(seen.events), status=200)
        return reply

    def client(self, **options: Any) -> Client:
        quick = {"interval": 0.01, "first_delay": 0.01, "longest_delay": 0.05, **options}
        return Client(api_key=KEY, base_url=self.address, timeout=10, usage=UsageOptions(**quick))


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """Serve on a free port for as long as the context lasts."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                raw = gzip.decompress(raw)
            events = [json.loads(line) for line in raw.splitlines()]
            port = self.client_address[1]
            seen = Seen(self.path, dict(self.headers), events, time.monotonic(), port)
            reply = server.answer(seen)
            body = reply.body or b""
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            """Say nothing: failures show in the test."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.address = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
