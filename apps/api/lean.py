"""The lean path: operations that are called thousands of times a second, served by a middleware.

What they need of a request they get here: who calls, one scope, refusals as problem details, the
line in the log. Sessions, cookies and the framework's views they do without.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import structlog
from django.http import HttpRequest, HttpResponse

from apps.api import intake, verifying, webhooks
from apps.api.admission import Admission
from apps.api.errors import MEDIA_TYPE, foreseen, headers_of, problem
from apps.api.intake import Answer
from apps.api.reading import JSON
from apps.core.middleware import request_id

log = structlog.get_logger(__name__)


class Operation(NamedTuple):
    """What is served so: the scope that a key needs, and what answers."""

    scope: str
    answer: Callable[[HttpRequest, Admission], Answer]


SEND_EVENTS = Operation("usage:write", intake.send_events)
VERIFY_SEAT = Operation("seats:verify", verifying.verify_seat)
VERIFY_SEAT_FORMERLY = Operation("seats:verify", verifying.verify_seat_formerly)
TAKE_EVENT = Operation("", webhooks.take_event)  # the provider has a signature and no key
HOT_PATHS: Mapping[tuple[str | None, str], Operation] = MappingProxyType(
    {
        ("POST", "/api/v1/events"): SEND_EVENTS,
        ("POST", "/api/v1/verify-seat"): VERIFY_SEAT,
        ("POST", "/verify-seat"): VERIFY_SEAT_FORMERLY,
        ("POST", "/api/v1/webhooks/stripe"): TAKE_EVENT,
    }
)


class HotPaths:
    """Serve the hot paths and hand everything else on."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        operation = HOT_PATHS.get((request.method, request.path_info))
        return self.get_response(request) if operation is None else serve(request, operation)


def serve(request: HttpRequest, operation: Operation) -> HttpResponse:
    """Answer a request, from the key to the line in the log; never raises."""
    known = {"request_id": request_id(request)}
    admission = Admission(request, operation.scope)
    with structlog.contextvars.bound_contextvars(**known):
        try:
            response = _response(*operation.answer(request, admission))
        except Exception as error:  # noqa: BLE001 - every error becomes an answer, unforeseen ones are logged
            refusal = foreseen(error, request)
            response = _response(refusal.status, problem(refusal, request), headers_of(refusal))
    if admission.found is not None:
        known["user_id"] = admission.found.public_id
    _log(request, response, known)
    return response


def _response(
    status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> HttpResponse:
    content = msgspec.json.encode(body)
    media_type = MEDIA_TYPE if status >= 400 else JSON
    response = HttpResponse(content, status=status, content_type=media_type, headers=headers)
    response.headers["Content-Length"] = str(len(content))  # no middleware adds it
    response.headers["Cache-Control"] = "no-store"  # it is somebody's money
    return response


def _log(request: HttpRequest, response: HttpResponse, known: Mapping[str, str]) -> None:
    """Write the line that requests of the other paths get from django_structlog."""
    code = response.status_code
    level = logging.INFO if code < 400 else logging.WARNING if code < 500 else logging.ERROR
    said = f"{request.method} {request.get_full_path()}"
    log.log(level, "request_finished", code=code, request=said, **known)
