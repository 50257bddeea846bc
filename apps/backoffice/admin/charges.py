"""Single charges that wait for an invoice, and invoices of their own."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django import forms
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse

from apps.backoffice.access import actor_of, time_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.amounts import AmountField
from apps.backoffice.admin.asking import Answers, Ask, Question, act, ask, column
from apps.backoffice.admin.panels import Fact
from apps.backoffice.admin.screen import ChoiceFilter, Screen
from apps.core.errors import Invalid
from apps.engine.decimals import NotADecimal, decimal_of
from apps.engine.money import InvalidAmount, Money, UnknownCurrency
from apps.invoicing import services
from apps.invoicing.models import Charge, Invoice, InvoiceLine
from apps.invoicing.services import NewCharge
from apps.subscriptions import selectors as subscriptions
from apps.tenants import selectors as tenants
from apps.tenants.models import Organization

WAITS, BILLED, WITHDRAWN = "waits", "billed", "withdrawn"


class ChargeForm(Question):
    """What is charged to whom."""

    organization = forms.CharField(help_text="Slug, id or external id.")
    subscription = forms.CharField(
        required=False, help_text="Its id: only its invoice bears it. Empty: the next of any."
    )
    name = forms.CharField(max_length=200, help_text="As the invoice says it.")
    unit_amount = AmountField(
        label="Amount of one", help_text="Such as 950.00; below zero it is an allowance."
    )
    quantity = AmountField(initial="1")
    currency = forms.CharField(max_length=3, required=False, help_text="Empty: the customer's.")


class OneOffForm(Question):
    """An invoice of its own."""

    organization = forms.CharField(help_text="Slug, id or external id.")
    lines = forms.CharField(
        widget=forms.Textarea, help_text="One a line: Training day = 950.00, or 2 x Day = 475.00"
    )
    currency = forms.CharField(max_length=3, required=False, help_text="Empty: the customer's.")
    due_in_days = forms.IntegerField(
        required=False, min_value=0, max_value=365, help_text="Empty: as usual."
    )
    memo = forms.CharField(max_length=500, required=False, help_text="Printed on the invoice.")
    draft = forms.BooleanField(required=False, label="Keep it as a draft for review")

    def clean_lines(self) -> list[tuple[Decimal, str, Decimal]]:
        """Read NAME = AMOUNT, one a line, with an optional quantity before."""
        lines = [line for line in self.cleaned_data["lines"].splitlines() if line.strip()]
        return [_line(line) for line in lines]


def _line(line: str) -> tuple[Decimal, str, Decimal]:
    name, _, amount = line.rpartition("=")
    times, cross, rest = name.partition(" x ")
    quantity, name = (times, rest) if cross and times.strip().isdecimal() else ("1", name)
    try:
        return decimal_of(quantity.strip()), name.strip(), decimal_of(amount.strip())
    except NotADecimal:
        raise forms.ValidationError(
            f"'{line}' is no line; write it like Training day = 950.00"
        ) from None


def create_one_off(screen: Any, request: HttpRequest) -> HttpResponse:
    """Ask what is billed to whom, and bill it on an invoice of its own."""
    question = Ask(
        "Invoice of its own",
        "Bills single amounts at once, with the customer's discounts, taxes and credit. It leaves "
        "subscriptions and their usage alone.",
        "Create invoice",
        OneOffForm,
    )

    def run(answers: Answers) -> str:
        organization = _organization(answers["organization"])
        made = services.invoice_charges(
            _charged(request, organization, answers),
            due_in_days=answers["due_in_days"],
            memo=answers["memo"],
            draft=answers["draft"],
            actor=actor_of(request),
            at=time_of(organization),
        )
        return f"{str(made).capitalize()} over {cells.money(made.total, made.currency)} was made."

    return ask(screen, request, question, run=run, back=cells.list_url(Invoice))


def _organization(reference: str) -> Organization:
    found = tenants.find_organization(reference)
    if found is None:
        raise Invalid("There is no such organization.", param="organization")
    return found


def _charged(request: HttpRequest, organization: Organization, answers: Answers) -> list[str]:
    currency = answers["currency"].upper()
    for _, name, amount in answers["lines"]:
        _refuse_finer(name, amount, currency or organization.currency)
    made = [
        services.add_charge(
            organization.pk,
            new=NewCharge(
                name=name,
                unit_amount=amount,
                quantity=quantity,
                currency=currency,
            ),
            actor=actor_of(request),
            at=time_of(organization),
        )
        for quantity, name, amount in answers["lines"]
    ]
    return [row.public_id for row in made]


def _refuse_finer(name: str, amount: Decimal, currency: str) -> None:
    """Refuse what nobody can pay: a line is an amount, not a rate that is rounded."""
    try:
        Money.of(amount, currency)
    except (InvalidAmount, UnknownCurrency) as error:
        raise Invalid(f"{name}: {error}.", param="lines") from error


class ChargeStateFilter(ChoiceFilter):
    """By what became of it."""

    title = "state"
    parameter_name = "state"

    @classmethod
    def conditions(cls) -> Sequence[tuple[str, str, Q]]:
        """Waiting, on an invoice, or taken back."""
        return [
            (WAITS, "Waits", Q(withdrawn_at=None, billed=False)),
            (BILLED, "Billed", Q(billed=True)),
            (WITHDRAWN, "Withdrawn", Q(withdrawn_at__isnull=False)),
        ]


class ChargeScreen(Screen):
    """Single amounts, billed or waiting."""

    view_capability = "view_invoices"
    list_display = ("name", "customer", "state", "added", "amount_money")
    list_select_related = ("organization",)
    list_filter = (ChargeStateFilter, "currency")
    lookups = ("organization", "subscription")
    search_fields = ("name", "=public_id", "=source", "organization__name", "^organization__slug")
    ordering = ("-id",)
    actions_list = ("add",)
    actions_detail = ("bill", "withdraw")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Charge]:
        """Return the charges, each with whether a standing invoice bears it."""
        rows: QuerySet[Charge] = super().get_queryset(request)
        lines = InvoiceLine.objects.filter(charge_id=OuterRef("pk"), live=True)
        return rows.annotate(billed=Exists(lines))

    @column("Organization", order="organization__name")
    def customer(self, row: Charge) -> object:
        """The customer's name."""
        return row.organization.name

    @column("State")
    def state(self, row: Any) -> object:
        """What became of it."""
        return cells.badge(_state(row))

    @column("Added", order="recorded_at")
    def added(self, row: Charge) -> object:
        """When it was added."""
        return cells.when(row.recorded_at)

    @column("Amount", order="amount")
    def amount_money(self, row: Charge) -> object:
        """What it comes to."""
        return cells.money(row.amount, row.currency)

    def facts(self, row: Any) -> Sequence[Fact]:
        """What, for whom, and where it stands."""
        lines = InvoiceLine.objects.filter(charge=row, live=True).select_related("invoice")
        line = lines.first()
        subscription = row.subscription if row.subscription_id else None
        return [
            Fact("State", cells.badge(_state(row))),
            Fact("Amount", cells.money(row.amount, row.currency)),
            Fact("Quantity", cells.number(row.quantity)),
            Fact("Of one", f"{cells.number(row.unit_amount)} {row.currency}"),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Subscription", cells.link_to(subscription)),
            Fact("Invoice", cells.link_to(line.invoice if line else None)),
            Fact("Added", cells.when(row.recorded_at)),
            Fact("Withdrawn", cells.when(row.withdrawn_at)),
            Fact("Cause", cells.code(row.source)),
            Fact("Id", cells.code(row.public_id)),
        ]

    @act("Add charge", capability="manage_invoices", icon="add")
    def add(self, request: HttpRequest) -> HttpResponse:
        """Ask what is charged to whom."""
        question = Ask(
            "Charge a single amount",
            "It goes on the next invoice; from its page it can be billed at once.",
            "Add charge",
            ChargeForm,
            initial={"organization": request.GET.get("organization", "")},
        )

        def run(answers: Answers) -> str:
            organization = _organization(answers.pop("organization"))
            if answers["subscription"]:
                subscriptions.get(answers["subscription"], organization_id=organization.pk)
            answers["currency"] = answers["currency"].upper()
            row = services.add_charge(
                organization.pk,
                new=NewCharge(**answers),
                actor=actor_of(request),
                at=time_of(organization),
            )
            return f"{row.name}, {cells.money(row.amount, row.currency)}, waits for an invoice."

        return ask(self, request, question, run=run, back=cells.list_url(Charge))

    @act(
        "Bill now",
        capability="manage_invoices",
        icon="receipt_long",
        applies=lambda row: _state(row) == WAITS,
        otherwise=lambda row: f"{row.name} is {_state(row)}.",
    )
    def bill(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether it gets an invoice of its own."""
        row = self.row(request, object_id)
        question = Ask(
            f"Bill {row.name} now",
            f"{row.organization} gets an invoice over this charge alone.",
            "Create invoice",
        )

        def run(answers: Answers) -> str:
            made = services.invoice_charges(
                [row.public_id], actor=actor_of(request), at=time_of(row)
            )
            return f"{made} over {cells.money(made.total, made.currency)} was made."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Withdraw",
        capability="manage_invoices",
        icon="undo",
        danger=True,
        applies=lambda row: _state(row) == WAITS,
        otherwise=lambda row: f"{row.name} is {_state(row)}.",
    )
    def withdraw(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether it is taken back."""
        row = self.row(request, object_id)
        question = Ask(
            f"Withdraw {row.name}",
            f"No invoice will bear {cells.money(row.amount, row.currency)} for it.",
            "Withdraw charge",
            danger=True,
        )

        def run(answers: Answers) -> str:
            services.withdraw_charge(row.public_id, actor=actor_of(request), at=time_of(row))
            return f"{row.name} is not charged."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


def _state(row: Any) -> str:
    if row.withdrawn_at is not None:
        return WITHDRAWN
    return BILLED if row.billed else WAITS
