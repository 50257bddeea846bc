"""Corrections of final lines: what late and wrong usage changed, and what waits for a decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse

from apps.backoffice.access import actor_of, time_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.asking import Answers, Ask, Question, act, ask, column
from apps.backoffice.admin.panels import Fact
from apps.backoffice.admin.screen import Screen
from apps.engine.decimals import plain
from apps.invoicing import services
from apps.invoicing.models import Correction

TONES = {"waiting": "warning", "rejected": "danger"}


class DecisionForm(Question):
    """Why it is decided so."""

    reason = forms.CharField(max_length=200)


def _decided(row: Correction) -> str:
    return f"This correction is {row.status} and waits for no decision."


class CorrectionScreen(Screen):
    """What final lines come to now, beside what they billed."""

    view_capability = "view_invoices"
    list_display = (
        "customer", "line_key", "invoice", "before_money", "now_money", "owed_money", "state",
        "since",
    )  # fmt: skip
    list_select_related = ("organization", "line__invoice")
    list_filter = ("status", "currency")
    lookups = ("organization", "line")
    search_fields = ("=public_id", "=line__invoice__number", "^organization__slug")
    search_help_text = "Invoice number, customer or id"
    ordering = ("-id",)
    actions_detail = ("approve", "reject")

    @column("Organization", order="organization__name")
    def customer(self, row: Correction) -> object:
        """The customer's name."""
        return row.organization.name

    @column("Line")
    def line_key(self, row: Correction) -> object:
        """The line, and which of its corrections this is."""
        return row.line.name if row.revision == 1 else f"{row.line.name} (no. {row.revision})"

    @column("Invoice")
    def invoice(self, row: Correction) -> object:
        """The final invoice, which stays as it is."""
        return cells.link_to(row.line.invoice)

    @column("Billed")
    def before_money(self, row: Correction) -> object:
        """What was billed before it."""
        return cells.money(row.amount_before, row.currency)

    @column("Now")
    def now_money(self, row: Correction) -> object:
        """What the line comes to."""
        return cells.money(row.amount, row.currency)

    @column("Difference")
    def owed_money(self, row: Correction) -> object:
        """What is billed or given back, after the line's discounts."""
        return cells.money(row.net_difference, row.currency)

    @column("State", order="status")
    def state(self, row: Correction) -> object:
        """What became of it."""
        return cells.badge(row.status, TONES.get(row.status, ""))

    @column("Found", order="found_at")
    def since(self, row: Correction) -> object:
        """Since when it is known."""
        return cells.when(row.found_at)

    def facts(self, row: Correction) -> Sequence[Fact]:
        """Both amounts, the usage behind them, and who decided."""
        return [
            Fact("State", cells.badge(row.status, TONES.get(row.status, ""))),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Invoice", cells.link_to(row.line.invoice)),
            Fact("Line", row.line.name),
            Fact("Billed", cells.money(row.amount_before, row.currency)),
            Fact("Comes to now", cells.money(row.amount, row.currency)),
            Fact("Difference after discounts", cells.money(row.net_difference, row.currency)),
            Fact("Quantity then", plain(row.quantity_before)),
            Fact("Quantity now", plain(row.quantity)),
            Fact("Found", cells.when(row.found_at)),
            Fact("Decided", cells.when(row.decided_at)),
            Fact("Reason", row.reason),
            Fact("Id", cells.code(row.public_id)),
            Fact("The line as it would be now", cells.document(row.explanation), wide=True),
        ]

    @act(
        "Approve",
        capability="manage_invoices",
        icon="check",
        applies=lambda row: row.status == "waiting",
        otherwise=_decided,
    )
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether it goes on the next invoice."""
        row = self.row(request, object_id)
        question = Ask(
            f"Bill the difference of {row.line.name}",
            "It goes on the next invoice; a subscription that has ended is billed at once.",
            "Approve",
            DecisionForm,
        )
        return self._decide(request, row, question, services.approve_correction)

    @act(
        "Reject",
        capability="manage_invoices",
        icon="close",
        danger=True,
        applies=lambda row: row.status == "waiting",
        otherwise=_decided,
    )
    def reject(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether the line stays as it was billed."""
        row = self.row(request, object_id)
        question = Ask(
            f"Leave {row.line.name} as it was billed",
            "When its usage changes once more, the whole difference is asked again.",
            "Reject",
            DecisionForm,
            danger=True,
        )
        return self._decide(request, row, question, services.reject_correction)

    def _decide(
        self, request: HttpRequest, row: Correction, question: Ask, service: Callable[..., Any]
    ) -> HttpResponse:
        def run(answers: Answers) -> str:
            done = service(
                row.public_id, reason=answers["reason"], actor=actor_of(request), at=time_of(row)
            )
            return f"The correction of {row.line.name} is {done.status}."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)
