"""Request tracking for ASGI applications: FastAPI, Starlette and others.

app.add_middleware(RequestTracking, tracker=tracker)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from countinghouse.requests import Request, RequestTracker

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class RequestTracking:
    """Counts the requests whose answer was sent to its end, and flushes when the server stops."""

    def __init__(self, app: App, *, tracker: RequestTracker) -> None:
        self._app, self._tracker = app, tracker

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve a request, or the life of the application."""
        if scope["type"] == "http":
            send = _Watched(scope, send, self._tracker)
        elif scope["type"] == "lifespan":
            send = self._flushing(send)
        await self._app(scope, receive, send)

    def _flushing(self, send: Send) -> Send:
        """Flush before the server learns that all is done: some end by a signal right then."""

        async def flush_and_send(message: Message) -> None:
            if message["type"] == "lifespan.shutdown.complete":
                await asyncio.to_thread(self._tracker.client.usage.flush)
            await send(message)

        return flush_and_send


class _Watched:
    """Passes an answer on and counts the request behind its last piece."""

    def __init__(self, scope: Message, send: Send, tracker: RequestTracker) -> None:
        self._scope, self._send, self._tracker = scope, send, tracker
        self._began = time.perf_counter()
        self._status = 0

    async def __call__(self, message: Message) -> None:
        await self._send(message)
        if message["type"] == "http.response.start":
            self._status = message["status"]
        elif message["type"] == "http.response.body" and not message.get("more_body"):
            counted = self._tracker.judge(_request(self._scope, self._status))
            self._tracker.finish(counted, time.perf_counter() - self._began)


def _request(scope: Message, status: int) -> Request:
    return Request(
        method=scope["method"],
        path=scope["path"],
        route=str(getattr(scope.get("route"), "path", "")),
        status=status,
        header=lambda name: _header(scope, name),
        native=scope,
        view=scope.get("endpoint"),
    )


def _header(scope: Message, name: str) -> str:
    wanted = name.lower().encode("latin-1")
    found = [value for key, value in scope["headers"] if key.lower() == wanted]
    return found[0].decode("latin-1") if found else ""
