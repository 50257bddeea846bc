"""Campaigns and their versions, the runs of them, and what happened in each run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import models
from django.db.models import F, Q

from apps.core.fields import PublicIdField, TenantForeignKey
from apps.core.models import Row, TenantRow
from apps.dunning import writing
from apps.engine.dunning import Action, Cause, Pace, Step, steps_of

STANDING = ("running", "paused")
STATES = (
    ("running", "paused"),
    ("paused", "running"),
    ("running", "ended"),
    ("paused", "ended"),
)


class Campaign(Row):
    """Whom which steps are for. What it says nothing of, it is for all of: the one that names
    nobody is the default. Its steps are in versions.
    """

    public_id = PublicIdField("dc")
    name = models.CharField(max_length=100)
    organizations = models.JSONField(default=list, help_text="their public ids; none: of all")
    plans = models.JSONField(default=list, help_text="their codes; none: of all")
    billing_entity = models.ForeignKey(
        "tenants.BillingEntity", on_delete=models.PROTECT, null=True, related_name="+"
    )
    billing_entity_id: int | None
    set_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["name"], name="one_campaign_a_name", condition=Q(ended_at=None)
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def rank(self) -> int:
        """How specific it is: organizations count more than plans, plans more than an issuer."""
        said = (self.billing_entity_id is not None, bool(self.plans), bool(self.organizations))
        return sum(2**place for place, one in enumerate(said) if one)

    @property
    def is_default(self) -> bool:
        """Whether it is for everybody of whom no other one is."""
        return not self.rank


class CampaignVersion(Row):
    """The steps of a campaign, and the local hour of the day at which they come. Never changes."""

    public_id = PublicIdField("dcv")
    campaign = models.ForeignKey(
        Campaign, on_delete=models.PROTECT, related_name="versions", db_index=False
    )
    campaign_id: int
    number = models.PositiveIntegerField()
    name = models.CharField(max_length=100, help_text="the campaign's, as it was")
    hour = models.PositiveSmallIntegerField(default=9)
    steps = models.JSONField()
    set_at = models.DateTimeField()
    set_by = models.CharField(max_length=60, help_text="id of who set it")

    class Meta:
        ordering = ["campaign_id", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["campaign", "number"], name="one_version_a_number"),
            models.CheckConstraint(condition=Q(hour__lte=23), name="an_hour_of_the_day"),
        ]

    def __str__(self) -> str:
        return f"{self.name}, version {self.number}"

    @property
    def schedule(self) -> tuple[Step, ...]:
        """The steps as the engine takes them."""
        return writing.read_steps(self.steps)


class Run(TenantRow):
    """A campaign at work on one invoice.

    `following` is the position of the step that comes next and `next_at` its instant; `shift` are
    the days by which what is to come has moved. `level` is what it has put in force, which
    counts until the invoice is settled or the run stopped (`released_at`).
    """

    class Status(models.TextChoices):
        RUNNING = "running", "Running"
        PAUSED = "paused", "Paused"
        ENDED = "ended", "Ended"

    class Because(models.TextChoices):
        OVERDUE = Cause.OVERDUE.value, "The invoice is overdue"
        FAILED = Cause.FAILED.value, "A payment failed"

    class Outcome(models.TextChoices):
        PAID = "paid", "Paid"
        CREDITED = "credited", "Credited"
        VOIDED = "voided", "The invoice is void"
        WRITTEN_OFF = "written_off", "The invoice was given up"
        STOPPED = "stopped", "Stopped by staff"
        EXHAUSTED = "exhausted", "All steps were taken"

    class Level(models.TextChoices):
        NONE = "", "Nothing"
        PAST_DUE = "past_due", "Past due"
        UNPAID = "unpaid", "Unpaid"
        CANCELED = "canceled", "Canceled"
        DOWNGRADED = "downgraded", "On a lower plan"

    public_id = PublicIdField("dun")
    invoice = TenantForeignKey("invoicing.Invoice")
    invoice_id: int
    number = models.CharField(max_length=40, help_text="the invoice's", db_collation="C")
    version = models.ForeignKey(CampaignVersion, on_delete=models.PROTECT, related_name="+")
    version_id: int
    because = models.CharField(max_length=10, choices=Because)
    status = models.CharField(max_length=10, choices=Status, default=Status.RUNNING)
    anchor = models.DateTimeField(help_text="the due date, or the first failed payment")
    timezone = models.CharField(max_length=64)
    began_at = models.DateTimeField()
    shift = models.PositiveIntegerField(default=0, help_text="days")
    following = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(null=True)
    level = models.CharField(max_length=10, choices=Level, blank=True, default=Level.NONE)
    decline_class = models.CharField(max_length=10, blank=True, default="")
    attempts = models.PositiveIntegerField(default=0, help_text="failed ones that were told of")
    paused_at = models.DateTimeField(null=True)
    paused_until = models.DateTimeField(null=True)
    reason = models.CharField(max_length=200, blank=True, default="", help_text="of pause or stop")
    ended_at = models.DateTimeField(null=True)
    released_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=12, choices=Outcome, blank=True, default="")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "invoice"],
                name="one_open_run_an_invoice",
                condition=~Q(status="ended"),
            ),
            models.CheckConstraint(
                condition=Q(status="ended", ended_at__isnull=False) & ~Q(outcome="")
                | ~Q(status="ended") & Q(ended_at=None, outcome="", released_at=None),
                name="an_ended_run_says_how",
            ),
            models.CheckConstraint(
                condition=Q(status="paused", paused_at__isnull=False)
                | ~Q(status="paused") & Q(paused_at=None, paused_until=None),
                name="a_paused_run_says_since_when",
            ),
            models.CheckConstraint(
                condition=Q(paused_until=None) | Q(paused_until__gt=F("paused_at")),
                name="a_pause_ends_after_it_begins",
            ),
        ]
        indexes = [
            models.Index(
                fields=["organization", "invoice"],
                name="runs_that_count",
                condition=Q(released_at=None),
            ),
            models.Index(fields=["next_at"], name="runs_due", condition=Q(status="running")),
            models.Index(fields=["paused_until"], name="pauses_due", condition=Q(status="paused")),
            models.Index(fields=["organization", "-id"], name="runs_of_organization"),
        ]

    def __str__(self) -> str:
        return f"Dunning of {self.number}"

    @property
    def is_open(self) -> bool:
        """Whether steps may still come."""
        return self.status in STANDING

    @property
    def pace(self) -> Pace:
        """Where it stands in time."""
        return Pace(self.anchor, self.timezone, self.version.hour, self.shift)

    @property
    def plan(self) -> Sequence[Step | None]:
        """The steps by position; None where one is for runs that began otherwise."""
        return steps_of(self.version.schedule, Cause(self.because))


TAKEN_BACK = {
    Run.Outcome.PAID, Run.Outcome.CREDITED, Run.Outcome.VOIDED, Run.Outcome.STOPPED,
}  # fmt: skip
"""The ends that take back what a run had put in force."""


class Entry(TenantRow):
    """What happened in a run: one of its steps by `position`, or something that came from outside
    (`cause`, once each). Entries are facts.
    """

    class Kind(models.TextChoices):
        REMIND = Action.REMIND.value, "Reminder"
        RETRY = Action.RETRY.value, "Another attempt"
        NOTIFY_STAFF = Action.NOTIFY_STAFF.value, "Told staff"
        PAST_DUE = Action.PAST_DUE.value, "Past due"
        UNPAID = Action.UNPAID.value, "Unpaid"
        CANCEL = Action.CANCEL.value, "Canceled"
        DOWNGRADE = Action.DOWNGRADE.value, "Plan changed"
        BEGUN = "begun", "Begun"
        FAILED = "failed", "A payment failed"
        ACTION = "action", "The customer has to confirm"
        METHOD = "method", "Another payment method"
        PAUSED = "paused", "Paused"
        RESUMED = "resumed", "Resumed"
        ENDED = "ended", "Ended"

    class Result(models.TextChoices):
        DONE = "done", "Done"
        SUPERSEDED = "superseded", "Left out: a later one was due"
        SKIPPED = "skipped", "Left out"
        REFUSED = "refused", "Not possible"

    public_id = PublicIdField("due")
    run = TenantForeignKey(Run, related_name="entries")
    run_id: int
    position = models.PositiveSmallIntegerField(null=True)
    kind = models.CharField(max_length=12, choices=Kind)
    result = models.CharField(max_length=10, choices=Result, default=Result.DONE)
    cause = models.CharField(max_length=100, blank=True, default="", db_collation="C")
    note = models.CharField(max_length=300, blank=True, default="")
    details: models.JSONField[Any, Any] = models.JSONField(default=dict)
    due_at = models.DateTimeField(null=True, help_text="of a step: when it was to come")
    at = models.DateTimeField()
    by = models.CharField(max_length=200, help_text="who")

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "entries"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "run", "position"],
                name="each_step_once",
                condition=Q(position__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["organization", "run", "cause"],
                name="each_cause_once",
                condition=~Q(cause=""),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.run_id}"
