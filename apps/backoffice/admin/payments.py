"""Money that came in."""

from __future__ import annotations

from collections.abc import Sequence

from apps.backoffice.admin import cells
from apps.backoffice.admin.asking import column
from apps.backoffice.admin.panels import Fact
from apps.backoffice.admin.screen import Screen
from apps.payments.models import Payment


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
            Fact("Invoice", cells.link_to(row.invoice)),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Reference", row.reference),
            Fact("Method", row.get_method_display()),
            Fact("Received", cells.when(row.received_at)),
            Fact("Recorded", cells.when(row.created_at)),
            Fact("Recorded by", cells.code(row.recorded_by)),
            Fact("Id", cells.code(row.public_id)),
        ]
