"""Letting a program in: looked up when somebody asks, and once for requests served together."""

from __future__ import annotations

from django.http import HttpRequest

from apps.api.authentication import Caller, identify
from apps.api.permissions import require_scope
from apps.core import clock


class Admission:
    """Whether a request may be served, and for whom; nothing is looked up before it is asked."""

    def __init__(self, request: HttpRequest, scope: str) -> None:
        self.found: Caller | None = None
        self._request, self._scope = request, scope

    @property
    def credential(self) -> str:
        """What the request shows to be let in, to tell its like by; a secret."""
        return str(self._request.META.get("HTTP_AUTHORIZATION", ""))

    def caller(self) -> Caller:
        """Return who calls; raises one of the 401 refusals, or MissingScope."""
        if self.found is None:
            self.found = identify(self._request, clock.now())
        require_scope(self.found, self._scope)
        return self.found

    def share(self, caller: Caller) -> None:
        """Take who calls from a request of the same credential, let in after this one came."""
        self.found = caller
