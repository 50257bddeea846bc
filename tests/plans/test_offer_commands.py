"""Coupons, promotion codes, tax rates and retired plans, as an operator handles them."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from apps.core import rls
from apps.plans import selectors
from apps.plans.errors import UnknownPlan
from tests.conftest import make_organization

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def answer(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--format", "json"))


LAUNCH = ("create_coupon", "launch", "--name", "Launch offer", "--percent", "20", "--months", "3")


def test_a_coupon_is_created_once_and_listed_with_its_codes() -> None:
    make_organization("acme")
    made = answer(*LAUNCH, "--max-redemptions", "9")
    assert (made["outcome"], made["percent"], made["duration"]) == ("created", "20", "repeating")
    assert answer(*LAUNCH, "--max-redemptions", "9")["outcome"] == "unchanged"
    code = answer("create_promotion_code", "thanks", "launch", "--organization", "acme",
                  "--minimum", "USD=50,EUR=45")  # fmt: skip
    assert (code["code"], code["organization"]) == ("THANKS", "acme")
    [listed] = answer("list_coupons")
    assert listed["max_redemptions"] == 9
    assert listed["promotion_codes"][0]["minimum_amounts"] == {"USD": "50", "EUR": "45"}
    assert "0 of 9" in run("list_coupons")
    assert "THANKS" in run("list_coupons")


def test_a_fixed_coupon_says_its_amounts() -> None:
    assert "9 EUR or 10 USD" in run("create_coupon", "seat", "--amounts", "USD=10,EUR=9")


def test_what_was_withdrawn_is_listed_on_demand() -> None:
    run(*LAUNCH)
    run("create_promotion_code", "L20", "launch")
    assert "L20 was withdrawn" in run("retire_coupon", "--code", "l20")
    assert answer("retire_coupon", "launch")["active"] is False
    assert answer("list_coupons") == []
    [listed] = answer("list_coupons", "--all")
    assert [one["active"] for one in listed["promotion_codes"]] == [False]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create_coupon", "x", "--percent", "120"), "at most 100"),
        (("create_coupon", "x", "--amounts", "USD"), "no amount"),
        (("create_coupon", "x", "--amounts", "USD=1,USD=2"), "no amount"),
        (("create_coupon", "x"), "required"),
        (("create_promotion_code", "x", "nothing"), "no coupon 'nothing'"),
        (("retire_coupon", "nothing"), "no coupon 'nothing'"),
        (("retire_plan", "nothing"), "no plan 'nothing'"),
        (("set_tax_rate", "x", "7", "--country", "DE", "--from", "soon"), "is no day"),
    ],
)
def test_a_refusal_is_one_line(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        run(*arguments)


def test_a_tax_rate_follows_another() -> None:
    rate = ("set_tax_rate", "de-vat", "--country", "DE", "--name", "USt.")
    assert answer(*rate, "16", "--from", "2020-07-01")["outcome"] == "created"
    assert answer(*rate, "19", "--from", "2021-01-01")["outcome"] == "new version"
    assert "unchanged" in run(*rate, "19", "--from", "2021-01-01")
    with pytest.raises(CommandError, match="begins later"):
        run(*rate, "7", "--from", "2020-08-01")


def test_a_retired_plan_is_off_the_price_list() -> None:
    run("load_catalog", "gateway")
    assert "sold no more" in run("retire_plan", "gateway")
    with rls.ops_scope("test"), pytest.raises(UnknownPlan):
        selectors.find_plan("gateway")
