"""One request: authenticate, read, run in one transaction in the caller's scope, answer.

The answer is built inside the transaction and sent after the commit. Whatever is raised rolls
everything back and becomes problem details.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from django.http.response import HttpResponseBase
from rest_framework import serializers
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.api import errors
from apps.api.authentication import LONGEST_REFERENCE, BearerAuthentication, Caller, caller_of
from apps.api.idempotency import answered_once
from apps.api.pagination import Page
from apps.api.permissions import HasScope, IsDeclared, operation_of
from apps.api.reading import raw_body, read_json
from apps.api.schema import ApiSchema, Operation, Raw
from apps.api.shapes import Query, Shape
from apps.core import clock
from apps.core.actor import Actor
from apps.core.errors import NotFound
from apps.core.ids import is_public_id
from apps.tenants import selectors as tenants
from apps.tenants.errors import UnknownOrganization
from apps.tenants.models import Organization

M = TypeVar("M", bound=Model)
EXTERNAL = "ext:"
READS = {"GET", "HEAD"}


class OneAnswer(BaseContentNegotiation):
    """Answers are what they are, whatever Accept says: a proxy's header must not break a client."""

    def select_parser(self, request: Request, parsers: Iterable[Any]) -> Any:
        """Return the first parser; this door reads bodies itself."""
        return next(iter(parsers))

    def select_renderer(
        self, request: Request, renderers: Iterable[Any], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """Return JSON."""
        return JSONRenderer(), JSONRenderer.media_type


class ApiView(APIView):
    """A resource's address. Handlers are declared with `@operation`."""

    authentication_classes = [BearerAuthentication]
    permission_classes = [HasScope]
    content_negotiation_class = OneAnswer
    renderer_classes = [JSONRenderer]
    schema = ApiSchema()
    http_method_names = ["get", "head", "post", "patch", "delete", "put"]
    passes_over_parameters = False  # that the operation does not declare
    is_outside = False  # asks the payment provider: no transaction waits, handlers open the scope
    received_at: datetime
    raw: bytes
    media_type: str

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Serve one request from the key to the committed answer."""
        self.args, self.kwargs = args, kwargs
        self.headers = self.default_response_headers
        self._home: int | None = None
        self._times: dict[int, datetime] = {}
        self.received_at = clock.now()
        self.request = self.initialize_request(request, *args, **kwargs)
        response: HttpResponseBase
        try:
            self.initial(self.request, *args, **kwargs)
            response = self._serve()
        except Exception as error:  # noqa: BLE001 - every error becomes an answer, unforeseen ones are logged
            response = self.handle_exception(error)
        response["Cache-Control"] = "no-store"  # it is somebody's money
        self.response = self.finalize_response(self.request, response, *args, **kwargs)  # type: ignore[arg-type]
        return self.response

    def _serve(self) -> HttpResponseBase:
        declared = self.operation
        self._refuse_parameters(declared)
        handler = self._handler()
        if self.request.method in READS:
            with self.caller.scope():
                return handler()
        self.raw, self.media_type = raw_body(
            self.request._request, media_types=declared.media_types
        )
        if self.is_outside:
            return handler()
        with self.caller.scope():
            if not declared.takes_key:
                return handler()
            return answered_once(self.request, operation=declared.id, raw=self.raw, act=handler)

    def _refuse_parameters(self, declared: Operation) -> None:
        """Refuse parameters of an operation that has none: unread ones would change its meaning."""
        if declared.query is None and not self.passes_over_parameters:
            _checked(Query(data=self.request.query_params.dict()), of_query=True)

    def _handler(self) -> Callable[[], Response]:
        name = "get" if self.request.method == "HEAD" else str(self.request.method).lower()
        handler = getattr(self, name)
        return lambda: handler(self.request, **self.kwargs)

    def get_exception_handler(self) -> Any:
        """Return this door's renderer of refusals, whatever the settings say."""
        return errors.problem_details

    @property
    def operation(self) -> Operation:
        """What the handler at work declares."""
        found = operation_of(self, self.request.method or "")
        if found is None:
            raise errors.MethodNotAllowed(f"This address does not take {self.request.method}.")
        return found

    @property
    def caller(self) -> Caller:
        """Who calls."""
        return caller_of(self.request)

    @property
    def actor(self) -> Actor:
        """Who acts, for the services."""
        return self.caller.actor

    # --- what came in ---------------------------------------------------------------------------
    def body(self) -> dict[str, Any]:
        """Return the body, checked against what the operation declares."""
        declared = self.operation.body
        if declared is None or isinstance(declared, Raw):
            raise TypeError(f"{self.operation.id} declares no body to check")
        return _checked(declared(data=read_json(self.raw)))

    def query(self) -> dict[str, Any]:
        """Return the query parameters, checked against what the operation declares."""
        declared = self.operation.query
        if declared is None:
            raise TypeError(f"{self.operation.id} declares no query")
        return _checked(declared(data=self.request.query_params.dict()), of_query=True)

    @property
    def at(self) -> datetime:
        """What time it is for whom the request is about: their test clock's, or else real time.

        Usage is not dated by it: events are of the real time, `received_at`.
        """
        whose = self.actor.organization_id if self._home is None else self._home
        if whose is not None and whose not in self._times:
            self._times[whose] = tenants.now_for(whose, self.received_at)
        return self.received_at if whose is None else self._times[whose]

    def be_about(self, organization_id: int) -> None:
        """Note whose things the request turned out to be about: it acts in their time."""
        self._home = organization_id

    # --- whose rows -----------------------------------------------------------------------------
    def organization_id(self, reference: str = "") -> int | None:
        """Return whom a request is about: a reference, or the key's own organization.

        None when a platform key names nobody: everybody. Another organization is as unknown to an
        organization's key as one that does not exist.
        """
        if not reference:
            return self.actor.organization_id
        return self.organization(reference).pk

    def organization(self, reference: str) -> Organization:
        """Return the organization of this public id, slug or `ext:` id, or raise."""
        found = None
        if "\x00" not in reference and len(reference) <= LONGEST_REFERENCE:
            found = tenants.find_organization(reference.removeprefix(EXTERNAL))
        own = self.actor.organization_id
        if found is None or (own is not None and found.pk != own):
            raise UnknownOrganization("There is no such organization.", param="organization")
        self.be_about(found.pk)
        return found

    def theirs(self, rows: QuerySet[M], *, organization: str = "") -> QuerySet[M]:
        """Return the rows of whom the request is about; row-level security says the same again."""
        organization_id = self.organization_id(organization)
        if organization_id is None:
            return rows
        return rows.filter(organization_id=organization_id)

    def own(self, rows: QuerySet[M], public_id: str, what: str) -> M:
        """Return the caller's row with this public id; foreign and unknown ids get one answer."""
        found = (
            self.theirs(rows).filter(public_id=public_id).first()
            if is_public_id(public_id)
            else None
        )
        if found is None:
            raise NotFound(f"There is no such {what}.")
        self.be_about(found.organization_id)  # type: ignore[attr-defined] # tenants' rows have it
        return found

    # --- what goes out --------------------------------------------------------------------------
    def answer(self, shape: type[Shape], seen: Any, *, status: int = 200) -> Response:
        """Return one object."""
        return Response(dict(shape(seen).data), status=status)

    def listing(self, shape: type[Shape], found: Page[Any], seen: Iterable[Any]) -> Response:
        """Return a page of objects in the envelope of lists."""
        return self.envelope(shape, seen, has_more=found.has_more, next_cursor=found.next_cursor)

    def envelope(
        self,
        shape: type[Shape],
        seen: Iterable[Any],
        *,
        has_more: bool = False,
        next_cursor: str | None = None,
    ) -> Response:
        """Return objects as a list."""
        body: Mapping[str, Any] = {
            "object": "list",
            "url": self.request.path,
            "has_more": has_more,
            "next_cursor": next_cursor,
            "data": shape(list(seen), many=True).data,
        }
        return Response(body)


class OpenView(ApiView):
    """An address that nobody needs a key for. Its handlers open the scope that they need."""

    authentication_classes = []
    permission_classes = [IsDeclared]

    def _serve(self) -> HttpResponseBase:
        declared = self.operation
        self._refuse_parameters(declared)
        self.raw, self.media_type = raw_body(
            self.request._request, media_types=declared.media_types
        )
        return self._handler()()


class NoSuchPath(ApiView):
    """Every address under /api/ that is none."""

    authentication_classes = []
    permission_classes = []
    schema = None  # type: ignore[assignment]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse before anything is read."""
        raise errors.UnknownPath("There is nothing at this address; /api/docs lists what there is.")


def _checked(serializer: Any, *, of_query: bool = False) -> dict[str, Any]:
    try:
        serializer.is_valid(raise_exception=True)
    except serializers.ValidationError as error:
        raise errors.invalid(error, of_query=of_query) from None
    return dict(serializer.validated_data)
