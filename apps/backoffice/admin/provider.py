"""What was said to the payment provider, what it told, and who our customers are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse

from apps.backoffice.access import actor_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.asking import Answers, Ask, act, ask, column
from apps.backoffice.admin.panels import Fact, Panel
from apps.backoffice.admin.screen import BigScreen, ChoiceFilter, Screen, Tab
from apps.payments import services
from apps.payments.models import ProviderCall, ProviderCustomer, ProviderEvent

TRIED = "pending"


def _again(row: ProviderEvent | ProviderCall) -> str:
    return cells.when(row.next_try_at) if row.state == TRIED else cells.EMPTY


def _counted(request: HttpRequest, model: type[Any], states: Sequence[str]) -> Sequence[Tab]:
    """Return a tab for each of these states; what is done is too much to count."""
    rows = model.objects.filter(state__in=states).order_by()
    counts = dict(rows.values_list("state").annotate(n=Count("id")))
    chosen = request.GET.get("state", "")
    return [
        Tab(one.title(), cells.list_url(model, state=one), counts.get(one, 0), chosen == one)
        for one in states
    ]


class EventStateFilter(ChoiceFilter):
    """By what became of it."""

    title = "state"
    parameter_name = "state"

    @classmethod
    def conditions(cls) -> Sequence[tuple[str, str, Q]]:
        """Every state there is."""
        return [(s.value, s.label, Q(state=s.value)) for s in ProviderEvent.State]


class ProviderEventScreen(BigScreen):
    """The inbox: what Stripe told, and whether its object was taken over."""

    list_display = ("moment", "type", "object_code", "became", "tries", "again", "went_wrong")
    list_filter = (EventStateFilter, "source")
    search_fields = ("=event_id", "=object_id", "^type")
    search_help_text = "evt_…, the object's id, or the start of the type"
    ordering = ("-id",)
    actions = ("handle_selected",)
    actions_detail = ("handle",)

    @column("Happened", order="id")
    def moment(self, row: ProviderEvent) -> object:
        """When it happened there."""
        return cells.when(row.happened_at)

    @column("Object")
    def object_code(self, row: ProviderEvent) -> object:
        """What changed."""
        return cells.code(row.object_id)

    @column("State", order="state")
    def became(self, row: ProviderEvent) -> object:
        """What became of it."""
        return cells.badge(row.state)

    @column("Next try")
    def again(self, row: ProviderEvent) -> object:
        """When it is tried again."""
        return _again(row)

    @column("Error")
    def went_wrong(self, row: ProviderEvent) -> object:
        """What went wrong last."""
        return cells.short(row.error, 60)

    def tabs(self, request: HttpRequest) -> Sequence[Tab]:
        """Return those that wait and those that were given up."""
        return _counted(request, ProviderEvent, ("dead", "pending"))

    def facts(self, row: ProviderEvent) -> Sequence[Fact]:
        """The event, what became of it, and the whole of what was told."""
        return [
            Fact("State", cells.badge(row.state)),
            Fact("Type", row.type),
            Fact("Object", cells.code(row.object_id)),
            Fact("Happened", cells.when(row.happened_at)),
            Fact("Received", cells.when(row.received_at)),
            Fact("Came by", row.get_source_display()),
            Fact("Handled", cells.when(row.handled_at)),
            Fact("Tries", str(row.tries)),
            Fact("Next try", _again(row)),
            Fact("Mode", "live" if row.livemode else "test"),
            Fact("API version", row.api_version),
            Fact("Id", cells.code(row.event_id)),
            Fact("Error", row.error, wide=True),
            Fact("Told", cells.document(row.payload), wide=True),
        ]

    def panels(self, request: HttpRequest, row: ProviderEvent) -> Sequence[Panel]:
        """What else was told of the object."""
        others = ProviderEvent.objects.filter(object_id=row.object_id).exclude(object_id="")
        return [
            Panel(
                "Events of this object",
                ("Event", "Happened", "State"),
                [
                    (cells.link_to(one), cells.when(one.happened_at), cells.badge(one.state))
                    for one in others.order_by("-id")[:50]
                ],
                empty="It has no object.",
            )
        ]

    @act(
        "Handle again",
        capability="manage_outbox",
        icon="replay",
        applies=lambda row: row.state != TRIED,
        otherwise=lambda row: "It is about to be handled.",
    )
    def handle(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether an event shall be handled again."""
        row = self.row(request, object_id)
        question = Ask(
            f"Handle {row.type} again",
            "Its object is read as it is now, within seconds. What was done is not done twice.",
            "Handle again",
        )

        def run(answers: Answers) -> str:
            return self._handle(request, [row.event_id])

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act("Handle again", capability="manage_outbox")
    def handle_selected(self, request: HttpRequest, rows: QuerySet[ProviderEvent]) -> None:
        """Put the chosen events back in the inbox."""
        chosen = list(rows.values_list("event_id", flat=True))
        messages.success(request, self._handle(request, chosen))

    def _handle(self, request: HttpRequest, event_ids: list[str]) -> str:
        found = services.replay_events(event_ids, actor=actor_of(request))
        return f"{found} events are handled again." if found != 1 else "It is handled again."


