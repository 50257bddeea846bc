"""Counting the requests of an application: what the middlewares of all frameworks share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple, TypeVar

from countinghouse.client import Client

EVENT_TYPE = "api.request"
CATEGORY = "api_calls"
INDUSTRIES = ("hs", "rest", "auto", "ret", "edu", "payroll")
MARK: Final = "__countinghouse__"
LONGEST = 200  # characters of a route; a pattern, not an address
LONGEST_METHOD = 20  # HTTP lets clients invent methods

View = TypeVar("View", bound=Callable[..., object])

log = logging.getLogger("countinghouse")


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was answered, the same for all frameworks.

    `route` is the pattern that matched (empty when unknown), `native` the framework's own object:
    Django's HttpRequest, Flask's Request, an ASGI scope or a WSGI environ.
    """

    method: str
    path: str
    route: str
    status: int
    header: Callable[[str], str]  # a header by its name, empty without
    native: object
    view: object = None


Organization = Callable[[Request], str | None]
Category = str | Mapping[str, str] | Callable[[Request], str | None]


def from_header(name: str = "X-Org-Id") -> Organization:
    """Return the reader of the header that names the organization.

    Only behind a gateway that sets it, and removes what clients send under its name.
    """
    return lambda request: request.header(name)


def succeeded(request: Request) -> bool:
    """Tell whether the answer was not the server's own failure."""
    return request.status < 500


def industries(prefix: str = "/api") -> Mapping[str, str]:
    """Return the categories of paths such as `/api/hs`: one for each industry."""
    return MappingProxyType({f"{prefix}/{name}": name for name in INDUSTRIES})


class Mark(NamedTuple):
    """What a view says of itself; None where it leaves it to the tracker."""

    billable: bool | None
    category: str | None


def marked(*, billable: bool | None = None, category: str | None = None) -> Callable[[View], View]:
    """Say of a view, function or class, whether its requests are billable, and their category."""

    def mark(view: View) -> View:
        setattr(view, MARK, Mark(billable, category))
        return view

    return mark


def _mark_of(view: object) -> Mark:
    """Return the view's mark; class-based views of Django and Flask carry it on their class."""
    for found in (view, *(getattr(view, name, None) for name in ("view_class", "cls"))):
        mark = getattr(found, MARK, None)
        if isinstance(mark, Mark):
            return mark
    return Mark(None, None)


class Counted(NamedTuple):
    """A request that will be counted when its answer is through."""

    organization: str
    data: Mapping[str, object]


class RequestTracker:
    """Turns finished requests into events; never lets the application feel it.

    `organization` says whose request it was; without an answer it is not counted. `billable` is a
    flag or decides by request; events with `billable` false are sent too, for meters to leave out.
    `category` is a text, a map from the beginnings of paths, of which the longest counts, or
    decides by request. `exclude` are paths that are not counted, with everything below them.
    """

    def __init__(
        self,
        client: Client,
        *,
        organization: Organization | None = None,
        billable: bool | Callable[[Request], bool] = succeeded,
        category: Category = CATEGORY,
        exclude: Sequence[str] = (),
        event_type: str = EVENT_TYPE,
    ) -> None:
        self.client = client
        self._organization = organization or from_header()
        self._billable, self._category = billable, category
        self._exclude, self._event_type = tuple(exclude), event_type

    def judge(self, request: Request) -> Counted | None:
        """Decide how the request counts; None when it does not. Never raises."""
        try:
            return self._judge(request)
        except Exception:
            log.exception("A request could not be tracked: %s", request.path)
            return None

    def _judge(self, request: Request) -> Counted | None:
        if any(_is_below(request.path, one) for one in self._exclude):
            return None
        organization = self._organization(request)
        if not organization:
            log.debug("A request of no organization is not counted: %s", request.path)
            return None
        mark = _mark_of(request.view)
        data = {
            "method": request.method[:LONGEST_METHOD],
            "status": request.status,
            "category": mark.category or self._category_of(request),
            "billable": self._is_billable(request) if mark.billable is None else mark.billable,
        }
        route = {"route": request.route[:LONGEST]} if request.route else {}
        return Counted(str(organization), {**data, **route})

    def _is_billable(self, request: Request) -> bool:
        return bool(self._billable(request) if callable(self._billable) else self._billable)

    def _category_of(self, request: Request) -> str:
        if isinstance(self._category, str):
            return self._category
        if isinstance(self._category, Mapping):
            fitting = [one for one in self._category if _is_below(request.path, one)]
            return self._category[max(fitting, key=len)] if fitting else CATEGORY
        return self._category(request) or CATEGORY

    def finish(self, counted: Counted | None, seconds: float) -> None:
        """Track a request whose answer is through, after so many seconds. Never raises."""
        if counted is None:
            return
        try:
            data = {**counted.data, "duration_ms": round(seconds * 1000)}
            self.client.usage.track(self._event_type, organization=counted.organization, data=data)
        except Exception:
            log.exception("A request could not be tracked")


def _is_below(path: str, start: str) -> bool:
    """Tell whether a path is `start` or lies below it: `/api` holds `/api/x` and not `/apix`."""
    return path == start or path.startswith(start.rstrip("/") + "/")
