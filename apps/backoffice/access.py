"""Who is staff, and the scope that the admin runs in: every organization, one transaction."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from django.conf import settings
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import get_resolver

from apps.core import clock, rls
from apps.core.actor import Actor
from apps.tenants import presence, securing
from apps.tenants import selectors as tenants
from apps.tenants.models import User

PREFIX = "/admin/"


class Owned(Protocol):
    """What belongs to an organization."""

    @property
    def organization_id(self) -> int:
        """Return the organization's integer id."""
        ...


REFUSALS: dict[type[Exception], int] = {PermissionDenied: 403, DisallowedModelAdminLookup: 400}


class AdminScope:
    """Run the admin's pages for staff in the ops scope, and take back what was refused.

    Signing in, everybody who is not staff and staff who have a second factor to show stay outside
    any scope: the database then shows them no tenant row, whatever a page asks for.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(PREFIX):
            return self.get_response(request)
        response: Any = self._answer(request)
        response._csp_replace = settings.ADMIN_CONTENT_SECURITY_POLICY
        return response  # type: ignore[no-any-return]

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer what staff may not do in one line of the log: it is no fault to trace."""
        if not request.path.startswith(PREFIX):
            return None
        for refusal, status in REFUSALS.items():
            if isinstance(error, refusal):
                answer: Any = get_resolver().resolve_error_handler(status)
                return answer(request, exception=error)  # type: ignore[no-any-return]
        return None

    def _answer(self, request: HttpRequest) -> HttpResponse:
        user = request.user  # read before the scope opens
        if not (user.is_authenticated and user.is_active and user.is_staff):
            return self.get_response(request)
        if not has_shown_enough(request, user):
            return self.get_response(request)
        request.actor = tenants.staff_actor(user)  # type: ignore[attr-defined]
        with rls.ops_scope(f"admin: {request.method} {request.path}"):
            response = self.get_response(request)
            if response.status_code >= 400:
                transaction.set_rollback(True)
        return response


def has_shown_enough(request: HttpRequest, user: User) -> bool:
    """Tell whether a member of staff has shown a second factor, or needs none: where none is
    demanded, who has set one up still shows it.
    """
    if presence.has_shown_second_factor(request.session):
        return True
    if settings.STAFF_SECOND_FACTOR:
        return False
    with rls.ops_scope("admin: is there a second factor?"):
        return not securing.has_second_factor(user.pk)


def is_staff(request: HttpRequest) -> bool:
    """Tell whether a member of staff asks: signed in, and in a group that may look around."""
    actor = getattr(request, "actor", None)
    return isinstance(actor, Actor) and actor.may("view_platform")


def actor_of(request: HttpRequest) -> Actor:
    """Return who acts; raises PermissionDenied when nobody of the staff does."""
    if not is_staff(request):
        raise PermissionDenied
    return request.actor  # type: ignore[attr-defined,no-any-return]


def time_of(row: Owned) -> datetime:
    """Return what time it is for the organization that a row belongs to: acts are dated by it.

    Usage, keys and people are dated by the real time, as at every door.
    """
    return tenants.now_for(row.organization_id, clock.now())


def may(request: HttpRequest, capability: str) -> bool:
    """Tell whether whoever asks is staff with the capability."""
    return is_staff(request) and actor_of(request).may(capability)


# What the menu asks, by name.
def sees_platform(request: HttpRequest) -> bool:
    """Tell whether customers and the catalogue are shown."""
    return is_staff(request)


def sees_invoices(request: HttpRequest) -> bool:
    """Tell whether invoices, payments and the ledger are shown."""
    return may(request, "view_invoices")


def sees_usage(request: HttpRequest) -> bool:
    """Tell whether usage is shown."""
    return may(request, "view_usage")


def sees_licences(request: HttpRequest) -> bool:
    """Tell whether licences and instances are shown."""
    return may(request, "view_licences")


def sees_audit(request: HttpRequest) -> bool:
    """Tell whether the audit is shown: it can be hidden, and is kept all the same."""
    return settings.ENABLE_AUDIT_LOG and may(request, "view_audit")
