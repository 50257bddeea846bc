"""What staff do with an agreement's life: trial, pause, end, return, discounts, changes to come."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse

from apps.backoffice.access import actor_of, time_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.agreements import Choices, Choosing, has_ended, is_live
from apps.backoffice.admin.asking import Answers, Ask, Question, act, ask
from apps.invoicing import selectors as invoices
from apps.invoicing import services as invoicing
from apps.plans import selectors as plans
from apps.subscriptions import selectors, services
from apps.subscriptions.changes import NOW, PERIOD_END
from apps.subscriptions.facts import ChangeFacts, SubscriptionFacts
from apps.subscriptions.models import Subscription

WHEN = [(PERIOD_END, "When its period ends"), (NOW, "Now"), ("on", "At the instant below")]


class InstantField(forms.DateTimeField):
    """An instant, written in UTC."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.DateTimeInput(attrs={"type": "datetime-local"})
        super().__init__(widget=widget, **kwargs)


class EndForm(Question):
    """When and why it ends."""

    when = forms.ChoiceField(choices=WHEN, required=False, label="Ends")
    on = InstantField(required=False, label="At (UTC)")
    keep = forms.BooleanField(required=False, label="Give nothing back of what was paid")
    reason = forms.CharField(max_length=200, required=False)

    def clean(self) -> Any:
        """Ask for the instant where it is the one that was chosen."""
        answers = super().clean()
        if self.cleaned_data.get("when") == "on" and not self.cleaned_data.get("on"):
            self.add_error("on", "Say the instant at which it ends.")
        return answers


class PauseForm(Question):
    """Since when and until when it rests."""

    when = forms.ChoiceField(choices=WHEN[:2], label="Pauses")
    until = InstantField(
        required=False, label="Until (UTC)", help_text="Empty: until somebody resumes it."
    )
    keep = forms.BooleanField(required=False, label="Give nothing back of what was paid")
    reason = forms.CharField(max_length=200, required=False)


class ResumeForm(Question):
    """In which cycle it goes on."""

    keep_cycle = forms.BooleanField(required=False, label="Go on in the old cycle")


class TrialForm(Question):
    """Until when it may be tried."""

    until = InstantField(label="Until (UTC)")


class CodeForm(Question):
    """A coupon or a promotion code."""

    code = forms.CharField(max_length=60, help_text="A promotion code, or a coupon by its code.")
    everything = forms.BooleanField(
        required=False, label="For everything that the organization pays"
    )


class DiscountForm(Choosing):
    """One of the discounts that count."""

    of = "discount"
    discount = forms.ChoiceField()


class ChangeToComeForm(Choosing):
    """One of the changes to come."""

    of = "change"
    change = forms.ChoiceField()


def _moment(answers: Answers) -> str | datetime:
    """Return the word or the instant that was chosen."""
    return answers["on"] if answers["when"] == "on" else answers["when"] or PERIOD_END