class CallStateFilter(ChoiceFilter):
    """By what became of it."""

    title = "state"
    parameter_name = "state"

    @classmethod
    def conditions(cls) -> Sequence[tuple[str, str, Q]]:
        """Every state there is."""
        return [(s.value, s.label, Q(state=s.value)) for s in ProviderCall.State]


class ProviderCallScreen(BigScreen):
    """What was, or is to be, done at Stripe."""

    list_display = ("moment", "operation", "about", "customer", "became", "tries", "went_wrong")
    list_select_related = ("organization",)
    list_filter = (CallStateFilter,)
    lookups = ("organization",)
    search_fields = ("=about", "=provider_id", "=target", "^operation", "^organization__slug")
    search_help_text = "What it is about, an id of Stripe's, or the operation"
    ordering = ("-id",)
    actions_detail = ("retry",)

    @column("Written down", order="id")
    def moment(self, row: ProviderCall) -> object:
        """When it was wished for."""
        return cells.when(row.created_at)

    @column("Organization")
    def customer(self, row: ProviderCall) -> object:
        """For whom."""
        return row.organization.name if row.organization else "Platform"

    @column("State", order="state")
    def became(self, row: ProviderCall) -> object:
        """What became of it."""
        return cells.badge(row.state)

    @column("Error")
    def went_wrong(self, row: ProviderCall) -> object:
        """What went wrong last."""
        return cells.short(row.error, 60)

    def tabs(self, request: HttpRequest) -> Sequence[Tab]:
        """Return those that wait, were refused, or are stuck."""
        return _counted(request, ProviderCall, ("stuck", "refused", "pending"))

    def facts(self, row: ProviderCall) -> Sequence[Fact]:
        """What is said, with which key, and what was answered."""
        return [
            Fact("State", cells.badge(row.state)),
            Fact("Operation", row.operation),
            Fact("About", cells.code(row.about)),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Acts on", cells.code(row.target)),
            Fact("Object", cells.code(row.provider_id)),
            Fact("Idempotency key", cells.code(row.key)),
            Fact("Tries", str(row.tries)),
            Fact("Next try", _again(row)),
            Fact("First said", cells.when(row.sent_at)),
            Fact("Settled", cells.when(row.settled_at)),
            Fact("Refusal", " ".join(filter(None, (row.error_code, row.decline_code)))),
            Fact("Error", row.error, wide=True),
            Fact("Said", cells.document(row.params), wide=True),
        ]

    @act(
        "Try now",
        capability="manage_outbox",
        icon="replay",
        applies=lambda row: row.state in {"pending", "stuck"},
        otherwise=lambda row: f"It is {row.state}: whoever asked for it has been told.",
    )
    def retry(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether a call shall be tried now."""
        row = self.row(request, object_id)
        question = Ask(
            f"Try {row.operation} now",
            "The worker says it within seconds. One that is stuck gets the next idempotency key:"
            " see first that Stripe has not done it.",
            "Try now",
        )

        def run(answers: Answers) -> str:
            services.retry_calls([row.pk], actor=actor_of(request))
            return "It is tried now."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


class ProviderCustomerScreen(Screen):
    """Who our customers are at Stripe."""

    view_capability = "view_invoices"
    list_display = ("provider_id", "customer", "mode", "gone")
    list_select_related = ("organization",)
    lookups = ("organization",)
    search_fields = ("=provider_id", "organization__name", "^organization__slug")
    ordering = ("-id",)

    @column("Organization", order="organization__name")
    def customer(self, row: ProviderCustomer) -> object:
        """Who it is."""
        return row.organization.name

    @column("Mode", order="livemode")
    def mode(self, row: ProviderCustomer) -> object:
        """Whether its money is real."""
        return "live" if row.livemode else "test"

    @column("Deleted there")
    def gone(self, row: ProviderCustomer) -> object:
        """When it was deleted at Stripe."""
        return cells.when(row.gone_at)

    def facts(self, row: ProviderCustomer) -> Sequence[Fact]:
        """Who it is, here and there."""
        return [
            Fact("Organization", cells.link_to(row.organization)),
            Fact("At Stripe", cells.code(row.provider_id)),
            Fact("Mode", "live" if row.livemode else "test"),
            Fact("Since", cells.when(row.created_at)),
            Fact("Deleted there", cells.when(row.gone_at)),
        ]
