"""The record: who did what, when, to what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.contrib.admin import SimpleListFilter
from django.db.models import Model, OuterRef, QuerySet, Subquery
from django.http import HttpRequest

from apps.audit.models import AuditEntry
from apps.backoffice.admin import cells
from apps.backoffice.admin.asking import column
from apps.backoffice.admin.panels import Fact
from apps.backoffice.admin.screen import BigScreen
from apps.tenants.models import Organization

SUBJECTS = (
    "alert_rule",
    "anomaly",
    "api_key",
    "application",
    "billing",
    "billing_entity",
    "charge",
    "correction",
    "coupon",
    "credit",
    "dispute",
    "dunning",
    "dunning_campaign",
    "entitlement",
    "event",
    "external_id",
    "feature",
    "instance",
    "invoice",
    "license",
    "member",
    "meter",
    "organization",
    "outbox",
    "payment_method",
    "plan",
    "plan_version",
    "pool",
    "promotion_code",
    "provider_call",
    "provider_event",
    "recharge",
    "refund",
    "revenue",
    "seat",
    "signing_key",
    "spend_cap",
    "subscription",
    "tax_rate",
    "test_clock",
    "token_issuer",
    "usage",
    "user",
    "watch",
)


class SubjectFilter(SimpleListFilter):
    """By what the act was about: the word before the dot."""

    title = "subject"
    parameter_name = "subject"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return what rooms record; asking the table would read all of it."""
        return [(name, name.replace("_", " ")) for name in SUBJECTS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the acts about it."""
        chosen = self.value()
        return queryset.filter(action__startswith=f"{chosen}.") if chosen else queryset


class AuditScreen(BigScreen):
    """Audit entries: read by staff, written by services, changed by nobody."""

    view_capability = "view_audit"
    list_display = ("moment", "actor", "did", "target_code", "customer", "request_code")
    list_filter = ("actor_kind", SubjectFilter)
    lookups = ("organization_id", "target")
    search_fields = ("=target", "=actor_id", "^actor_label", "^action", "=request_id")
    search_help_text = "Object, actor, action or request id"
    ordering = ("-id",)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Hide the record where it is switched off; it is kept all the same."""
        return settings.ENABLE_AUDIT_LOG and super().has_view_permission(request, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        """Return the entries with the organization's name: there is no key to follow."""
        named = Organization.objects.filter(pk=OuterRef("organization_id")).values("name")
        rows: QuerySet[AuditEntry] = super().get_queryset(request)
        return rows.annotate(organization_name=Subquery(named[:1]))

    def public_id(self, row: AuditEntry) -> str:
        """An entry has no history of its own."""
        return ""

    @column("When", order="id")
    def moment(self, row: AuditEntry) -> object:
        """When it was done."""
        return cells.when(row.at)

    @column("Who")
    def actor(self, row: AuditEntry) -> object:
        """Who did it."""
        return f"{row.actor_label} ({row.actor_kind})"

    @column("Did")
    def did(self, row: AuditEntry) -> object:
        """What was done."""
        return cells.code(row.action)

    @column("To")
    def target_code(self, row: AuditEntry) -> object:
        """What it was done to."""
        return cells.code(row.target)

    @column("Organization")
    def customer(self, row: Any) -> object:
        """Whose it is."""
        return row.organization_name or "Platform"

    @column("Request")
    def request_code(self, row: AuditEntry) -> object:
        """The request it was done in."""
        return cells.code(row.request_id[-8:])

    def facts(self, row: Any) -> Sequence[Fact]:
        """The whole entry, with the chain that holds it."""
        return [
            Fact("When", cells.when(row.at)),
            Fact("Who", f"{row.actor_label} ({row.actor_kind})"),
            Fact("Actor id", cells.code(row.actor_id)),
            Fact("Did", cells.code(row.action)),
            Fact("To", cells.code(row.target)),
            Fact("Organization", row.organization_name or "Platform"),
            Fact("Request", cells.code(row.request_id)),
            Fact("Number in its chain", str(row.seq)),
            Fact("Before", cells.document(row.before), wide=True),
            Fact("After", cells.document(row.after), wide=True),
            Fact("Hash", cells.code(bytes(row.hash).hex()), wide=True),
            Fact("Hash of the one before", cells.code(bytes(row.previous).hex()), wide=True),
        ]
