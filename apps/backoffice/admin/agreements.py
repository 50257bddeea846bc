"""What staff change of an agreement: each change is quoted before it is made."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.http import HttpRequest, HttpResponse

from apps.backoffice.access import time_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.amounts import AmountField, agreed_amounts
from apps.backoffice.admin.asking import Answers, Ask, Question, act
from apps.backoffice.admin.quoting import ChangeForm, Proposal, propose
from apps.backoffice.wishing import price_wish
from apps.engine.agreement import ItemKind
from apps.engine.decimals import plain
from apps.engine.prices import Flat, PerUnit
from apps.plans import selectors as plans
from apps.subscriptions import selectors
from apps.subscriptions.changes import (
    AddItem,
    ChangePlan,
    ChangeQuantity,
    RemoveItem,
    Wish,
    agreed_terms,
)
from apps.subscriptions.facts import SubscriptionFacts
from apps.subscriptions.models import Subscription

Choices = Sequence[tuple[str, str]]


class Choosing(Question):
    """A form that offers the `choices` it is made with for its field `of`."""

    of: ClassVar[str]

    def __init__(self, *args: Any, choices: Choices = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields[self.of]
        field.choices = choices


class PlanForm(Choosing, ChangeForm):
    """Another plan of the application."""

    of = "plan"
    plan = forms.ChoiceField()
    quantity = forms.IntegerField(
        required=False, min_value=0, help_text="Of its one licensed item; empty: as it is."
    )
    agreed = forms.CharField(
        required=False,
        widget=forms.Textarea,
        label="Agreed prices",
        help_text="Only for custom plans. One a line: base=1200.00",
    )

    def clean_agreed(self) -> dict[str, Decimal]:
        """Read KEY=AMOUNT, one a line."""
        return agreed_amounts(self.cleaned_data["agreed"])


class QuantityForm(Choosing, ChangeForm):
    """A new quantity."""

    of = "key"
    key = forms.ChoiceField(label="Item")
    quantity = forms.IntegerField(min_value=0, help_text="In all, included ones too.")


class AddOnForm(Choosing, ChangeForm):
    """An add-on to take or to leave."""

    of = "add_on"
    add_on = forms.ChoiceField(label="Add-on")


class PriceForm(Choosing, ChangeForm):
    """A price agreed with this customer."""

    of = "key"
    key = forms.ChoiceField(label="Item")
    amount = AmountField(
        required=False, help_text="In major units. Empty: the price of the list again."
    )


def is_live(row: Subscription) -> bool:
    """Whether there is something left to change."""
    return row.is_live


def has_ended(_: Subscription) -> str:
    """Return why nothing can be changed."""
    return "It has ended: there is nothing left to change."


class AgreementActs:
    """Changes of plan, quantity, add-ons and prices; for the screen of subscriptions."""

    @act(
        "Change plan",
        capability="manage_billing",
        icon="swap_horiz",
        applies=is_live,
        otherwise=has_ended,
    )
    def change_plan(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for another plan of the application."""
        row = self.row(request, object_id)
        facts = selectors.by_id(row.pk)
        question = Ask(
            f"Change the plan of {row.organization}",
            f"It is on {row.plan_version} now. Add-ons stay, and so do quantities where both plans "
            "have them. What it costs is shown before anything changes.",
            "Change plan",
            partial(PlanForm, choices=_offers(facts, add_ons=False)),  # type: ignore[arg-type]
        )
        proposal = Proposal(facts, question, _plan_wish)
        return propose(self, request, proposal, row=row, back=cells.url_of(row))

    @act(
        "Change quantity",
        capability="manage_billing",
        icon="group_add",
        applies=is_live,
        otherwise=has_ended,
    )
    def change_quantity(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for a new number of seats."""
        row = self.row(request, object_id)
        facts = selectors.by_id(row.pk)
        now = facts.quantities(time_of(facts))
        question = Ask(
            f"Quantity of {row.organization}",
            "What it costs is shown before anything changes.",
            "Change quantity",
            partial(QuantityForm, choices=[(key, key) for key in now]),  # type: ignore[arg-type]
            initial={"quantity": next((plain(value) for value in now.values()), "")},
        )
        proposal = Proposal(facts, question, _quantity_wish)
        return propose(self, request, proposal, row=row, back=cells.url_of(row))

    @act(
        "Take an add-on",
        capability="manage_billing",
        icon="add_circle",
        applies=is_live,
        otherwise=has_ended,
    )
    def add_on(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask which add-on joins the agreement."""
        row = self.row(request, object_id)
        facts = selectors.by_id(row.pk)
        question = Ask(
            f"Add-on for {row.organization}",
            "Its prices join the agreement. What it costs is shown before anything changes.",
            "Take the add-on",
            partial(AddOnForm, choices=_offers(facts, add_ons=True)),  # type: ignore[arg-type]
        )
        proposal = Proposal(
            facts, question, lambda said: AddItem(plans.current_version(said["add_on"]).public_id)
        )
        return propose(self, request, proposal, row=row, back=cells.url_of(row))

    @act(
        "Leave an add-on",
        capability="manage_billing",
        icon="remove_circle",
        applies=is_live,
        otherwise=has_ended,
    )
    def remove_add_on(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask which add-on ends."""
        row = self.row(request, object_id)
        facts = selectors.by_id(row.pk)
        question = Ask(
            f"End an add-on of {row.organization}",
            "What was paid for it and is not used comes back as the behaviour says.",
            "End the add-on",
            partial(AddOnForm, choices=_taken(facts)),  # type: ignore[arg-type]
        )
        proposal = Proposal(facts, question, lambda said: RemoveItem(said["add_on"]))
        return propose(self, request, proposal, row=row, back=cells.url_of(row))

    @act(
        "Agree on a price",
        capability="manage_billing",
        icon="handshake",
        applies=is_live,
        otherwise=has_ended,
    )
    def agree_price(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for the amount of a flat or per-unit price that this customer pays."""
        row = self.row(request, object_id)
        facts = selectors.by_id(row.pk)
        question = Ask(
            f"Price of {row.organization}",
            "Replaces the list's amount of a flat or per-unit price for this customer alone.",
            "Agree on it",
            partial(PriceForm, choices=_agreeable(facts)),  # type: ignore[arg-type]
            initial={"behaviour": "next_period"},
        )
        proposal = Proposal(
            facts, question, lambda said: price_wish(facts, said["key"], said["amount"])
        )
        return propose(self, request, proposal, row=row, back=cells.url_of(row))


def _plan_wish(said: Answers) -> Wish:
    version = plans.current_version(said["plan"])
    prices = {price.key: price for price in version.prices}
    licensed = [price.key for price in version.prices if price.type == "licensed"]
    quantities = {}
    if said["quantity"] is not None and len(licensed) == 1:
        quantities[licensed[0]] = Decimal(said["quantity"])
    agreed = {
        key: agreed_terms(prices[key], amount=amount)
        for key, amount in said["agreed"].items()
        if key in prices
    }
    return ChangePlan(version.public_id, quantities, agreed)


def _quantity_wish(said: Answers) -> Wish:
    return ChangeQuantity(Decimal(said["quantity"]), said["key"])


def _offers(facts: SubscriptionFacts, *, add_ons: bool) -> Choices:
    """Return the plans (or add-ons) of the subscription's application that are sold."""
    return [
        (offer.code, f"{offer.name} ({', '.join(offer.version.currencies)})")
        for offer in plans.list_plans(visibility=None, application=facts.version.application_slug)
        if (offer.kind == "add_on") == add_ons
        and facts.currency in offer.version.currencies
        and offer.code != facts.version.plan_code
    ]


def _taken(facts: SubscriptionFacts) -> Choices:
    base = facts.version.plan_code
    present = {
        one.version.plan_code: one.version.plan_name for one in facts.items_at(time_of(facts))
    }
    return [(code, name) for code, name in present.items() if code != base]


def _agreeable(facts: SubscriptionFacts) -> Choices:
    return [
        (one.item.key, f"{one.price.name} ({one.item.key})")
        for one in facts.items_at(time_of(facts))
        if isinstance(one.item.terms, Flat | PerUnit) and one.item.kind is not ItemKind.ONE_TIME
    ]
