"""Limits from the shell: asked, agreed with one customer, capped, and settled."""

from __future__ import annotations

import pytest

from apps.backoffice.printing import exact_money
from tests.commands.shell import run, run_json

pytestmark = pytest.mark.django_db


def test_a_check_says_why_not_and_exits_by_it(acme: str) -> None:
    inside = run_json("check_access", acme, "max_devices", "--amount", "50")
    assert (inside["allowed"], inside["limit"], inside["reason"]) == (True, "50", "ok")
    over = run("check_access", acme, "max_devices", "--amount", "51", "--format", "json")
    assert (over.code, over.json["reason"]) == (1, "limit_reached")
    assert run("check_access", acme, "none_such").code == 1


@pytest.mark.parametrize(
    ("exact", "currency", "written"),
    [
        ("6.3", "EUR", "6.30 EUR"),
        ("5", "JPY", "5 JPY"),
        ("0.0000015", "USD", "0.0000015 USD"),
        ("1/3", "USD", "1/3 USD"),
    ],
)
def test_a_price_has_the_decimals_of_its_currency_at_least(
    exact: str, currency: str, written: str
) -> None:
    assert exact_money(exact, currency) == written


def test_an_override_holds_until_it_is_ended(acme: str) -> None:
    [made] = run_json(
        "override_entitlement", acme, "max_devices", "unlimited", "--reason", "a fair"
    )
    assert (made["feature"], made["value"], made["ends"]) == ("max_devices", None, None)
    assert run("check_access", acme, "max_devices", "--amount", "5000").code == 0
    [ended] = run_json("override_entitlement", acme, "max_devices", "--end")
    assert ended["ends"] is not None
    assert run("check_access", acme, "max_devices", "--amount", "5000").code == 1


def test_an_override_says_what_or_ends(acme: str) -> None:
    for words in ((), ("5", "--end"), ("5",), ("many", "--reason", "x")):
        refused = run("override_entitlement", acme, "max_devices", *words)
        assert (refused.code, refused.out) == (1, ""), words


def test_a_spend_cap_is_set_and_removed(acme: str) -> None:
    [made] = run_json("set_spend_cap", acme, "500", "--warn")
    assert (made["amount"], made["on_limit"], made["subscription"]) == (500_00, "warn", None)
    assert [one["amount"] for one in run_json("set_spend_cap", acme, "70")] == [70_00]
    assert run_json("set_spend_cap", acme, "--off") == []
    assert run("set_spend_cap", acme).code == 1
    assert run("set_spend_cap", acme, "5", "--off").code == 1
    unknown = run("set_spend_cap", acme, "5", "--currency", "ZZZ")
    assert unknown.code == 1
    assert unknown.err.startswith("'ZZZ' is not an ISO 4217 currency")


def test_nothing_has_run_out_where_nothing_is_reserved(acme: str) -> None:
    assert run_json("expire_reservations") == {"expired": 0}
