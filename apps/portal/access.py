"""Which organization a portal request works for, and the scope it runs in.

Closed by default: every view under /portal/ needs a signed-in member, except those marked
`open_page`. A page runs in one transaction that sees its organization only, and whatever it wrote
is taken back when it refuses. A page that asks the payment provider runs outside of any, since no
row is to be locked meanwhile; it opens `request.scope()` for what it reads and writes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import translation
from django.views.decorators.http import require_http_methods

from apps.core import clock, rls
from apps.core.actor import Actor, require
from apps.core.errors import DomainError, Forbidden, NotFound
from apps.portal import arrivals, errors
from apps.portal.formats import Formats
from apps.portal.languages import language_of
from apps.tenants import presence
from apps.tenants import selectors as tenants
from apps.tenants.selectors import Belonging

if TYPE_CHECKING:
    from apps.tenants.models import Organization

PREFIX = "/portal/"
SECURITY = "/portal/security/"
OWN = "portal: a person's own account"
CHOSEN = "portal_organization"
REFUSED_FROM = 400


class PortalRequest(HttpRequest):
    """A request of a member at work: what the middleware has attached to it."""

    actor: Actor
    organization: Organization
    belongings: Sequence[Belonging]
    formats: Formats
    at: datetime  # what time it is for the organization
    scope: Callable[[], AbstractContextManager[None]]  # the organization's, for pages outside of it


View = Callable[..., HttpResponse]
AnyView = TypeVar("AnyView", bound=Callable[..., HttpResponseBase])


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may see a page: anybody (`is_open`), members with the capability, or, of what is a
    person's own (`is_personal`), whoever is signed in. `is_outside` ones run in no transaction.
    """

    section: str = ""
    capability: str = ""
    is_open: bool = False
    is_personal: bool = False
    is_outside: bool = False


CLOSED = Rule()


def page(
    section: str,
    capability: str,
    *,
    methods: Sequence[str] = ("GET", "HEAD"),
    outside: bool = False,
) -> Callable[[View], View]:
    """Mark a view as a page of a section that needs the capability.

    With `outside` it runs outside of the organization's transaction.
    """

    def mark(view: View) -> View:
        @functools.wraps(view)
        def checked(request: PortalRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            require(capability, actor=request.actor, organization_id=request.organization.pk)
            return view(request, *args, **kwargs)

        rule = Rule(section, capability, is_outside=outside)
        return _marked(require_http_methods([*methods])(checked), rule)

    return mark


def open_page(view: AnyView) -> AnyView:
    """Mark a view that works without a member: sign-in, invitations, the theme."""
    return _marked(view, Rule(is_open=True))


def personal_page(
    *, fresh: bool = False, methods: Sequence[str] = ("GET", "HEAD")
) -> Callable[[View], View]:
    """Mark a view of what is a person's own, whichever organization they work for, if any.

    It sees every organization's rows, since an account is nobody's: it asks for the person's only.
    `fresh` ones open to who has lately shown that it is they.
    """

    def mark(view: View) -> View:
        @functools.wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if fresh and not presence.is_fresh(request.session, at=clock.now()):
                page = request.get_full_path() if request.method == "GET" else SECURITY
                asked = urlencode({"next": page})
                return HttpResponseRedirect(f"{reverse('portal:confirm')}?{asked}")
            return view(request, *args, **kwargs)

        rule = Rule(section="security", is_personal=True)
        return _marked(require_http_methods([*methods])(checked), rule)

    return mark


def _marked(view: AnyView, rule: Rule) -> AnyView:
    view.portal_rule = rule  # type: ignore[attr-defined]
    return view


def rule_of(view: object) -> Rule:
    """Return who may see the view; one that says nothing is closed."""
    return cast(Rule, getattr(view, "portal_rule", CLOSED))


class PortalScope:
    """Resolve who asks and for which organization, then run the page inside its tenant scope."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(PREFIX):
            return self.get_response(request)
        # For answers given before any page: a form without its token speaks the reader's language.
        with translation.override(language_of(request)):
            return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: View, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        """Answer for every closed page; others go on as if this were not here."""
        if not request.path_info.startswith(PREFIX) or rule_of(view).is_open:
            return None
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path() if request.method == "GET" else PREFIX)
        arrivals.note_visit(request)
        # Before the scope: inside it the tables show no other organization and no other user.
        belongings = tenants.belongings(request.user.pk)
        chosen = chosen_of(belongings, request.session.get(CHOSEN))
        if rule_of(view).is_personal:
            scope = rls.ops_scope(OWN)
        elif chosen is None:
            return HttpResponseRedirect(reverse("portal:choose"))
        else:
            scope = rls.tenant_scope(chosen.organization_id)
        request.belongings = belongings  # type: ignore[attr-defined]
        bound = functools.partial(view, request, *args, **kwargs)
        run = _outside if rule_of(view).is_outside else _within
        response = _answered(request, functools.partial(run, request, chosen, scope, bound))
        response.headers.setdefault("Cache-Control", "private, no-store")
        return response


def chosen_of(belongings: Sequence[Belonging], chosen: str | None) -> Belonging | None:
    """Return the organization to work for: the chosen one, or the only one."""
    if len(belongings) == 1:
        return belongings[0]
    return next((one for one in belongings if one.public_id == chosen), None)


def _answered(request: HttpRequest, run: Callable[[], HttpResponse]) -> HttpResponse:
    """Return the page's answer, or render its refusal once its transaction has ended."""
    try:
        return run()
    except NotFound:
        raise Http404 from None
    except Forbidden as refusal:
        return errors.forbidden(request, str(refusal.extra.get("capability", "")))
    except DomainError as refusal:
        return errors.refused(request, refusal)


def _within(
    request: HttpRequest,
    chosen: Belonging | None,
    scope: AbstractContextManager[None],
    view: Callable[[], HttpResponse],
) -> HttpResponse:
    """Run the page in its scope."""
    with scope:
        locale = _attach_nothing(request) if chosen is None else _attach(request, chosen)
        with translation.override(language_of(request, locale)):
            response = view()
        if response.status_code >= REFUSED_FROM:
            transaction.set_rollback(True)
        return response


def _outside(
    request: HttpRequest,
    chosen: Belonging | None,
    scope: AbstractContextManager[None],
    view: Callable[[], HttpResponse],
) -> HttpResponse:
    """Run the page after its scope: only who asks was read in it."""
    with scope:
        locale = _attach_nothing(request) if chosen is None else _attach(request, chosen)
    with translation.override(language_of(request, locale)):
        return view()


def _attach_nothing(request: HttpRequest) -> str:
    """Attach how the browser's language writes dates, and no organization; return its locale."""
    locale = language_of(request)
    request.formats = Formats(locale, settings.TIME_ZONE)  # type: ignore[attr-defined]
    return locale


def _attach(request: HttpRequest, chosen: Belonging) -> str:
    """Attach the organization that the page works for; return its locale."""
    organization = tenants.organization(chosen.organization_id)
    request.actor = tenants.member_actor(request.user, chosen)  # type: ignore[attr-defined,arg-type]
    request.organization = organization  # type: ignore[attr-defined]
    request.scope = functools.partial(rls.tenant_scope, organization.pk)  # type: ignore[attr-defined]
    request.at = organization.time(clock.now())  # type: ignore[attr-defined]
    formats = Formats(organization.locale, organization.timezone)
    request.formats = formats  # type: ignore[attr-defined]
    return organization.locale
