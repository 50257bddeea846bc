"""Campaigns as staff write and preview them, and the runs of them: looked at, paused, stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django import forms
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from apps.backoffice.access import actor_of, time_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.asking import Answers, Ask, Question, act, ask, column
from apps.backoffice.admin.panels import Cell, Fact, Panel
from apps.backoffice.admin.screen import BigScreen, ChoiceFilter, Screen
from apps.core import clock
from apps.dunning import selectors, services, writing
from apps.dunning.models import Campaign, Entry, Run
from apps.dunning.selectors import Foreseen
from apps.engine.dunning import Cause
from apps.invoicing import selectors as invoicing
from apps.notifications import dunning as mails
from apps.notifications.mailer import Rendered
from apps.payments.events import DeclineClass
from apps.tenants import selectors as tenants

TONES = {
    "running": "info", "paused": "warning", "paid": "success", "credited": "success",
    "stopped": "warning", "exhausted": "danger", "written_off": "danger", "past_due": "warning",
    "unpaid": "danger", "canceled": "danger", "downgraded": "warning", "refused": "danger",
    "superseded": "warning", "skipped": "warning", "done": "success",
}  # fmt: skip
HOW = (
    "A step a line: when (-3d, 0, 4h, 14d+2h), what (remind, past_due, unpaid, cancel, downgrade,"
    " notify_staff), with what (reminder, urgent, final; or the plan), and 'if overdue' or"
    " 'if failed' where it is not for all runs."
)


class CampaignForm(Question):
    """Whom a campaign is for, and its steps."""

    name = forms.CharField(max_length=100)
    steps = forms.CharField(widget=forms.Textarea, help_text=HOW)
    hour = forms.IntegerField(min_value=0, max_value=23, initial=9, help_text="local, of the day")
    organizations = forms.CharField(required=False, help_text="slugs, with commas; empty: all")
    plans = forms.CharField(required=False, help_text="codes, with commas; empty: all")
    billing_entity = forms.CharField(required=False, help_text="its slug; empty: any")


class PreviewForm(Question):
    """For which invoice, and why it would be asked for."""

    invoice = forms.CharField(help_text="number or id")
    because = forms.ChoiceField(choices=Run.Because.choices)
    decline = forms.ChoiceField(
        choices=[("", "As if nothing was said"), *((one.value, one.value) for one in DeclineClass)],
        required=False,
        label="Class of the decline",
    )


class ReasonForm(Question):
    """Why."""

    reason = forms.CharField(max_length=200)


class PauseForm(ReasonForm):
    """Why, and until when."""

    until = forms.DateTimeField(required=False, help_text="UTC; empty: until it is resumed")


class CampaignScreen(Screen):
    """Whom which steps are for."""

    list_display = ("name", "whom", "steps_count", "state")
    list_select_related = ("billing_entity",)
    search_fields = ("=public_id", "name")
    ordering = ("name",)
    actions_list = ("create",)
    actions_detail = ("edit", "preview", "end")

    @column("For")
    def whom(self, row: Campaign) -> object:
        """Whom it is for."""
        return cells.short(_whom(row))

    @column("Steps")
    def steps_count(self, row: Campaign) -> object:
        """How many steps it has."""
        return len(selectors.current(row).schedule)

    @column("State")
    def state(self, row: Campaign) -> object:
        """Whether runs begin with it."""
        return cells.badge("ended", "warning") if row.ended_at else cells.badge("active")

    def facts(self, row: Campaign) -> Sequence[Fact]:
        """Whom it is for, and since when."""
        version = selectors.current(row)
        return [
            Fact("State", "Ended" if row.ended_at else "Active"),
            Fact("For", _whom(row)),
            Fact("Hour", f"{version.hour}:00, local"),
            Fact("Version", version.number),
            Fact("Set", cells.when(version.set_at)),
            Fact("Id", cells.code(row.public_id)),
            Fact("Steps", cells.block(writing.write_steps(version.schedule)), wide=True),
        ]

    def panels(self, request: HttpRequest, row: Campaign) -> Sequence[Panel]:
        """Show the versions, newest first."""
        return [
            Panel(
                "Versions",
                (">Number", "Hour", "Steps", "Set", "By"),
                [
                    (
                        one.number,
                        f"{one.hour}:00",
                        cells.block(writing.write_steps(one.schedule)),
                        cells.when(one.set_at),
                        cells.code(one.set_by),
                    )
                    for one in row.versions.order_by("-number")
                ],
            )
        ]

    @act("New campaign", capability="manage_invoices", icon="add")
    def create(self, request: HttpRequest) -> HttpResponse:
        """Ask whom for, and which steps."""
        standing = selectors.current(selectors.get_campaign_of_all())
        initial = {"steps": writing.write_steps(standing.schedule), "hour": standing.hour}
        question = Ask(
            "New campaign",
            "The most specific one counts: organizations before plans, plans before an issuer.",
            "Define",
            CampaignForm,
            initial=initial,
        )
        back = cells.list_url(Campaign)
        return ask(self, request, question, run=partial(_define, request), back=back)

    @act(
        "Change",
        capability="manage_invoices",
        icon="edit",
        applies=lambda row: row.ended_at is None,
        otherwise=lambda row: "This campaign has ended; define another one.",
    )
    def edit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask what it is to be from now on."""
        row = self.row(request, object_id)
        question = Ask(
            f"Change {row}",
            "Other steps are a new version: runs under way keep theirs.",
            "Save",
            CampaignForm,
            initial=_said(row),
        )

        def run(answers: Answers) -> str:
            services.change_campaign(
                row.public_id, **_read(answers), actor=actor_of(request), at=clock.now()
            )
            return "The campaign is changed."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act("Preview", capability="view_invoices", icon="preview")
    def preview(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for which invoice, and show the dates and the mails."""
        row = self.row(request, object_id)
        question = Ask(
            f"Preview {row}",
            "Shows when each step would come, and every mail as the customer would see it.",
            "Show",
            PreviewForm,
        )
        run = partial(_show_preview, self, request, row)
        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "End",
        capability="manage_invoices",
        icon="block",
        danger=True,
        applies=lambda row: row.ended_at is None and not row.is_default,
        otherwise=lambda row: "The default campaign stays, and what has ended has ended.",
    )
    def end(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether no more runs begin with it."""
        row = self.row(request, object_id)
        question = Ask(f"End {row}", "Runs under way go on.", "End", Question, danger=True)

        def run(answers: Answers) -> str:
            services.end_campaign(row.public_id, actor=actor_of(request), at=clock.now())
            return "The campaign has ended."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


@dataclass(frozen=True, slots=True)
class Shown:
    """A step of a preview: when, what, and the mail where it sends one."""

    foreseen: Foreseen
    local: str
    mail: Rendered | None

    @property
    def text(self) -> str:
        """The step as it is written."""
        return writing.write_step(self.foreseen.coming.step)


def _show_preview(
    screen: Screen, request: HttpRequest, row: Campaign, answers: Answers
) -> HttpResponse:
    invoice = invoicing.get(answers["invoice"])
    at = time_of(invoice)
    found = selectors.foresee(
        selectors.current(row),
        invoice,
        because=Cause(answers["because"]),
        decline_class=answers["decline"],
        at=at,
    )
    zone = tenants.organization(invoice.organization_id).timezone
    context = {
        **screen.admin_site.each_context(request),
        "opts": screen.model._meta,
        "title": f"{row} for {invoice}",
        "original": row,
        "steps": [
            Shown(one, cells.local(one.coming.at, zone), mails.preview(one.told))
            if one.told
            else Shown(one, cells.local(one.coming.at, zone), None)
            for one in found
        ],
        "zone": zone,
        "back": cells.url_of(row),
    }
    return TemplateResponse(request, "admin/backoffice/dunning.html", context)


def _define(request: HttpRequest, answers: Answers) -> str:
    services.define_campaign(
        answers["name"],
        **{name: value for name, value in _read(answers).items() if name != "name"},
        actor=actor_of(request),
        at=clock.now(),
    )
    return "The campaign is defined."


def _read(answers: Answers) -> dict[str, Any]:
    lists = {name: _words(answers[name]) for name in ("organizations", "plans")}
    return {**answers, **lists}


def _words(text: str) -> list[str]:
    return [word for word in text.replace(",", " ").split() if word]


def _said(row: Campaign) -> Answers:
    version = selectors.current(row)
    return {
        "name": row.name,
        "steps": writing.write_steps(version.schedule),
        "hour": version.hour,
        "organizations": ", ".join(row.organizations),
        "plans": ", ".join(row.plans),
        "billing_entity": row.billing_entity.slug if row.billing_entity else "",
    }


def _whom(row: Campaign) -> str:
    said = [*row.organizations, *row.plans]
    said += [str(row.billing_entity)] if row.billing_entity else []
    return ", ".join(said) or "everybody of whom no other one is"


class StandingFilter(ChoiceFilter):
    """By what somebody has to do about it."""

    title = "standing"
    parameter_name = "standing"

    @classmethod
    def conditions(cls) -> Sequence[tuple[str, str, Q]]:
        """Return what may be chosen."""
        return (
            ("open", "Goes on", ~Q(status="ended")),
            ("counts", "Over, and not paid", Q(status="ended", released_at=None)),
            ("over", "Over", Q(released_at__isnull=False)),
        )


class RunScreen(BigScreen):
    """Who has not paid, and what has been done about it."""

    view_capability = "view_invoices"
    list_display = ("number", "customer", "state", "led_to", "campaign", "next", "since")
    list_select_related = ("organization", "version")
    list_filter = ("status", StandingFilter, "level", "outcome", "because")
    lookups = ("organization", "invoice")
    search_fields = ("=public_id", "=number", "organization__name", "^organization__slug")
    search_help_text = "Invoice, customer or id"
    ordering = ("-id",)
    actions_detail = ("pause", "resume", "stop")

    @column("Organization", order="organization__name")
    def customer(self, row: Run) -> object:
        """The customer's name."""
        return row.organization.name

    @column("State", order="status")
    def state(self, row: Run) -> object:
        """Where it stands, or how it ended."""
        word = row.outcome or row.status
        return cells.badge(word, TONES.get(word, ""))

    @column("Led to", order="level")
    def led_to(self, row: Run) -> object:
        """What it has put in force."""
        return cells.badge(row.level, TONES[row.level]) if row.level else cells.EMPTY

    @column("Campaign")
    def campaign(self, row: Run) -> object:
        """Which version of which campaign."""
        return str(row.version)

    @column("Next step", order="next_at")
    def next(self, row: Run) -> object:
        """When the next step comes."""
        return cells.when(row.next_at if row.is_open else None)

    @column("Since", order="began_at")
    def since(self, row: Run) -> object:
        """When it began."""
        return cells.when(row.began_at)

    def facts(self, row: Run) -> Sequence[Fact]:
        """Of what, why, and where it stands."""
        invoice = invoicing.by_id(row.invoice_id)
        word = row.outcome or row.status
        return [
            Fact("State", cells.badge(word, TONES.get(word, ""))),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Invoice", cells.link_to(invoice)),
            Fact("Due", cells.money(invoice.amount_due, invoice.currency)),
            Fact("Because", row.get_because_display()),
            Fact("Counted from", cells.when(row.anchor)),
            Fact("Campaign", cells.link_to(selectors.campaign_of(row), row.version)),
            Fact("Led to", row.get_level_display()),
            Fact("Moved by", f"{row.shift} days"),
            Fact("Failed attempts", row.attempts),
            Fact("Class of the decline", row.decline_class or cells.EMPTY),
            Fact("Paused until", cells.when(row.paused_until)),
            Fact("Reason", row.reason or cells.EMPTY),
            Fact("Began", cells.when(row.began_at)),
            Fact("Ended", cells.when(row.ended_at)),
            Fact("Id", cells.code(row.public_id)),
        ]

    def panels(self, request: HttpRequest, row: Run) -> Sequence[Panel]:
        """Show what has happened, and what comes."""
        return [
            Panel(
                "History",
                ("When", "What", "How", "Was due", "By", "Note"),
                [_entry(row, entry) for entry in selectors.entries(row)],
            ),
            Panel(
                "To come",
                ("When", "Step"),
                [
                    (cells.when(one.at), writing.write_step(one.step))
                    for one in selectors.ahead(row)
                ],
                empty="Nothing comes any more.",
            ),
        ]

    @act(
        "Pause",
        capability="manage_invoices",
        icon="pause",
        applies=lambda row: row.is_open,
        otherwise=lambda row: "This run has ended.",
    )
    def pause(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask why and until when nothing happens."""
        row = self.row(request, object_id)
        question = Ask(
            f"{row}: pause",
            "No step is taken meanwhile; what is to come comes as many days later.",
            "Pause",
            PauseForm,
        )
        return self._decide(request, row, question, services.pause_run)

    @act(
        "Resume",
        capability="manage_invoices",
        icon="play_arrow",
        applies=lambda row: row.status == "paused",
        otherwise=lambda row: "This run is not paused.",
    )
    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether it goes on."""
        row = self.row(request, object_id)
        question = Ask(f"{row}: resume", "The steps go on.", "Resume", Question)
        return self._decide(request, row, question, services.resume_run)

    @act(
        "Stop",
        capability="manage_invoices",
        icon="stop",
        danger=True,
        applies=lambda row: row.released_at is None,
        otherwise=lambda row: "This run is over.",
    )
    def stop(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask why nobody is to ask any more."""
        row = self.row(request, object_id)
        question = Ask(
            f"{row}: stop",
            "Nobody asks for this invoice any more, and what it had taken comes back.",
            "Stop",
            ReasonForm,
            danger=True,
        )
        return self._decide(request, row, question, services.stop_run)

    def _decide(
        self, request: HttpRequest, row: Run, question: Ask, service: Callable[..., Run]
    ) -> HttpResponse:
        def run(answers: Answers) -> str:
            done = service(row.public_id, **answers, actor=actor_of(request), at=time_of(row))
            return f"{done} is {(done.outcome or done.status).replace('_', ' ')}."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


def _entry(run: Run, entry: Entry) -> Sequence[Cell]:
    step = None if entry.position is None else run.plan[entry.position]
    what = entry.get_kind_display() if step is None else writing.write_step(step)
    return (
        cells.when(entry.at),
        what,
        cells.badge(entry.result, TONES[entry.result]),
        cells.when(entry.due_at),
        entry.by,
        entry.note or cells.EMPTY,
    )
