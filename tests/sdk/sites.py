"""A Django site that counts its requests: views, addresses and its middleware."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import path
from django.views import View

from countinghouse import marked
from tests.sdk.server import Server

MIDDLEWARE = ["countinghouse.django.RequestTracking"]


def order(request: HttpRequest, number: int) -> HttpResponse:
    return HttpResponse(f"order {number}")


@marked(billable=False, category="export")
def export(request: HttpRequest) -> HttpResponse:
    return HttpResponse("export")


@marked(category="reports")
class Report(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("report")


def stream(request: HttpRequest) -> HttpResponseBase:
    def pieces() -> Iterator[bytes]:
        yield b"one"
        if "break" in request.GET:
            raise RuntimeError
        yield b"two"

    return StreamingHttpResponse(pieces())


async def stream_async(request: HttpRequest) -> HttpResponseBase:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    return StreamingHttpResponse(pieces())


def fail(request: HttpRequest) -> HttpResponse:
    raise RuntimeError


urlpatterns = [
    path("orders/<int:number>", order),
    path("export", export),
    path("report", Report.as_view()),
    path("stream", stream),
    path("stream-async", stream_async),
    path("fail", fail),
    path("health", order, {"number": 0}),
]


def events_of(server: Server) -> list[dict[str, object]]:
    """Return the data of the events that came, without what a clock measured."""
    found = []
    for seen in server.seen:
        for event in seen.events:
            data = {"organization": event["subject"], "type": event["type"], **event["data"]}
            assert data.pop("duration_ms") >= 0
            found.append(data)
    return found
