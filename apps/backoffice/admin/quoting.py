"""Changes that are quoted before they are made: a page that asks, one that shows, then the change.

The second page carries what was quoted, and when. Confirming it changes the subscription as of that
moment, or shows the new quote where the old one no longer holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django import forms
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from apps.backoffice.access import actor_of, time_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.asking import Answers, Ask, Question, ask
from apps.backoffice.admin.panels import Panel
from apps.backoffice.admin.sums import document_panel
from apps.core.errors import DomainError
from apps.engine.money import Money
from apps.invoicing import quoting, services
from apps.invoicing.errors import QuoteExpired, QuoteMoved
from apps.invoicing.quoting import Quoted
from apps.invoicing.services import Confirmed
from apps.subscriptions.changes import Behaviour, Wish
from apps.subscriptions.facts import SubscriptionFacts

BEHAVIOURS = [
    (Behaviour.NEXT_INVOICE.value, "From now on; the next invoice carries the difference"),
    (Behaviour.NOW.value, "From now on; the difference is billed at once"),
    (Behaviour.NEXT_PERIOD.value, "From the next period on"),
    (Behaviour.NONE.value, "From now on; nothing for the period under way"),
    (Behaviour.RESET.value, "A new period begins now, at full price"),
]


class ChangeForm(Question):
    """How a change is billed, and since when."""

    behaviour = forms.ChoiceField(choices=BEHAVIOURS, label="Billed")
    effective_at = forms.DateTimeField(
        required=False,
        label="Scheduled for (UTC)",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        help_text="Empty: as said above.",
    )
    reason = forms.CharField(max_length=200, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = [name for name in self.fields if name not in ChangeForm.base_fields]
        self.order_fields([*own, *ChangeForm.base_fields])


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is asked for: of which subscription, in which words, and the wish that answers make."""

    facts: SubscriptionFacts
    question: Ask
    wish: Callable[[Answers], Wish]


def propose(
    screen: Any, request: HttpRequest, proposal: Proposal, *, row: Model, back: str
) -> HttpResponse:
    """Ask for a change, show its quote, and make it once the quote is confirmed."""

    def run(answers: Answers) -> str | HttpResponse:
        confirmed = _confirmed(request, proposal.facts)
        if confirmed is None:
            return _show(screen, request, proposal, answers, row=row)
        try:
            return _change(request, proposal, answers, confirmed)
        except (QuoteMoved, QuoteExpired) as refusal:
            return _show(screen, request, proposal, answers, row=row, refusal=refusal)

    first = replace(proposal.question, submit="See what it costs")
    return ask(screen, request, first, run=run, back=back, row=row)


def _confirmed(request: HttpRequest, facts: SubscriptionFacts) -> Confirmed | None:
    """Return what the second page showed, or None for answers that come from the first."""
    try:
        amount = Money(int(request.POST["quoted"]), facts.currency)
        at = datetime.fromisoformat(request.POST["quoted_at"])
    except (KeyError, ValueError):
        return None
    return Confirmed(amount, at) if at.tzinfo else None


def _change(
    request: HttpRequest, proposal: Proposal, answers: Answers, confirmed: Confirmed
) -> str:
    changed = services.change_subscription(
        proposal.facts.public_id,
        wish=proposal.wish(answers),
        behaviour=Behaviour(answers["behaviour"]),
        effective_at=answers["effective_at"],
        confirmed=confirmed,
        reason=answers["reason"],
        actor=actor_of(request),
        at=time_of(proposal.facts),
    )
    if changed.invoice is not None:
        total = cells.money(changed.invoice.total, changed.invoice.currency)
        return f"It was changed; {changed.invoice} over {total} was made."
    if changed.quoted.considered.waits:
        return f"It changes on {changed.quoted.considered.effective_at:%Y-%m-%d %H:%M} UTC."
    return "It was changed."


def _show(
    screen: Any,
    request: HttpRequest,
    proposal: Proposal,
    answers: Answers,
    *,
    row: Model,
    refusal: DomainError | None = None,
) -> HttpResponse:
    quoted = quoting.quote_change(
        proposal.facts.public_id,
        wish=proposal.wish(answers),
        behaviour=Behaviour(answers["behaviour"]),
        at=time_of(proposal.facts),
        effective_at=answers["effective_at"],
    )
    context = {
        **screen.admin_site.each_context(request),
        "opts": screen.model._meta,
        "title": proposal.question.title,
        "question": proposal.question,
        "original": row,
        "refusal": refusal,
        "quoted": quoted,
        "told": told(quoted),
        "panels": _panels(quoted),
        "answers": _answered(request, quoted),
        "back": request.path,
    }
    status = 200 if refusal is None else refusal.status
    return TemplateResponse(request, "admin/backoffice/quote.html", context, status=status)


def _answered(request: HttpRequest, quoted: Quoted) -> list[tuple[str, str]]:
    """Return the answers again, with what is confirmed by sending them once more."""
    left_out = {"csrfmiddlewaretoken", "quoted", "quoted_at"}
    given = [
        (name, value)
        for name, values in request.POST.lists()
        if name not in left_out
        for value in values
    ]
    quote = [
        ("quoted", str(quoted.amount.minor)),
        ("quoted_at", quoted.considered.at.isoformat()),
    ]
    return [*given, *quote]


def told(quoted: Quoted) -> str:
    """Return what the change costs and since when it counts."""
    if not quoted.considered.changes:
        return "That is so already; nothing would change."
    amount = cells.money(quoted.amount.minor, quoted.amount.currency)
    moment = f"{quoted.considered.effective_at:%Y-%m-%d %H:%M} UTC"
    if quoted.bills_now:
        return f"From {moment} on. {amount} is billed at once."
    return f"From {moment} on. It changes the next invoice by {amount}."


def _panels(quoted: Quoted) -> Sequence[Panel]:
    shown = (
        ("Billed at once", quoted.now),
        ("Next invoice", quoted.upcoming),
        ("Next invoice without the change", quoted.before),
    )
    return [document_panel(title, one) for title, one in shown if one is not None]
