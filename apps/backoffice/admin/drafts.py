"""What is done with drafts: issued, held, approved, computed anew, thrown away."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from apps.backoffice.access import actor_of, time_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.asking import Answers, Ask, Question, act, ask
from apps.invoicing import services
from apps.invoicing.models import Invoice


class ReasonForm(Question):
    """Why."""

    reason = forms.CharField(max_length=200, help_text="Kept in the record.")


def _is_draft(row: Invoice) -> bool:
    return row.status == Invoice.Status.DRAFT


def _is_final(row: Invoice) -> str:
    return f"{row} is final already; a final invoice never changes."


class DraftActs:
    """Acts on invoices that are not final yet; for the screen of invoices."""

    @act(
        "Finalize",
        capability="manage_invoices",
        icon="task_alt",
        applies=lambda row: _is_draft(row) and not row.is_held,
        otherwise=lambda row: (
            f"It waits for approval: {row.hold_reason}" if row.is_held else _is_final(row)
        ),
    )
    def finalize(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether a draft shall be issued."""
        row = self.row(request, object_id)
        question = Ask(
            f"Finalize the draft for {row.organization}",
            f"It gets the next number and is issued over {cells.money(row.total, row.currency)}. "
            "A final invoice never changes; it can only be voided.",
            "Finalize",
        )

        def run(answers: Answers) -> str:
            done = services.finalize_invoice(
                row.public_id, actor=actor_of(request), at=time_of(row)
            )
            return f"Invoice {done} was issued."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Approve",
        capability="manage_invoices",
        icon="approval",
        applies=lambda row: _is_draft(row) and row.is_held,
        otherwise=lambda row: (
            "It waits for nobody; finalize it." if _is_draft(row) else _is_final(row)
        ),
    )
    def approve(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask why a held draft is right after all."""
        row = self.row(request, object_id)
        question = Ask(
            f"Approve the draft for {row.organization}",
            f"It is held: {row.hold_reason} Approved, it is issued over "
            f"{cells.money(row.total, row.currency)} at once.",
            "Approve and issue",
            ReasonForm,
        )

        def run(answers: Answers) -> str:
            done = services.approve_invoice(
                row.public_id, reason=answers["reason"], actor=actor_of(request), at=time_of(row)
            )
            return f"Invoice {done} was issued."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Hold",
        capability="manage_invoices",
        icon="pan_tool",
        applies=lambda row: _is_draft(row) and not row.is_held,
        otherwise=lambda row: "It is held already." if row.is_held else _is_final(row),
    )
    def hold(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask why a draft shall wait."""
        row = self.row(request, object_id)
        question = Ask(
            f"Hold the draft for {row.organization}",
            "No run issues it, whatever its grace, until somebody approves it.",
            "Hold",
            ReasonForm,
        )

        def run(answers: Answers) -> str:
            services.hold_invoice(
                row.public_id, reason=answers["reason"], actor=actor_of(request), at=time_of(row)
            )
            return "The draft waits for approval."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Compute anew",
        capability="manage_invoices",
        icon="refresh",
        applies=_is_draft,
        otherwise=_is_final,
    )
    def refresh(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether a draft shall be computed anew."""
        row = self.row(request, object_id)
        question = Ask(
            f"Compute the draft for {row.organization} anew",
            "With usage, discounts and credit as they stand now. When nothing is left to be "
            "billed, the draft is gone.",
            "Compute anew",
        )

        def run(answers: Answers) -> str | HttpResponse:
            left = services.refresh_draft(row.public_id, actor=actor_of(request), at=time_of(row))
            if left is None:
                return _gone(request, "Nothing was left to be billed; the draft is gone.")
            return f"The draft comes to {cells.money(left.total, left.currency)} now."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Discard",
        capability="manage_invoices",
        icon="delete",
        danger=True,
        applies=_is_draft,
        otherwise=_is_final,
    )
    def discard(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask why a draft shall be thrown away."""
        row = self.row(request, object_id)
        question = Ask(
            f"Discard the draft for {row.organization}",
            "It is gone for good. Its period is not billed again by itself: what it billed waits "
            "for the next invoice.",
            "Discard draft",
            ReasonForm,
            danger=True,
        )

        def run(answers: Answers) -> HttpResponse:
            services.discard_draft(
                row.public_id, reason=answers["reason"], actor=actor_of(request), at=time_of(row)
            )
            return _gone(request, "The draft was discarded.")

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


def _gone(request: HttpRequest, told: str) -> HttpResponse:
    """Lead to the list: the row has no page any more."""
    messages.success(request, told)
    return HttpResponseRedirect(cells.list_url(Invoice))
