"""What is watched: unusual usage, limits, and what reached them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from apps.backoffice import charts
from apps.backoffice.access import actor_of, time_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.asking import Answers, Ask, Question, act, ask, column
from apps.backoffice.admin.panels import Fact, Panel
from apps.backoffice.admin.screen import BigScreen, Screen
from apps.core import clock
from apps.engine.decimals import about, plain
from apps.tenants.models import Organization
from apps.usage import selectors as usage
from apps.watch import services, sightings
from apps.watch.models import PERCENT_KINDS, Alert, AlertRule, Anomaly, WatchTerms
from apps.watch.sightings import Pictured

TONES = {"warning": "info", "serious": "warning", "critical": "danger"}
STATES = {"open": "warning", "acknowledged": "info"}
LINES = (("Seen", "--color-primary-600"), ("At least", charts.TICK), ("At most", charts.TICK))


class WhyForm(Question):
    """Why it is decided so."""

    reason = forms.CharField(max_length=200)


class SeenForm(Question):
    """What there is to say."""

    reason = forms.CharField(max_length=200, required=False)


class NothingForm(Question):
    """A confirmation."""


class RuleForm(Question):
    """A limit for all organizations."""

    kind = forms.ChoiceField(choices=AlertRule.Kind.choices)
    meter = forms.ChoiceField(required=False, help_text="Of usage; empty: any.")
    percent = forms.DecimalField(
        max_digits=9, decimal_places=2, required=False, help_text="Of what is included."
    )
    amount = forms.DecimalField(max_digits=15, required=False, help_text="In major units.")
    currency = forms.CharField(max_length=3, required=False, help_text="Of the amount: USD.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offered: Any = self.fields["meter"]
        offered.choices = [("", "any"), *((one.key, one.key) for one in usage.meters())]


class TermsForm(Question):
    """How closely usage is watched."""

    watched = forms.BooleanField(required=False, initial=True)
    hold_from = forms.ChoiceField(
        choices=[("", "never"), *Anomaly.Degree.choices],
        required=False,
        help_text="The least severity that holds drafts for a review.",
    )
    least_events = forms.IntegerField(
        min_value=1, initial=20, help_text="What an hour must have to be judged at all."
    )


def limit_text(percent: bool, limit: Decimal, currency: str) -> str:
    """Return a limit or figure as people read it."""
    return f"{plain(limit)} %" if percent else cells.money(int(limit), currency)


def _band(row: Anomaly) -> str:
    return f"{plain(about(row.low))} to {plain(about(row.high))}"


def _decided(row: Anomaly) -> str:
    return f"This anomaly is {row.status} and waits for no decision."


class AnomalyScreen(BigScreen):
    """Hours that were not as usual."""

    view_capability = "view_usage"
    list_display = (
        "customer", "meter", "direction", "degree", "state", "seen_of", "mostly", "since", "until",
    )  # fmt: skip
    list_select_related = ("organization",)
    list_filter = ("status", "severity", "direction")
    lookups = ("organization", "meter")
    search_fields = ("=public_id", "^meter", "organization__name", "^organization__slug")
    search_help_text = "Meter, customer or id"
    ordering = ("-id",)
    actions_detail = ("acknowledge", "ignore", "resolve", "hold")

    @column("Organization", order="organization__name")
    def customer(self, row: Anomaly) -> object:
        """The customer's name."""
        return row.organization.name

    @column("Severity", order="severity")
    def degree(self, row: Anomaly) -> object:
        """How bad it is."""
        return cells.badge(row.severity, TONES[row.severity])

    @column("State", order="status")
    def state(self, row: Anomaly) -> object:
        """What became of it."""
        return cells.badge(row.status, STATES.get(row.status, ""))

    @column("Seen, expected")
    def seen_of(self, row: Anomaly) -> object:
        """What was seen, beside the band."""
        return f"{plain(row.seen)}, {_band(row)}"

    @column("Mostly")
    def mostly(self, row: Anomaly) -> object:
        """Which value of a dimension most of it is of."""
        return _cause(row) or cells.EMPTY

    @column("Since", order="first_hour")
    def since(self, row: Anomaly) -> object:
        """Its first hour."""
        return cells.when(row.first_hour)

    @column("Until")
    def until(self, row: Anomaly) -> object:
        """Its last hour, or that it lasts."""
        return "lasts" if row.lasts else cells.when(row.last_hour)

    def facts(self, row: Anomaly) -> Sequence[Fact]:
        """What was seen against what was expected, and who decided."""
        return [
            Fact("State", cells.badge(row.status, STATES.get(row.status, ""))),
            Fact("Severity", cells.badge(row.severity, TONES[row.severity])),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Seen in the worst hour", plain(row.seen)),
            Fact("Expected", f"{plain(about(row.expected))} ({_band(row)})"),
            Fact("Off by", f"{plain(row.score)} spreads"),
            Fact("Compared with", f"{row.get_basis_display()}, {row.samples} of them"),
            Fact("Mostly", _cause(row) or cells.EMPTY),
            Fact("First hour", cells.when(row.first_hour)),
            Fact("Worst hour", cells.when(row.worst_hour)),
            Fact("Last hour", cells.when(row.last_hour)),
            Fact("Hours off", row.hours),
            Fact("Ended", cells.when(row.ended_at) if row.ended_at else "It lasts"),
            Fact("Decided", cells.when(row.decided_at)),
            Fact("Reason", row.reason or cells.EMPTY),
            Fact("Id", cells.code(row.public_id)),
        ]

    def panels(self, request: HttpRequest, row: Anomaly) -> Sequence[Panel]:
        """Show the hours around it, each with its band."""
        zone = row.organization.timezone
        shown = sightings.picture(row, timezone=zone, at=clock.now())
        return [
            Panel("Hours", body=_chart(shown)),
            Panel(
                "As a table",
                ("Hour", ">Seen", ">At least", ">At most"),
                [
                    (cells.when(one.hour), plain(one.seen), _or_empty(one.low), _or_empty(one.high))
                    for one in shown
                ],
            ),
        ]

    @act(
        "Acknowledge",
        capability="manage_billing",
        icon="visibility",
        applies=lambda row: row.status == "open",
        otherwise=_decided,
    )
    def acknowledge(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether it was seen."""
        row = self.row(request, object_id)
        question = Ask(f"{row}: seen", "It stays until it is decided on.", "Acknowledge", SeenForm)
        return self._decide(request, row, question, services.acknowledge_anomaly)

    @act(
        "Ignore",
        capability="manage_invoices",
        icon="visibility_off",
        applies=lambda row: not row.is_decided,
        otherwise=_decided,
    )
    def ignore(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether it is no concern."""
        row = self.row(request, object_id)
        question = Ask(f"{row}: ignore", "While it lasts it holds nothing more.", "Ignore", WhyForm)
        return self._decide(request, row, question, services.ignore_anomaly)

    @act(
        "Resolve",
        capability="manage_invoices",
        icon="check",
        applies=lambda row: not row.is_decided,
        otherwise=_decided,
    )
    def resolve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether it is over and dealt with."""
        row = self.row(request, object_id)
        question = Ask(
            f"{row}: resolve",
            "What is still off begins a new one. Drafts that are held wait for their approval.",
            "Resolve",
            WhyForm,
        )
        return self._decide(request, row, question, services.resolve_anomaly)

    @act(
        "Hold drafts",
        capability="manage_invoices",
        icon="front_hand",
        applies=lambda row: not row.is_decided,
        otherwise=_decided,
    )
    def hold(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether the organization's drafts wait for a review."""
        row = self.row(request, object_id)
        question = Ask(
            f"Hold the drafts of {row.organization}",
            "Each waits until somebody approves it.",
            "Hold drafts",
            NothingForm,
        )

        def run(answers: Answers) -> str:
            held = services.hold_for_anomaly(
                row.public_id, actor=actor_of(request), at=time_of(row)
            )
            return f"Drafts held: {len(held)}."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    def _decide(
        self, request: HttpRequest, row: Anomaly, question: Ask, service: Callable[..., Any]
    ) -> HttpResponse:
        def run(answers: Answers) -> str:
            done = service(
                row.public_id, reason=answers["reason"], actor=actor_of(request), at=time_of(row)
            )
            return f"{row} is {done.status}."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


def _cause(row: Anomaly) -> str:
    if row.dimension_share is None:
        return ""
    return f"{row.dimension} {row.dimension_value or 'without a value'}: {row.dimension_share} %"


def _or_empty(value: Decimal | None) -> str:
    return cells.EMPTY if value is None else plain(value)


def _chart(shown: Sequence[Pictured]) -> SafeString:
    """Draw what was seen between the ends of the band; a table beside it says the same."""
    columns: tuple[Sequence[Decimal | None], ...] = (
        [one.seen for one in shown],
        [one.low for one in shown],
        [one.high for one in shown],
    )
    chart = {
        "labels": [f"{one.hour:%d %b %H:00}" for one in shown],
        "datasets": [
            {
                "label": name,
                "borderColor": f"var({colour})" if colour.startswith("--") else colour,
                "pointRadius": 0,
                "borderDash": [] if name == "Seen" else [4, 4],
                # Text, not a binary fraction: the chart reads it, nobody adds it up.
                "data": [None if value is None else plain(value) for value in values],
            }
            for (name, colour), values in zip(LINES, columns, strict=True)
        ],
    }
    context = {"chart": json.dumps(chart), "options": json.dumps(charts.OPTIONS)}
    return render_to_string("admin/backoffice/anomaly_chart.html", context)


class AlertRuleScreen(Screen):
    """Limits that are watched: customers' own, and staff's for all of them."""

    view_capability = "view_usage"
    list_display = ("customer", "kind", "meter_key", "reached_at", "state", "since")
    list_select_related = ("organization",)
    list_filter = ("kind", "active")
    lookups = ("organization",)
    search_fields = ("=public_id", "^meter", "organization__name", "^organization__slug")
    search_help_text = "Meter, customer or id"
    ordering = ("-id",)
    actions_list = ("create", "terms")
    actions_detail = ("end",)

    @column("Organization")
    def customer(self, row: AlertRule) -> object:
        """Whose it is."""
        return "All" if row.organization is None else row.organization.name

    @column("Meter")
    def meter_key(self, row: AlertRule) -> object:
        """Which meter, where one is named."""
        return row.meter or cells.EMPTY

    @column("At")
    def reached_at(self, row: AlertRule) -> object:
        """The limit."""
        return limit_text(row.kind in PERCENT_KINDS, row.limit, row.currency)

    @column("State", order="active")
    def state(self, row: AlertRule) -> object:
        """Whether it counts."""
        return cells.badge("active") if row.active else cells.badge("ended", "warning")

    @column("Since", order="set_at")
    def since(self, row: AlertRule) -> object:
        """Since when it is watched."""
        return cells.when(row.set_at)

    def facts(self, row: AlertRule) -> Sequence[Fact]:
        """What is watched, and who set it."""
        whose = "All" if row.organization is None else cells.link_to(row.organization)
        return [
            Fact("State", "Active" if row.active else "Ended"),
            Fact("Organization", whose),
            Fact("Watches", row.get_kind_display()),
            Fact("Meter", row.meter or "any"),
            Fact("At", limit_text(row.kind in PERCENT_KINDS, row.limit, row.currency)),
            Fact("Set", cells.when(row.set_at)),
            Fact("Set by", cells.code(row.set_by)),
            Fact("Ended", cells.when(row.ended_at)),
            Fact("Id", cells.code(row.public_id)),
        ]

    @act("Watch a limit of all", capability="manage_platform", icon="add")
    def create(self, request: HttpRequest) -> HttpResponse:
        """Ask for a limit that holds for every organization."""
        question = Ask(
            "Watch a limit of all organizations",
            "Whoever reaches it is told by mail, once a period. A percentage for usage, an amount"
            " for money.",
            "Watch",
            RuleForm,
        )
        back = cells.list_url(AlertRule)
        return ask(self, request, question, run=partial(_watch, request), back=back)

    @act("How usage is watched", capability="manage_invoices", icon="tune")
    def terms(self, request: HttpRequest) -> HttpResponse:
        """Ask how closely anomalies are watched for."""
        return ask_terms(self, request, None, back=cells.list_url(WatchTerms))

    @act(
        "End",
        capability="manage_billing",
        icon="notifications_off",
        danger=True,
        applies=lambda row: row.active,
        otherwise=lambda row: "This rule has ended already.",
    )
    def end(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether it is watched no more."""
        row = self.row(request, object_id)
        question = Ask(f"End: {row}", "What it raised stays.", "End", NothingForm, danger=True)

        def run(answers: Answers) -> str:
            services.end_rule(row.public_id, actor=actor_of(request), at=clock.now())
            return "The rule has ended."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


def _watch(request: HttpRequest, answers: Answers) -> str:
    said = {name: value for name, value in answers.items() if value not in (None, "")}
    services.set_rule(None, **said, actor=actor_of(request), at=clock.now())
    return "The limit is watched."


def ask_terms(
    screen: Screen, request: HttpRequest, row: Organization | None, *, back: str
) -> HttpResponse:
    """Ask how closely the usage of an organization, or (None) of all others, is watched."""
    whose = "all organizations" if row is None else str(row)
    organization_id = None if row is None else row.pk
    said = WatchTerms.objects.filter(organization=row).values(*TermsForm.base_fields).first()
    question = Ask(
        f"How the usage of {whose} is watched",
        "For those of which nothing else is said." if row is None else "Instead of what is usual.",
        "Save",
        TermsForm,
        initial=said or {},
    )

    def run(answers: Answers) -> str:
        services.set_terms(organization_id, **answers, actor=actor_of(request), at=clock.now())
        return "Saved."

    return ask(screen, request, question, run=run, back=back, row=row)


class AlertScreen(BigScreen):
    """Limits that were reached."""

    view_capability = "view_usage"
    list_display = ("customer", "kind", "what", "reached", "limit_of", "when")
    list_select_related = ("organization",)
    list_filter = ("kind",)
    lookups = ("organization", "rule")
    search_fields = ("=public_id", "=rule", "^meter", "organization__name", "^organization__slug")
    search_help_text = "Rule, meter, customer or id"
    ordering = ("-id",)

    @column("Organization", order="organization__name")
    def customer(self, row: Alert) -> object:
        """The customer's name."""
        return row.organization.name

    @column("Of")
    def what(self, row: Alert) -> object:
        """What was measured."""
        return row.name

    @column("Figure")
    def reached(self, row: Alert) -> object:
        """What it came to."""
        return limit_text(row.is_percent, row.figure, row.currency)

    @column("Limit")
    def limit_of(self, row: Alert) -> object:
        """What it was held against."""
        return limit_text(row.is_percent, row.limit, row.currency)

    @column("Raised", order="raised_at")
    def when(self, row: Alert) -> object:
        """When it was raised."""
        return cells.when(row.raised_at)

    def facts(self, row: Alert) -> Sequence[Fact]:
        """The figures that crossed the limit."""
        quantity = "" if row.quantity is None else plain(row.quantity)
        included = "" if row.included is None else plain(row.included)
        return [
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Watches", row.get_kind_display()),
            Fact("Of", row.name),
            Fact("Figure", limit_text(row.is_percent, row.figure, row.currency)),
            Fact("Limit", limit_text(row.is_percent, row.limit, row.currency)),
            Fact("Quantity", quantity),
            Fact("Included", included),
            Fact("Period", cells.span(row.window_start, row.window_end))
            if row.window_start and row.window_end
            else Fact("Period", cells.EMPTY),
            Fact("Subscription", cells.code(row.subscription)),
            Fact("Rule", cells.code(row.rule)),
            Fact("Raised", cells.when(row.raised_at)),
            Fact("More again", cells.when(row.cleared_at)),
            Fact("Id", cells.code(row.public_id)),
        ]


class WatchTermsScreen(Screen):
    """How closely whom is watched."""

    view_capability = "view_usage"
    list_display = ("customer", "watched", "hold_from", "least_events")
    list_select_related = ("organization",)
    search_fields = ("=public_id", "organization__name", "^organization__slug")
    ordering = ("id",)

    @column("Organization")
    def customer(self, row: WatchTerms) -> object:
        """Whose they are."""
        return "All others" if row.organization is None else row.organization.name

    def facts(self, row: WatchTerms) -> Sequence[Fact]:
        """What is said."""
        return [
            Fact(
                "Organization",
                "All others" if row.organization is None else cells.link_to(row.organization),
            ),
            Fact("Watched", "Yes" if row.watched else "No"),
            Fact("Drafts are held from", row.hold_from or "never"),
            Fact("Least events an hour", row.least_events),
            Fact("Id", cells.code(row.public_id)),
        ]
