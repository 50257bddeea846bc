"""Dunning: the runs of who has not paid, what is decided about them, and what would come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.pagination import ListQuery, page
from apps.api.schema import operation
from apps.api.shapes import (
    Body,
    Choice,
    Instant,
    Kind,
    NoBody,
    Query,
    Shape,
    Text,
    list_of,
    public_id,
)
from apps.api.v1.invoices import own_invoice
from apps.dunning import selectors, services, writing
from apps.dunning.models import Campaign, CampaignVersion, Entry, Run
from apps.dunning.selectors import Coming, Foreseen
from apps.engine.dunning import Cause
from apps.invoicing.models import Invoice
from apps.notifications import dunning as mails
from apps.payments.events import DeclineClass

TAG = "Dunning"


@dataclass(frozen=True, slots=True)
class RunView:
    """A run with what has happened and what comes."""

    row: Run

    @property
    def history(self) -> list[EntryView]:
        """What has happened, oldest first."""
        return [EntryView(self.row, entry) for entry in selectors.entries(self.row)]

    @property
    def coming(self) -> list[Coming]:
        """What is still to come."""
        return selectors.ahead(self.row)


@dataclass(frozen=True, slots=True)
class EntryView:
    """What happened in a run, with the step as it is written."""

    run: Run
    row: Entry

    @property
    def step(self) -> str:
        """The step, or empty for what came from outside."""
        step = None if self.row.position is None else self.run.plan[self.row.position]
        return "" if step is None else writing.write_step(step)


class ComingShape(Shape):
    """A step that is still to come."""

    at = serializers.DateTimeField()
    step = serializers.SerializerMethodField(help_text="as campaigns write it")

    def get_step(self, seen: Coming) -> str:
        """Return the step."""
        return writing.write_step(seen.step)


class EntryShape(Shape):
    """What happened in a run. `due_at` is when a step was to come."""

    id = public_id("due", source="row.public_id")
    at = serializers.DateTimeField(source="row.at")
    kind = Choice(choices=Entry.Kind.choices, source="row.kind")
    result = Choice(choices=Entry.Result.choices, source="row.result")
    step = serializers.CharField(help_text="as campaigns write it; empty for what is none")
    due_at = serializers.DateTimeField(allow_null=True, source="row.due_at")
    note = serializers.CharField(source="row.note")


class RunShape(Shape):
    """A dunning campaign at work on an invoice.

    `level` is what it has put in force for the subscription. `outcome` says how it ended.
    """

    object = Kind("dunning_run")
    id = public_id("dun", source="row.public_id")
    created_at = serializers.DateTimeField(source="row.began_at")
    organization = public_id("org", source="row.organization.public_id")
    invoice = public_id("inv", source="row.invoice.public_id")
    number = serializers.CharField(source="row.number", help_text="the invoice's")
    because = Choice(choices=Run.Because.choices, source="row.because")
    status = Choice(choices=Run.Status.choices, source="row.status")
    outcome = serializers.CharField(source="row.outcome", help_text="empty while it goes on")
    level = serializers.CharField(source="row.level", help_text="empty: nothing")
    campaign = serializers.CharField(source="row.version.name")
    version = serializers.IntegerField(source="row.version.number")
    counted_from = serializers.DateTimeField(
        source="row.anchor", help_text="the due date, or the first failed payment"
    )
    decline_class = serializers.CharField(source="row.decline_class")
    attempts = serializers.IntegerField(source="row.attempts", help_text="failed ones")
    next_at = serializers.DateTimeField(allow_null=True, source="row.next_at")
    paused_until = serializers.DateTimeField(allow_null=True, source="row.paused_until")
    reason = serializers.CharField(source="row.reason", help_text="of a pause or a stop")
    ended_at = serializers.DateTimeField(allow_null=True, source="row.ended_at")


class OneRunShape(RunShape):
    """A run with its history, and with what comes."""

    history = EntryShape(many=True)
    coming = ComingShape(many=True)


class CampaignShape(Shape):
    """A campaign in force: whom for, and its steps."""

    object = Kind("dunning_campaign")
    id = public_id("dc", source="public_id")
    created_at = serializers.DateTimeField(source="set_at")
    name = serializers.CharField()
    organizations = serializers.ListField(
        child=serializers.CharField(), help_text="their ids; none: of all"
    )
    plans = serializers.ListField(child=serializers.CharField(), help_text="codes; none: of all")
    billing_entity = public_id("be", source="billing_entity.public_id", allow_null=True)
    version = serializers.SerializerMethodField()
    hour = serializers.SerializerMethodField(help_text="local, at which steps come")
    steps = serializers.SerializerMethodField(help_text="one a line")

    def get_version(self, seen: Campaign) -> int:
        """Return the version that runs begin with."""
        return selectors.current(seen).number

    def get_hour(self, seen: Campaign) -> int:
        """Return the hour of the day."""
        return selectors.current(seen).hour

    def get_steps(self, seen: Campaign) -> str:
        """Return the steps as they are written."""
        return writing.write_steps(selectors.current(seen).schedule)


class ForeseenShape(Shape):
    """A step as it would come, with the mail that it would send."""

    at = serializers.DateTimeField(source="coming.at")
    step = serializers.SerializerMethodField(help_text="as campaigns write it")
    subject = serializers.SerializerMethodField(help_text="empty where nothing is mailed")
    text = serializers.SerializerMethodField()
    html = serializers.SerializerMethodField()

    def get_step(self, seen: Foreseen) -> str:
        """Return the step."""
        return writing.write_step(seen.coming.step)

    def get_subject(self, seen: Foreseen) -> str:
        """Return the subject of its mail."""
        return mails.preview(seen.told).subject if seen.told else ""

    def get_text(self, seen: Foreseen) -> str:
        """Return the mail as text."""
        return mails.preview(seen.told).text if seen.told else ""

    def get_html(self, seen: Foreseen) -> str:
        """Return the mail as HTML."""
        return mails.preview(seen.told).html if seen.told else ""


class PreviewShape(Shape):
    """What a campaign would do about an invoice, if a run of it began now."""

    object = Kind("dunning_preview")
    campaign = serializers.CharField(source="version.name")
    version = serializers.IntegerField(source="version.number")
    invoice = public_id("inv", source="invoice.public_id")
    steps = ForeseenShape(many=True)


@dataclass(frozen=True, slots=True)
class Preview:
    """A campaign's version, an invoice, and the steps."""

    version: CampaignVersion
    invoice: Invoice
    steps: list[Foreseen]


