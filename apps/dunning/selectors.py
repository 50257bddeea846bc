"""Questions about campaigns and their runs: which is for whom, what comes, what has happened."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.db.models import Min, Q, QuerySet

from apps.core import rls
from apps.dunning.errors import UnknownCampaign, UnknownRun
from apps.dunning.models import Campaign, CampaignVersion, Entry, Run
from apps.engine.dunning import Action, Cause, Pace, Step, begun, instants
from apps.invoicing import selectors as invoicing
from apps.payments.events import DeclineClass
from apps.subscriptions import selectors as subscriptions
from apps.tenants import selectors as tenants

if TYPE_CHECKING:
    from apps.invoicing.models import Invoice
    from apps.subscriptions.facts import SubscriptionFacts

LONGEST_NAME = 100
TAKEN = (Run.Level.PAST_DUE, Run.Level.UNPAID)


@dataclass(frozen=True, slots=True)
class Coming:
    """A step that is still to come, and when."""

    position: int
    step: Step
    at: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """What a mail about a run says: of which invoice, of what that happened (`kind`, and `mail` of
    a reminder) at which moment, and what would be taken next.
    """

    run: Run
    invoice: Invoice
    kind: str
    mail: str
    moment: datetime
    taking: Coming | None
    note: str = ""
    plan: str = ""

    @property
    def declined(self) -> str:
        """Which class of decline the payment met that the run is about; empty: none did."""
        return self.run.decline_class or (
            DeclineClass.RETRY if self.run.because == Cause.FAILED else ""
        )


# --- campaigns ------------------------------------------------------------------------------------
def campaigns(*, ended: bool = False) -> QuerySet[Campaign]:
    """Return the campaigns in force, or those that ended too; needs the ops scope."""
    rows = Campaign.objects.select_related("billing_entity")
    return rows if ended else rows.filter(ended_at=None)


def get_campaign(reference: str) -> Campaign:
    """Return the campaign with this public id or (in force) name; needs the ops scope."""
    named = Q(public_id=reference) | Q(name=reference, ended_at=None)
    readable = reference.isprintable() and len(reference) <= LONGEST_NAME
    found = campaigns(ended=True).filter(named).first() if readable else None
    if found is None:
        raise UnknownCampaign(f"There is no dunning campaign '{reference}'.", param="campaign")
    return found


def get_campaign_of_all() -> Campaign:
    """Return the default; needs the ops scope."""
    return next(one for one in campaigns() if one.is_default)


def campaign_of(run: Run) -> Campaign:
    """Return the campaign of a run; needs the ops scope."""
    return Campaign.objects.get(pk=run.version.campaign_id)


def current(campaign: Campaign) -> CampaignVersion:
    """Return the version of a campaign that runs begin with."""
    return CampaignVersion.objects.filter(campaign=campaign).order_by("-number")[:1].get()


def version_for(invoice: Invoice) -> CampaignVersion:
    """Return the campaign that is for an invoice: the most specific one in force.

    Campaigns name other customers, so they are read in the ops scope.
    """
    owner = tenants.organization(invoice.organization_id)
    plans = {facts.version.plan_code for facts in agreements(invoice)}
    with rls.ops_scope("dunning: the campaign for an invoice"):
        fitting = [
            one
            for one in campaigns()
            if fits(one, owner.public_id, plans, invoice.billing_entity_id)
        ]
        return current(max(fitting, key=lambda one: one.rank))


def fits(one: Campaign, organization: str, plans: Collection[str], billing_entity: int) -> bool:
    """Tell whether a campaign is for invoices of this organization, these plans and this issuer."""
    return (
        (not one.organizations or organization in one.organizations)
        and (not one.plans or bool(set(one.plans) & set(plans)))
        and one.billing_entity_id in {None, billing_entity}
    )


def days_ahead() -> int:
    """Return how many days before the due date the earliest step of any campaign may come."""
    with rls.ops_scope("dunning: the earliest step"):
        steps = [step for one in campaigns() for step in current(one).schedule]
    return max(0, *(-step.days for step in steps))


# --- runs -----------------------------------------------------------------------------------------
def runs(organization_id: int | None = None) -> QuerySet[Run]:
    """Return the runs (of an organization), newest first."""
    rows = Run.objects.select_related("version").order_by("-id")
    return rows if organization_id is None else rows.filter(organization_id=organization_id)


def get_run(reference: str, *, organization_id: int | None = None) -> Run:
    """Return the run with this public id (of the organization), or raise UnknownRun."""
    found = runs(organization_id).filter(public_id=reference).first()
    if found is None:
        raise UnknownRun(f"There is no dunning run '{reference}'.")
    return found


def invoice_of(run_id: int) -> int:
    """Return the invoice of a run; both by integer id."""
    return Run.objects.values_list("invoice_id", flat=True).get(pk=run_id)


def counting(organization_id: int, invoice_id: int) -> QuerySet[Run]:
    """Return the run of an invoice that counts: one that goes on, or is over and was not paid."""
    return runs(organization_id).filter(invoice_id=invoice_id, released_at=None)


def run_of(organization_id: int, invoice_id: int) -> Run | None:
    """Return the invoice's last run."""
    return runs(organization_id).filter(invoice_id=invoice_id).first()


