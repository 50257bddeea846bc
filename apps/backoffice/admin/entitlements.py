"""What may be used: amounts set aside, what was agreed beside the plans, and spend caps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse

from apps.backoffice.access import actor_of, time_of
from apps.backoffice.admin import cells, words
from apps.backoffice.admin.amounts import AmountField
from apps.backoffice.admin.asking import Answers, Ask, Question, act, ask, column
from apps.backoffice.admin.panels import Fact
from apps.backoffice.admin.screen import Screen
from apps.core import clock
from apps.engine.decimals import plain
from apps.entitlements import selectors, services
from apps.entitlements.models import (
    BEHAVIOURS,
    HARD_OR_SOFT,
    RESETS,
    Override,
    Reservation,
    SpendCap,
)
from apps.entitlements.selectors import CapStanding
from apps.plans.content import Value
from apps.plans.selectors import GrantRules
from apps.subscriptions import selectors as subscriptions
from apps.tenants import selectors as tenants

UNLIMITED = "unlimited"


class OverrideForm(Question):
    """What a subscription gets in place of what its plan says."""

    subscription = forms.CharField(help_text="Its id.")
    feature = forms.SlugField(help_text="Its key.")
    value = forms.CharField(max_length=200, help_text="A number, unlimited, true, false or a text.")
    reset = forms.ChoiceField(choices=RESETS, initial="period", help_text="When it counts anew.")
    on_limit = forms.ChoiceField(choices=BEHAVIOURS, initial="block", label="At the limit")
    prepaid = forms.BooleanField(required=False, help_text="Open as far as the credit covers it.")
    until = forms.DateTimeField(required=False, help_text="UTC; the first instant without it.")
    reason = forms.CharField(max_length=200)


class SpendCapForm(Question):
    """How much usage may cost in a billing period."""

    organization = forms.CharField(help_text="Slug, id or external id.")
    amount = AmountField(help_text="Such as 500.00; before discounts, taxes and credit.")
    on_limit = forms.ChoiceField(choices=HARD_OR_SOFT, initial="block", label="At the cap")
    subscription = forms.CharField(required=False, help_text="Its id. Empty: all of them.")
    currency = forms.CharField(max_length=3, required=False, help_text="Empty: the customer's.")


class ReservationScreen(Screen):
    """Amounts that were set aside before they were used."""

    view_capability = "view_usage"
    list_display = ("public", "customer", "counted", "units", "state", "made", "ends", "taken")
    list_select_related = ("organization", "feature")
    list_filter = ("status", "feature")
    lookups = ("organization", "feature")
    search_fields = ("=public_id", "=key", "organization__name", "^organization__slug")
    search_help_text = "Id, key or customer"
    date_hierarchy = "reserved_at"
    ordering = ("-id",)
    actions_detail = ("release",)

    @column("Reservation")
    def public(self, row: Reservation) -> object:
        """Its id."""
        return cells.code(row.public_id)

    @column("Organization", order="organization__name")
    def customer(self, row: Reservation) -> object:
        """The customer's name."""
        return row.organization.name

    @column("Feature", order="feature__key")
    def counted(self, row: Reservation) -> object:
        """What is set aside."""
        return cells.code(row.feature.key)

    @column("Amount", order="amount")
    def units(self, row: Reservation) -> object:
        """How much of it."""
        return plain(row.amount)

    @column("State", order="status")
    def state(self, row: Reservation) -> object:
        """What became of it; one that has run out is free whatever the row says yet."""
        return cells.badge(row.status)

    @column("Made", order="reserved_at")
    def made(self, row: Reservation) -> object:
        """Since when."""
        return cells.when(row.reserved_at)

    @column("Free again", order="expires_at")
    def ends(self, row: Reservation) -> object:
        """Until when."""
        return cells.when(row.expires_at)

    @column("Used", order="committed")
    def taken(self, row: Reservation) -> object:
        """What was used of it."""
        return cells.EMPTY if row.committed is None else plain(row.committed)

    def facts(self, row: Reservation) -> Sequence[Fact]:
        """What it is."""
        return [
            Fact("Amount", plain(row.amount)),
            Fact("State", cells.badge(row.status)),
            Fact("Used", "" if row.committed is None else plain(row.committed)),
            Fact("Feature", cells.code(row.feature.key)),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Subscription", cells.link_to(row.subscription)),
            Fact("Made", cells.when(row.reserved_at)),
            Fact("Free again", cells.when(row.expires_at)),
            Fact("Settled", cells.when(row.settled_at)),
            Fact("Key", cells.code(row.key)),
            Fact("Id", cells.code(row.public_id)),
        ]

    @act(
        "Release",
        capability="write_usage",
        icon="lock_open",
        applies=lambda row: row.status == Reservation.Status.OPEN,
        otherwise=lambda row: f"{row.public_id} is {row.status} already.",
    )
    def release(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether the amount shall be free."""
        row = self.row(request, object_id)
        question = Ask(
            f"Release {row.public_id}",
            f"{plain(row.amount)} of {row.feature.name} is free for others at once.",
            "Release",
            Question,
        )

        def run(answers: Answers) -> str:
            at = time_of(row.organization)
            services.release(row.public_id, actor=actor_of(request), at=at)
            return f"{row.public_id} was released."

        return ask(self, request, question, run=run, back=cells.url_of(row))


class OverrideScreen(Screen):
    """What was agreed with one subscription beside its plan."""

    view_capability = "view_invoices"
    list_display = ("customer", "granted", "value_words", "rules", "since", "until", "reason")
    list_select_related = ("organization", "feature")
    list_filter = ("feature",)
    lookups = ("organization", "feature")
    search_fields = ("=public_id", "organization__name", "^organization__slug", "reason")
    search_help_text = "Id, customer or reason"
    ordering = ("-id",)
    actions_list = ("override",)
    actions_detail = ("end",)

    @column("Organization", order="organization__name")
    def customer(self, row: Override) -> object:
        """The customer's name."""
        return row.organization.name

    @column("Feature", order="feature__key")
    def granted(self, row: Override) -> object:
        """Of what."""
        return cells.code(row.feature.key)

    @column("Grants")
    def value_words(self, row: Override) -> object:
        """How much of it."""
        return words.grant(row.value)

    @column("Rules")
    def rules(self, row: Override) -> object:
        """How it holds."""
        said = f"{row.get_reset_display()}; {row.get_on_limit_display()}"
        return f"{said}; prepaid" if row.prepaid else said

    @column("From")
    def since(self, row: Override) -> object:
        """Since when."""
        return cells.when(row.during.lower)

    @column("Until")
    def until(self, row: Override) -> object:
        """Until when."""
        return cells.when(row.during.upper)

    def facts(self, row: Override) -> Sequence[Fact]:
        """What it says."""
        return [
            Fact("Grants", words.grant(row.value)),
            Fact("Feature", cells.code(row.feature.key)),
            Fact("Rules", str(self.rules(row))),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Subscription", cells.link_to(row.subscription)),
            Fact("From", cells.when(row.during.lower)),
            Fact("Until", cells.when(row.during.upper)),
            Fact("Reason", row.reason),
            Fact("Agreed by", row.set_by),
            Fact("Id", cells.code(row.public_id)),
        ]

    @act("Override an entitlement", capability="manage_terms", icon="add")
    def override(self, request: HttpRequest) -> HttpResponse:
        """Ask what a subscription shall get."""
        question = Ask(
            "Override an entitlement",
            "It holds from now on, in place of what the plan says.",
            "Override",
            OverrideForm,
        )

        def run(answers: Answers) -> str:
            facts = subscriptions.get(answers["subscription"])
            organization = tenants.organization(facts.organization_id)
            made = services.override_entitlement(
                facts.public_id,
                feature=answers["feature"],
                value=_value(answers["value"]),
                rules=_rules(answers),
                until=answers["until"],
                reason=answers["reason"],
                actor=actor_of(request),
                at=time_of(organization),
            )
            return f"{organization} has {words.grant(made.value)} of {made.feature}."

        return ask(self, request, question, run=run, back=cells.list_url(Override))

    @act(
        "End",
        capability="manage_terms",
        icon="event_busy",
        applies=lambda row: row.during.upper is None or row.during.upper > clock.now(),
        otherwise=lambda row: "It has ended already.",
    )
    def end(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether the plan shall say it again."""
        row = self.row(request, object_id)
        question = Ask(
            f"End the override of {row.feature.name}",
            "From now on the plan says again what is granted.",
            "End it",
            Question,
        )

        def run(answers: Answers) -> str:
            at = time_of(row.organization)
            services.end_override(row.public_id, actor=actor_of(request), at=at)
            return f"The plan says again what {row.organization} gets of {row.feature.name}."

        return ask(self, request, question, run=run, back=cells.url_of(row))


class SpendCapScreen(Screen):
    """How much usage may cost in a billing period."""

    view_capability = "view_invoices"
    list_display = ("customer", "scope", "bound", "at_the_cap", "since", "set_by")
    list_select_related = ("organization", "subscription")
    list_filter = ("on_limit", "currency")
    lookups = ("organization",)
    search_fields = ("=public_id", "organization__name", "^organization__slug")
    search_help_text = "Id or customer"
    ordering = ("-id",)
    actions_list = ("set_cap",)
    actions_detail = ("remove",)

    @column("Organization", order="organization__name")
    def customer(self, row: SpendCap) -> object:
        """The customer's name."""
        return row.organization.name

    @column("Of")
    def scope(self, row: SpendCap) -> object:
        """One subscription, or all in the currency."""
        return cells.code(row.subscription.public_id) if row.subscription else "All of them"

    @column("Cap", order="amount")
    def bound(self, row: SpendCap) -> object:
        """How much."""
        return cells.money(row.amount, row.currency)

    @column("At the cap", order="on_limit")
    def at_the_cap(self, row: SpendCap) -> object:
        """What happens then."""
        return row.get_on_limit_display()

    @column("Since", order="set_at")
    def since(self, row: SpendCap) -> object:
        """Since when."""
        return cells.when(row.set_at)

    def facts(self, row: SpendCap) -> Sequence[Fact]:
        """What it bounds, and what is spent of it."""
        found = _standing(row)
        return [
            Fact("Cap", cells.money(row.amount, row.currency)),
            Fact("Spent in this period", cells.money(found.spent, row.currency)),
            Fact("Set aside", cells.money(found.reserved, row.currency)),
            Fact("Left", cells.money(found.remaining, row.currency)),
            Fact("At the cap", row.get_on_limit_display()),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Subscription", cells.link_to(row.subscription) if row.subscription else ""),
            Fact("Set", cells.when(row.set_at)),
            Fact("Set by", row.set_by),
            Fact("Id", cells.code(row.public_id)),
        ]

    @act("Set a spend cap", capability="manage_billing", icon="add")
    def set_cap(self, request: HttpRequest) -> HttpResponse:
        """Ask how much usage may cost."""
        question = Ask(
            "Set a spend cap",
            "Replaces the cap of the same subscription or currency.",
            "Set it",
            SpendCapForm,
        )

        def run(answers: Answers) -> str:
            organization = tenants.get_organization(answers["organization"])
            made = services.set_spend_cap(
                organization.pk,
                amount=answers["amount"],
                on_limit=answers["on_limit"],
                subscription_id=answers["subscription"],
                currency=answers["currency"].upper(),
                actor=actor_of(request),
                at=time_of(organization),
            )
            return f"{organization} spends {cells.money(made.amount, made.currency)} at most."

        return ask(self, request, question, run=run, back=cells.list_url(SpendCap))

    @act("Remove", capability="manage_billing", icon="block", danger=True)
    def remove(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether usage shall cost what it costs."""
        row = self.row(request, object_id)
        question = Ask(
            f"Remove the spend cap of {row.organization}",
            "Usage then costs what it costs.",
            "Remove",
            Question,
            danger=True,
        )

        def run(answers: Answers) -> str:
            at = time_of(row.organization)
            services.remove_spend_cap(row.public_id, actor=actor_of(request), at=at)
            return f"The spend cap of {row.organization} was removed."

        return ask(self, request, question, run=run, back=cells.list_url(SpendCap))


def _standing(row: SpendCap) -> CapStanding:
    found = selectors.cap_standings(row.organization_id, at=time_of(row.organization))
    return next(one for one in found if one.public_id == row.public_id)


def _rules(answers: dict[str, Any]) -> GrantRules:
    return GrantRules(answers["reset"], answers["on_limit"], answers["prepaid"])


def _value(text: str) -> Value:
    """Read what is granted as it was typed."""
    if text == UNLIMITED:
        return None
    if text in {"true", "false"}:
        return text == "true"
    return int(text) if text.lstrip("-").isdecimal() else text