class RunQuery(ListQuery):
    """How runs are found."""

    organization = serializers.CharField(
        required=False, help_text="only this organization's: id, slug or `ext:` id"
    )
    status = Choice(choices=Run.Status.choices, required=False)


class PreviewQuery(Query):
    """By which campaign, and why it would be asked for."""

    campaign = serializers.CharField(
        required=False, help_text="id or name; default: the one that is for the invoice"
    )
    because = Choice(choices=Run.Because.choices, default=Cause.OVERDUE.value)
    decline_class = Choice(choices=[(one.value, one.value) for one in DeclineClass], required=False)


class PauseBody(Body):
    """Why, and until when."""

    reason = Text(max_length=200)
    until = Instant(required=False, help_text="default: until it is resumed")


class StopBody(Body):
    """Why."""

    reason = Text(max_length=200)


class DunningRuns(ApiView):
    """The list."""

    @operation(
        "list_dunning_runs",
        tag=TAG,
        scope="invoices:read",
        query=RunQuery,
        answers={200: list_of(RunShape, "DunningRunList")},
    )
    def get(self, request: Request) -> Response:
        """List dunning runs, newest first."""
        query = self.query()
        among = self.theirs(runs(), organization=query.get("organization", ""))
        rows = among.filter(status=query["status"]) if "status" in query else among
        found = page(rows, query, among=among)
        return self.listing(RunShape, found, map(RunView, found.rows))


class OneDunningRun(ApiView):
    """One of them."""

    @operation("get_dunning_run", tag=TAG, scope="invoices:read", answers={200: OneRunShape})
    def get(self, request: Request, dunning_run: str) -> Response:
        """Get a run with its history and what comes."""
        return self.answer(OneRunShape, RunView(self.own(runs(), dunning_run, "dunning run")))


class _Deciding(ApiView):
    def decided(self, dunning_run: str, decide: Callable[..., Run]) -> Response:
        """Decide on a run and answer it as it is then."""
        row = self.own(runs(), dunning_run, "dunning run")
        decide(row.public_id, **self.body(), actor=self.actor, at=self.at)
        return self.answer(OneRunShape, RunView(runs().get(pk=row.pk)))


class PauseDunning(_Deciding):
    """A run, paused."""

    @operation(
        "pause_dunning_run",
        tag=TAG,
        scope="invoices:write",
        platform_only=True,
        body=PauseBody,
        answers={200: OneRunShape},
    )
    def post(self, request: Request, dunning_run: str) -> Response:
        """Take no step until an instant, or until it is resumed.

        What is to come then comes as many days later.
        """
        return self.decided(dunning_run, services.pause_run)


class ResumeDunning(_Deciding):
    """A run that goes on."""

    @operation(
        "resume_dunning_run",
        tag=TAG,
        scope="invoices:write",
        platform_only=True,
        body=NoBody,
        answers={200: OneRunShape},
    )
    def post(self, request: Request, dunning_run: str) -> Response:
        """Take up a paused run again. Safe to repeat."""
        return self.decided(dunning_run, services.resume_run)


class StopDunning(_Deciding):
    """A run that is over."""

    @operation(
        "stop_dunning_run",
        tag=TAG,
        scope="invoices:write",
        platform_only=True,
        body=StopBody,
        answers={200: OneRunShape},
    )
    def post(self, request: Request, dunning_run: str) -> Response:
        """Ask no more for the invoice, and give back what the run had taken."""
        return self.decided(dunning_run, services.stop_run)


class DunningCampaigns(ApiView):
    """The campaigns."""

    @operation(
        "list_dunning_campaigns",
        tag=TAG,
        scope="invoices:read",
        platform_only=True,
        query=ListQuery,
        answers={200: list_of(CampaignShape, "DunningCampaignList")},
    )
    def get(self, request: Request) -> Response:
        """List the campaigns in force, newest first."""
        query, among = self.query(), selectors.campaigns()
        found = page(among, query, among=among)
        return self.listing(CampaignShape, found, found.rows)


class PreviewDunning(ApiView):
    """What would be done about an invoice."""

    @operation(
        "preview_dunning",
        tag=TAG,
        scope="invoices:read",
        platform_only=True,
        query=PreviewQuery,
        answers={200: PreviewShape},
    )
    def get(self, request: Request, invoice: str) -> Response:
        """Show when each step of dunning would come for an invoice, and every mail.

        As if a run began now. Writes nothing.
        """
        query, row = self.query(), own_invoice(self, invoice)
        chosen = query.get("campaign")
        version = (
            selectors.current(selectors.get_campaign(chosen))
            if chosen
            else selectors.version_for(row)
        )
        steps = selectors.foresee(
            version,
            row,
            because=Cause(query["because"]),
            decline_class=query.get("decline_class", ""),
            at=self.at,
        )
        return self.answer(PreviewShape, Preview(version, row, steps))


def runs() -> QuerySet[Run]:
    """Return the runs with what their shape shows."""
    return Run.objects.select_related("organization", "invoice", "version")
