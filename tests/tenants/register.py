"""A stand-in for the EU's register: a local HTTP server that answers as VIES does."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FakeRegister:
    """What it answers to every question, and which it was asked."""

    status: int = 200
    body: bytes = b'{"isValid": true, "userError": "VALID"}'
    delay: threading.Event | None = None
    url: str = ""
    asked: list[str] = field(default_factory=list)

    def says(self, **answer: Any) -> None:
        """Answer this object from now on."""
        self.body = json.dumps(answer).encode()


@contextlib.contextmanager
def running() -> Iterator[FakeRegister]:
    """Serve until the block ends."""
    fake = FakeRegister()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.asked.append(self.path)
            if fake.delay is not None:
                fake.delay.wait(5)
            self.send_response(fake.status)
            self.send_header("Content-Length", str(len(fake.body)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):  # the caller has given up
                self.wfile.write(fake.body)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}/rest-api"
    try:
        yield fake
    finally:
        if fake.delay is not None:
            fake.delay.set()
        server.shutdown()
        thread.join()
        server.server_close()
