"""Every refusal as problem details (RFC 9457), and the refusals that this door adds.

Nothing that a client sends may end in a 500: what is not a refusal of a room, of the framework or
of the database is our fault, is logged with the request's id, and says no more than that.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, UnreadablePostError
from rest_framework import exceptions as drf
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.errors import Conflict, DomainError, Forbidden, Invalid, NotFound
from apps.core.idempotency import InFlight
from apps.core.middleware import request_id
from apps.core.throttle import TooManyAttempts

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TRY_AGAIN = {"Retry-After": "1"}


class MissingKey(DomainError):
    """The request carries no API key."""

    code = "missing_api_key"
    status = 401


class InvalidKey(DomainError):
    """The API key is not known."""

    code = "invalid_api_key"
    status = 401


class KeyExpired(InvalidKey):
    """The API key has expired."""

    code = "api_key_expired"


class KeyRevoked(InvalidKey):
    """The API key was revoked."""

    code = "api_key_revoked"


class MissingScope(Forbidden):
    """The API key lacks the scope that this operation needs."""

    code = "missing_scope"


class PlatformKeyNeeded(Forbidden):
    """Only a key of the platform may do this, not one of an organization."""

    code = "platform_key_needed"


class InvalidRequest(Invalid):
    """Fields or parameters are missing, unknown or malformed; the errors name each."""

    code = "invalid_request"

    def __init__(self, message: str, faults: list[Fault], *, param: str = "") -> None:
        super().__init__(message, param=param)
        self.faults = faults


class MalformedBody(Invalid):
    """The body cannot be read as JSON."""

    code = "malformed_body"


class BodyTooLarge(DomainError):
    """The body is larger than this door takes."""

    code = "body_too_large"
    status = 413


class BatchTooLarge(DomainError):
    """The batch holds more events than one request may."""

    code = "batch_too_large"
    status = 413


class EventsRejected(Invalid):
    """No event of the request was taken; the answer says why for each."""

    code = "events_rejected"


class NothingUpcoming(NotFound):
    """The subscription has ended or is paused, or its next boundary bills nothing."""

    code = "nothing_upcoming"


class NoEInvoice(NotFound):
    """The invoice cannot be said in EN 16931; the reasons tell what is missing."""

    code = "no_einvoice"


class UnknownPath(NotFound):
    """There is no such address."""

    code = "unknown_path"


class MethodNotAllowed(DomainError):
    """The address does not take this method."""

    code = "method_not_allowed"
    status = 405


class UnsupportedMediaType(DomainError):
    """The body's media type is none that this operation reads."""

    code = "unsupported_media_type"
    status = 415


class Unavailable(DomainError):
    """The database is busy or away; the same request may be sent again."""

    code = "unavailable"
    status = 503


