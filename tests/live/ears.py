"""Listeners for tests: they speak the protocol, and stories run in an event loop of their own."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.test import Client

from apps.core import clock
from apps.live.application import application
from apps.live.hub import Hub, Limits, Pace
from apps.tenants.models import Organization, User
from tests.worlds import NOW

QUICK = Pace(look=0.05, recheck=0.2, heartbeat=0.3)
SECONDS = 10.0
HOST = "billing.example"
ORIGIN = f"https://{HOST}"

Heard = dict[str, Any]
Communicator: Any = ApplicationCommunicator


def cookie_of(user: User) -> dict[str, str]:
    """Sign the user in; return the headers that the browser would send from our own page."""
    client = Client()
    client.force_login(user)
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    return {"cookie": f"{settings.SESSION_COOKIE_NAME}={session}", "origin": ORIGIN}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


class House:
    """A live process in this one."""

    def __init__(self, *, pace: Pace = QUICK, limits: Limits | None = None) -> None:
        self.hub = Hub(pace=pace, limits=limits)
        self.application = _at_noon(application(self.hub))

    @contextlib.asynccontextmanager
    async def listening(
        self, organization: Organization | str, headers: dict[str, str], *, last_id: str = ""
    ) -> AsyncIterator[Ear]:
        """Listen over a WebSocket."""
        name = organization if isinstance(organization, str) else organization.public_id
        scope = _scope("websocket", f"/ws/org/{name}", headers, f"last_id={last_id}")
        socket = Communicator(self.application, scope)
        await socket.send_input({"type": "websocket.connect"})
        assert (await socket.receive_output(SECONDS))["type"] == "websocket.accept"
        yield Ear(socket)
        await socket.send_input({"type": "websocket.disconnect", "code": 1000})
        await socket.wait(SECONDS)

    async def refusal(self, organization: Organization | str, headers: dict[str, str]) -> int:
        """Return the code that closes the listener's WebSocket."""
        async with self.listening(organization, headers) as ear:
            return await ear.closed()

    async def streamed(
        self,
        path: str,
        headers: dict[str, str],
        *,
        until: Callable[[str], bool],
        method: str = "GET",
    ) -> tuple[int, dict[str, str], str]:
        """Return status, headers and what is streamed until it says so, or ends."""
        scope = _scope("http", path, headers) | {"method": method}
        caller = Communicator(self.application, scope)
        await caller.send_input({"type": "http.request", "body": b""})
        start = await caller.receive_output(SECONDS)
        text, more = "", True
        while more and not until(text):
            chunk = await caller.receive_output(SECONDS)
            text, more = text + chunk["body"].decode(), chunk.get("more_body", False)
        await caller.send_input({"type": "http.disconnect"})
        await caller.wait(SECONDS)
        found = {key.decode(): value.decode() for key, value in start["headers"]}
        return start["status"], found, text


class Ear:
    """One listener."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    async def next(self, *kinds: str) -> Heard:
        """Return the next message that is of one of these kinds, pings aside when none is named."""
        while True:
            heard = await self._any()
            if heard["type"] in kinds or (not kinds and heard["type"] != "ping"):
                return heard

    async def until_calm(self) -> list[Heard]:
        """Return everything up to the next ping."""
        found = []
        while (heard := await self._any())["type"] != "ping":
            found.append(heard)
        return found

    async def _any(self) -> Heard:
        output = await self.socket.receive_output(SECONDS)
        assert output["type"] == "websocket.send", output
        heard: Heard = json.loads(output["text"])
        return heard

    async def closed(self) -> int:
        """Return the code that the connection is closed with, whatever is said before."""
        while True:
            output = await self.socket.receive_output(SECONDS)
            if output["type"] == "websocket.close":
                return int(output["code"])


def _at_noon(served: Any) -> Any:
    """Serve every connection, and what it starts, at the world's own time."""

    async def frozen(*asgi: Any) -> None:
        with clock.frozen(NOW):
            await served(*asgi)

    return frozen


def _scope(kind: str, path: str, headers: dict[str, str], query: str = "") -> dict[str, Any]:
    named = {"host": HOST, **headers}
    found = [(key.encode(), value.encode()) for key, value in named.items()]
    return {"type": kind, "path": path, "query_string": query.encode(), "headers": found}


def quantity(heard: Heard, meter: str) -> str:
    """Return what a message says that a meter counted."""
    (figure,) = (one for one in heard["data"]["usage"] if one["meter"] == meter)
    return str(figure["quantity"])


def run(story: Callable[[], Awaitable[None]]) -> None:
    """Run the story in a loop of its own."""

    async def told() -> None:
        await story()

    asyncio.run(told())


async def meanwhile(act: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Do something that a story's loop must not wait for: whatever asks the database."""
    return await asyncio.to_thread(act, *args, **kwargs)
