"""Request tracking for WSGI applications: application = RequestTracking(application, tracker=…)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from countinghouse.requests import Counted, Request, RequestTracker

JUDGED = "countinghouse.judged"  # where a framework leaves what it knows better

Environ = dict[str, Any]
App = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class RequestTracking:
    """Counts the requests whose answer was sent to its end."""

    def __init__(self, app: App, *, tracker: RequestTracker) -> None:
        self._app, self._tracker = app, tracker

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve a request."""
        began, statuses = time.perf_counter(), [0]

        def start(status: str, *rest: Any) -> Any:
            statuses.append(int(status[:3]))
            return start_response(status, *rest)

        def finish() -> None:
            counted = self._judged(environ, statuses[-1])
            self._tracker.finish(counted, time.perf_counter() - began)

        return _Watched(self._app(environ, start), finish)

    def _judged(self, environ: Environ, status: int) -> Counted | None:
        if JUDGED in environ:
            found: Counted | None = environ[JUDGED]
            return found
        return self._tracker.judge(_request(environ, status))


class _Watched:
    """An answer's body that tells when it has been sent: read to its end, then closed."""

    def __init__(self, body: Iterable[bytes], finish: Callable[[], None]) -> None:
        self._body, self._finish = body, finish
        self._is_through = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self._body
        self._is_through = True

    def close(self) -> None:
        """Close the body, which servers do in any case."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()
        if self._is_through:
            self._finish()


def _request(environ: Environ, status: int) -> Request:
    return Request(
        method=environ["REQUEST_METHOD"],
        path=environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""),
        route="",
        status=status,
        header=lambda name: str(environ.get(f"HTTP_{name.upper().replace('-', '_')}", "")),
        native=environ,
    )
