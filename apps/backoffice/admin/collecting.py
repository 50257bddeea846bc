"""How the provider collects: methods, collections, attempts, what goes back, and disputes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from apps.backoffice.access import actor_of, time_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.asking import Answers, Ask, act, ask, column
from apps.backoffice.admin.panels import Fact
from apps.backoffice.admin.screen import Screen
from apps.payments import services
from apps.payments.models import (
    Collection,
    Dispute,
    PaymentAttempt,
    PaymentMethod,
    RefundOrder,
)


class ProviderScreen(Screen):
    """What all of these show: whose it is, and how much."""

    view_capability = "view_invoices"
    list_select_related: Sequence[str] = ("organization",)
    lookups = ("organization",)
    ordering = ("-id",)

    @column("Organization", order="organization__name")
    def customer(self, row: Any) -> object:
        """The customer's name."""
        return row.organization.name

    @column("Amount", order="amount")
    def amount_money(self, row: Any) -> object:
        """How much."""
        return cells.money(row.amount, row.currency)

    @column("Asked for", order="asked_at")
    def asked(self, row: Any) -> object:
        """When it was asked for."""
        return cells.when(row.asked_at)


class PaymentMethodScreen(ProviderScreen):
    """Payment methods: what people know them by. Customers save them on the provider's page."""

    list_display = ("named", "customer", "kind", "expires", "is_default")
    list_filter = ("kind", "is_default")
    search_fields = ("=public_id", "=provider_id", "=last4", "organization__name")
    search_help_text = "Last four digits, provider's id or customer"

    @column("Expires", order="exp_year")
    def expires(self, row: PaymentMethod) -> str:
        """The month, of a card."""
        return f"{row.exp_month:02}/{row.exp_year}" if row.exp_month else ""

    def facts(self, row: PaymentMethod) -> Sequence[Fact]:
        """What is known of it."""
        return [
            Fact("Kind", row.get_kind_display()),
            Fact("Network or bank", row.brand),
            Fact("Last four digits", row.last4),
            Fact("Expires", self.expires(row)),
            Fact("Charged", "Yes" if row.is_default else ""),
            Fact("Removed", cells.when(row.removed_at) if row.removed_at else ""),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Provider's id", cells.code(row.provider_id)),
            Fact("Id", cells.code(row.public_id)),
        ]


class CollectionScreen(ProviderScreen):
    """Invoices as the provider has them."""

    list_display = ("invoice_number", "customer", "status", "amount_money", "reason")
    list_select_related = ("organization", "invoice")
    list_filter = ("status", "currency")
    search_fields = ("=public_id", "=provider_id", "=invoice__number", "organization__name")
    search_help_text = "Invoice number, provider's id or customer"

    @column("Invoice", order="invoice__number")
    def invoice_number(self, row: Collection) -> object:
        """Which invoice."""
        return row.invoice.number

    def facts(self, row: Collection) -> Sequence[Fact]:
        """What the provider was told, and how it stands there."""
        return [
            Fact("Invoice", cells.link_to(row.invoice)),
            Fact("Status", row.get_status_display()),
            Fact("Why it is refused", row.reason),
            Fact("Told", cells.money(row.amount, row.currency)),
            Fact("Told anew", str(row.generation - 1) if row.generation > 1 else ""),
            Fact("Its page", row.hosted_url),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Provider's id", cells.code(row.provider_id)),
            Fact("Id", cells.code(row.public_id)),
        ]


