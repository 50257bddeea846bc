"""Coupons and the codes that customers type for them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from django import forms
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from apps.backoffice.access import actor_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.asking import Answers, Ask, Question, act, ask, column
from apps.backoffice.admin.panels import Fact, Panel
from apps.backoffice.admin.screen import Screen
from apps.backoffice.offering import worth
from apps.core import clock
from apps.plans import services
from apps.plans.models import Coupon, PromotionCode
from apps.plans.offers import CouponRules, PromotionRules, decimals


class NewCouponForm(Question):
    """What most coupons say; a catalogue file or create_coupon says the rest."""

    code = forms.SlugField(max_length=50, help_text="a-z, 0-9, _ and -; it stays.")
    name = forms.CharField(max_length=200, help_text="As the invoice says it.")
    percent = forms.DecimalField(
        required=False, max_digits=9, decimal_places=6, help_text="Either this or an amount."
    )
    amount = forms.DecimalField(required=False, max_digits=18, decimal_places=4)
    currency = forms.CharField(max_length=3, initial="USD", help_text="Of the amount.")
    duration = forms.ChoiceField(choices=Coupon.Duration.choices)
    months = forms.IntegerField(required=False, min_value=1, help_text="Of a repeating one.")
    max_redemptions = forms.IntegerField(required=False, min_value=1)
    redeem_by = forms.DateTimeField(required=False, help_text="UTC; the first instant too late.")


class NewCodeForm(Question):
    """A word for a coupon."""

    code = forms.CharField(max_length=50, help_text="Kept in capitals; it stays.")
    organization = forms.CharField(required=False, help_text="A slug: for nobody else.")
    max_redemptions = forms.IntegerField(required=False, min_value=1)
    expires_at = forms.DateTimeField(required=False, help_text="UTC; the first instant too late.")


def _withdrawn(row: Coupon | PromotionCode) -> str:
    return f"{row} was withdrawn already."


class CouponScreen(Screen):
    """What comes off bills."""

    list_display = ("name", "code", "takes_off", "duration", "uses", "state")
    list_filter = ("active", "duration")
    search_fields = ("name", "^code", "=public_id")
    actions_list = ("create",)
    actions_detail = ("add_code", "retire")

    @column("Takes off")
    def takes_off(self, row: Coupon) -> object:
        """A percentage, or an amount in each currency."""
        return worth(row.percent, decimals(row.amounts))

    @column("Redeemed", order="redeemed")
    def uses(self, row: Coupon) -> object:
        """How often, and of how many."""
        return _uses(row)

    @column("State", order="active")
    def state(self, row: Coupon) -> object:
        """Whether it can be redeemed."""
        return _state(row)

    def facts(self, row: Coupon) -> Sequence[Fact]:
        """What it takes off, of what, for how long and for whom."""
        least = worth(None, decimals(row.minimum_amounts))
        return [
            Fact("Id", cells.code(row.public_id)),
            Fact("Code", cells.code(row.code)),
            Fact("Takes off", worth(row.percent, decimals(row.amounts))),
            Fact("Runs", f"{row.months} months" if row.months else row.get_duration_display()),
            Fact("Plans", ", ".join(row.plans) or "Every plan"),
            Fact("Prices", ", ".join(row.prices) or "Every price"),
            Fact("Redeemed", _uses(row)),
            Fact("Per organization", row.max_per_organization or "Any number"),
            Fact("For", "First-time customers" if row.first_time_only else "Everybody"),
            Fact("Owed at least", least or cells.EMPTY),
            Fact("Redeem by", cells.when(row.redeem_by)),
            Fact("Beside others", "Yes" if row.stackable else "No"),
            Fact("State", _state(row)),
            Fact("Created", cells.when(row.created_at)),
        ]

    def panels(self, request: HttpRequest, row: Coupon) -> Sequence[Panel]:
        """Its promotion codes."""
        codes = row.promotion_codes.select_related("only_organization")[:100]
        return [
            Panel(
                "Promotion codes",
                ("Code", "For", ">Redeemed", "Expires", "State"),
                [
                    (
                        cells.link_to(one),
                        one.only_organization.name if one.only_organization else "Everybody",
                        _uses(one),
                        cells.when(one.expires_at),
                        _state(one),
                    )
                    for one in codes
                ],
                empty="No word for it yet.",
                more=cells.list_url(PromotionCode, coupon__id__exact=row.pk),
            )
        ]

    @act("Create coupon", capability="manage_catalog", icon="add")
    def create(self, request: HttpRequest) -> HttpResponse:
        """Ask for a new coupon."""
        question = Ask(
            "Create a coupon",
            "What it takes off stays; its name and limits can be changed by a catalogue file.",
            "Create coupon",
            NewCouponForm,
        )
        back = cells.list_url(Coupon)
        return ask(self, request, question, run=partial(_create, request), back=back)

    @act(
        "Add promotion code",
        capability="manage_catalog",
        icon="add",
        applies=lambda row: row.active,
        otherwise=_withdrawn,
    )
    def add_code(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for a word."""
        row = self.row(request, object_id)
        question = Ask(
            f"A word for {row}",
            "Customers type it in any case. Its limits stand besides the coupon's.",
            "Add promotion code",
            NewCodeForm,
        )
        run = partial(_add_code, request, row)
        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Withdraw",
        capability="manage_catalog",
        icon="block",
        danger=True,
        applies=lambda row: row.active,
        otherwise=_withdrawn,
    )
    def retire(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether nobody shall redeem it any more."""
        row = self.row(request, object_id)
        question = Ask(
            f"Withdraw {row}",
            "Nobody redeems it any more, by no code either; who has it keeps it. It does not come"
            " back.",
            "Withdraw",
            danger=True,
        )

        def run(answers: Answers) -> str:
            services.retire_coupon(row.code, actor=actor_of(request), at=clock.now())
            return f"{row} was withdrawn."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


class PromotionCodeScreen(Screen):
    """The words that customers type; they are added on their coupon's page."""

    list_display = ("code", "coupon", "reserved", "uses", "expires", "state")
    list_filter = ("active", "coupon")
    list_select_related = ("coupon", "only_organization")
    search_fields = ("^code", "^coupon__code", "=public_id")
    actions_detail = ("retire",)

    @column("For")
    def reserved(self, row: PromotionCode) -> object:
        """The one organization that it is kept for, or everybody."""
        return row.only_organization.name if row.only_organization else "Everybody"

    @column("Redeemed", order="redeemed")
    def uses(self, row: PromotionCode) -> object:
        """How often, and of how many."""
        return _uses(row)

    @column("Expires", order="expires_at")
    def expires(self, row: PromotionCode) -> object:
        """The first instant too late."""
        return cells.when(row.expires_at)

    @column("State", order="active")
    def state(self, row: PromotionCode) -> object:
        """Whether it can be redeemed."""
        return _state(row)

    def facts(self, row: PromotionCode) -> Sequence[Fact]:
        """What it is for, and for whom."""
        least = worth(None, decimals(row.minimum_amounts))
        return [
            Fact("Id", cells.code(row.public_id)),
            Fact("Coupon", cells.link_to(row.coupon)),
            Fact("For", cells.link_to(row.only_organization) if row.only_organization else "All"),
            Fact("Redeemed", _uses(row)),
            Fact("Per organization", row.max_per_organization or "Any number"),
            Fact("Customers", "First-time ones" if row.first_time_only else "All"),
            Fact("Owed at least", least or cells.EMPTY),
            Fact("Expires", cells.when(row.expires_at)),
            Fact("State", _state(row)),
            Fact("Created", cells.when(row.created_at)),
        ]

    @act(
        "Withdraw",
        capability="manage_catalog",
        icon="block",
        danger=True,
        applies=lambda row: row.active,
        otherwise=_withdrawn,
    )
    def retire(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether nobody shall use it any more."""
        row = self.row(request, object_id)
        question = Ask(
            f"Withdraw {row}", "The coupon and its other codes stay.", "Withdraw", danger=True
        )

        def run(answers: Answers) -> str:
            services.retire_promotion_code(row.code, actor=actor_of(request), at=clock.now())
            return f"{row} was withdrawn."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


def _uses(row: Coupon | PromotionCode) -> str:
    most = "" if row.max_redemptions is None else f" of {row.max_redemptions}"
    return f"{row.redeemed}{most}"


def _state(row: Coupon | PromotionCode) -> SafeString:
    return cells.badge("active") if row.active else cells.badge("withdrawn", "warning")


def _create(request: HttpRequest, answers: Answers) -> str:
    fixed = {answers["currency"]: answers["amount"]} if answers["amount"] is not None else {}
    rules = CouponRules(
        code=answers["code"],
        name=answers["name"],
        percent=answers["percent"],
        amounts=fixed,
        duration=answers["duration"],
        months=answers["months"],
        max_redemptions=answers["max_redemptions"],
        redeem_by=answers["redeem_by"],
    )
    made, outcome = services.define_coupon(rules, actor=actor_of(request), at=clock.now())
    return f"{made.name}: {outcome}."


def _add_code(request: HttpRequest, row: Coupon, answers: Answers) -> str:
    rules = PromotionRules(
        code=answers["code"],
        coupon=row.code,
        organization=answers["organization"],
        max_redemptions=answers["max_redemptions"],
        expires_at=answers["expires_at"],
    )
    made, outcome = services.define_promotion_code(rules, actor=actor_of(request), at=clock.now())
    return f"{made.code}: {outcome}."
