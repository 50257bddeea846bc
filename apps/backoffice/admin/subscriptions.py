"""Agreements: who bought what, until when, and what the next boundary bills."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.contrib.admin import SimpleListFilter
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html

from apps.backoffice.access import actor_of, may, time_of
from apps.backoffice.admin import cells, words
from apps.backoffice.admin.agreements import AgreementActs
from apps.backoffice.admin.amounts import agreed_amounts
from apps.backoffice.admin.asking import Answers, Ask, Question, act, ask, column
from apps.backoffice.admin.invoicing import standing
from apps.backoffice.admin.lives import LifeActs, change_words
from apps.backoffice.admin.panels import Fact, Panel
from apps.backoffice.admin.screen import ChoiceFilter, Screen, Tab
from apps.backoffice.admin.sums import document_panel
from apps.core import clock
from apps.core.errors import Invalid
from apps.invoicing import selectors as invoicing
from apps.invoicing.models import Invoice, Parked
from apps.plans import selectors as plans
from apps.plans.models import Plan
from apps.subscriptions import selectors, services
from apps.subscriptions.facts import DiscountFacts, ItemFacts, SubscriptionFacts
from apps.subscriptions.models import Subscription
from apps.tenants import selectors as tenants


class SubscribeForm(Question):
    """What subscribe needs."""

    organization = forms.CharField(help_text="Slug, id or external id.")
    plan = forms.ChoiceField(choices=())
    start = forms.DateTimeField(
        label="Start (UTC)", widget=forms.DateTimeInput(attrs={"type": "datetime-local"})
    )
    seats = forms.IntegerField(
        required=False, min_value=0, help_text="In all, included ones too; empty: the included."
    )
    currency = forms.CharField(
        max_length=3, required=False, help_text="One of the plan's. Empty: the customer's."
    )
    agreed = forms.CharField(
        required=False,
        widget=forms.Textarea,
        label="Agreed prices",
        help_text="Only for custom plans. One a line: base=1200.00",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offers: Any = self.fields["plan"]
        offers.choices = [
            (offer.code, f"{offer.application_name}: {offer.name} ({_sold_in(offer)})")
            for offer in plans.list_plans(visibility=None)
        ]

    def clean_agreed(self) -> dict[str, Decimal]:
        """Read KEY=AMOUNT, one a line."""
        return agreed_amounts(self.cleaned_data["agreed"])


def _sold_in(offer: plans.PlanOffer) -> str:
    return ", ".join(offer.version.currencies or (offer.version.currency,))


def subscribe(request: HttpRequest, answers: Answers) -> str:
    """Subscribe an organization to a plan; return what to say."""
    organization = tenants.find_organization(answers["organization"])
    if organization is None:
        raise Invalid("There is no such organization.", param="organization")
    facts = services.subscribe(
        organization.pk,
        plan=answers["plan"],
        start=answers["start"],
        seats=answers["seats"],
        agreed=answers["agreed"],
        begin=services.Begin(currency=answers["currency"].upper()),
        actor=actor_of(request),
        at=time_of(organization),
    )
    return f"{organization} is subscribed to {facts.version.plan_name}."


class StatusFilter(ChoiceFilter):
    """By state."""

    title = "status"
    parameter_name = "status"

    @classmethod
    def conditions(cls) -> Sequence[tuple[str, str, Q]]:
        """Every state there is."""
        return [(s.value, s.label, Q(status=s.value)) for s in Subscription.Status]


class PlanFilter(SimpleListFilter):
    """By plan, whatever its version."""

    title = "plan"
    parameter_name = "plan"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return all plans."""
        named = Plan.objects.order_by("application__name", "name").select_related("application")
        return [(plan.code, f"{plan.application.name} · {plan.name}") for plan in named]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the plan's subscriptions."""
        chosen = self.value()
        return queryset.filter(plan_version__plan__code=chosen) if chosen else queryset


class TrialFilter(ChoiceFilter):
    """By the end of the trial."""

    title = "trial ends"
    parameter_name = "trial"

    @classmethod
    def conditions(cls) -> Sequence[tuple[str, str, Q]]:
        """Soon, and whether at all."""
        now = clock.now()
        running = Q(status="trialing", trial_end__gte=now)
        return [
            ("7", "Within 7 days", running & Q(trial_end__lt=now + timedelta(days=7))),
            ("30", "Within 30 days", running & Q(trial_end__lt=now + timedelta(days=30))),
            ("any", "On trial", Q(status="trialing")),
        ]


class CancelsFilter(ChoiceFilter):
    """By whether it will end."""

    title = "cancellation"
    parameter_name = "cancels"

    @classmethod
    def conditions(cls) -> Sequence[tuple[str, str, Q]]:
        """Scheduled or not."""
        scheduled = Q(cancel_at__isnull=False) & ~Q(status="canceled")
        return [("yes", "Scheduled", scheduled), ("no", "Goes on", Q(cancel_at=None))]


