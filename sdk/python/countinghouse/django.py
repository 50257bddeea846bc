"""Request tracking for Django, synchronous and not.

    MIDDLEWARE = ["countinghouse.django.RequestTracking", …]
    COUNTINGHOUSE_TRACKER = "shop.billing.tracker"  # a RequestTracker, or where to find it

It stands first, so that it sees the answer as it leaves.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from countinghouse.requests import Request, RequestTracker

Handler = Callable[[HttpRequest], Any]


class RequestTracking:
    """Counts the requests whose answer was made, or streamed, to its end."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response
        self._tracker = _configured()
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Serve a request."""
        if self._is_async:
            return self._serve_async(request)
        began = time.perf_counter()
        response: HttpResponseBase = self._get_response(request)
        return self._watched(request, response, began)

    async def _serve_async(self, request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        response: HttpResponseBase = await self._get_response(request)
        # Who asks `request.user` for its organization may reach the database.
        return await sync_to_async(self._watched)(request, response, began)

    def _watched(
        self, request: HttpRequest, response: HttpResponseBase, began: float
    ) -> HttpResponseBase:
        counted = self._tracker.judge(_request(request, response.status_code))

        def finish() -> None:
            self._tracker.finish(counted, time.perf_counter() - began)

        if isinstance(response, StreamingHttpResponse):
            _watch(response, finish)
        else:
            finish()
        return response


def _watch(response: StreamingHttpResponse, finish: Callable[[], None]) -> None:
    """Finish behind the last piece; a stream that breaks off is no finished request."""
    content = response.streaming_content

    def pieces() -> Iterator[bytes]:
        yield from cast(Iterator[bytes], content)
        finish()

    async def pieces_async() -> AsyncIterator[bytes]:
        async for piece in cast(AsyncIterator[bytes], content):
            yield piece
        finish()

    response.streaming_content = pieces_async() if response.is_async else pieces()


def _configured() -> RequestTracker:
    found = getattr(settings, "COUNTINGHOUSE_TRACKER", None)
    if isinstance(found, str):
        found = import_string(found)
    if not isinstance(found, RequestTracker):
        raise ImproperlyConfigured("COUNTINGHOUSE_TRACKER must be or name a RequestTracker.")
    return found


def _request(request: HttpRequest, status: int) -> Request:
    match = request.resolver_match
    return Request(
        method=request.method or "",
        path=request.path,
        route=(match.route or "") if match else "",
        status=status,
        header=lambda name: request.headers.get(name, ""),
        native=request,
        view=match.func if match else None,
    )