class PaymentAttemptScreen(ProviderScreen):
    """Attempts to charge an invoice."""

    list_display = ("invoice_number", "customer", "number", "status", "decline_code", "asked",
                    "amount_money")  # fmt: skip
    list_select_related = ("organization", "invoice", "method")
    list_filter = ("status", "decline_class", "currency")
    search_fields = (
        "=public_id", "=provider_id", "=invoice__number", "=decline_code", "organization__name",
    )  # fmt: skip
    search_help_text = "Invoice number, decline code, provider's id or customer"
    date_hierarchy = "asked_at"

    @column("Invoice", order="invoice__number")
    def invoice_number(self, row: PaymentAttempt) -> object:
        """Which invoice."""
        return row.invoice.number

    def facts(self, row: PaymentAttempt) -> Sequence[Fact]:
        """What was charged to what, and what came of it."""
        return [
            Fact("Invoice", cells.link_to(row.invoice)),
            Fact("Number", str(row.number)),
            Fact("Amount", cells.money(row.amount, row.currency)),
            Fact("Charged to", cells.link_to(row.method)),
            Fact("Status", row.get_status_display()),
            Fact("Refused with", row.decline_code),
            Fact("Which means", row.decline_class),
            Fact("In words", row.message),
            Fact("Asked for", cells.when(row.asked_at)),
            Fact("Ended", cells.when(row.ended_at) if row.ended_at else ""),
            Fact("Asked for by", cells.code(row.asked_by)),
            Fact("Collection", cells.link_to(row.collection)),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Provider's id", cells.code(row.provider_id)),
            Fact("Id", cells.code(row.public_id)),
        ]


class RefundOrderScreen(ProviderScreen):
    """Money that the provider is to pay back; ordered by credit notes."""

    list_display = ("note", "customer", "status", "asked", "amount_money", "reason")
    list_select_related = ("organization", "credit_note", "payment")
    list_filter = ("status", "currency")
    search_fields = ("=public_id", "=provider_id", "=credit_note__number", "organization__name")
    search_help_text = "Credit note, provider's id or customer"
    actions_detail = ("again",)

    @column("Credit note", order="credit_note__number")
    def note(self, row: RefundOrder) -> object:
        """For which note."""
        return row.credit_note.number

    def facts(self, row: RefundOrder) -> Sequence[Fact]:
        """What goes back, where to, and how it stands."""
        return [
            Fact("Amount", cells.money(row.amount, row.currency)),
            Fact("Credit note", cells.link_to(row.credit_note)),
            Fact("Payment", cells.link_to(row.payment)),
            Fact("Status", row.get_status_display()),
            Fact("Why it failed", row.reason),
            Fact("Asked for", cells.when(row.asked_at)),
            Fact("Ended", cells.when(row.ended_at) if row.ended_at else ""),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Provider's id", cells.code(row.provider_id)),
            Fact("Id", cells.code(row.public_id)),
        ]

    @act(
        "Pay back again",
        capability="record_payments",
        icon="undo",
        applies=lambda row: row.status == "failed",
        otherwise=lambda row: "Only what failed can be ordered again.",
    )
    def again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether the provider shall try again."""
        row = self.row(request, object_id)
        question = Ask(
            f"Pay back again for {row.credit_note.number}",
            f"It failed: {row.reason or 'the provider did not say why'}. What is left of the "
            "credit note's refund is ordered anew.",
            "Pay back",
        )

        def run(answers: Answers) -> str:
            services.refund(row.credit_note.public_id, actor=actor_of(request), at=time_of(row))
            return "Ordered; the provider pays it back within seconds."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


class DisputeScreen(ProviderScreen):
    """Payments that a customer's bank wants back."""

    list_display = ("named", "customer", "reason", "status", "outcome", "due", "amount_money")
    list_select_related = ("organization", "payment")
    list_filter = ("outcome", "reason", "currency")
    search_fields = ("=public_id", "=provider_id", "=payment__reference", "organization__name")
    search_help_text = "Payment, provider's id or customer"

    @column("Evidence due", order="evidence_due_at")
    def due(self, row: Dispute) -> SafeString | str:
        """Until when evidence is taken."""
        return cells.when(row.evidence_due_at) if row.evidence_due_at else ""

    def facts(self, row: Dispute) -> Sequence[Fact]:
        """What is wanted back, why, and how it stands."""
        return [
            Fact("Amount", cells.money(row.amount, row.currency)),
            Fact("Payment", cells.link_to(row.payment)),
            Fact("Reason", row.reason),
            Fact("Status", row.status),
            Fact("Outcome", row.get_outcome_display()),
            Fact("Evidence due", self.due(row)),
            Fact("Opened", cells.when(row.opened_at)),
            Fact("Decided", cells.when(row.closed_at) if row.closed_at else ""),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Provider's id", cells.code(row.provider_id)),
            Fact("Id", cells.code(row.public_id)),
        ]