def full_name(row: Subscription) -> str:
    """Return what was bought as `PowerDialer · Team v1`: plans of applications share names."""
    return f"{row.application.name} · {row.plan_version}"


class SubscriptionScreen(AgreementActs, LifeActs, Screen):
    """Subscriptions in every state."""

    list_display = (
        "customer", "plan", "state", "started", "next_bill", "trial_ends", "ends", "public",
    )  # fmt: skip
    list_select_related = ("organization", "application", "plan_version__plan")
    list_filter = (
        StatusFilter,
        PlanFilter,
        "application",
        TrialFilter,
        CancelsFilter,
        "collection",
    )
    lookups = ("organization",)
    search_fields = ("organization__name", "^organization__slug", "=public_id")
    search_help_text = "Customer or id"
    ordering = ("-id",)
    actions_list = ("subscribe",)
    actions_detail = (
        {
            "title": "Change",
            "icon": "edit",
            "items": [
                "change_plan",
                "change_quantity",
                "add_on",
                "remove_add_on",
                "agree_price",
                "call_off",
            ],
        },
        {"title": "Discounts", "icon": "loyalty", "items": ["redeem", "remove_discount"]},
        "bill_now",
        "extend_trial",
        "resume",
        "uncancel",
        "reactivate",
        {"title": "End", "icon": "event_busy", "items": ["pause", "cancel"]},
    )

    @column("Organization", order="organization__name")
    def customer(self, row: Subscription) -> object:
        """The customer's name."""
        return row.organization.name

    @column("Plan")
    def plan(self, row: Subscription) -> object:
        """The application, the plan and its version."""
        return full_name(row)

    @column("Status", order="status")
    def state(self, row: Subscription) -> object:
        """The state, and whether it will end."""
        return cells.badge(row.status)

    @column("Started", order="started_at")
    def started(self, row: Subscription) -> object:
        """When it started."""
        return cells.day(row.started_at, row.timezone)

    @column("Next boundary", order="next_boundary_at")
    def next_bill(self, row: Subscription) -> object:
        """When it is billed next."""
        return cells.when(row.next_boundary_at) if row.is_live else cells.EMPTY

    @column("Trial ends", order="trial_end")
    def trial_ends(self, row: Subscription) -> object:
        """When the trial ends."""
        return cells.day(row.trial_end, row.timezone)

    @column("Ends", order="cancel_at")
    def ends(self, row: Subscription) -> object:
        """When it ends or ended."""
        return cells.day(row.ended_at or row.cancel_at, row.timezone)

    @column("Id")
    def public(self, row: Subscription) -> object:
        """The public id."""
        return cells.code(row.public_id)

    def tabs(self, request: HttpRequest) -> Sequence[Tab]:
        """Return the states that there are, with their numbers."""
        counted = Subscription.objects.values_list("status").annotate(n=Count("id")).order_by()
        counts = dict(counted)
        chosen = request.GET.get("status", "")
        tabs = [Tab("All", cells.list_url(Subscription), sum(counts.values()), not chosen)]
        for status in Subscription.Status:
            if counts.get(status.value) or chosen == status.value:
                url = cells.list_url(Subscription, status=status.value)
                found = counts.get(status.value, 0)
                tabs.append(Tab(status.label, url, found, chosen == status.value))
        return tabs

    def heading(self, row: Subscription) -> str:
        """Return the plan and the customer."""
        return f"{full_name(row)} of {row.organization}"

    def facts(self, row: Subscription) -> Sequence[Fact]:
        """What was agreed, and where its billing stands."""
        found = selectors.by_id(row.pk)
        cycle = found.agreement.cycle
        return [
            Fact("Status", cells.badge(row.status)),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Plan", cells.link_to(row.plan_version.plan, row.plan_version)),
            Fact("Application", row.application.name),
            Fact("Id", cells.code(row.public_id)),
            Fact("Collection", row.get_collection_display()),
            Fact("Currency", row.currency),
            Fact("Interval", words.interval(str(cycle.interval.unit), cycle.interval.count)),
            Fact("Anchor", cells.when(row.anchor)),
            Fact("Time zone", row.timezone),
            Fact("Started", cells.when(row.started_at)),
            Fact("Trial ends", cells.when(row.trial_end)),
            Fact("Next boundary", cells.when(row.next_boundary_at) if row.is_live else cells.EMPTY),
            Fact("Boundaries billed", str(row.next_boundary)),
            Fact("Entered", cells.when(row.recorded_at)),
            Fact("Pauses", cells.when(row.pause_at)),
            Fact("Ends", cells.when(row.ended_at or row.cancel_at)),
            Fact("Reason", row.cancel_reason),
        ]

    def panels(self, request: HttpRequest, row: Subscription) -> Sequence[Panel]:
        """Items, quantities, the next invoice, and those before it."""
        found = selectors.by_id(row.pk)
        panels = [_items(found), _steps(found), _changes(found), _discounts(found)]
        if may(request, "view_invoices"):
            panels += [_upcoming(found), _invoices(row)]
        return [*panels, _parked(row)]

    @act("Subscribe", capability="manage_billing", icon="add")
    def subscribe(self, request: HttpRequest) -> HttpResponse:
        """Ask whom to subscribe to what."""
        question = Ask(
            "Subscribe an organization",
            "Cuts no invoice by itself: a start in the past is billed by bill_due only.",
            "Subscribe",
            SubscribeForm,
            initial={"start": clock.now()},
        )
        back = cells.list_url(Subscription)
        return ask(self, request, question, run=partial(subscribe, request), back=back)


