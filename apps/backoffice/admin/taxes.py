"""Tax rates by place and day."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from django import forms
from django.http import HttpRequest, HttpResponse

from apps.backoffice.access import actor_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.asking import Answers, Ask, Question, act, ask, column
from apps.backoffice.admin.panels import Fact
from apps.backoffice.admin.screen import Screen
from apps.core import clock
from apps.engine.decimals import plain
from apps.plans import services
from apps.plans.models import TaxRate
from apps.plans.offers import TaxRules


class TaxRateForm(Question):
    """What a place takes from a day on."""

    code = forms.SlugField(max_length=50, help_text="The same over time, such as de-vat.")
    name = forms.CharField(max_length=200, help_text="As the invoice says it.")
    kind = forms.ChoiceField(choices=TaxRate.Kind.choices)
    percent = forms.DecimalField(max_digits=9, decimal_places=6)
    country = forms.CharField(max_length=2, help_text="ISO 3166-1, two capitals.")
    region = forms.CharField(max_length=3, required=False, help_text="QC; empty: all of it.")
    inclusive = forms.BooleanField(required=False, help_text="Prices contain it already.")
    valid_from = forms.DateField(help_text="Its first day; the rate before ends there.")


class EndForm(Question):
    """The first day without a rate."""

    until = forms.DateField(
        required=False,
        help_text="The first day without it; empty: it was a mistake.",
    )


class TaxRateScreen(Screen):
    """What places take."""

    list_display = ("code", "name", "place", "takes", "kind", "begins", "ends", "state")
    list_filter = ("country", "kind", "active")
    search_fields = ("^code", "name", "^country", "=public_id")
    actions_list = ("create",)
    actions_detail = ("end",)

    @column("Place", order="country")
    def place(self, row: TaxRate) -> object:
        """The country, and the region in it."""
        return _place(row)

    @column("Takes", order="percent")
    def takes(self, row: TaxRate) -> object:
        """The percentage, on top of prices or within them."""
        return _takes(row)

    @column("From", order="valid_from")
    def begins(self, row: TaxRate) -> object:
        """Its first day."""
        return row.valid_from.isoformat()

    @column("Until", order="valid_until")
    def ends(self, row: TaxRate) -> object:
        """The first day without it."""
        return row.valid_until.isoformat() if row.valid_until else cells.EMPTY

    @column("State", order="active")
    def state(self, row: TaxRate) -> object:
        """Whether it counts at all."""
        return cells.badge("active") if row.active else cells.badge("withdrawn", "warning")

    def heading(self, row: TaxRate) -> str:
        """Return its name and place."""
        return f"{row} in {_place(row)}"

    def facts(self, row: TaxRate) -> Sequence[Fact]:
        """What is taken where and when."""
        return [
            Fact("Id", cells.code(row.public_id)),
            Fact("Code", cells.code(row.code)),
            Fact("Place", _place(row)),
            Fact("Kind", row.get_kind_display()),
            Fact("Takes", _takes(row)),
            Fact("From", row.valid_from.isoformat()),
            Fact("Until", row.valid_until.isoformat() if row.valid_until else cells.EMPTY),
            Fact("State", "Active" if row.active else "Withdrawn"),
            Fact("Created", cells.when(row.created_at)),
        ]

    @act("Set tax rate", capability="manage_catalog", icon="add")
    def create(self, request: HttpRequest) -> HttpResponse:
        """Ask for a rate."""
        question = Ask(
            "Set a tax rate",
            "What was set stays known. A later day with the same code ends the rate before.",
            "Set tax rate",
            TaxRateForm,
        )
        back = cells.list_url(TaxRate)
        return ask(self, request, question, run=partial(_set, request), back=back)

    @act(
        "End or withdraw",
        capability="manage_catalog",
        icon="event_busy",
        danger=True,
        applies=lambda row: row.active and row.valid_until is None,
        otherwise=lambda row: f"{row} has ended already.",
    )
    def end(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for the first day without it."""
        row = self.row(request, object_id)
        question = Ask(f"End {row}", "What was billed with it stays.", "End", EndForm, danger=True)

        def run(answers: Answers) -> str:
            services.retire_tax_rate(
                row.public_id, until=answers["until"], actor=actor_of(request), at=clock.now()
            )
            return f"{row} was ended."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


def _place(row: TaxRate) -> str:
    return f"{row.country}-{row.region}" if row.region else row.country


def _takes(row: TaxRate) -> str:
    return f"{plain(row.percent)} %{', within the price' if row.inclusive else ''}"


def _set(request: HttpRequest, answers: Answers) -> str:
    rate, outcome = services.set_tax_rate(
        TaxRules(**answers), actor=actor_of(request), at=clock.now()
    )
    return f"{rate.name} in {rate.jurisdiction}: {outcome}."