class InternalError(DomainError):
    """Something went wrong on our side; nothing was changed."""

    code = "internal_error"
    status = 500


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: where (JSON pointer into the body, or query parameter) and why."""

    code: str
    detail: str
    pointer: str | None = None
    parameter: str | None = None

    def as_dict(self) -> dict[str, str]:
        """Return the fault as JSON; only the place it has."""
        places = {"pointer": self.pointer, "parameter": self.parameter}
        named = {key: place for key, place in places.items() if place is not None}
        return {**named, "code": self.code, "detail": self.detail}


def problem_details(error: Exception, context: dict[str, Any]) -> Response:
    """Return the answer for anything that was raised while a request was served."""
    request: Request = context["request"]
    refusal = foreseen(error, request._request)
    return Response(
        problem(refusal, request._request),
        status=refusal.status,
        content_type=MEDIA_TYPE,
        headers=headers_of(refusal),
    )


def foreseen(error: Exception, request: HttpRequest) -> DomainError:
    """Return what was raised as a refusal; what nobody foresaw goes to the log."""
    refusal = refusal_of(error)
    if isinstance(refusal, InternalError):
        log.error("api_error", exc_info=error, extra={"path": request.path})
    return refusal


def headers_of(refusal: DomainError) -> dict[str, str]:
    """Return the headers that belong to a refusal: a challenge, or when to try again."""
    if refusal.status == MissingKey.status:
        given = "" if isinstance(refusal, MissingKey) else ', error="invalid_token"'
        return {"WWW-Authenticate": 'Bearer realm="api"' + given}
    if isinstance(refusal, TooManyAttempts):
        return {"Retry-After": str(refusal.extra["retry_after"])}
    again = refusal.status == Unavailable.status or isinstance(refusal, InFlight)
    return TRY_AGAIN if again else {}


def problem(refusal: DomainError, request: HttpRequest) -> dict[str, Any]:
    """Return the refusal as an RFC 9457 object with our members."""
    return {
        "type": f"{settings.API_BASE_URL}/api/errors#{refusal.code}",
        "title": title_of(type(refusal)),
        "status": refusal.status,
        "detail": printable(refusal.message),
        "instance": printable(request.path),
        "code": refusal.code,
        "param": refusal.param or None,
        "errors": [fault.as_dict() for fault in _faults(refusal, request)],
        "request_id": request_id(request),
        **({"extra": refusal.extra} if refusal.extra else {}),
    }


def title_of(kind: type[DomainError]) -> str:
    """Return the sentence that says what refusals of this kind mean."""
    return (inspect.getdoc(kind) or kind.code).split("\n", 1)[0]


def kinds() -> list[type[DomainError]]:
    """Return every kind of refusal that has a code of its own, by code."""
    named = {kind.code: kind for kind in _descendants(DomainError) if "code" in vars(kind)}
    return [named[code] for code in sorted(named)]


def _descendants(kind: type[DomainError]) -> Iterator[type[DomainError]]:
    for child in kind.__subclasses__():
        if child.__module__.startswith("apps."):
            yield child
            yield from _descendants(child)


def refusal_of(error: Exception) -> DomainError:
    """Return what was raised as a refusal; InternalError when nobody foresaw it."""
    match error:
        case DomainError():
            return error
        case drf.ValidationError():
            return invalid(error)
        case drf.APIException():
            return _from_framework(error)
        case Http404():
            return NotFound("There is no such thing.")
        case RequestDataTooBig():
            return too_large()
        case _:
            return _from_below(error)


def too_large(limit: int = 0) -> BodyTooLarge:
    """Return the refusal of a body above the limit, which is the API's unless said."""
    most = limit or settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    return BodyTooLarge(f"A request's body has at most {most} bytes; send less at a time.")


def _from_framework(error: drf.APIException) -> DomainError:
    by_status = {kind.status: kind for kind in (MissingKey, Forbidden, NotFound, MethodNotAllowed)}
    return by_status.get(error.status_code, Invalid)(str(error.detail))


def _from_below(error: Exception) -> DomainError:
    match error:
        case IntegrityError():
            return Conflict("The change collides with another one; look again and repeat it.")
        case DataError():
            return Invalid("A value is out of bounds.")
        case OperationalError() | InterfaceError():
            return Unavailable("The database is busy; send the same request again.")
        case UnreadablePostError() | BadRequest() | SuspiciousOperation():
            return MalformedBody("The request could not be read to its end.")
        case DjangoPermissionDenied():
            return Forbidden("This is not allowed.")
    return InternalError("Something went wrong on our side; quote the request id when you ask.")


def invalid(error: drf.ValidationError, *, of_query: bool = False) -> InvalidRequest:
    """Return a serializer's findings as one refusal."""
    faults = list(_flat(error.detail, "", of_query=of_query))
    first = faults[0]
    place = (first.pointer or first.parameter or "").lstrip("/")
    said = f"{place}: {first.detail}" if place else first.detail
    more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
    return InvalidRequest(said + more, faults, param=place.split("/")[0])


def _flat(detail: Any, path: str, *, of_query: bool) -> Iterator[Fault]:
    if isinstance(detail, dict):
        for key, inner in detail.items():
            step = "" if key == "non_field_errors" else f"/{escape(str(key))}"
            yield from _flat(inner, path + step, of_query=of_query)
    elif isinstance(detail, list):
        for position, inner in enumerate(detail):
            step = f"/{position}" if isinstance(inner, dict | list) else ""
            yield from _flat(inner, path + step, of_query=of_query)
    else:
        code = str(getattr(detail, "code", "invalid"))
        place = {"parameter": path[1:]} if of_query else {"pointer": path}
        yield Fault(code, printable(str(detail)), **place)


def escape(key: str) -> str:
    """Return the key as a step of a JSON pointer (RFC 6901)."""
    return printable(key[:100]).replace("~", "~0").replace("/", "~1")


def printable(text: str) -> str:
    """Return text that UTF-8 can carry: half a surrogate pair is written as its escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def _faults(refusal: DomainError, request: HttpRequest) -> list[Fault]:
    if isinstance(refusal, InvalidRequest):
        return refusal.faults
    if not refusal.param:
        return []
    if request.method in {"GET", "HEAD"}:
        return [Fault(refusal.code, printable(refusal.message), parameter=refusal.param)]
    return [Fault(refusal.code, printable(refusal.message), pointer=f"/{refusal.param}")]
