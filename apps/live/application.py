"""The ASGI application of a live process; everything else is the web server's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path

from apps.live.access import Refused
from apps.live.doors import (
    Application,
    Receive,
    Scope,
    Send,
    respond,
    server_sent_events,
    websocket,
)
from apps.live.hub import Hub, Limits

HEALTHY = b'{"status": "ok"}'


def application(hub: Hub | None = None) -> Any:
    """Return the application: two addresses to listen at, and /health."""
    hub = hub or Hub(limits=Limits(settings.LIVE_MAX_LISTENERS, settings.LIVE_MAX_PER_ORGANIZATION))
    sockets = {"ws/org/<str:organization>": websocket(hub)}
    requests = {"sse/org/<str:organization>": server_sent_events(hub), "health": health}
    return ProtocolTypeRouter({"websocket": _routed(sockets), "http": _routed(requests)})


def _routed(routes: Mapping[str, Application]) -> Any:
    found: dict[str, Any] = {**routes, "": nowhere, "<path:rest>": nowhere}
    return URLRouter([path(route, application) for route, application in found.items()])


async def health(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer that the process is alive; touches nothing."""
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": HEALTHY})


async def nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer for every other address."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 4404})  # before the handshake: a 403
        return
    await respond(send, Refused(4404, 404, "There is nothing here."), scope)
