"""One connection that is kept open: bytes out, status and bytes in."""

from __future__ import annotations

import gzip
import http.client
import threading
from collections.abc import Mapping
from email.message import Message
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlsplit

from countinghouse.errors import ConnectionFailed

WORTH_COMPRESSING = 1024  # bytes
LEVEL = 5
LARGEST_ANSWER = 8 * 1024 * 1024
USER_AGENT = "countinghouse-python/0.1.0"
CONNECTIONS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Message
    body: bytes


class Transport:
    """Sends requests to one address, one at a time; safe to share between threads.

    Redirects are not followed: a key is sent nowhere but to the address given.
    """

    def __init__(self, api_key: str, base_url: str, *, timeout: float) -> None:
        found = urlsplit(base_url)
        if found.scheme not in CONNECTIONS or not found.hostname:
            raise ValueError(f"base_url must be http(s)://host, not {base_url!r}")
        self._kind, self._host, self._port = CONNECTIONS[found.scheme], found.hostname, found.port
        self._prefix, self._timeout = found.path.rstrip("/"), timeout
        self._headers = {"Authorization": f"Bearer {api_key}", "User-Agent": USER_AGENT}
        self.forget()

    def forget(self) -> None:
        """Start anew without touching the connection: after a fork it is the parent's."""
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str) -> Answer:
        """Ask for what is at a path. Raises ConnectionFailed without an answer."""
        return self._sent("GET", path, None, self._headers)

    def post(
        self,
        path: str,
        body: bytes,
        content_type: str,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> Answer:
        """Send a body, compressed when it is worth it. Raises ConnectionFailed without an answer.

        May be sent twice, when a kept connection turns out to be dead: bodies must bear that.
        `more` are further headers.
        """
        headers = {**self._headers, "Content-Type": content_type, **more}
        if len(body) > WORTH_COMPRESSING:
            body, headers["Content-Encoding"] = gzip.compress(body, LEVEL, mtime=0), "gzip"
        return self._sent("POST", path, body, headers)

    def _sent(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        with self._lock:
            if self._connection is not None:
                try:
                    return self._exchange(method, path, body, headers)
                except (http.client.HTTPException, OSError):
                    self._drop()  # the server may close what is idle; only a new one can tell
            try:
                return self._exchange(method, path, body, headers)
            except (http.client.HTTPException, OSError) as error:
                self._drop()
                raise ConnectionFailed(f"{type(error).__name__}: {error}") from error

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        if self._connection is None:
            self._connection = self._kind(self._host, self._port, timeout=self._timeout)
        self._connection.request(method, self._prefix + path, body, dict(headers))
        response = self._connection.getresponse()
        content = response.read(LARGEST_ANSWER)
        if response.will_close or not response.isclosed():
            self._drop()
        return Answer(response.status, response.headers, content)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
