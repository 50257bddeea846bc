"""What was consumed: events as they came, what was refused, and what is rolled up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import SimpleListFilter
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from apps.backoffice.access import actor_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.asking import Answers, Ask, Question, act, ask, column
from apps.backoffice.admin.panels import Fact, Panel
from apps.backoffice.admin.screen import BigScreen, ChoiceFilter, Screen, Tab
from apps.core import clock
from apps.plans.models import Price
from apps.tenants import selectors as tenants
from apps.usage import selectors, services
from apps.usage.checking import VOID
from apps.usage.models import (
    DeviceReport,
    Event,
    Meter,
    RejectedEvent,
    UsageBucket,
    UsageEpoch,
    UsageSeal,
)

REPLAY_AT_MOST = 20_000


class TypeFilter(SimpleListFilter):
    """By type: those that meters read, so that nobody has to count all events."""

    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the types that meters read."""
        types = Meter.objects.order_by("event_type").values_list("event_type", flat=True)
        return [(name, name) for name in types.distinct()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the events of the type."""
        return queryset.filter(type=self.value()) if self.value() else queryset


class EventScreen(BigScreen):
    """Usage events: facts, never changed."""

    view_capability = "view_usage"
    list_display = ("occurred", "customer", "type", "key_code", "said", "state", "received")
    list_select_related = ("organization",)
    list_filter = (TypeFilter,)
    lookups = ("organization", "occurred_at__gte", "occurred_at__lt")
    search_fields = ("key",)
    search_help_text = "An organization's slug or id, or an event's exact id"
    ordering = ("-id",)
    sortable_by = ()
    actions_detail = ("void", "correct")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        """Return the events without what lists do not show, and whether they are voided."""
        rows: QuerySet[Event] = super().get_queryset(request)
        later = Event.objects.filter(
            organization_id=OuterRef("organization_id"), voids=OuterRef("pk")
        )
        return rows.defer("xid").annotate(voided=Exists(later))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Read the term as an organization or else as an event's id: both have an exact answer."""
        term = search_term.strip()
        if not term:
            return queryset, False
        found = tenants.find_organization(term)
        if found is not None:
            return queryset.filter(organization_id=found.pk), False
        return queryset.filter(key=term), False

    @column("Occurred")
    def occurred(self, row: Event) -> object:
        """When it happened."""
        return cells.when(row.occurred_at)

    @column("Organization")
    def customer(self, row: Event) -> object:
        """Whose it is."""
        return row.organization.name

    @column("Event id")
    def key_code(self, row: Event) -> object:
        """Its id within its source."""
        return cells.code(_cut(row.key))

    @column("Says")
    def said(self, row: Event) -> object:
        """The start of its data."""
        return cells.short(", ".join(f"{key}: {value}" for key, value in row.data.items()), 60)

    @column("State")
    def state(self, row: Event) -> object:
        """Whether it counts."""
        return cells.badge(_state(row))

    @column("Received")
    def received(self, row: Event) -> object:
        """When it came in."""
        return cells.when(row.received_at)

    def facts(self, row: Event) -> Sequence[Fact]:
        """The event, whole."""
        return [
            Fact("State", cells.badge(_state(row))),
            Fact("Id", cells.code(row.public_id)),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Type", row.type),
            Fact("Occurred", cells.when(row.occurred_at)),
            Fact("Received", cells.when(row.received_at)),
            Fact("Source", row.source),
            Fact("Event id", cells.code(row.key)),
            Fact("Data", cells.document(row.data), wide=True),
            Fact("Digest", cells.code(bytes(row.digest).hex()), wide=True),
        ]

    def panels(self, request: HttpRequest, row: Event) -> Sequence[Panel]:
        """The meters that read it."""
        found = Meter.objects.filter(event_type=row.type)
        rows = [
            (cells.link_to(one), one.get_aggregation_display(), cells.code(one.value))
            for one in found
        ]
        return [
            Panel("Meters", ("Meter", "Counts", "Reads"), rows, empty="No meter reads it."),
            _chain(row),
        ]

    @act(
        "Void",
        capability="write_usage",
        icon="block",
        danger=True,
        applies=lambda row: _state(row) not in {"voided", "void"},
        otherwise=lambda row: f"{row} is voided already, or is a void itself.",
    )
    def void(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask why the event shall not count."""
        row = self.row(request, object_id)
        question = Ask(
            f"Void {row}",
            f"Everything is measured as if it had never come. {UNTOUCHED}",
            "Void event",
            ReasonForm,
            danger=True,
        )

        def run(answers: Answers) -> str:
            services.void_event(
                row.organization_id, event=row.public_id, **answers, **_by_now(request)
            )
            return f"{row} is void."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Correct",
        capability="write_usage",
        icon="edit",
        applies=lambda row: _state(row) not in {"voided", "void"},
        otherwise=lambda row: f"{row} is voided already, or is a void itself.",
    )
    def correct(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask what the event should have said."""
        row = self.row(request, object_id)
        question = Ask(
            f"Correct {row}",
            f"A new event counts in its place, at the same time. {UNTOUCHED}",
            "Correct event",
            CorrectionForm,
            initial={"right": selectors.data_text(row)},
        )

        def run(answers: Answers) -> str | HttpResponse:
            made = services.correct_event(
                row.organization_id,
                event=row.public_id,
                data=answers["right"],
                reason=answers["reason"],
                **_by_now(request),
            )
            messages.success(request, f"{row} is corrected by this event.")
            return HttpResponseRedirect(cells.url_of(made))

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


UNTOUCHED = "Both events stay on record. An invoice that is final does not change."


class ReasonForm(Question):
    """Why."""

    reason = forms.CharField(max_length=300, help_text="Kept in the record.")


class CorrectionForm(Question):
    """What is right, and why."""

    right = forms.CharField(
        widget=forms.Textarea, label="Data", help_text="The event's data, as a JSON object."
    )
    reason = forms.CharField(max_length=300, help_text="Kept in the record.")

    def clean_right(self) -> Mapping[str, Any]:
        """Read the data with exact numbers."""
        try:
            return selectors.read_data(self.cleaned_data["right"])
        except ValueError:
            raise forms.ValidationError("This is no JSON object.") from None


def _by_now(request: HttpRequest) -> dict[str, Any]:
    return {"actor": actor_of(request), "at": clock.now()}


def _state(row: Any) -> str:
    if row.type == VOID:
        return "void"
    return "voided" if row.voided else "counted"


def _chain(row: Event) -> Panel:
    """Return what the event takes back, and what takes it back."""
    later = Event.objects.filter(organization_id=row.organization_id, voids=row.pk)
    earlier = Event.objects.filter(organization_id=row.organization_id, pk=row.voids_id or 0)
    rows = [
        *(
            ("Takes back", cells.link_to(one, one.key), cells.when(one.received_at))
            for one in earlier
        ),
        *(
            ("Is taken back by", cells.link_to(one, one.key), cells.when(one.received_at))
            for one in later
        ),
    ]
    return Panel("Corrections", ("", "Event", "Received"), rows, empty="It was never corrected.")


def _cut(text: str) -> str:
    """Return the end of a long id, where ids differ."""
    return text if len(text) <= 24 else f"…{text[-22:]}"


class RejectedStateFilter(ChoiceFilter):
    """Still refused, or counted since."""

    title = "state"
    parameter_name = "state"

    @classmethod
    def conditions(cls) -> Sequence[tuple[str, str, Q]]:
        """By replay."""
        waiting, done = Q(replayed_at=None), Q(replayed_at__isnull=False)
        return [("open", "Rejected", waiting), ("replayed", "Replayed", done)]


class RejectedEventScreen(BigScreen):
    """What came and could not be counted, whole, with the reason."""

    view_capability = "view_usage"
    list_display = ("seen", "state", "code", "why", "customer", "where", "times_seen")
    list_select_related = ("organization",)
    list_filter = (RejectedStateFilter,)
    lookups = ("code__exact",)
    search_fields = ("=public_id", "=code", "organization__name", "^organization__slug", "^origin")
    ordering = ("-id",)
    actions_list = ("replay",)
    actions_detail = ()

    @column("Last seen", order="last_seen_at")
    def seen(self, row: RejectedEvent) -> object:
        """When it came last."""
        return cells.when(row.last_seen_at)

    @column("State")
    def state(self, row: RejectedEvent) -> object:
        """Whether it has been counted since."""
        return cells.badge("rejected") if row.replayed_at is None else cells.badge("replayed")

    @column("Reason")
    def why(self, row: RejectedEvent) -> object:
        """Why it was refused."""
        return cells.short(row.detail, 70)

    @column("Organization", order="organization__name")
    def customer(self, row: RejectedEvent) -> object:
        """Whose it is, where that is known."""
        return row.organization or "Unknown"

    @column("From")
    def where(self, row: RejectedEvent) -> object:
        """The file or door, and the line."""
        return f"{row.origin}:{row.line}" if row.line else row.origin

    def tabs(self, request: HttpRequest) -> Sequence[Tab]:
        """Return the reasons that are open, with their numbers."""
        waiting = RejectedEvent.objects.filter(replayed_at=None).order_by()
        counts = waiting.values_list("code").annotate(n=Count("id")).order_by("-n")[:6]
        chosen = request.GET.get("code__exact", "")
        return [
            Tab(
                code.replace("_", " ").capitalize(),
                cells.list_url(RejectedEvent, state="open", code__exact=code),
                count,
                chosen == code,
            )
            for code, count in counts
        ]

    def facts(self, row: RejectedEvent) -> Sequence[Fact]:
        """Why it was refused, and what came."""
        counted = cells.EMPTY if row.event is None else cells.link_to(row.event, row.event.key)
        return [
            Fact("State", cells.badge("rejected" if row.replayed_at is None else "replayed")),
            Fact("Code", cells.code(row.code)),
            Fact("Where", cells.code(row.pointer)),
            Fact(
                "Organization", cells.link_to(row.organization) if row.organization else "Unknown"
            ),
            Fact("From", row.origin),
            Fact("Line", str(row.line or cells.EMPTY)),
            Fact("First seen", cells.when(row.first_seen_at)),
            Fact("Last seen", cells.when(row.last_seen_at)),
            Fact("Times seen", str(row.times_seen)),
            Fact("Counted as", counted),
            Fact("Reason", row.detail, wide=True),
            Fact("What came", cells.block(row.payload), wide=True),
        ]

    @act("Replay rejected", capability="replay_usage", icon="replay")
    def replay(self, request: HttpRequest) -> HttpResponse:
        """Ask whether the rejected events shall be tried again."""
        waiting = RejectedEvent.objects.filter(replayed_at=None)[: REPLAY_AT_MOST + 1].count()
        many = f"more than {REPLAY_AT_MOST:,}" if waiting > REPLAY_AT_MOST else f"{waiting:,}"
        question = Ask(
            "Replay rejected events",
            f"Tries {many} rejected events again, whatever their age. Those that are taken now "
            "count in their period; an invoice that is final does not change.",
            "Replay",
        )
        back = cells.list_url(RejectedEvent, state="open")
        return ask(self, request, question, run=lambda _: _replay(request), back=back)


def _replay(request: HttpRequest) -> str:
    tried = accepted = duplicate = last = 0
    while tried < REPLAY_AT_MOST:
        found = services.replay_rejected(actor=actor_of(request), at=clock.now(), after_id=last)
        if not found.tried:
            break
        tried, last = tried + found.tried, found.last_id
        accepted, duplicate = accepted + found.accepted, duplicate + found.duplicate
    left = tried - accepted - duplicate
    return f"{tried} tried: {accepted} accepted, {duplicate} known already, {left} still rejected."


class MeterScreen(Screen):
    """How events become quantities; the catalogue file defines them."""

    list_display = ("key", "event_type", "aggregation", "value", "unit")
    list_filter = ("aggregation",)
    search_fields = ("^key", "^event_type")
    ordering = ("key",)

    def facts(self, row: Meter) -> Sequence[Fact]:
        """What it reads and how."""
        return [
            Fact("Id", cells.code(row.public_id)),
            Fact("Key", cells.code(row.key)),
            Fact("Event type", cells.code(row.event_type)),
            Fact("Aggregation", row.get_aggregation_display()),
            Fact("Reads", cells.code(row.value)),
            Fact("Unit", row.unit),
            Fact("Negative values", "allowed" if row.allow_negative else "rejected"),
            Fact("Dimensions", ", ".join(row.dimensions) or cells.EMPTY),
            Fact("Counts only", cells.document(row.filter) if row.filter else "every event"),
            Fact("Description", row.description, wide=True),
        ]

    def panels(self, request: HttpRequest, row: Meter) -> Sequence[Panel]:
        """The prices that charge by it."""
        found = Price.objects.filter(meter=row, version__status="published")
        return [
            Panel(
                "Prices",
                ("Plan", "Price", "Key"),
                [
                    (cells.link_to(one.version.plan, one.version), one.name, cells.code(one.key))
                    for one in found.select_related("version__plan")[:100]
                ],
                empty="No published plan charges by it.",
            )
        ]


class UsageBucketScreen(BigScreen):
    """What is rolled up, hour by hour."""

    view_capability = "view_usage"
    list_display = ("hour_start", "customer", "meter", "event_count", "value_count", "amount")
    list_select_related = ("organization", "meter")
    list_filter = ("meter",)
    search_fields = ("^organization__slug", "organization__name")
    ordering = ("-id",)
    sortable_by = ()

    def public_id(self, row: UsageBucket) -> str:
        """Buckets follow from events and have no history."""
        return ""

    @column("Hour (UTC)")
    def hour_start(self, row: UsageBucket) -> object:
        """The start of the hour."""
        return cells.when(row.hour)

    @column("Organization")
    def customer(self, row: UsageBucket) -> object:
        """Whose it is."""
        return row.organization.name

    @column("Sum of values")
    def amount(self, row: UsageBucket) -> object:
        """The sum of the values."""
        return cells.number(row.total)

    def facts(self, row: UsageBucket) -> Sequence[Fact]:
        """What is kept of the hour."""
        return [
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Meter", cells.link_to(row.meter)),
            Fact("Hour", cells.when(row.hour)),
            Fact("Slice", cells.document(row.slice) if row.slice else cells.EMPTY),
            Fact("Events", cells.number(row.event_count)),
            Fact("Values", cells.number(row.value_count)),
            Fact("Sum", cells.number(row.total)),
            Fact("Largest", cells.EMPTY if row.maximum is None else cells.number(row.maximum)),
            Fact("Last at", cells.when(row.latest_at)),
            Fact(
                "Last", cells.EMPTY if row.latest_value is None else cells.number(row.latest_value)
            ),
        ]


class LastReportFilter(ChoiceFilter):
    """Every report, or what each instance said last."""

    title = "reports"
    parameter_name = "reports"

    @classmethod
    def conditions(cls) -> Sequence[tuple[str, str, Q]]:
        """By being the last."""
        later = DeviceReport.objects.filter(
            organization_id=OuterRef("organization_id"),
            instance=OuterRef("instance"),
            reported_at__gt=OuterRef("reported_at"),
        )
        return [("last", "Last of each instance", Q(~Exists(later)))]


class DeviceReportScreen(BigScreen):
    """What instances at customers' sites report of their devices."""

    view_capability = "view_usage"
    list_display = ("reported", "customer", "instance", "active_devices", "total_devices")
    list_select_related = ("organization",)
    list_filter = (LastReportFilter,)
    lookups = ("organization", "instance__exact")
    search_fields = ("=instance", "^organization__slug", "organization__name")
    ordering = ("-id",)
    sortable_by = ()
    actions_list = ("clean_up",)

    @column("Reported")
    def reported(self, row: DeviceReport) -> object:
        """Of when it is."""
        return cells.when(row.reported_at)

    @column("Organization")
    def customer(self, row: DeviceReport) -> object:
        """Whose instance it is."""
        return row.organization.name

    def facts(self, row: DeviceReport) -> Sequence[Fact]:
        """The report, whole."""
        return [
            Fact("Id", cells.code(row.public_id)),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Instance", cells.code(row.instance)),
            Fact("Reported", cells.when(row.reported_at)),
            Fact("Active devices", cells.number(row.active_devices)),
            Fact("Total devices", cells.number(row.total_devices)),
            Fact("Received", cells.when(row.created_at)),
        ]

    @act("Delete old reports", capability="write_usage", icon="delete", danger=True)
    def clean_up(self, request: HttpRequest) -> HttpResponse:
        """Ask how old the reports are that nobody needs."""
        question = Ask(
            "Delete old device reports",
            "Of all organizations. The scheduler deletes what is older than 90 days by itself;"
            " usage that was counted stays.",
            "Delete reports",
            AgeForm,
            danger=True,
        )

        def run(answers: Answers) -> str:
            gone = services.cleanup_reports(
                older_than=timedelta(days=answers["days"]), **_by_now(request)
            )
            return f"{gone} device reports are deleted."

        return ask(self, request, question, run=run, back=cells.list_url(DeviceReport))


class AgeForm(Question):
    """How old."""

    days = forms.IntegerField(
        min_value=1, max_value=3650, initial=90, label="Days", help_text="Older than so many days."
    )


class UsageSealScreen(Screen):
    """Up to when raw usage was proven and sealed, so that its events may go."""

    view_capability = "view_usage"
    list_display = ("customer", "begins", "ends", "events", "sealed")
    list_select_related = ("organization",)
    lookups = ("organization",)
    search_fields = ("=public_id", "organization__name", "^organization__slug")
    search_help_text = "Customer or id"
    ordering = ("-id",)

    @column("Organization", order="organization__name")
    def customer(self, row: UsageSeal) -> object:
        """Whose usage it is."""
        return row.organization.name

    @column("Since", order="since")
    def begins(self, row: UsageSeal) -> object:
        """Where the seal before it ends."""
        return cells.when(row.since)

    @column("Until", order="until")
    def ends(self, row: UsageSeal) -> object:
        """Before which events may go."""
        return cells.when(row.until)

    @column("Sealed", order="sealed_at")
    def sealed(self, row: UsageSeal) -> object:
        """When it was made."""
        return cells.when(row.sealed_at)

    def facts(self, row: UsageSeal) -> Sequence[Fact]:
        """What was sealed, and the fingerprints that hold it."""
        return [
            Fact("Id", cells.code(row.public_id)),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Since", cells.when(row.since)),
            Fact("Until", cells.when(row.until)),
            Fact("Nothing is taken before", cells.when(row.closed_until)),
            Fact("Events", cells.number(row.events)),
            Fact("Buckets", cells.code(row.buckets)),
            Fact("Proof", cells.code(row.proof)),
            Fact("Sealed", cells.when(row.sealed_at)),
        ]


class UsageEpochScreen(Screen):
    """How far events are rolled up, and in which database."""

    list_display = ("number", "watermark", "base_event_id", "started")
    ordering = ("-number",)

    def public_id(self, row: UsageEpoch) -> str:
        """Epochs have no history."""
        return ""

    @column("Started", order="started_at")
    def started(self, row: UsageEpoch) -> object:
        """Since when."""
        return cells.when(row.started_at)

    def facts(self, row: UsageEpoch) -> Sequence[Fact]:
        """The watermark and the cluster it counts in."""
        return [
            Fact("State", _epoch_state(row)),
            Fact("Number", str(row.number)),
            Fact("Cluster", cells.code(str(row.system_identifier))),
            Fact("Watermark", str(row.watermark)),
            Fact("First event after", str(row.base_event_id)),
            Fact("Started", cells.when(row.started_at)),
        ]


def _epoch_state(row: UsageEpoch) -> Any:
    found = selectors.epoch()
    in_force = found is not None and found.pk == row.pk
    return cells.badge("active") if in_force else cells.badge("past")
