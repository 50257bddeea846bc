"""A visitor of the sandbox's pages, over WSGI: follows what pages say, knows no ids of its own."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import urlencode, urlsplit

from apps.sandbox.engine import Sandbox
from apps.sandbox.pages.door import answer
from apps.sandbox.transports import Application


@dataclass
class Seen:
    """A page: its status, headers and text."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def location(self) -> str:
        """Return where it leads."""
        return self.headers["Location"]

    def __contains__(self, words: str) -> bool:
        return words in unescape(self.text)


@dataclass
class Visitor:
    """Opens pages and sends forms."""

    sandbox: Sandbox
    last: Seen = field(init=False)

    def open(self, address: str) -> Seen:
        """Read a page."""
        return self._ask("GET", address, b"")

    def send(self, address: str, **form: str) -> Seen:
        """Send a form, with the page's token where it has one."""
        return self._ask("POST", address, urlencode(form).encode())

    def operate(self, path: str, **form: str) -> Seen:
        """Send a form of the pages behind the scenes."""
        page = self.open(f"/_stripe{path}")
        token = page.text.partition('name="token" value="')[2].partition('"')[0]
        return self.send(f"/_stripe{path}", token=token, **form)

    def _ask(self, method: str, address: str, body: bytes) -> Seen:
        parts = urlsplit(address)
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": parts.path,
            "QUERY_STRING": parts.query,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
        }
        started: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]]) -> None:
            started.extend((status, headers))

        text = b"".join(Application(self.sandbox, answer)(environ, start)).decode()
        self.last = Seen(int(started[0][:3]), dict(started[1]), text)
        return self.last
