"""What every request gets: an id that its answer, its log lines and its error page share."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.http import Http404, HttpRequest, HttpResponse

from apps.core.ids import new_id

GIVEN = re.compile(r"^[A-Za-z0-9._-]{8,64}$")


class RequestId:
    """Take the caller's X-Request-Id when it is well-formed, else make one; send it back."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # Not `request.headers`: it copies META at first use, and the log would never see our id.
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = given if GIVEN.match(given) else new_id("req")
        request.META["HTTP_X_REQUEST_ID"] = request_id
        response = self.get_response(request)
        response["X-Request-Id"] = request_id
        return response


class NoNulBytes:
    """Answer 404 for a NUL byte in an address: no row has one, and PostgreSQL refuses to look.

    The API answers for itself, with problem details.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        query = request.META.get("QUERY_STRING", "")
        nul = "\x00" in request.path_info or "%00" in query or "\x00" in query
        if nul and not request.path_info.startswith("/api/"):
            raise Http404
        return self.get_response(request)


def request_id(request: HttpRequest) -> str:
    """Return the id that RequestId gave the request."""
    return str(request.META.get("HTTP_X_REQUEST_ID", ""))
