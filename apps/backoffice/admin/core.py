"""The outbox: facts that were told, and whom they have reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse

from apps.audit import services as audit
from apps.backoffice.access import actor_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.asking import Answers, Ask, act, ask, column
from apps.backoffice.admin.panels import Fact, Panel
from apps.backoffice.admin.screen import BigScreen, ChoiceFilter, Tab
from apps.core import clock
from apps.core.models import OutboxDelivery, OutboxEvent
from apps.tenants.models import Organization


def _named() -> Subquery:
    named = Organization.objects.filter(pk=OuterRef("organization_id")).values("name")
    return Subquery(named[:1])


class OutboxEventScreen(BigScreen):
    """Facts that rooms told."""

    list_display = ("moment", "name", "customer", "reached", "event_code")
    search_fields = ("=public_id", "^name")
    search_help_text = "Id, or the start of room.FactName"
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[OutboxEvent]:
        """Return the facts with how many handlers they have reached."""
        rows: QuerySet[OutboxEvent] = super().get_queryset(request)
        return rows.annotate(
            organization_name=_named(),
            handlers=Count("deliveries"),
            delivered=Count("deliveries", filter=Q(deliveries__status="delivered")),
        )

    @column("When", order="id")
    def moment(self, row: OutboxEvent) -> object:
        """When it became true."""
        return cells.when(row.occurred_at)

    @column("Organization")
    def customer(self, row: Any) -> object:
        """Whose it is."""
        return row.organization_name or "Platform"

    @column("Delivered")
    def reached(self, row: Any) -> object:
        """How many of its handlers have it."""
        if not row.handlers:
            return "Nobody asked"
        tone = "success" if row.delivered == row.handlers else "warning"
        return cells.badge(f"{row.delivered} of {row.handlers}", tone)

    @column("Id")
    def event_code(self, row: OutboxEvent) -> object:
        """The public id."""
        return cells.code(row.public_id)

    def public_id(self, row: OutboxEvent) -> str:
        """A fact has no history of its own."""
        return ""

    def facts(self, row: Any) -> Sequence[Fact]:
        """The fact, whole."""
        return [
            Fact("Fact", cells.code(row.name)),
            Fact("Organization", row.organization_name or "Platform"),
            Fact("When", cells.when(row.occurred_at)),
            Fact("Id", cells.code(row.public_id)),
            Fact("Content", cells.document(row.payload), wide=True),
        ]

    def panels(self, request: HttpRequest, row: Any) -> Sequence[Panel]:
        """Its deliveries."""
        return [
            Panel(
                "Deliveries",
                ("Handler", "Status", ">Tries", "Next try", "Delivered", "Last error"),
                [
                    (
                        cells.link_to(one, one.handler),
                        cells.badge(one.status),
                        str(one.tries),
                        cells.when(one.next_try_at) if one.status == "pending" else cells.EMPTY,
                        cells.when(one.delivered_at),
                        cells.short(one.last_error, 60),
                    )
                    for one in row.deliveries.order_by("id")
                ],
                empty="No handler asked for this fact.",
            )
        ]


class DeliveryStatusFilter(ChoiceFilter):
    """By what became of it."""

    title = "status"
    parameter_name = "status"

    @classmethod
    def conditions(cls) -> Sequence[tuple[str, str, Q]]:
        """Every state there is."""
        return [(s.value, s.label, Q(status=s.value)) for s in OutboxDelivery.Status]


class OutboxDeliveryScreen(BigScreen):
    """Each handler's copy of a fact; dead ones wait for somebody to look."""

    list_display = ("fact", "handler", "state", "tries", "again_at", "delivered", "error")
    list_select_related = ("event",)
    list_filter = (DeliveryStatusFilter,)
    search_fields = ("=event__public_id", "^handler", "^event__name")
    ordering = ("-id",)
    actions = ("retry_selected",)
    actions_detail = ("retry",)

    @column("Fact")
    def fact(self, row: OutboxDelivery) -> object:
        """What was told."""
        return row.event.name

    @column("Status", order="status")
    def state(self, row: OutboxDelivery) -> object:
        """What became of it."""
        return cells.badge(row.status)

    @column("Next try", order="next_try_at")
    def again_at(self, row: OutboxDelivery) -> object:
        """When it is tried again."""
        return cells.when(row.next_try_at) if row.status == "pending" else cells.EMPTY

    @column("Delivered", order="delivered_at")
    def delivered(self, row: OutboxDelivery) -> object:
        """When it arrived."""
        return cells.when(row.delivered_at)

    @column("Last error")
    def error(self, row: OutboxDelivery) -> object:
        """What went wrong last."""
        return cells.short(row.last_error, 60)

    def tabs(self, request: HttpRequest) -> Sequence[Tab]:
        """Return those that wait and those that are dead; the delivered are too many to count."""
        waiting = OutboxDelivery.objects.exclude(status="delivered").order_by()
        counts = dict(waiting.values_list("status").annotate(n=Count("id")))
        chosen = request.GET.get("status", "")
        return [
            Tab(
                status.title(),
                cells.list_url(OutboxDelivery, status=status),
                counts.get(status, 0),
                chosen == status,
            )
            for status in ("dead", "pending")
        ]

    def facts(self, row: OutboxDelivery) -> Sequence[Fact]:
        """The fact, the handler, and what went wrong."""
        return [
            Fact("Status", cells.badge(row.status)),
            Fact("Fact", cells.link_to(row.event, row.event.name)),
            Fact("Handler", cells.code(row.handler)),
            Fact("Tries", str(row.tries)),
            Fact(
                "Next try", cells.when(row.next_try_at) if row.status == "pending" else cells.EMPTY
            ),
            Fact("Delivered", cells.when(row.delivered_at)),
            Fact("Last error", row.last_error, wide=True),
            Fact("Content", cells.document(row.event.payload), wide=True),
        ]

    @act(
        "Try again",
        capability="manage_outbox",
        icon="replay",
        applies=lambda row: row.status == "dead",
        otherwise=lambda row: (
            f"Only a dead delivery is tried again by hand; this one is {row.status}."
        ),
    )
    def retry(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether a dead delivery shall be tried again."""
        row = self.row(request, object_id)
        question = Ask(
            f"Deliver {row.event.name} again",
            "The worker tries it within seconds, and up to eight times.",
            "Try again",
        )

        def run(answers: Answers) -> str:
            return self._retry(request, [row.pk])

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act("Try dead ones again", capability="manage_outbox")
    def retry_selected(self, request: HttpRequest, rows: QuerySet[OutboxDelivery]) -> None:
        """Put the chosen dead deliveries back in the queue."""
        messages.success(request, self._retry(request, list(rows.values_list("pk", flat=True))))

    def _retry(self, request: HttpRequest, delivery_ids: list[int]) -> str:
        found = audit.retry_deliveries(delivery_ids, actor=actor_of(request), at=clock.now())
        return f"{found} deliveries are tried again." if found != 1 else "It is tried again."
