"""The two ways in: a WebSocket, and server-sent events for those who speak HTTP only."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import parse_qs

from apps.live.access import Refused, credential_of, is_ours
from apps.live.hub import Hub
from apps.live.listeners import TOO_SLOW

log = logging.getLogger(__name__)

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]

UNSUPPORTED = Refused(1003, 400, "Listeners only listen.")
BROKEN = Refused(1011, 500, "Something went wrong here; the log knows what.")
RETRY_MILLISECONDS = 1000
SEND_SECONDS = 20.0  # that a listener may take to take a message


def websocket(hub: Hub) -> Application:
    """Return the application behind /ws/org/{id}.

    A refusal is a close code after the handshake: a browser tells its page nothing about a
    handshake that failed.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        await send({"type": "websocket.accept"})

        async def tell(text: str, _: str) -> None:
            await send({"type": "websocket.send", "text": text})

        refused = await _until(_speechless(receive), _listen(hub, scope, tell, needs_origin=True))
        if refused is not None:
            close = {"type": "websocket.close", "code": refused.code, "reason": refused.title}
            await send(close)

    return answer


def server_sent_events(hub: Hub) -> Application:
    """Return the application behind /sse/org/{id}: a GET that does not end.

    Last-Event-ID resumes; every event's data is the message whole.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            await respond(send, Refused(4405, 405, "Only GET."), scope)
            return
        begun = False

        async def tell(text: str, message_id: str) -> None:
            nonlocal begun
            if not begun:
                await _begin(send, scope)
                begun = True
            event = f"id: {message_id}\ndata: {text}\n\n"
            await send(_body(event.encode(), more=True))

        refused = await _until(_hung_up(receive), _listen(hub, scope, tell, needs_origin=False))
        if refused is not None and not begun:
            await respond(send, refused, scope)
        elif refused is not None:
            await send(_body(b"", more=False))

    return answer


async def _listen(
    hub: Hub, scope: Scope, tell: Callable[[str, str], Awaitable[None]], *, needs_origin: bool
) -> Refused:
    """Send what there is until the listener is refused; return why."""
    headers = headers_of(scope)
    try:
        credential = credential_of(headers, needs_origin=needs_origin)
        organization = scope["url_route"]["kwargs"]["organization"]
        listener = await hub.enter(credential, organization, resumed=_resumed(scope, headers))
        try:
            async for message in listener.messages(heartbeat=hub.pace.heartbeat):
                await asyncio.wait_for(tell(message.json(), message.id), SEND_SECONDS)
        finally:
            hub.leave(listener)
    except Refused as refused:
        return refused
    except TimeoutError:
        return TOO_SLOW
    except Exception:  # the listener learns that it failed, the log why
        log.exception("live_listener_failed")
    return BROKEN


def _resumed(scope: Scope, headers: Mapping[str, str]) -> str:
    asked = parse_qs(scope["query_string"].decode("latin-1")).get("last_id", [""])
    return headers.get("last-event-id", "") or asked[0]


async def _until(
    gone: Coroutine[Any, Any, Refused | None], listening: Coroutine[Any, Any, Refused]
) -> Refused | None:
    """Listen until the other side goes; return why it was refused, None when it went by itself."""
    leaving, hearing = asyncio.create_task(gone), asyncio.create_task(listening)
    try:
        done, _ = await asyncio.wait({leaving, hearing}, return_when=asyncio.FIRST_COMPLETED)
        return leaving.result() if leaving in done else hearing.result()
    finally:
        for task in (leaving, hearing):
            task.cancel()
        await asyncio.gather(leaving, hearing, return_exceptions=True)


async def _speechless(receive: Receive) -> Refused | None:
    """Wait for the end of a WebSocket; whoever says something is at the wrong door."""
    message = await receive()
    return None if message["type"] == "websocket.disconnect" else UNSUPPORTED


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the request's headers, names in small letters."""
    return {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}


async def _begin(send: Send, scope: Scope) -> None:
    headers = [
        (b"content-type", b"text/event-stream"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),  # nginx would keep events back
        *_shared_with(scope),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send(_body(f"retry: {RETRY_MILLISECONDS}\n\n".encode(), more=True))


async def respond(send: Send, refused: Refused, scope: Scope) -> None:
    """Answer with problem details (RFC 9457), as the API does."""
    problem = {"type": "about:blank", "title": refused.title, "status": refused.status}
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"cache-control", b"no-store"),
        *([(b"www-authenticate", b'Bearer realm="live"')] if refused.status == 401 else []),
        *_shared_with(scope),
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send(_body(json.dumps(problem).encode(), more=False))


def _shared_with(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Return the headers that let our own pages of another port read the answer."""
    headers = headers_of(scope)
    origin = headers.get("origin", "")
    if not origin or not is_ours(origin, headers):
        return []
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-credentials", b"true"),
        (b"vary", b"origin"),
    ]


def _body(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}