class LifeActs:
    """Acts on the life of a subscription; for the screen of subscriptions."""

    @act(
        "Pause",
        capability="manage_billing",
        icon="pause",
        applies=lambda row: row.status in {"active", "past_due"} and row.pause_at is None,
        otherwise=lambda row: (
            f"It pauses on {row.pause_at:%Y-%m-%d %H:%M} UTC already."
            if row.pause_at
            else f"Only a subscription that is billed pauses; this one is {row.status}."
        ),
    )
    def pause(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask since when and until when it rests."""
        row = self.row(request, object_id)
        question = Ask(
            f"Pause {row.plan_version} of {row.organization}",
            "Paused time is not billed. When it pauses within a period that is paid for, the rest "
            "is given back with the bill of that moment.",
            "Pause",
            PauseForm,
        )

        def run(answers: Answers) -> str:
            found = services.pause(
                row.public_id,
                when=answers["when"],
                until=answers["until"],
                prorate=not answers["keep"],
                reason=answers["reason"],
                actor=actor_of(request),
                at=time_of(row),
            )
            return f"It pauses on {found.pause_at:%Y-%m-%d %H:%M} UTC."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Resume",
        capability="manage_billing",
        icon="play_arrow",
        applies=lambda row: row.status == "paused" or row.pause_at is not None,
        otherwise=lambda row: f"Only a paused subscription resumes; this one is {row.status}.",
    )
    def resume(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether a paused one shall start again."""
        row = self.row(request, object_id)
        question = Ask(
            f"Resume {row.plan_version} of {row.organization}",
            "A new cycle starts now, or the old one goes on. Paused time is not billed. A pause "
            "that has not begun is taken back.",
            "Resume",
            ResumeForm,
        )

        def run(answers: Answers) -> str:
            services.resume(
                row.public_id,
                restart=not answers["keep_cycle"],
                actor=actor_of(request),
                at=time_of(row),
            )
            return "The subscription is active again."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Cancel",
        capability="manage_billing",
        icon="event_busy",
        danger=True,
        applies=lambda row: row.is_live and row.cancel_at is None,
        otherwise=lambda row: (
            "It has ended."
            if not row.is_live
            else f"It ends on {row.cancel_at:%Y-%m-%d %H:%M} UTC already."
        ),
    )
    def cancel(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask when and why it shall end."""
        row = self.row(request, object_id)
        question = Ask(
            f"Cancel {row.plan_version} of {row.organization}",
            "Usage up to its end is billed. What was paid for later is given back, unless that is "
            "declined. Changes scheduled for later are called off.",
            "Cancel subscription",
            EndForm,
            danger=True,
        )

        def run(answers: Answers) -> str:
            found = services.cancel(
                row.public_id,
                when=_moment(answers),
                prorate=not answers["keep"],
                reason=answers["reason"],
                actor=actor_of(request),
                at=time_of(row),
            )
            ends = found.ended_at or found.cancel_at
            return f"The subscription ends on {ends:%Y-%m-%d %H:%M} UTC."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Take back cancellation",
        capability="manage_billing",
        icon="undo",
        applies=lambda row: row.is_live and row.cancel_at is not None,
        otherwise=lambda row: "No cancellation is scheduled that could be taken back.",
    )
    def uncancel(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether it shall go on."""
        row = self.row(request, object_id)
        question = Ask(
            f"Keep {row.plan_version} of {row.organization}",
            "The cancellation is taken back and the subscription goes on as before.",
            "Keep subscription",
        )

        def run(answers: Answers) -> str:
            services.uncancel(row.public_id, actor=actor_of(request), at=time_of(row))
            return "The subscription goes on."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Reactivate",
        capability="manage_billing",
        icon="restart_alt",
        applies=lambda row: row.status == "canceled",
        otherwise=lambda row: f"Only a canceled subscription comes back; this one is {row.status}.",
    )
    def reactivate(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether a canceled one shall begin anew."""
        row = self.row(request, object_id)
        question = Ask(
            f"Bring {row.organization} back to {row.plan_version.plan}",
            "A new subscription begins now: quantities and agreed prices as they ended, the "
            "version that is published now, no trial.",
            "Reactivate",
        )

        def run(answers: Answers) -> str:
            found = services.reactivate(row.public_id, actor=actor_of(request), at=time_of(row))
            return f"{row.organization} is back: {found.public_id}."

        return ask(self, request, question, run=run, back=cells.list_url(Subscription), row=row)

    @act(
        "Extend trial",
        capability="manage_billing",
        icon="more_time",
        applies=lambda row: row.status == "trialing",
        otherwise=lambda row: f"Only a trial is extended; this one is {row.status}.",
    )
    def extend_trial(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask until when it may be tried."""
        row = self.row(request, object_id)
        question = Ask(
            f"Extend the trial of {row.organization}",
            "Billing begins when the trial ends.",
            "Extend",
            TrialForm,
            initial={"until": row.trial_end},
        )

        def run(answers: Answers) -> str:
            services.extend_trial(
                row.public_id, until=answers["until"], actor=actor_of(request), at=time_of(row)
            )
            return f"The trial lasts until {answers['until']:%Y-%m-%d %H:%M} UTC."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Redeem a code",
        capability="manage_billing",
        icon="loyalty",
        applies=is_live,
        otherwise=has_ended,
    )
    def redeem(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask which coupon or promotion code is redeemed."""
        row = self.row(request, object_id)
        question = Ask(
            f"Discount for {row.organization}",
            "Counts on the invoices from now on, as the coupon says. Each redemption is a use.",
            "Redeem",
            CodeForm,
        )

        def run(answers: Answers) -> str:
            alone = not answers["everything"]
            found = services.apply_discount(
                row.organization_id,
                code=answers["code"],
                subscription_id=row.public_id if alone else "",
                owed=invoices.owed_next(row.public_id) if alone else None,
                actor=actor_of(request),
                at=time_of(row),
            )
            return f"{found.coupon.name} counts from now on."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Remove a discount",
        capability="manage_billing",
        icon="label_off",
        applies=is_live,
        otherwise=has_ended,
    )
    def remove_discount(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask which discount counts no more."""
        row = self.row(request, object_id)
        question = Ask(
            f"Remove a discount of {row.organization}",
            "It counts no more from now on; what it took off stays off.",
            "Remove discount",
            partial(DiscountForm, choices=_discounts(selectors.by_id(row.pk))),  # type: ignore[arg-type]
        )

        def run(answers: Answers) -> str:
            found = services.remove_discount(
                answers["discount"], actor=actor_of(request), at=time_of(row)
            )
            return f"{found.coupon.name} counts no more."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Call off a change",
        capability="manage_billing",
        icon="event_repeat",
        applies=is_live,
        otherwise=has_ended,
    )
    def call_off(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask which scheduled change shall not happen."""
        row = self.row(request, object_id)
        waiting = [(c.public_id, change_words(c)) for c in selectors.by_id(row.pk).scheduled]
        question = Ask(
            f"Call off a change of {row.organization}",
            "It will not be carried out.",
            "Call off",
            partial(ChangeToComeForm, choices=waiting),  # type: ignore[arg-type]
        )

        def run(answers: Answers) -> str:
            services.cancel_scheduled_change(
                row.public_id, change_id=answers["change"], actor=actor_of(request), at=time_of(row)
            )
            return "The change was called off."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Bill now",
        capability="manage_invoices",
        icon="receipt_long",
        applies=is_live,
        otherwise=has_ended,
    )
    def bill_now(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether what waits is billed at once."""
        row = self.row(request, object_id)
        question = Ask(
            f"Bill {row.organization} now",
            "Changes up to now, charges and corrections go on an invoice at once instead of "
            "waiting for the next one. Usage waits for its period.",
            "Bill now",
        )

        def run(answers: Answers) -> str:
            made = invoicing.bill_now(row.public_id, actor=actor_of(request), at=time_of(row))
            return f"{made} over {cells.money(made.total, made.currency)} was made."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


def _discounts(facts: SubscriptionFacts) -> Choices:
    return [
        (one.public_id, one.coupon.name)
        for one in facts.discounts
        if one.removed_at is None and one.spent_at is None
    ]


def change_words(change: ChangeFacts) -> str:
    """Return what a change does, and from when, in words."""
    said = change.arguments
    match change.action:
        case "plan":
            what = f"to {plans.find_version(said['version']).plan_name}"
        case "quantity":
            what = f"to {said['quantity']} {said['key']}".rstrip()
        case "add_item":
            what = f"add-on {plans.find_version(said['version']).plan_name}"
        case "remove_item" | "price":
            what = f"{change.action.replace('_', ' ')} of {said['key']}"
        case other:
            what = other
    return f"{what}, from {change.effective_at:%Y-%m-%d %H:%M} UTC"
