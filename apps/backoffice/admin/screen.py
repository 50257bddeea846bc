"""The one base of all admin screens: lists and pages that read; what changes goes through acts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from django.conf import settings
from django.contrib.admin import ShowFacets, SimpleListFilter
from django.core.exceptions import FieldDoesNotExist, PermissionDenied
from django.db.models import Model, Q, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import ModelAdmin
from unfold.paginator import InfinitePaginator

from apps.backoffice.access import may
from apps.backoffice.admin import cells
from apps.backoffice.admin.panels import Fact, Panel


def _holds(capability: str) -> Callable[..., bool]:
    """Return the permission method that Django and Unfold ask by name."""

    def has(screen: Any, request: HttpRequest, obj: object = None) -> bool:
        return may(request, capability)

    return has


# The conditions that Django's own field filters and date hierarchy write into addresses.
FIELDS = ("exact", "isnull", "id__exact")
DATES = ("year", "month", "day", "gte", "lt")


@dataclass(frozen=True, slots=True)
class Tab:
    """A quick filter above a list, with how many rows it shows and what they sum to."""

    title: str
    url: str
    count: int
    active: bool
    sums: str = ""


class Screen(ModelAdmin):  # type: ignore[misc] # Unfold has no types
    """A list and a page for one kind of row. Nothing is added, changed or deleted through it.

    Subclasses say what the page shows in `facts` and `panels`, name the acts in `actions_list`
    and `actions_detail`, and who may look in `view_capability`. `lookups` are the conditions that
    links of other pages put into the list's address, besides those of the list's own filters.
    """

    view_capability = "view_platform"
    lookups: tuple[str, ...] = ()
    actions: Sequence[str] = ()
    list_per_page = 50
    show_facets = ShowFacets.NEVER
    view_on_site = False
    list_fullwidth = True
    list_before_template = "admin/backoffice/tabs.html"

    has_assign_seats_permission = _holds("assign_seats")
    has_manage_api_keys_permission = _holds("manage_api_keys")
    has_manage_billing_permission = _holds("manage_billing")
    has_manage_catalog_permission = _holds("manage_catalog")
    has_manage_licence_terms_permission = _holds("manage_licence_terms")
    has_manage_licences_permission = _holds("manage_licences")
    has_manage_invoices_permission = _holds("manage_invoices")
    has_manage_organization_permission = _holds("manage_organization")
    has_manage_outbox_permission = _holds("manage_outbox")
    has_manage_platform_permission = _holds("manage_platform")
    has_manage_roles_permission = _holds("manage_roles")
    has_manage_terms_permission = _holds("manage_terms")
    has_invite_members_permission = _holds("invite_members")
    has_record_payments_permission = _holds("record_payments")
    has_replay_usage_permission = _holds("replay_usage")
    has_write_usage_permission = _holds("write_usage")
    has_view_invoices_permission = _holds("view_invoices")

    # --- what the page shows --------------------------------------------------------------------
    def facts(self, row: Any) -> Sequence[Fact]:
        """Return the facts at the top of the row's page."""
        return [Fact("Created", cells.when(row.created_at))]

    def panels(self, request: HttpRequest, row: Any) -> Sequence[Panel]:
        """Return the tables in tabs below."""
        return []

    def tabs(self, request: HttpRequest) -> Sequence[Tab]:
        """Return the quick filters above the list."""
        return []

    def heading(self, row: Any) -> str:
        """Return what stands above the row's page."""
        return str(row)

    def named(self, row: Any) -> object:
        """Return what the theme writes where it names the row."""
        return row

    def public_id(self, row: Any) -> str:
        """Return the id by which the audit and the outside know the row."""
        return str(getattr(row, "public_id", ""))

    # --- permissions: by capability, and never to write -------------------------------------------
    def has_module_permission(self, request: HttpRequest) -> bool:
        """Tell whether the list is shown in menus."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Tell whether whoever asks may look."""
        return may(request, self.view_capability)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nothing is added but by a service."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nothing is changed but by a service."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nothing is deleted."""
        return False

    def save_model(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: a door never writes rows."""
        raise PermissionDenied

    def delete_model(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: a door never writes rows."""
        raise PermissionDenied

    def delete_queryset(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: a door never writes rows."""
        raise PermissionDenied

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Tell whether a list's address may carry the condition: only those that pages offer.

        Django allows every field of the model, which answers questions about hashes one by one.
        """
        return lookup in self.lookups or lookup in self._own_lookups()

    def _own_lookups(self) -> set[str]:
        found = set(_offered(self.date_hierarchy, DATES)) if self.date_hierarchy else set()
        for one in self.list_filter:
            named = getattr(one, "parameter_name", "")
            found |= {named} if named else _offered(one, FIELDS)
        return found

    # --- pages ------------------------------------------------------------------------------------
    def row(self, request: HttpRequest, reference: str) -> Any:
        """Return the row with this integer or public id, or answer 404."""
        found = self.get_queryset(request).filter(self._reference(reference)).first()
        if found is None:
            raise Http404
        return found

    def _reference(self, reference: str) -> Q:
        if reference.isascii() and reference.isdigit() and len(reference) < 19:
            return Q(pk=int(reference))
        try:
            self.model._meta.get_field("public_id")
        except FieldDoesNotExist:
            raise Http404 from None
        return Q(public_id=reference)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list under its tabs."""
        shown = self.tabs(request) if self.has_view_permission(request) else []
        context = {"tabs": shown, **(extra_context or {})}
        return super().changelist_view(request, context)  # type: ignore[no-any-return]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a row's page: it reads, whatever method it is asked with."""
        if request.method not in {"GET", "HEAD"} or not self.has_view_permission(request):
            raise PermissionDenied
        row = self.row(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "original": self.named(row),
            "title": self.heading(row),
            "facts": self.facts(row),
            "panels": self.panels(request, row),
            "actions_detail": self._acts_on(request, row),
            "history_url": self._history_url(row),
            "adminform": None,
        }
        return TemplateResponse(request, "admin/backoffice/detail.html", context)

    def _acts_on(self, request: HttpRequest, row: Any) -> Any:
        allowed = self.get_actions_detail(request, str(row.pk))
        fitting = [one for one in allowed if getattr(one.method, "applies", bool)(row)]
        return self._get_actions_navigation(self.actions_detail, fitting, str(row.pk))

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        """Lead to the audit: Django's own log is not kept."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        url = self._history_url(self.row(request, object_id))
        if not url:
            raise Http404
        return HttpResponseRedirect(url)

    def _history_url(self, row: Any) -> str:
        public_id = self.public_id(row)
        if not public_id or not settings.ENABLE_AUDIT_LOG:
            return ""
        return reverse("admin:audit_auditentry_changelist", query={"target": public_id})


def _offered(field: str, endings: Sequence[str]) -> set[str]:
    return {field, *(f"{field}{LOOKUP_SEP}{ending}" for ending in endings)}


class BigScreen(Screen):
    """A list of a table that grows without end: nobody waits for it to be counted."""

    paginator = InfinitePaginator
    show_full_result_count = False


class ChoiceFilter(SimpleListFilter):
    """A filter of named conditions: subclasses list (name, words, condition)."""

    @classmethod
    def conditions(cls) -> Sequence[tuple[str, str, Q]]:
        """Return what may be chosen."""
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the choices."""
        return [(name, words) for name, words, _ in self.conditions()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the condition chosen."""
        for name, _, condition in self.conditions():
            if self.value() == name:
                return queryset.filter(condition)
        return queryset