def _items(found: SubscriptionFacts) -> Panel:
    return Panel(
        "Items",
        ("Item", "Key", "Terms", "Billed", "In force"),
        [_item(one, found.agreement.currency) for one in found.items],
    )


def _item(one: ItemFacts, currency: str) -> tuple[Any, ...]:
    start, end = one.item.during
    agreed = f"{words.terms(one.item.terms, currency)} — agreed with this customer"
    return (
        one.price.name,
        cells.code(one.item.key),
        agreed if one.agreed else words.price(one.price, currency),
        "in advance" if one.price.timing == "advance" else "in arrears",
        cells.span(start, end) if end else format_html("from {}", cells.day(start)),
    )


def _steps(found: SubscriptionFacts) -> Panel:
    return Panel(
        "Quantities",
        ("Item", "From", ">Quantity"),
        [
            (one.item.key, cells.when(step.at), cells.number(step.quantity))
            for one in found.items
            for step in one.item.steps
        ],
        empty="The plan has no seats to buy.",
        note="Every change is kept; the last one before an instant holds.",
    )


def _changes(found: SubscriptionFacts) -> Panel:
    return Panel(
        "Changes",
        ("Change", "Billed", "Status", "By", "Asked", ">Quoted", "Reason"),
        [
            (
                change_words(one),
                one.behaviour.replace("_", " "),
                cells.badge(one.status),
                one.requested_by,
                cells.when(one.requested_at),
                "" if one.quoted_amount is None else cells.money(one.quoted_amount, found.currency),
                one.reason,
            )
            for one in selectors.changes_of(found.id)[:50]
        ],
        empty="Nothing was changed, and nothing is scheduled.",
    )


def _discounts(found: SubscriptionFacts) -> Panel:
    return Panel(
        "Discounts",
        ("Discount", "Code", "From", "Until", "For", "State"),
        [
            (
                one.coupon.name,
                cells.code(one.promotion_code or one.coupon.code),
                cells.when(one.during[0]),
                cells.when(one.during[1]),
                "this subscription" if one.subscription_id else "everything",
                cells.badge(_discount_state(one)),
            )
            for one in found.discounts
        ],
        empty="Nothing comes off.",
    )


def _discount_state(one: DiscountFacts) -> str:
    if one.removed_at is not None:
        return "removed"
    if one.spent_at is not None:
        return "used"
    return "active" if one.counts_at(clock.now()) else "over"


def _upcoming(found: SubscriptionFacts) -> Panel:
    document = invoicing.upcoming(found.public_id, at=clock.now())
    if document is None:
        return Panel("Next invoice", empty="The next boundary bills nothing.")
    issued = document.issued_at.astimezone(ZoneInfo(document.timezone))
    note = f"With the usage so far; issued on {issued:%Y-%m-%d} ({document.timezone})."
    return document_panel("Next invoice", document, note)


def _invoices(row: Subscription) -> Panel:
    found = Invoice.objects.filter(organization_id=row.organization_id, subscription=row)
    return Panel(
        "Invoices",
        ("Invoice", "Status", "Issued", ">Total", ">To pay"),
        [
            (
                cells.link_to(one),
                cells.badge(standing(one)),
                cells.day(one.issued_at, one.timezone),
                cells.money(one.total, one.currency),
                cells.money(one.amount_due, one.currency),
            )
            for one in found.order_by("-issued_at", "-id")[:24]
        ],
        more=cells.list_url(Invoice, subscription=row.pk),
    )


def _parked(row: Subscription) -> Panel:
    found = Parked.objects.filter(organization_id=row.organization_id, subscription=row)
    return Panel(
        "Parked",
        ("Parked", "Boundary", "Reason", "Released"),
        [
            (
                cells.link_to(one, f"{one.parked_at:%Y-%m-%d %H:%M}"),
                cells.when(one.boundary_at),
                cells.short(one.reason),
                cells.when(one.released_at),
            )
            for one in found.order_by("-id")[:10]
        ],
        empty="Billing it has never failed.",
    )