def agreements(invoice: Invoice) -> list[SubscriptionFacts]:
    """Return the subscriptions that an invoice bills."""
    return list(subscriptions.by_ids(invoicing.agreements_on(invoice)).values())


def ahead(run: Run) -> list[Coming]:
    """Return the steps still to come with their instants; none of a run that has ended."""
    if not run.is_open:
        return []
    return _coming(run.plan, run.pace, run.following)


def taking(coming: Iterable[Coming]) -> Coming | None:
    """Return the first step that takes something away."""
    return next((one for one in coming if one.step.takes), None)


def _coming(plan: Sequence[Step | None], pace: Pace, first: int) -> list[Coming]:
    times = instants(plan, pace)
    return [
        Coming(position, step, moment)
        for position, (step, moment) in enumerate(zip(plan, times, strict=True))
        if position >= first and step is not None and moment is not None
    ]


def entries(run: Run) -> Sequence[Entry]:
    """Return what has happened in a run, oldest first."""
    return list(Entry.objects.filter(organization_id=run.organization_id, run=run).order_by("id"))


def levels_elsewhere(run: Run, subscription_id: int) -> set[str]:
    """Return what other runs that count have put in force for a subscription."""
    others = Run.objects.filter(
        organization_id=run.organization_id, released_at=None, level__in=TAKEN
    ).exclude(pk=run.pk)
    return {
        one.level
        for one in others
        if subscription_id in invoicing.agreements_on(invoicing.by_id(one.invoice_id))
    }


# --- what is said -------------------------------------------------------------------------------
def told(entry: str) -> Told | None:
    """Return what the mail about an entry (its public id) says; None when nothing is owed any more,
    or staff stopped the run.
    """
    row = Entry.objects.select_related("run__version").get(public_id=entry)
    invoice = invoicing.by_id(row.run.invoice_id)
    if invoice.amount_due <= 0 or row.run.released_at is not None:
        return None
    step = None if row.position is None else row.run.plan[row.position]
    return _told(row.run, invoice, row.kind, step, row.at, note=row.note)


def _told(
    run: Run, invoice: Invoice, kind: str, step: Step | None, moment: datetime, *, note: str = ""
) -> Told:
    argument = "" if step is None else step.argument
    is_mail = step is not None and step.action is Action.REMIND
    return Told(
        run,
        invoice,
        kind,
        argument if is_mail else "",
        moment,
        taking(ahead(run)),
        note,
        "" if is_mail else argument,
    )


def notice(organization_id: int, *, at: datetime) -> Told | None:
    """Return what a customer has to know on every page; None where no invoice has led to anything.

    The worst comes first: what is unpaid, then what is past due for longest.
    """
    found = runs(organization_id).filter(released_at=None, level__in=TAKEN)
    worst = min(
        found, key=lambda run: (run.level != Run.Level.UNPAID, run.anchor, run.pk), default=None
    )
    if worst is None:
        return None
    return _told(worst, invoicing.by_id(worst.invoice_id), worst.level, None, at)


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A step as it would come, and what its mail would say where it mails the customer."""

    coming: Coming
    told: Told | None


def foresee(
    version: CampaignVersion,
    invoice: Invoice,
    *,
    because: Cause,
    at: datetime,
    failed_at: datetime | None = None,
    decline_class: str = "",
) -> list[Foreseen]:
    """Return the steps of a campaign's version as they would come for an invoice, if a run began
    at `at`: because it is overdue, or because a payment failed. Nothing is written.
    """
    run = Run(
        organization_id=invoice.organization_id,
        invoice_id=invoice.pk,
        number=invoice.number or "",
        version=version,
        because=because,
        anchor=invoice.due_at if because is Cause.OVERDUE else failed_at or at,
        timezone=tenants.organization(invoice.organization_id).timezone,
        began_at=at,
        decline_class=decline_class,
    )
    run.shift = begun(run.plan, run.pace, as_of=at).shift
    found = []
    for coming in ahead(run):
        run.following = coming.position + 1
        mails = coming.step.action is Action.REMIND or coming.step.takes
        kind = coming.step.action.value
        about = _told(copy(run), invoice, kind, coming.step, coming.at) if mails else None
        found.append(Foreseen(coming, about))
    return found


# --- what is due --------------------------------------------------------------------------------
def next_due(organization_ids: Collection[int], *, after: datetime) -> datetime | None:
    """Return when a step or the end of a pause comes next after `after`; of these organizations."""
    mine = Run.objects.filter(organization_id__in=list(organization_ids))
    steps = mine.filter(status=Run.Status.RUNNING, next_at__gt=after)
    pauses = mine.filter(status=Run.Status.PAUSED, paused_until__gt=after)
    found = [
        steps.aggregate(first=Min("next_at"))["first"],
        pauses.aggregate(first=Min("paused_until"))["first"],
    ]
    return min((moment for moment in found if moment is not None), default=None)
