"""Whether a caller may: every operation names the one scope that a key, or a role, needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from apps.api.authentication import Caller, caller_of
from apps.api.errors import MethodNotAllowed, MissingScope, PlatformKeyNeeded
from apps.core.actor import require
from apps.tenants.roles import SCOPE_CAPABILITIES

if TYPE_CHECKING:
    from apps.api.schema import Operation


class HasScope(BasePermission):
    """Let a key in that has the operation's scope; say which one is missing otherwise."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Return True or raise MethodNotAllowed, MissingScope or PlatformKeyNeeded."""
        operation = operation_of(view, request.method or "")
        if operation is None:
            raise MethodNotAllowed(f"This address does not take {request.method}.")
        caller = caller_of(request)
        require_scope(caller, operation.scope or "")
        if operation.platform_only and not caller.is_platform:
            raise PlatformKeyNeeded("This needs an API key of the platform.")
        return True


class IsDeclared(BasePermission):
    """Let everybody in, as far as the address takes the method."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Return True or raise MethodNotAllowed."""
        if operation_of(view, request.method or "") is None:
            raise MethodNotAllowed(f"This address does not take {request.method}.")
        return True


def operation_of(view: APIView, method: str) -> Operation | None:
    """Return what the view's handler for this method declares; None when there is none."""
    name = "get" if method == "HEAD" else method.lower()
    found: Operation | None = getattr(getattr(view, name, None), "operation", None)
    return found


def require_scope(caller: Caller, scope: str) -> None:
    """Raise MissingScope unless the caller's key has the scope; an empty one everybody has.

    A person has what their role allows in the portal too: Forbidden names what is missing.
    """
    missing = SCOPE_CAPABILITIES[scope] - caller.actor.capabilities if scope else None
    if missing and caller.holder is None:
        require(min(missing), actor=caller.actor)
    if missing:
        raise MissingScope(f"This needs an API key with the scope '{scope}'.", scope=scope)
