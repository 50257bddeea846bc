"""Money that came in."""

from __future__ import annotations

from collections.abc import Sequence

from django import forms
from django.http import HttpRequest, HttpResponse

from apps.backoffice.access import actor_of, time_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.asking import Answers, Ask, Question, act, ask, column
from apps.backoffice.admin.panels import Fact
from apps.backoffice.admin.screen import Screen
from apps.payments import services
from apps.payments.models import Payment


class ReversalForm(Question):
    """Why it never was."""

    reason = forms.CharField(max_length=200)


class PaymentScreen(Screen):
    """Payments; they are recorded on their invoice's page."""

    view_capability = "view_invoices"
    list_display = ("reference", "customer", "invoice", "method", "received", "amount_money")
    list_select_related = ("organization", "invoice")
    list_filter = ("method", "currency")
    lookups = ("organization",)
    search_fields = (
        "reference", "=public_id", "=invoice__number", "organization__name", "^organization__slug",
    )  # fmt: skip
    search_help_text = "Reference, invoice number or customer"
    date_hierarchy = "received_at"
    ordering = ("-id",)
    actions_detail = ("reverse",)

    @column("Organization", order="organization__name")
    def customer(self, row: Payment) -> object:
        """The customer's name."""
        return row.organization.name

    @column("Received", order="received_at")
    def received(self, row: Payment) -> object:
        """When it came in."""
        return cells.when(row.received_at)

    @column("Amount", order="amount")
    def amount_money(self, row: Payment) -> object:
        """How much."""
        return cells.money(row.amount, row.currency)

    def facts(self, row: Payment) -> Sequence[Fact]:
        """What came in, for what, recorded by whom."""
        return [
            Fact("Amount", cells.money(row.amount, row.currency)),
            Fact("Kept as credit", cells.money(row.excess, row.currency) if row.excess else ""),
            Fact("Takes back", cells.link_to(row.reverses)),
            Fact("Because", row.reason),
            Fact("Invoice", cells.link_to(row.invoice)),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Reference", row.reference),
            Fact("Method", row.get_method_display()),
            Fact("Received", cells.when(row.received_at)),
            Fact("Recorded", cells.when(row.created_at)),
            Fact("Recorded by", cells.code(row.recorded_by)),
            Fact("Id", cells.code(row.public_id)),
        ]

    @act(
        "Take back",
        capability="record_payments",
        icon="undo",
        danger=True,
        applies=lambda row: row.reverses_id is None and not row.reversals.exists(),
        otherwise=lambda row: f"Payment {row.reference} was taken back already.",
    )
    def reverse(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask why a payment never was."""
        row = self.row(request, object_id)
        question = Ask(
            f"Take payment {row.reference} back",
            f"{cells.money(row.amount, row.currency)} is due again on {row.invoice}. For a payment "
            "that was recorded by mistake; money that goes back is a refund.",
            "Take back",
            ReversalForm,
            danger=True,
        )

        def run(answers: Answers) -> str:
            services.reverse_payment(
                row.public_id, reason=answers["reason"], actor=actor_of(request), at=time_of(row)
            )
            return f"Payment {row.reference} was taken back."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)
